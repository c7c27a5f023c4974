package queue

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

// held sends a request that may be held back, and tells whether it is: until
// the clock has moved by the given time.
func (r *remote) held(wait time.Duration) bool {
	r.f.t.Helper()
	r.request.Sequence++
	r.request.WaitSeconds = wait.Seconds()
	done := make(chan error)
	go func() {
		_, err := r.f.Sync(r.f.t.Context(), r.region, r.request)
		done <- err
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				r.f.t.Fatal(err)
			}
			return false
		default:
		}
		if r.f.clock.HasWaiters() {
			r.f.clock.Step(wait)
			if err := <-done; err != nil {
				r.f.t.Fatal(err)
			}
			return true
		}
	}
}

// An agent whose caches fill slowly, or that cannot reach its cluster, has no
// inventory to send; asking again at once would make it call without a pause.
func TestAgentWithoutItsInventoryIsHeldBack(t *testing.T) {
	for _, unreachable := range []bool{false, true} {
		f := newFixture(t)
		r := &remote{f: f, region: "east", request: api.SyncRequest{Cluster: "c"}}
		r.mustSync()
		r.request.Unreachable = unreachable
		if !r.held(f.Timing.LongPoll) {
			t.Errorf("unreachable %t: answered at once", unreachable)
		}
	}
}

func TestAbsurdWaitsAreBounded(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	r.request.WaitSeconds = 1e300
	wait := boundedWait(1e300, f.Timing.LongPoll)
	if wait != f.Timing.LongPoll {
		t.Errorf("a wait of 1e300 s is %s", wait)
	}
	if wait := boundedWait(-1e300, f.Timing.LongPoll); wait > 0 {
		t.Errorf("a wait of -1e300 s is %s", wait)
	}
}

// An agent can send a great many attempts that nobody knows; each is stopped
// once, and that takes no time to speak of.
func TestManyUnknownAttempts(t *testing.T) {
	const many = 50_000
	f := newFixture(t)
	r := f.open("east", 1)
	page := &api.Inventory{Last: true, After: "z", Through: "a"}
	for i := range many {
		page.Items = append(page.Items, api.AttemptRef{JobID: fmt.Sprint(i), Attempt: -i})
	}
	r.request.Inventory = page
	began := time.Now()
	answer := r.mustSync()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	if len(answer.Stop) != many {
		t.Errorf("stops %d of %d", len(answer.Stop), many)
	}
}

func TestAttemptThatTheAgentIsBusyWithIsStoppedToo(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	stranger := job.AttemptID{Job: job.NewID(), Attempt: 1}
	r.request.Known = []api.AttemptRef{ref(stranger)}
	if answer := r.observe(stranger, "applied"); len(answer.Stop) != 1 {
		t.Errorf("the answer stops %+v; the agent will not report %v again", answer.Stop, stranger)
	}
}

// Whatever an agent says of capacity failures, the record of its region stays
// small: it is written with every Sync.
func TestCapacityFailuresStaySmall(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	for i := range 2000 {
		r.request.CapacityFailures = append(r.request.CapacityFailures, api.CapacityFailure{
			Resource: fmt.Sprintf("example.com/%d", i), Kind: "no-capacity", Message: strings.Repeat("no ", 10_000),
		})
	}
	r.request.CapacityFailures = append(r.request.CapacityFailures,
		api.CapacityFailure{Kind: "no-capacity"},
		api.CapacityFailure{Resource: strings.Repeat("x", 1000), Kind: "quota"},
		api.CapacityFailure{Resource: "nvidia.com/gpu", Kind: "bad-luck"})
	r.mustSync()
	backoffs := f.region("east").Backoffs
	if len(backoffs) > maxBackoffs {
		t.Errorf("%d back-offs", len(backoffs))
	}
	size := 0
	for resource, backoff := range backoffs {
		size += len(resource) + len(backoff.Message)
		if backoff.Kind != capacity.NoCapacity && backoff.Kind != capacity.Quota && backoff.Kind != capacity.NeverFits {
			t.Errorf("%s: a back-off of kind %q", resource, backoff.Kind)
		}
	}
	if size > maxBackoffs*2000 {
		t.Errorf("%d bytes of back-offs", size)
	}
}

