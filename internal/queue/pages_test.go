package queue

import (
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
)

// runMany brings many jobs to run in a region.
func (f *fixture) runMany(r *remote, n int, change ...func(*api.Submission)) []job.AttemptID {
	f.t.Helper()
	r.request.Capacity, r.request.MaxStart = nodesOf(n), n
	r.mustSync()
	for range n {
		f.submit(change...)
	}
	var attempts []job.AttemptID
	for len(attempts) < n {
		f.step()
		r.mustSync()
		if len(r.response.Start) == 0 {
			f.t.Fatalf("only %d of %d jobs started", len(attempts), n)
		}
		for _, s := range r.response.Start {
			attempts = append(attempts, attemptID(s.AttemptRef))
			r.request.Observations = append(r.request.Observations, api.Observation{AttemptRef: s.AttemptRef, Phase: "running"})
		}
		r.request.Capacity = nodesOf(n - len(attempts))
	}
	r.mustSync()
	return attempts
}

// TestSlowStopsHideNoOthers has as many attempts stopping as one answer
// lists.
func TestSlowStopsHideNoOthers(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	attempts := f.runMany(r, maxStops+1)
	for _, id := range attempts {
		if _, err := f.Cancel(t.Context(), id.Job); err != nil {
			t.Fatal(err)
		}
	}
	known := map[job.AttemptID]bool{}
	for _, s := range r.mustSync().Stop {
		known[attemptID(s.AttemptRef)] = true
		r.request.Known = append(r.request.Known, s.AttemptRef)
	}
	if len(known) != maxStops {
		t.Fatalf("the first answer stops %d", len(known))
	}
	if stops := r.mustSync().Stop; len(stops) != 1 || known[attemptID(stops[0].AttemptRef)] {
		t.Errorf("the next answer stops %d others", len(stops))
	}
}
