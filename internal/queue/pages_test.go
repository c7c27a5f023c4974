package queue

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

// submitMany submits many like jobs in one batch.
func (f *fixture) submitMany(n int, change ...func(*api.Submission)) []job.Job {
	f.t.Helper()
	request := api.Submission{Manifest: manifestOf("work", "1")}
	for _, c := range change {
		c(&request)
	}
	submissions := slices.Repeat([]Submission{{Identity: "ann", Request: request}}, n)
	jobs := make([]job.Job, n)
	for i, result := range f.Submit(f.t.Context(), submissions) {
		if result.Err != nil {
			f.t.Fatal(result.Err)
		}
		jobs[i] = result.Job
	}
	return jobs
}

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

// TestHopelessClassesHideNoOthers has more classes that fit nowhere than a
// round of the Placer looks at first.
func TestHopelessClassesHideNoOthers(t *testing.T) {
	f := newFixture(t)
	f.placer.classes = 2
	f.open("east", 1)
	for i := range 5 {
		f.submit(func(s *api.Submission) { s.Manifest = manifestOf("huge", fmt.Sprintf("%d", 5+i)) })
	}
	small := f.submit()
	f.step()
	f.pass(time.Second)
	f.wantState(small.ID, job.Placed)
}

// TestOrderHoldsAcrossPages places in the one order, however few classes and
// jobs are read at a time.
func TestOrderHoldsAcrossPages(t *testing.T) {
	f := newFixture(t)
	f.placer.classes = 1
	r := f.open("east", 0)
	var want []job.ID
	for priority := 3; priority > 0; priority-- {
		for class := range 4 {
			want = append(want, f.submit(func(s *api.Submission) {
				s.Priority, s.Manifest = &priority, manifestOf("work", fmt.Sprintf("%dm", 500+class))
			}).ID)
		}
	}
	// Room for some, and more room for some more.
	for cores := 1; cores <= 3; cores++ {
		f.pass(time.Second)
		free := capacity.Resources{"cpu": int64(1030 * cores), "memory": 16 << 30, "pods": 100}
		r.request.Capacity = &api.Snapshot{Nodes: []api.NodeShape{{Count: 1, Free: free, Total: free, Architecture: "amd64"}}}
		r.request.MaxStart = 0
		r.mustSync()
		f.pass(time.Second)
		for i, id := range want {
			state := job.Queued
			if i < 2*cores {
				state = job.Placed
			}
			f.wantState(id, state)
		}
	}
}

// TestStuckPlacementsHideNoOthers has more unclaimed placements that cannot
// go elsewhere than a round looks at.
func TestStuckPlacementsHideNoOthers(t *testing.T) {
	f := newFixture(t)
	f.placer.unclaimed = 2
	east := f.open("east", 3)
	for range 5 {
		f.submit(func(s *api.Submission) { s.Placement = &api.Placement{Regions: []string{"east"}} })
	}
	f.step()
	f.clock.Step(time.Millisecond)
	free := f.submit()
	f.step()
	west := f.open("west", 1)
	east.request.MaxStart, west.request.MaxStart = 0, 0
	for range int(f.Timing.Patience/time.Second) + 4 {
		f.pass(time.Second)
		east.mustSync()
		west.mustSync()
	}
	if got := f.wantState(free.ID, job.Placed); got.Region != "west" || got.Reason != reasonUnclaimed {
		t.Errorf("placed in %s (%s)", got.Region, got.Reason)
	}
}
