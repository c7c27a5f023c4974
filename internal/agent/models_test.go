package agent

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/model/cache"
	"github.com/gco-project/gco/internal/runtime"
)

// fakeModels has what it is told to.
type fakeModels struct {
	mu       sync.Mutex
	here     []string
	err      error
	ahead    []string
	asked    int
	changed  chan struct{}
	asking   chan struct{}
	askedOne sync.Once
}

func newFakeModels() *fakeModels {
	return &fakeModels{err: cache.ErrFetching, changed: make(chan struct{}, 1), asking: make(chan struct{})}
}

func (f *fakeModels) Path(ref string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	f.askedOne.Do(func() { close(f.asking) })
	if slices.Contains(f.here, ref) {
		return "/models/" + ref, nil
	}
	return "", f.err
}

func (f *fakeModels) Prefetch(refs []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ahead = append(f.ahead, refs...)
}

func (f *fakeModels) Present() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.here)
}

func (f *fakeModels) Known() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Concat(f.here, f.ahead)
}

func (f *fakeModels) Changed() <-chan struct{} { return f.changed }

// set changes what is here, and signals it.
func (f *fakeModels) set(err error, here ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.here, f.err = here, err
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func withStart(model string) api.SyncResponse {
	return with(func(r *api.SyncResponse) {
		r.Start = []api.Start{{AttemptRef: ref(one), Manifest: []byte(`{}`), Model: model}}
	})
}

// until answers calls, with what is still to be started, until one is as wanted.
func (b *bench) until(answer api.SyncResponse, wanted func(api.SyncRequest) bool) exchange {
	b.t.Helper()
	for range 1000 {
		e := b.next()
		if wanted(e.request) {
			return e
		}
		if slices.Contains(e.request.Known, ref(one)) && e.request.WaitSeconds > 0 {
			// Held back: the rest of the attempt goes by.
			b.clock.Step(retryPause)
			e.answer(good, nil)
			continue
		}
		e.answer(answer, nil)
	}
	b.t.Fatal("no call is as wanted")
	return exchange{}
}

func TestAnAttemptWaitsForItsModel(t *testing.T) {
	models := newFakeModels()
	b := start(t, func(o *Options) { o.Models = models })
	b.open().answer(withStart("llama@1"), nil)
	<-models.asking
	b.until(withStart("llama@1"), func(r api.SyncRequest) bool { return slices.Contains(r.Known, ref(one)) }).answer(good, nil)
	if calls := b.runtime.seen(); slices.Contains(calls, "apply j1.1") {
		t.Fatal("applied without its model")
	}
	models.set(nil, "llama@1")
	b.until(withStart("llama@1"), func(r api.SyncRequest) bool {
		return r.Capacity != nil && slices.Equal(r.Capacity.Models, []string{"llama@1"}) && slices.Contains(r.Models, "llama@1")
	}).answer(withStart("llama@1"), nil)
	b.until(withStart("llama@1"), func(r api.SyncRequest) bool { return len(r.Observations) > 0 }).answer(good, nil)
	if got := b.runtime.model(); got != "/models/llama@1" {
		t.Errorf("applied with the model in %q", got)
	}
}

func TestAnAttemptWhoseModelDoesNotCome(t *testing.T) {
	for _, test := range []struct {
		name   string
		err    error
		models bool
		want   runtime.Phase
	}{
		{"no such version", cache.ErrGone, true, runtime.PhaseFailed},
		{"a disk that is full", errors.New("no space left"), true, runtime.PhaseReleased},
		{"a region without models", nil, false, runtime.PhaseReleased},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := start(t, func(o *Options) {
				if test.models {
					models := newFakeModels()
					models.err = test.err
					o.Models = models
				}
			})
			b.open().answer(withStart("llama@1"), nil)
			e := b.until(good, func(r api.SyncRequest) bool { return len(r.Observations) > 0 })
			o := e.request.Observations[0]
			e.answer(good, nil)
			if o.Phase != string(test.want) || o.Reason != reasonModel || o.Message == "" {
				t.Errorf("reported %+v", o)
			}
			if calls := b.runtime.seen(); slices.Contains(calls, "apply j1.1") {
				t.Error("applied without its model")
			}
		})
	}
}

func TestModelsAreFetchedAhead(t *testing.T) {
	models := newFakeModels()
	b := start(t, func(o *Options) { o.Models = models })
	b.open().answer(with(func(r *api.SyncResponse) { r.Models = []string{"llama@2"} }), nil)
	e := b.until(good, func(r api.SyncRequest) bool { return slices.Contains(r.Models, "llama@2") })
	e.answer(good, nil)
}
