package sample

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// model is the only one that the echo knows.
const model = "echo"

// models lists the models, as OpenAI's servers do.
func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"object": "list", "data": []any{map[string]any{"id": model, "object": "model", "created": 0, "owned_by": "gco"}},
	})
}

// message is one of a conversation.
type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// chat says the last message of a conversation back, at once or word by word.
func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Model    string    `json:"model"`
		Messages []message `json:"messages"`
		Stream   bool      `json:"stream"`
	}
	if !read(w, r, &request) {
		return
	}
	switch {
	case request.Model != model:
		answer(w, http.StatusNotFound, map[string]any{"error": map[string]string{
			"type": "invalid_request_error", "code": "model_not_found", "message": fmt.Sprintf("there is no model %q; there is %q", request.Model, model),
		}})
		return
	case len(request.Messages) == 0:
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]string{"type": "invalid_request_error", "message": "messages are missing"}})
		return
	}
	text := request.Messages[len(request.Messages)-1].Content
	if request.Stream {
		s.stream(w, r, text)
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"id": "chatcmpl-echo", "object": "chat.completion", "created": 0, "model": model, "system_fingerprint": s.Name,
		"choices": []any{map[string]any{"index": 0, "message": message{"assistant", text}, "finish_reason": "stop"}},
	})
}

// stream sends a text as server-sent events, a word each.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, text string) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	controller := http.NewResponseController(w)
	words := strings.SplitAfter(text, " ")
	for i, word := range words {
		var finish any
		if i == len(words)-1 {
			finish = "stop"
		}
		chunk, err := json.Marshal(map[string]any{
			"id": "chatcmpl-echo", "object": "chat.completion.chunk", "created": 0, "model": model, "system_fingerprint": s.Name,
			"choices": []any{map[string]any{"index": 0, "delta": message{"assistant", word}, "finish_reason": finish}},
		})
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", chunk); err != nil || controller.Flush() != nil {
			return
		}
		select {
		case <-s.After(s.Pause):
		case <-r.Context().Done():
			return
		}
	}
	_, _ = fmt.Fprint(w, "data: [DONE]\n\n")
}
