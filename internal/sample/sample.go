// Package sample has small inference servers to try endpoints with, where
// there is neither an image nor a model: a linear model, and an echo that
// speaks the protocol of OpenAI's chat completions. They own no state and
// decide nothing about endpoints. cli runs them as a hidden command, which the
// examples name.
package sample

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// Kinds lists the servers there are.
var Kinds = []string{"linear", "openai"}

// maxBody bounds a request.
const maxBody = 1 << 20

// Server is one sample server.
type Server struct {
	// Kind is one of Kinds.
	Kind string
	// Name is told to clients, so that they see which replica answered.
	Name string
	// Pause is between two words of a streamed answer.
	Pause time.Duration
	// After waits for a pause, as a clock does.
	After func(time.Duration) <-chan time.Time
}

// Handler serves the kind, and /healthz.
func (s *Server) Handler() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	switch s.Kind {
	case "linear":
		mux.HandleFunc("POST /predict", s.predict)
	case "openai":
		mux.HandleFunc("GET /v1/models", s.models)
		mux.HandleFunc("POST /v1/chat/completions", s.chat)
	default:
		return nil, fmt.Errorf("there is no sample server %q; there are %v", s.Kind, Kinds)
	}
	return mux, nil
}

// Run serves on an address until ctx ends, and ends what it has begun.
func (s *Server) Run(ctx context.Context, address string) error {
	handler, err := s.Handler()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", address, err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(end)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// Replica names this process as an endpoint's replica knows itself.
func Replica() string {
	return fmt.Sprintf("%s revision %s process %d", os.Getenv("GCO_ENDPOINT"), os.Getenv("GCO_REVISION"), os.Getpid())
}

func answer(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document)
}

// read decodes a request; where it can't, it answers, and returns false.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(into)
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]string{"type": "invalid_request_error", "message": err.Error()}})
	}
	return err == nil
}

// weights are those of the linear model, bias those of nothing.
var weights = []float64{2, -1, 0.5}

const bias = 1

// predict answers the weighted sum of {"inputs": [...]}.
func (s *Server) predict(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Inputs []float64 `json:"inputs"`
	}
	if !read(w, r, &request) {
		return
	}
	if len(request.Inputs) != len(weights) {
		answer(w, http.StatusUnprocessableEntity, map[string]string{"error": fmt.Sprintf("%d inputs expected", len(weights))})
		return
	}
	sum := float64(bias)
	for i, x := range request.Inputs {
		sum += weights[i] * x
	}
	answer(w, http.StatusOK, map[string]any{"output": sum, "servedBy": s.Name})
}
