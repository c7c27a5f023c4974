package queue

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

func TestPlacerGoesByPriorityThenAge(t *testing.T) {
	f := newFixture(t)
	priority := 5
	low := f.submit()
	lower := f.submit()
	high := f.submit(func(s *api.Submission) { s.Priority = &priority })
	r := f.open("east", 1)
	r.request.Capacity = &api.Snapshot{Nodes: []api.NodeShape{{
		Count: 2, Free: capacity.Resources{"cpu": 1000, "pods": 10}, Total: capacity.Resources{"cpu": 1000, "pods": 10}, Architecture: "amd64",
	}}}
	r.mustSync()
	f.step()
	r.mustSync()
	f.wantState(high.ID, job.Claimed)
	f.wantState(low.ID, job.Claimed)
	f.wantState(lower.ID, job.Queued)
}

func TestWhatFitsNowhereHoldsNobodyUp(t *testing.T) {
	f := newFixture(t)
	f.open("east", 2)
	huge := f.submit(func(s *api.Submission) { s.Manifest = manifestOf("huge", "64") })
	small := f.submit()
	f.step()
	f.wantState(huge.ID, job.Queued)
	f.wantState(small.ID, job.Placed)
	explanation, err := f.Explain(t.Context(), huge.ID)
	if err != nil {
		t.Fatal(err)
	}
	if explanation.Decision == nil || len(explanation.Decision.Rejections) != 1 || explanation.Summary == "" {
		t.Errorf("explanation %+v", explanation)
	}
}

