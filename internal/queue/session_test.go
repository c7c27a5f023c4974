package queue

import (
	"errors"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

func TestOneLiveClusterARegion(t *testing.T) {
	f := newFixture(t)
	f.open("east", 1)
	other := &remote{f: f, region: "east", request: api.SyncRequest{Cluster: "another"}}
	if err := other.sync(); !errors.Is(err, store.ErrOtherCluster) {
		t.Fatalf("another cluster beside a live one: %v", err)
	}
	f.pass(f.Timing.Takeover + time.Second)
	other.request = api.SyncRequest{Cluster: "another"}
	if err := other.sync(); err != nil {
		t.Errorf("another cluster after the region was lost: %v", err)
	}
}

func TestNewSessionEndsTheOldOne(t *testing.T) {
	f := newFixture(t)
	old := f.open("east", 1)
	j := f.submit()
	attempt := old.run(j.ID, job.Running)
	fresh := &remote{f: f, region: "east", request: api.SyncRequest{Cluster: "cluster-of-east"}}
	fresh.mustSync()
	if fresh.response.Epoch != old.response.Epoch+1 || !fresh.response.InventoryWanted {
		t.Errorf("the second session: %+v, the first had epoch %d", fresh.response, old.response.Epoch)
	}
	old.request.Observations = []api.Observation{{AttemptRef: ref(attempt), Phase: "failed"}}
	if err := old.sync(); !errors.Is(err, store.ErrStaleSession) {
		t.Fatalf("a report of the old session: %v", err)
	}
	f.wantState(j.ID, job.Running)
}

func TestOldSequenceIsRefused(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	late := r.request
	late.Sequence = 1
	if _, err := f.Sync(t.Context(), "east", late); !errors.Is(err, store.ErrOldSequence) {
		t.Errorf("a request older than the last: %v", err)
	}
}

// reopen starts the agent's next life, which holds the given attempts.
func (r *remote) reopen(held ...job.AttemptID) api.SyncResponse {
	r.f.t.Helper()
	r.request = api.SyncRequest{Cluster: r.request.Cluster}
	r.mustSync()
	page := &api.Inventory{Items: []api.AttemptRef{}, Last: true}
	for _, id := range held {
		page.Items = append(page.Items, ref(id))
		r.request.Observations = append(r.request.Observations, api.Observation{AttemptRef: ref(id), Phase: "running"})
	}
	r.request.Inventory, r.request.MaxStart = page, 10
	return r.mustSync()
}

func TestReadoptedAttemptRunsOn(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	j := f.submit()
	attempt := r.run(j.ID, job.Running)
	if answer := r.reopen(attempt); len(answer.Start)+len(answer.Stop) > 0 {
		t.Errorf("the answer wants more: %+v", answer)
	}
	if got := f.wantState(j.ID, job.Running); got.Attempt != 1 || got.Losses != 0 {
		t.Errorf("attempt %d after %d losses", got.Attempt, got.Losses)
	}
}

func TestAttemptMissingFromTheInventoryIsLost(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	j := f.submit()
	r.run(j.ID, job.Running)
	r.reopen()
	if got := f.wantState(j.ID, job.Queued); got.Losses != 1 {
		t.Errorf("%d losses, want 1", got.Losses)
	}
	f.step()
	if answer := r.mustSync(); len(answer.Start) != 1 || answer.Start[0].Attempt != 2 {
		t.Errorf("the next answer starts %+v, want attempt 2", answer.Start)
	}
}

func TestClaimedAttemptMissingFromTheInventoryIsStarted(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	j := f.submit()
	attempt := r.run(j.ID, job.Claimed)
	if answer := r.reopen(); len(answer.Start) != 1 || attemptID(answer.Start[0].AttemptRef) != attempt {
		t.Errorf("the answer starts %+v, want %v", answer.Start, attempt)
	}
}

func TestUnknownAttemptIsStopped(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	stranger := job.AttemptID{Job: job.NewID(), Attempt: 3}
	answer := r.reopen(stranger)
	if len(answer.Stop) != 1 || attemptID(answer.Stop[0].AttemptRef) != stranger || answer.Stop[0].Reason != "superseded" {
		t.Errorf("the answer stops %+v, want %v", answer.Stop, stranger)
	}
}

func TestInventoryPagesCompareTheirRangeOnly(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 3)
	var attempts []job.AttemptID
	for range 3 {
		attempts = append(attempts, r.run(f.submit().ID, job.Running))
	}
	r.request = api.SyncRequest{Cluster: r.request.Cluster}
	r.mustSync()
	r.request.Inventory = &api.Inventory{Through: string(attempts[1].Job), Items: []api.AttemptRef{ref(attempts[0])}}
	if answer := r.mustSync(); answer.InventoryWanted {
		t.Error("the first page makes the queue ask for the inventory again")
	}
	f.wantState(attempts[0].Job, job.Running)
	f.wantState(attempts[1].Job, job.Queued)
	f.wantState(attempts[2].Job, job.Running)
	if region, _ := f.Store.Region(t.Context(), "east"); region.Inventoried {
		t.Error("half an inventory counts as whole")
	}
	r.request.Inventory = &api.Inventory{After: string(attempts[1].Job), Items: []api.AttemptRef{ref(attempts[2])}, Last: true}
	r.mustSync()
	f.wantState(attempts[2].Job, job.Running)
}