func TestBackoffsThatAreLongOverMakeRoom(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	for i := range maxBackoffs {
		r.request.CapacityFailures = append(r.request.CapacityFailures, api.CapacityFailure{Resource: fmt.Sprintf("example.com/%d", i), Kind: "no-capacity"})
	}
	r.mustSync()
	for range 3 {
		f.clock.Step(maxBackoff)
		r.mustSync()
	}
	r.request.CapacityFailures = []api.CapacityFailure{{Resource: "nvidia.com/gpu", Kind: "no-capacity"}}
	r.mustSync()
	if backoffs := f.region("east").Backoffs; len(backoffs) != 1 || backoffs["nvidia.com/gpu"].Failures != 1 {
		t.Errorf("back-offs %+v", backoffs)
	}
}

func TestMessagesOfAgentsAreCut(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	j := f.submit()
	attempt := r.run(j.ID, job.Running)
	r.request.Observations = []api.Observation{{
		AttemptRef: ref(attempt), Phase: "failed",
		Reason: strings.Repeat("r", 1<<20), Message: strings.Repeat("ä", 1<<20),
	}}
	r.mustSync()
	got := f.wantState(j.ID, job.Failed)
	if len(got.Reason) > maxReason+3 || len(got.Message) > maxMessage+3 || !strings.HasPrefix(got.Message, "ä") {
		t.Errorf("keeps %d and %d bytes", len(got.Reason), len(got.Message))
	}
}

func TestStrangeObservationsChangeNothing(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	j := f.submit()
	attempt := r.run(j.ID, job.Running)
	version := f.job(j.ID).Version
	other := func(change func(*api.Observation)) api.Observation {
		o := api.Observation{AttemptRef: ref(attempt), Phase: "failed"}
		change(&o)
		return o
	}
	r.request.Observations = []api.Observation{
		other(func(o *api.Observation) { o.Phase = "exploded" }),
		other(func(o *api.Observation) { o.Phase = "" }),
		other(func(o *api.Observation) { o.Attempt++ }),
		other(func(o *api.Observation) { o.Attempt = -1 }),
		other(func(o *api.Observation) { o.JobID = "" }),
		other(func(o *api.Observation) { o.JobID = "'; DROP TABLE jobs; --" }),
		other(func(o *api.Observation) { o.JobID = strings.Repeat("\x00", 100_000) }),
	}
	r.mustSync()
	if got := f.wantState(j.ID, job.Running); got.Version != version {
		t.Errorf("version %d, was %d", got.Version, version)
	}
	// The same end twice in one request is one end.
	r.request.Observations = []api.Observation{
		other(func(o *api.Observation) { o.Phase = "succeeded" }), other(func(*api.Observation) {}), other(func(*api.Observation) {}),
	}
	r.mustSync()
	if got := f.wantState(j.ID, job.Succeeded); got.Version != version+1 {
		t.Errorf("version %d, want %d", got.Version, version+1)
	}
}

// A region can spoil its own capacity, and nobody else's.
func TestAbsurdCapacityHarmsNobodyElse(t *testing.T) {
	huge := capacity.Resources{"cpu": 1<<63 - 1, "memory": 1<<63 - 1, "pods": 1<<63 - 1, "": 7}
	for name, shape := range map[string]api.NodeShape{
		"negative count": {Count: -5, Free: huge, Total: huge},
		"negative free":  {Count: 5, Free: capacity.Resources{"cpu": -1 << 63}, Total: huge},
		"negative total": {Count: 5, Free: huge, Total: capacity.Resources{"cpu": -1 << 63, "pods": -1 << 63}},
		"endless":        {Count: 1<<63 - 1, Free: huge, Total: huge},
		"nothing":        {},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			r := f.open("east", 1)
			f.open("west", 1)
			r.request.Capacity = &api.Snapshot{Nodes: []api.NodeShape{shape, shape}, Provisionable: []api.NodeShape{shape}}
			r.mustSync()
			j := f.submit(func(s *api.Submission) { s.Placement = &api.Placement{AvoidRegions: []string{"east"}} })
			f.submit(func(s *api.Submission) { s.Placement = &api.Placement{Regions: []string{"east"}} })
			f.step()
			f.wantState(j.ID, job.Placed)
			r.mustSync()
		})
	}
}
