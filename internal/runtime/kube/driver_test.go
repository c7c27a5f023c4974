package kube

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/runtimetest"
)

// driver is a runtime on the lab with what tests do to it.
type driver struct {
	*testing.T
	*Runtime
	fixture *fixture
}

// drive opens a runtime, and ends all that it ran after the test.
func drive(t *testing.T, f *fixture) *driver {
	t.Helper()
	r, err := f.Open(t)
	if err != nil {
		t.Fatalf("opening the runtime: %v", err)
	}
	d := &driver{T: t, Runtime: r.(*Runtime), fixture: f}
	t.Cleanup(func() {
		// It may have been closed, crashed or cut off: what it ran goes all the
		// same, when the fixture empties the cluster.
		if err := r.Close(); err != nil {
			t.Errorf("closing the runtime: %v", err)
		}
	})
	return d
}

func (d *driver) attempt(manifest json.RawMessage) runtime.Attempt {
	return runtime.Attempt{
		ID: job.AttemptID{Job: job.NewID(), Attempt: 1}, Incarnation: "first", Namespace: "default", Name: "test", Manifest: manifest,
	}
}

// apply renews the lease for long and applies.
func (d *driver) apply(manifest json.RawMessage) runtime.Attempt {
	d.Helper()
	if err := d.Renew(time.Hour); err != nil {
		d.Fatal(err)
	}
	a := d.attempt(manifest)
	if err := d.Apply(d.Context(), a); err != nil {
		d.Fatalf("applying: %v", err)
	}
	return a
}

// hold applies a program that goes on until it is told.
func (d *driver) hold() runtime.Attempt {
	d.Helper()
	a := d.apply(d.fixture.Manifest(d.T, runtimetest.Program{Hold: true}))
	d.await(a.ID, runtime.PhaseRunning)
	d.fixture.AwaitRunning(d.T, a.ID, 1)
	return a
}

// await waits for a phase, on the runtime's own signal.
func (d *driver) await(id job.AttemptID, phase runtime.Phase) runtime.Observation {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), patience)
	defer cancel()
	for {
		o, held := d.see(id)
		switch {
		case !held:
			d.Fatalf("attempt %v is not listed", id)
		case o.Phase == phase:
			return o
		case o.Phase.Terminal():
			d.Fatalf("attempt %v became %s (%s: %s), want %s", id, o.Phase, o.Reason, o.Message, phase)
		}
		select {
		case <-d.Changed():
		case <-ctx.Done():
			d.Fatalf("waited for %s of %v; it is %+v", phase, id, o)
		}
	}
}

func (d *driver) see(id job.AttemptID) (runtime.Observation, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.held[id]
	if h == nil {
		return runtime.Observation{}, false
	}
	return h.observation, true
}

// object is where an attempt's Job is.
func (d *driver) object(a runtime.Attempt) string { return objectName(a.Name, a.Incarnation, a.ID) }

// edited is a manifest with its pod template changed.
func edited(t *testing.T, manifest json.RawMessage, edit func(spec, template, pod map[string]any)) json.RawMessage {
	t.Helper()
	var tree map[string]any
	if err := json.Unmarshal(manifest, &tree); err != nil {
		t.Fatal(err)
	}
	spec := tree["spec"].(map[string]any)
	template := spec["template"].(map[string]any)
	edit(spec, template, template["spec"].(map[string]any))
	text, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// onGPU is a Job of one simulated pod.
func onGPU(t *testing.T, gpus string, annotations map[string]any) json.RawMessage {
	t.Helper()
	return edited(t, jobOf("exit 0", "1"), func(_, template, pod map[string]any) {
		template["metadata"] = map[string]any{"annotations": annotations}
		pod["tolerations"] = []any{map[string]any{"operator": "Exists"}}
		container := pod["containers"].([]any)[0].(map[string]any)
		container["resources"] = map[string]any{"limits": map[string]any{"nvidia.com/gpu": gpus}}
	})
}

// transport lets a test answer in the API server's place.
type transport struct {
	mu sync.Mutex
	// answer returns nil for what is to reach the API server.
	answer func(*http.Request) *http.Response
	calls  map[string]int
	inner  http.RoundTripper
}

// through makes a fixture's calls pass through a transport.
func (f *fixture) through() *transport {
	t := &transport{calls: map[string]int{}}
	config := rest.CopyConfig(f.options.Config)
	config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
		t.inner = inner
		return t
	})
	f.options.Config = config
	return t
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	kind := r.Method + " " + r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	if r.URL.Query().Get("watch") != "" {
		kind = "WATCH " + r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	}
	t.calls[kind]++
	answer := t.answer
	t.mu.Unlock()
	if answer != nil {
		if response := answer(r); response != nil {
			return response, nil
		}
	}
	return t.inner.RoundTrip(r)
}

func (t *transport) set(answer func(*http.Request) *http.Response) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answer = answer
}

// counts returns how often what was called.
func (t *transport) counts() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.calls)
}