func TestNothingStartsBeforeTheInventory(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	f.submit()
	f.step()
	r.request = api.SyncRequest{Cluster: r.request.Cluster}
	r.mustSync()
	r.request.MaxStart = 10
	if answer := r.mustSync(); len(answer.Start) > 0 || !answer.InventoryWanted {
		t.Errorf("before the inventory the answer is %+v", answer)
	}
}

func TestClaimsLeaveRoomForWhatTheReportDoesNotShow(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	for range 2 {
		f.submit(func(s *api.Submission) { s.Manifest = manifestOf("big", "3") })
	}
	f.step()
	r.mustSync()
	first := r.started()
	// Neither a second answer nor a placement may use the same cores again.
	f.step()
	r.request.Known = []api.AttemptRef{ref(first)}
	if answer := r.mustSync(); len(answer.Start) > 0 {
		t.Errorf("the answer starts %+v beside %v on 4 cores", answer.Start, first)
	}
}

func TestCapacityFailureMovesOnAndBacksOff(t *testing.T) {
	f := newFixture(t)
	east := f.open("east", 1)
	j := f.submit(func(s *api.Submission) { s.Placement = &api.Placement{AvoidRegions: []string{"north"}} })
	attempt := east.run(j.ID, job.Claimed)
	west := f.open("west", 1)
	east.request.Observations = []api.Observation{{
		AttemptRef: ref(attempt), Phase: "released",
		CapacityFailure: &api.CapacityFailure{Resource: "cpu", Kind: "no-capacity", Message: "no instances"},
	}}
	east.mustSync()
	f.step()
	if got := f.wantState(j.ID, job.Placed); got.Region != "west" || got.Releases != 1 || got.Failures != 0 {
		t.Errorf("placed in %s after %d releases and %d failures", got.Region, got.Releases, got.Failures)
	}
	west.mustSync()
	region, err := f.Store.Region(t.Context(), "east")
	if err != nil {
		t.Fatal(err)
	}
	backoff := region.Backoffs["cpu"]
	if backoff.Kind != capacity.NoCapacity || !backoff.Until.Equal(f.clock.Now().Add(firstBackoff)) {
		t.Errorf("back-off %+v", backoff)
	}
}

func TestUnreachableClusterGetsNoWork(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	f.submit()
	f.step()
	r.request.Unreachable = true
	if answer := r.mustSync(); len(answer.Start) > 0 {
		t.Errorf("an agent without its cluster is told to start %+v", answer.Start)
	}
}

func TestWorkLeavesAClusterThatStaysUnreachable(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	j := f.submit()
	attempt := r.run(j.ID, job.Running)
	for range int(f.Timing.Lease/time.Second) + 1 {
		f.wantState(j.ID, job.Running)
		r.request.Unreachable = true
		r.mustSync()
		f.pass(time.Second)
	}
	f.pass(time.Second)
	f.wantState(j.ID, job.Queued)
	// Back again, the agent is told to stop what was given away.
	if answer := r.observe(attempt, "running"); len(answer.Stop) != 1 || answer.Stop[0].Reason != "superseded" {
		t.Errorf("the answer stops %+v", answer.Stop)
	}
}
