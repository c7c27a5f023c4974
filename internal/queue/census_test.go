package queue

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// restored gives the fixture's data a history of their own and a queue that
// knows nothing of the one before.
func (f *fixture) restored() *fixture {
	f.t.Helper()
	if _, err := f.Store.Reincarnate(f.t.Context(), f.clock.Now()); err != nil {
		f.t.Fatal(err)
	}
	return newFixtureOn(f.t, f.Store, f.clock)
}

// only lets a job run in one region.
func only(region string) func(*api.Submission) {
	return func(s *api.Submission) { s.Placement = &api.Placement{Regions: []string{region}} }
}

// again is the same agent, which talks to another queue now.
func (r *remote) again(f *fixture) *remote {
	return &remote{f: f, region: r.region, request: r.request}
}

func TestNothingStartsUntilEveryRegionIsHeardAfterARestore(t *testing.T) {
	f := newFixture(t)
	east, west := f.open("east", 1), f.open("west", 1)
	running := east.run(f.submit(only("east")).ID, job.Running)
	claimed := east.run(f.submit(only("east")).ID, job.Claimed)
	waiting := f.submit()

	f = f.restored()
	east, west = east.again(f), west.again(f)
	if err := east.sync(); !errors.Is(err, store.ErrStaleSession) {
		t.Fatalf("a Sync of the session of before: %v", err)
	}
	// East comes back: nothing of before is adopted, and nothing is started,
	// for west may run anything.
	if answer := east.reopen(); len(answer.Start) > 0 {
		t.Errorf("east is told to start %+v", answer.Start)
	}
	if lost := f.wantState(running.Job, job.Queued); lost.Losses != 1 {
		t.Errorf("%d losses, want 1", lost.Losses)
	}
	// However long west is away, it is not given up by itself.
	for range 3 * f.Timing.Takeover / time.Second {
		f.pass(time.Second)
		east.mustSync()
	}
	f.wantState(waiting.ID, job.Queued)
	f.wantState(claimed.Job, job.Claimed)
	why, err := f.Explain(t.Context(), waiting.ID)
	if err != nil || !strings.Contains(why.Summary, "west") || strings.Contains(why.Summary, "east") {
		t.Errorf("the job waits because %q (%v)", why.Summary, err)
	}

	west.reopen()
	f.step()
	for _, id := range []job.ID{running.Job, waiting.ID} {
		f.wantState(id, job.Placed)
	}
	if answer := east.mustSync(); len(answer.Start) == 0 {
		t.Error("east is told to start nothing")
	}
}

func TestWriteOffGivesUpARegionThatDoesNotComeBack(t *testing.T) {
	f := newFixture(t)
	east, west := f.open("east", 1), f.open("west", 1)
	held := west.run(f.submit(only("west")).ID, job.Running)
	waiting := f.submit()
	if _, err := f.WriteOff(t.Context(), "west"); !errors.Is(err, store.ErrConflict) {
		t.Errorf("writing off a region that is there: %v", err)
	}

	f = f.restored()
	east = east.again(f)
	east.reopen()
	f.pass(time.Minute)
	f.wantState(waiting.ID, job.Queued)
	f.wantState(held.Job, job.Running)
	if _, err := f.WriteOff(t.Context(), "west"); err != nil {
		t.Fatal(err)
	}
	f.pass(2 * time.Second)
	f.wantState(held.Job, job.Queued)
	east = east.again(f)
	east.reopen()
	f.step()
	f.wantState(waiting.ID, job.Placed)
}
