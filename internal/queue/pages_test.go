package queue

import (
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
)

// claimed has the region claim some jobs, which it then is busy with.
func (r *remote) claimed(n int) []api.AttemptRef {
	r.f.t.Helper()
	var known []api.AttemptRef
	for range n {
		r.f.submit()
		r.f.step()
		r.request.Known = known
		r.mustSync()
		known = append(known, ref(r.started()))
	}
	return known
}

// TestSlowStopsHideNoOthers has more attempts stopping than one answer lists.
func TestSlowStopsHideNoOthers(t *testing.T) {
	f := newFixture(t)
	f.bounds = answerBounds{starts: 2, stops: 2, page: 2}
	r := f.open("east", 2)
	attempts := r.claimed(5)
	if _, err := f.Drain(t.Context(), "east"); err != nil {
		t.Fatal(err)
	}
	f.step()
	told := map[job.AttemptID]bool{}
	for range 3 {
		stops := r.mustSync().Stop
		for _, s := range stops {
			told[attemptID(s.AttemptRef)] = true
		}
		for id := range told {
			r.request.Known = append(r.request.Known, ref(id))
		}
	}
	if len(told) != len(attempts) {
		t.Errorf("%d of %d attempts were told to stop", len(told), len(attempts))
	}
}

// TestSlowStartsHideNoOthers has more attempts starting than are read at a
// time.
func TestSlowStartsHideNoOthers(t *testing.T) {
	f := newFixture(t)
	f.bounds = answerBounds{starts: 2, stops: 2, page: 2}
	r := f.open("east", 2)
	attempts := r.claimed(5)
	r.request.Known = attempts[:4]
	if starts := r.mustSync().Start; len(starts) != 1 || starts[0].AttemptRef != attempts[4] {
		t.Errorf("the answer starts %+v, want %+v", starts, attempts[4])
	}
}
