package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gco-project/gco/kubelab/gate"
)

// maxRequest is more than any request says, in bytes.
const maxRequest = 4096

// control carries out faults. Each says what is to be, so asking again does
// nothing more:
//
//	PUT /api         {"stopped": true, "delay": "2s"}   the API server, as clients see it
//	PUT /capacity    {"none": true}                     no node takes new pods
//	PUT /nodes/NAME  {"ready": "True"}                  or False, or Unknown
//	GET /            the state of all of them
type control struct {
	gate  *gate.Gate
	nodes registry
}

// apiFault is what clients see of the API server.
type apiFault struct {
	Stopped bool   `json:"stopped"`
	Delay   string `json:"delay,omitempty"`
}

type capacityFault struct {
	None bool `json:"none"`
}

type nodeFault struct {
	Ready corev1.ConditionStatus `json:"ready"`
}

// state is the answer to GET.
type state struct {
	API   apiFault             `json:"api"`
	Nodes map[string]nodeState `json:"nodes"`
}

type nodeState struct {
	Ready         corev1.ConditionStatus `json:"ready"`
	Unschedulable bool                   `json:"unschedulable,omitempty"`
}

func newControl(door *gate.Gate, hosts registry) http.Handler {
	c := control{gate: door, nodes: hosts}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", c.state)
	mux.HandleFunc("PUT /api", put(c.setAPI))
	mux.HandleFunc("PUT /capacity", put(c.setCapacity))
	mux.HandleFunc("PUT /nodes/{name}", put(c.setNode))
	return mux
}

// put decodes a request, carries it out and says how that went.
func put[T any](carryOut func(context.Context, *http.Request, T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var wanted T
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&wanted); err != nil {
			http.Error(w, "decoding the request: "+err.Error(), http.StatusBadRequest)
			return
		}
		err := carryOut(r.Context(), r, wanted)
		switch {
		case err == nil:
			w.WriteHeader(http.StatusNoContent)
		case apierrors.IsNotFound(err):
			http.Error(w, err.Error(), http.StatusNotFound)
		case errors.Is(err, errRequest):
			http.Error(w, err.Error(), http.StatusBadRequest)
		default:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}
}

var errRequest = errors.New("the request makes no sense")

func (c control) setAPI(_ context.Context, _ *http.Request, wanted apiFault) error {
	var delay time.Duration
	if wanted.Delay != "" {
		var err error
		if delay, err = time.ParseDuration(wanted.Delay); err != nil || delay < 0 {
			return fmt.Errorf("%w: delay %q is no duration such as 500ms", errRequest, wanted.Delay)
		}
	}
	c.gate.Delay(delay)
	if wanted.Stopped {
		c.gate.Stop()
		return nil
	}
	return c.gate.Resume()
}

func (c control) setCapacity(ctx context.Context, _ *http.Request, wanted capacityFault) error {
	return c.nodes.setCordoned(ctx, wanted.None)
}

func (c control) setNode(ctx context.Context, r *http.Request, wanted nodeFault) error {
	switch wanted.Ready {
	case corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionUnknown:
		return c.nodes.setReady(ctx, r.PathValue("name"), wanted.Ready)
	default:
		return fmt.Errorf("%w: ready %q is none of True, False and Unknown", errRequest, wanted.Ready)
	}
}

func (c control) state(w http.ResponseWriter, r *http.Request) {
	there, err := c.nodes.list(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	stopped, delay := c.gate.State()
	answer := state{API: apiFault{Stopped: stopped}, Nodes: map[string]nodeState{}}
	if delay > 0 {
		answer.API.Delay = delay.String()
	}
	for name, node := range there {
		found := nodeState{Ready: corev1.ConditionUnknown, Unschedulable: node.Spec.Unschedulable}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady {
				found.Ready = condition.Status
			}
		}
		answer.Nodes[name] = found
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}
