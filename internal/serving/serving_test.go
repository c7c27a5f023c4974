package serving

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/store"
)

func TestEndpointLives(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	w.create("chat", nil)
	w.eventually("chat", endpoint.StateReady, "a:1x2 b:1x2")
	for _, r := range w.regions {
		r.mu.Lock()
		r.least = r.ready()
		r.mu.Unlock()
	}
	w.update("chat", func(s *endpoint.Spec) { s.Image = "echo:2" })
	w.eventually("chat", endpoint.StateReady, "a:2x2 b:2x2")
	for name, r := range w.regions {
		r.mu.Lock()
		if name != "c" && r.least < 2 {
			t.Errorf("%d replicas were ready in %s during the update", r.least, name)
		}
		if name != "c" && (len(r.routes) != 1 || len(r.routes[0].Shares) != 1 || len(r.routes[0].Shares[0].Backends) != 2) {
			t.Errorf("the routes of %s are %+v", name, r.routes)
		}
		r.mu.Unlock()
	}
	// What makes no revision converges, too.
	w.update("chat", func(s *endpoint.Spec) { s.Limits.Concurrent = 7 })
	w.until(func() bool {
		r := w.regions["a"]
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.routes) == 1 && r.routes[0].Limits.Concurrent == 7
	}, func() string { return "the gateway was not told of the limit" })
	edit := func(change func(*endpoint.Endpoint, time.Time) (endpoint.Endpoint, error)) {
		t.Helper()
		if _, err := w.serving.Edit(t.Context(), "chat", 0, change); err != nil {
			t.Fatal(err)
		}
	}
	edit(func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) { return e.Scale(3, "x", now) })
	w.eventually("chat", endpoint.StateReady, "a:2x2 b:2x1")
	edit(func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) {
		return e.SetStopped(true, "x", now)
	})
	w.eventually("chat", endpoint.StateStopped, "")
	edit(func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) {
		return e.SetStopped(false, "x", now)
	})
	w.eventually("chat", endpoint.StateReady, "a:2x2 b:2x1")
	edit(func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) { return e.Delete("x", now) })
	w.until(func() bool {
		_, err := w.store.Endpoint(t.Context(), "chat")
		return errors.Is(err, store.ErrNotFound)
	}, func() string { return "the endpoint is still there" })
	w.create("chat", nil)
	w.eventually("chat", endpoint.StateReady, "a:1x2 b:1x2")
}

func TestRollsBack(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.create("chat", func(s *endpoint.Spec) { s.ReadyTimeout = time.Second })
	w.eventually("chat", endpoint.StateReady, "a:1x2 b:1x2")
	for _, r := range w.regions {
		r.mu.Lock()
		r.never[2] = true
		r.mu.Unlock()
	}
	w.update("chat", func(s *endpoint.Spec) { s.Image = "echo:2" })
	w.until(func() bool { e := w.standing("chat").Endpoint; return e.Version >= 3 }, func() string { return "nothing was rolled back" })
	back := w.eventually("chat", endpoint.StateReady, "a:1x2 b:1x2").Endpoint
	failed, _ := back.Find(2)
	if back.Revision != 1 || back.UpdatedBy != system || !strings.Contains(failed.Failure, "not ready within 1s") {
		t.Errorf("revision %d by %s, failure %q", back.Revision, back.UpdatedBy, failed.Failure)
	}
}

// TestRegionLost takes a region away: its replicas start elsewhere, and move
// back where it comes back with what it had.
func TestRegionLost(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	w.create("chat", nil)
	w.create("any", func(s *endpoint.Spec) { s.Regions, s.Replicas = endpoint.Regions{Count: 3}, 3 })
	w.eventually("chat", endpoint.StateReady, "a:1x2 b:1x2")
	w.eventually("any", endpoint.StateReady, "a:1x1 b:1x1 c:1x1")
	a := w.regions["a"]
	a.kill(false)
	w.eventually("chat", endpoint.StateReady, "b:1x4")
	a.boot()
	w.eventually("chat", endpoint.StateReady, "a:1x2 b:1x2")
	a.kill(true)
	w.eventually("chat", endpoint.StateReady, "b:1x4")
	a.boot()
	w.up("a")
	w.create("later", nil)
	w.eventually("later", endpoint.StateReady, "a:1x2 b:1x2")
	w.eventually("chat", endpoint.StateReady, "b:1x4")
}

// TestNeverFenced cuts an agent off: its endpoints run on, and it goes by the
// same targets when it is back.
func TestNeverFenced(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.create("chat", nil)
	w.eventually("chat", endpoint.StateReady, "a:1x2 b:1x2")
	a := w.regions["a"]
	a.cut.Store(true)
	w.eventually("chat", endpoint.StateReady, "b:1x4")
	a.mu.Lock()
	if a.ready() != 2 {
		t.Errorf("%d replicas are left in the region that was cut off", a.ready())
	}
	a.mu.Unlock()
	a.cut.Store(false)
	w.eventually("chat", endpoint.StateReady, "a:1x2 b:1x2")
}

func TestFullRegion(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.regions["a"].room = 1
	w.create("chat", nil)
	s := w.eventually("chat", endpoint.StateReady, "a:1x1 b:1x3")
	if _, full := s.Plan.Full["a"]; !full {
		t.Errorf("the plan is %+v", s.Plan)
	}
}

// TestEditsRace makes edits at once: those that name a version lose but for
// one, the others all count.
func TestEditsRace(t *testing.T) {
	w := newWorld(t)
	w.create("chat", nil)
	const editors = 8
	race := func(version int64) (won int) {
		errs := make([]error, editors)
		var group sync.WaitGroup
		for i := range editors {
			group.Go(func() {
				_, errs[i] = w.serving.Edit(t.Context(), "chat", version, func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) {
					return e.Scale(e.Spec.Replicas+1, "x", now)
				})
			})
		}
		group.Wait()
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, store.ErrConflict):
				t.Error(err)
			}
		}
		return won
	}
	if won := race(1); won != 1 {
		t.Errorf("%d edits of one version were taken", won)
	}
	won := race(0)
	if e := w.standing("chat").Endpoint; won == 0 || e.Spec.Replicas != 5+won {
		t.Errorf("%d edits made %d replicas", won, e.Spec.Replicas)
	}
}

// TestIdleWritesNothing has many endpoints do nothing for many rounds.
func TestIdleWritesNothing(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	const endpoints = 20
	for i := range endpoints {
		w.create(fmt.Sprintf("e%02d", i), func(s *endpoint.Spec) { s.Regions = endpoint.Regions{Count: 2} })
	}
	for i := range endpoints {
		w.until(func() bool { return w.standing(fmt.Sprintf("e%02d", i)).State == endpoint.StateReady }, func() string { return "not ready" })
	}
	w.regions["a"].stop()
	w.regions["a"].boot()
	renewals := func() (sum int64) {
		regions, err := w.store.Regions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range regions {
			sum += r.Renewals
		}
		return sum
	}
	// A new session says everything once; then there is nothing to say.
	settled := renewals() + 9
	w.until(func() bool { return renewals() >= settled }, func() string { return "the agents are silent" })
	before := w.store.writes.Load()
	end := renewals() + 30
	w.until(func() bool { return renewals() >= end }, func() string { return "the agents are silent" })
	for range 5 {
		w.serving.Look()
	}
	if after := w.store.writes.Load(); after != before {
		t.Errorf("%d writes while nothing happened", after-before)
	}
}