// Every submission wakes the Placer: while nothing fits, it is not to look as
// often as they come.
func TestVainRoundsAreSpaced(t *testing.T) {
	f := newFixture(t)
	round := func() outcome {
		t.Helper()
		next, err := f.placer.runOnce(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	if got := round(); got != rested {
		t.Errorf("with nothing waiting, a round ends as %d, want rested", got)
	}
	f.submit()
	if got := round(); got != vain {
		t.Errorf("with no region, a round ends as %d, want vain", got)
	}
	f.open("east", 1)
	if got := round(); got != rested {
		t.Errorf("with everything placed, a round ends as %d, want rested", got)
	}

	f.submit(func(s *api.Submission) { s.Manifest = manifestOf("huge", "64") })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- f.placer.run(ctx) }()
	for deadline := time.Now().Add(time.Minute); f.clock.Waiters() < 2; { // the ticker and the pause
		if time.Now().After(deadline) {
			t.Fatal("the Placer does not pause after a vain round")
		}
		runtime.Gosched()
	}
	f.clock.Step(vainPause)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func (f *fixture) region(name string) capacity.Region {
	f.t.Helper()
	r, err := f.Store.Region(f.t.Context(), name)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func TestNeverFitsFailsWithTheReason(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	huge := f.submit(func(s *api.Submission) { s.Manifest = manifestOf("huge", "64") })
	for passed := time.Duration(0); passed < f.Timing.NeverFitsAfter; passed += 5 * time.Second {
		f.wantState(huge.ID, job.Queued)
		f.pass(5 * time.Second)
		r.mustSync()
	}
	if got := f.wantState(huge.ID, job.Failed); got.Reason != "never-fits" || got.Message == "" {
		t.Errorf("failed with %q: %q", got.Reason, got.Message)
	}
	if why, err := f.Explain(t.Context(), huge.ID); err != nil || why.Decision == nil || len(why.Decision.Rejections) != 1 {
		t.Errorf("explanation %+v, %v", why, err)
	}
}

func TestStarvingJobGetsAReservation(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	small := []job.AttemptID{r.run(f.submit().ID, job.Running), r.run(f.submit().ID, job.Running)}
	report := func(free int64) {
		total := capacity.Resources{"cpu": 4000, "memory": 16 << 30, "pods": 110}
		left := capacity.Resources{"cpu": free, "memory": 16 << 30, "pods": 100}
		r.request.Capacity = &api.Snapshot{Nodes: []api.NodeShape{{Count: 1, Free: left, Total: total, Architecture: "amd64"}}}
		r.mustSync()
	}
	report(2000)
	big := f.submit(func(s *api.Submission) { s.Manifest = manifestOf("big", "4") })
	for passed := time.Duration(0); passed <= f.Placement.ReserveAfter; passed += 5 * time.Second {
		f.pass(5 * time.Second)
		r.mustSync()
	}
	late := f.submit()
	f.step()
	f.wantState(late.ID, job.Queued)
	if why, err := f.Explain(t.Context(), big.ID); err != nil || !why.Decision.Reserved {
		t.Errorf("the big job's explanation %+v, %v", why, err)
	}
	if why, err := f.Explain(t.Context(), late.ID); err != nil || why.Decision.Region != "" || len(why.Decision.Candidates) > 0 {
		t.Errorf("the late job's explanation shows what is kept for another: %+v, %v", why.Decision, err)
	}
	for i, id := range small {
		r.observe(id, "succeeded")
		report(int64(3000 + 1000*i))
		f.step()
	}
	f.wantState(big.ID, job.Placed)
	f.wantState(late.ID, job.Queued)
}

func TestUnclaimedPlacementGoesElsewhere(t *testing.T) {
	f := newFixture(t)
	east := f.open("east", 1)
	j := f.submit()
	f.step()
	f.wantState(j.ID, job.Placed)
	west := f.open("west", 1)
	east.request.MaxStart, west.request.MaxStart = 0, 0
	for range int(f.Timing.Patience/time.Second) + 1 {
		f.pass(time.Second)
		east.mustSync()
		west.mustSync()
	}
	if got := f.wantState(j.ID, job.Placed); got.Region != "west" {
		t.Errorf("still placed in %s", got.Region)
	}
}

// TestUnclaimedPlacementDoesNotWander: while no region claims anything, each
// move is an event for nothing.
func TestUnclaimedPlacementDoesNotWander(t *testing.T) {
	f := newFixture(t)
	east, west := f.open("east", 1), f.open("west", 1)
	east.request.MaxStart, west.request.MaxStart = 0, 0
	j := f.submit()
	const long = time.Hour
	for range int(long / time.Second) {
		f.pass(time.Second)
		east.mustSync()
		west.mustSync()
	}
	most := int64(long/(wanderersPatience*f.Timing.Patience)) + 3
	if got := f.wantState(j.ID, job.Placed); got.Version > most {
		t.Errorf("%d transitions in %s, want at most %d", got.Version, long, most)
	}
}

// TestPlacementThatFitsNoLongerIsTakenBack: what it was promised would be kept
// for it for ever.
func TestPlacementThatFitsNoLongerIsTakenBack(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	r.request.MaxStart = 0
	stale := f.submit(func(s *api.Submission) {
		s.Manifest = bytes.Replace(manifestOf("two", "2"), []byte(`"spec":{`), []byte(`"spec":{"parallelism":2,"completions":2,`), 1)
	})
	f.step()
	f.wantState(stale.ID, job.Placed)
	less := capacity.Resources{"cpu": 2000, "memory": 16 << 30, "pods": 110}
	r.request.Capacity = &api.Snapshot{Nodes: []api.NodeShape{{Count: 1, Free: less, Total: less, Architecture: "amd64"}}}
	r.request.MaxStart = 10
	r.mustSync()
	small := f.submit(func(s *api.Submission) { s.Manifest = manifestOf("small", "2") })
	for range int(f.Timing.Patience/time.Second) + 2 {
		f.pass(time.Second)
		r.mustSync()
	}
	f.wantState(small.ID, job.Claimed)
	for range int(f.Timing.NeverFitsAfter / time.Second) {
		f.pass(time.Second)
		r.mustSync()
	}
	f.wantState(stale.ID, job.Failed)
}

func TestLostRegionIsRecoveredAtItsPace(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Timing.RecoveryRate = 2 })
	r := f.open("east", 2)
	priority := 9
	var jobs []job.Job
	for i := range 6 {
		jobs = append(jobs, f.submit(func(s *api.Submission) {
			if i == 5 {
				s.Priority = &priority
			}
		}))
		r.run(jobs[i].ID, job.Running)
	}
	f.step() // The rescuer sees the last renewal now.
	silent := f.Timing.Takeover - time.Second
	f.pass(silent)
	if lease := f.region("east").Lease; lease != capacity.LeaseLive {
		t.Fatalf("lease %s after %s", lease, silent)
	}
	f.pass(time.Second)
	if lease := f.region("east").Lease; lease != capacity.LeaseLost {
		t.Fatalf("lease %s after the take-over", lease)
	}
	f.wantState(jobs[5].ID, job.Queued)
	for recovered := 2; recovered < 6; recovered += 2 {
		if got := f.count(jobs, job.Queued); got != recovered {
			t.Errorf("%d jobs recovered, want %d", got, recovered)
		}
		f.pass(time.Second)
	}
	if got := f.count(jobs, job.Queued); got != 6 {
		t.Errorf("%d jobs recovered in the end", got)
	}
	if err := r.sync(); err == nil {
		t.Error("the lost region's session goes on")
	}
}

func (f *fixture) count(jobs []job.Job, state job.State) int {
	n := 0
	for _, j := range jobs {
		if f.job(j.ID).State == state {
			n++
		}
	}
	return n
}

func TestOnRegionLost(t *testing.T) {
	for policy, want := range map[string]job.State{"requeue": job.Queued, "fail": job.Failed, "wait": job.Running} {
		t.Run(policy, func(t *testing.T) {
			f := newFixture(t)
			r := f.open("east", 1)
			j := f.submit(func(s *api.Submission) {
				s.OnRegionLost = policy
				if policy == "wait" {
					s.OnRegionLostLimit = "1m"
				}
			})
			attempt := r.run(j.ID, job.Running)
			f.pass(f.Timing.Takeover + time.Second)
			f.wantState(j.ID, want)
			if policy != "wait" {
				return
			}
			r.reopen(attempt)
			if got := f.wantState(j.ID, job.Running); !got.RegionLostAt.IsZero() {
				t.Error("the job still waits for its region, which is back")
			}
			f.pass(f.Timing.Takeover + 62*time.Second)
			if got := f.wantState(j.ID, job.Failed); got.Reason != "region-lost" {
				t.Errorf("failed with %q", got.Reason)
			}
		})
	}
}

func TestPlacedJobsLeaveALostRegionAtOnce(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	r.request.MaxStart = 0
	j := f.submit()
	f.step()
	f.wantState(j.ID, job.Placed)
	f.pass(f.Timing.Takeover + time.Second)
	f.wantState(j.ID, job.Queued)
}

func TestDrainMovesWhatMayMove(t *testing.T) {
	f := newFixture(t)
	east := f.open("east", 1)
	moving := f.submit()
	attempt := east.run(moving.ID, job.Running)
	staying := f.submit(func(s *api.Submission) { s.OnRegionLost = "fail" })
	east.run(staying.ID, job.Running)
	f.open("west", 1)
	if _, err := f.Drain(t.Context(), "east"); err != nil {
		t.Fatal(err)
	}
	f.step()
	answer := east.mustSync()
	if len(answer.Stop) != 1 || attemptID(answer.Stop[0].AttemptRef) != attempt || answer.Stop[0].Reason != "move" {
		t.Fatalf("the answer stops %+v, want %v to move", answer.Stop, attempt)
	}
	east.observe(attempt, "stopped")
	f.step()
	if got := f.wantState(moving.ID, job.Placed); got.Region != "west" || got.Moves != 1 {
		t.Errorf("placed in %s after %d moves", got.Region, got.Moves)
	}
	f.wantState(staying.ID, job.Running)
}

func TestDeadlineEndsAJobInEveryState(t *testing.T) {
	for _, state := range []job.State{job.Queued, job.Placed, job.Running} {
		t.Run(string(state), func(t *testing.T) {
			f := newFixture(t)
			r := f.open("east", 1)
			r.request.MaxStart = 10
			j := f.submit(func(s *api.Submission) {
				s.Deadline = "5s"
				if state == job.Queued {
					s.Placement = &api.Placement{Regions: []string{"nowhere"}}
				}
			})
			attempt := r.run(j.ID, state)
			f.pass(6 * time.Second)
			if state.Active() {
				if stops := r.mustSync().Stop; len(stops) != 1 || stops[0].Reason != "deadline" {
					t.Fatalf("the answer stops %+v", stops)
				}
				r.observe(attempt, "stopped")
			}
			if got := f.wantState(j.ID, job.Failed); got.Reason != "deadline" {
				t.Errorf("failed with %q: %q", got.Reason, got.Message)
			}
		})
	}
}

func TestManyDeadlinesEndAtOnce(t *testing.T) {
	f := newFixture(t)
	jobs := f.submitMany(rescuePage+1, func(s *api.Submission) { s.Deadline = "5s" })
	f.clock.Step(6 * time.Second)
	f.step()
	if failed := f.count(jobs, job.Failed); failed != len(jobs) {
		t.Errorf("%d of %d jobs failed at their deadline", failed, len(jobs))
	}
}

func TestFailureIsRetriedAfterAPause(t *testing.T) {
	f := newFixture(t)
	retries := 1
	r := f.open("east", 1)
	j := f.submit(func(s *api.Submission) { s.Retries = &retries })
	f.step()
	r.mustSync()
	r.observe(r.started(), "failed")
	if got := f.wantState(j.ID, job.Queued); got.Failures != 1 || got.NotBefore.IsZero() {
		t.Errorf("%d failures, not before %v", got.Failures, got.NotBefore)
	}
	f.step()
	f.wantState(j.ID, job.Queued)
	f.pass(6 * time.Second)
	r.mustSync()
	second := r.started()
	if second.Attempt != 2 {
		t.Errorf("attempt %d, want 2", second.Attempt)
	}
	r.observe(second, "failed")
	f.wantState(j.ID, job.Failed)
}

// TestRegionThatGivesEverythingBack does so at once, each time: that must not
// fail a job in a moment.
func TestRegionThatGivesEverythingBack(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	j := f.submit()
	began := f.clock.Now()
	for f.job(j.ID).State != job.Failed {
		f.pass(200 * time.Millisecond)
		if len(r.mustSync().Start) > 0 {
			r.observe(r.started(), "released")
		}
	}
	if lasted := f.clock.Since(began); lasted < 2*time.Minute {
		t.Errorf("failed after %s", lasted)
	}
}

// TestExpectedStartIsNeverInThePast: what has not finished anything for hours
// tells nothing.
func TestExpectedStartIsNeverInThePast(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	r.run(f.submit().ID, job.Succeeded)
	r.request.Capacity = nodesOf(1)
	r.request.Capacity.Nodes[0].Free = capacity.Resources{}
	r.mustSync()
	j := f.submit()
	for range 10 {
		explanation, err := f.Explain(t.Context(), j.ID)
		if err != nil {
			t.Fatal(err)
		}
		if at := explanation.ExpectedStart; at != nil && (at.Before(f.clock.Now()) || at.Sub(f.clock.Now()) > longestForecast) {
			t.Fatalf("at %s the job is expected to start at %s", f.clock.Now(), at)
		}
		f.clock.Step(2 * time.Hour)
		r.mustSync()
	}
}

// TestLogsGoBeforeTheirRecord: without the record, nobody would ever look for
// them again.
func TestLogsGoBeforeTheirRecord(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	deleted, pruned := f.submit(), f.submit(func(s *api.Submission) { s.TTLAfterFinished = "1s" })
	f.step()
	r.mustSync()
	for _, s := range r.response.Start {
		r.request.Observations = append(r.request.Observations, api.Observation{AttemptRef: s.AttemptRef, Phase: "succeeded"})
	}
	r.mustSync()
	var removed []job.ID
	f.Pruned = func(ctx context.Context, ids []job.ID) {
		for _, id := range ids {
			if _, err := f.Store.Job(ctx, id); err != nil {
				t.Errorf("the logs of %s are removed after its record: %v", id, err)
			}
		}
		removed = append(removed, ids...)
	}
	if err := f.Delete(t.Context(), deleted.ID); err != nil {
		t.Fatal(err)
	}
	f.pass(2 * time.Second)
	if want := []job.ID{deleted.ID, pruned.ID}; !slices.Equal(removed, want) {
		t.Errorf("removed the logs of %v, want %v", removed, want)
	}
}

func TestPrunerRemovesWhatHasHadItsTime(t *testing.T) {
	var pruned []job.ID
	f := newFixture(t)
	f.Pruned = func(_ context.Context, ids []job.ID) { pruned = append(pruned, ids...) }
	r := f.open("east", 1)
	j := f.submit(func(s *api.Submission) { s.TTLAfterFinished = "1h" })
	r.run(j.ID, job.Succeeded)
	f.clock.Step(59 * time.Minute)
	f.step()
	f.wantState(j.ID, job.Succeeded)
	f.clock.Step(2 * time.Minute)
	f.step()
	if _, err := f.Store.Job(t.Context(), j.ID); err == nil || len(pruned) != 1 {
		t.Errorf("job is still there (%v), %d pruned", err, len(pruned))
	}
}

// TestPrunerWaitsForWebhooks keeps a job until its events have been dispatched
// to who listens.
func TestPrunerWaitsForWebhooks(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	if _, err := f.Store.CreateWebhook(ctx, store.Webhook{ID: "w", URL: "https://example.com/"}, 1); err != nil {
		t.Fatal(err)
	}
	r := f.open("east", 1)
	j := f.submit(func(s *api.Submission) { s.TTLAfterFinished = "1h" })
	r.run(j.ID, job.Succeeded)
	f.clock.Step(2 * time.Hour)
	f.step()
	f.wantState(j.ID, job.Succeeded)
	if err := f.Delete(ctx, j.ID); !errors.Is(err, store.ErrUndispatched) {
		t.Errorf("deleting it by hand: %v", err)
	}
	last, err := f.Store.LastEvent(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Store.Dispatch(ctx, 0, last, nil); err != nil {
		t.Fatal(err)
	}
	f.step()
	if _, err := f.Store.Job(ctx, j.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestOnlyOneLeader(t *testing.T) {
	first := newFixture(t, func(o *Options) { o.Holder = "first" })
	second := newFixtureOn(t, first.Store, first.clock, func(o *Options) { o.Holder = "second" })
	if !first.Leading() || second.Leading() {
		t.Fatalf("leading: first %t, second %t", first.Leading(), second.Leading())
	}
	for range 30 {
		first.pass(time.Second)
		second.step()
		if !first.Leading() || second.Leading() {
			t.Fatal("leadership moved while the leader lives")
		}
	}
	// The first one dies. It stops to trust itself before the second leads.
	for range int(first.Timing.Lease / time.Second) {
		if first.Leading() && second.Leading() {
			t.Fatal("two leaders")
		}
		second.pass(time.Second)
	}
	if first.Leading() || !second.Leading() {
		t.Errorf("after a lease: first %t, second %t", first.Leading(), second.Leading())
	}
}

func TestNewLeaderWaitsATakeoverBeforeItExpiresAnyone(t *testing.T) {
	first := newFixture(t)
	first.open("east", 1)
	first.clock.Step(time.Hour)
	second := newFixtureOn(t, first.Store, first.clock)
	second.pass(second.Timing.Takeover - time.Second)
	if lease := second.region("east").Lease; lease != capacity.LeaseLive {
		t.Errorf("lease %s before the take-over", lease)
	}
	second.pass(2 * time.Second)
	if lease := second.region("east").Lease; lease != capacity.LeaseLost {
		t.Errorf("lease %s after the take-over", lease)
	}
}

func TestExplanationPromisesNoStartWhereRoomIsNotWhatIsMissing(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	r.run(f.submit().ID, job.Succeeded)
	lost := f.submit(func(s *api.Submission) { s.Placement = &api.Placement{Regions: []string{"eats"}} })
	why, err := f.Explain(t.Context(), lost.ID)
	if err != nil {
		t.Fatal(err)
	}
	if why.ExpectedStart != nil || !strings.Contains(why.Summary, "eats") {
		t.Errorf("explanation %+v", why)
	}
}
