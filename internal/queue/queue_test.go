package queue

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/manifest"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/dynamodb"
	"github.com/gco-project/gco/internal/store/dynamodb/dynamotest"
	"github.com/gco-project/gco/internal/store/sqlite"
)

// onDynamoDB has every test of the queue run on the other driver, on what stands
// in for DynamoDB: make test-stores does.
var onDynamoDB = flag.Bool("dynamodb", false, "keep what the queue stores in DynamoDB")

func TestMain(m *testing.M) { os.Exit(dynamotest.Main(m.Run)) }

// opened opens an empty store.
func opened(t *testing.T, clock *clocktesting.FakeClock) store.Store {
	t.Helper()
	var backing store.Store
	var err error
	if *onDynamoDB {
		options := dynamotest.Start(t, dynamotest.Dynoxide).Options()
		options.Now = clock.Now
		backing, err = dynamodb.Open(t.Context(), options)
	} else {
		backing, err = sqlite.OpenMemory(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := backing.Close(); err != nil {
			t.Error(err)
		}
	})
	return backing
}

// fixture is a queue on a store of its own, with a clock that stands still.
type fixture struct {
	*Queue
	t     *testing.T
	clock *clocktesting.FakeClock
}

func newFixture(t *testing.T, change ...func(*Options)) *fixture {
	t.Helper()
	clock := clocktesting.NewFakeClock(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	return newFixtureOn(t, opened(t, clock), clock, change...)
}

func newFixtureOn(t *testing.T, backing store.Store, clock *clocktesting.FakeClock, change ...func(*Options)) *fixture {
	t.Helper()
	options := Options{
		Store: backing, Clock: clock, Holder: "test", Timing: LocalTiming,
		Admission: manifest.DefaultPolicy(), Placement: placement.DefaultPolicy(),
	}
	for _, c := range change {
		c(&options)
	}
	f := &fixture{Queue: New(options), t: t, clock: clock}
	f.step()
	return f
}

// step runs one round of every loop.
func (f *fixture) step() {
	f.t.Helper()
	for _, step := range f.Steps() {
		if err := step(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
	}
}

// pass lets time go by in steps short enough for every lease.
func (f *fixture) pass(d time.Duration) {
	f.t.Helper()
	for d > 0 {
		step := min(d, time.Second)
		f.clock.Step(step)
		f.step()
		d -= step
	}
}

func manifestOf(name, cpu string) json.RawMessage {
	return fmt.Appendf(nil, `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":%q},"spec":{"template":{"spec":{
		"restartPolicy":"Never","containers":[{"name":"main","image":"busybox:1.36","command":["true"],
		"resources":{"requests":{"cpu":%q}}}]}}}}`, name, cpu)
}

func (f *fixture) submit(change ...func(*api.Submission)) job.Job {
	f.t.Helper()
	request := api.Submission{Manifest: manifestOf("work", "1")}
	for _, c := range change {
		c(&request)
	}
	result := f.Submit(f.t.Context(), []Submission{{Identity: "ann", Request: request}})[0]
	if result.Err != nil {
		f.t.Fatal(result.Err)
	}
	return result.Job
}

func (f *fixture) job(id job.ID) job.Job {
	f.t.Helper()
	j, err := f.Store.Job(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	return j
}

func (f *fixture) wantState(id job.ID, want job.State) job.Job {
	f.t.Helper()
	j := f.job(id)
	if j.State != want {
		f.t.Fatalf("job is %s (%s: %s), want %s", j.State, j.Reason, j.Message, want)
	}
	return j
}

// remote is an agent that says what the test tells it to.
type remote struct {
	f        *fixture
	region   string
	request  api.SyncRequest
	response api.SyncResponse
}

// open makes a region with some empty nodes of 4 cores and 4 nvidia.com/gpu.
func (f *fixture) open(region string, nodes int) *remote {
	f.t.Helper()
	r := &remote{f: f, region: region}
	r.request.Cluster = "cluster-of-" + region
	if err := r.sync(); err != nil {
		f.t.Fatal(err)
	}
	r.request.Capacity = nodesOf(nodes)
	r.request.Inventory = &api.Inventory{Last: true}
	r.request.MaxStart = 10
	r.mustSync()
	return r
}

func nodesOf(n int) *api.Snapshot {
	total := capacity.Resources{"cpu": 4000, "memory": 16 << 30, "nvidia.com/gpu": 4, "pods": 110}
	return &api.Snapshot{Nodes: []api.NodeShape{{Count: n, Free: total, Total: total, Architecture: "amd64"}}}
}

// sync sends the request and keeps the answer; what was said once is not
// said again.
func (r *remote) sync() error {
	r.request.Sequence++
	response, err := r.f.Sync(r.f.t.Context(), r.region, r.request)
	if err != nil {
		return err
	}
	r.response = response
	r.request = api.SyncRequest{
		Cluster: r.request.Cluster, Session: response.Session, Epoch: response.Epoch,
		Sequence: r.request.Sequence, MaxStart: r.request.MaxStart,
	}
	return nil
}

func (r *remote) mustSync() api.SyncResponse {
	r.f.t.Helper()
	if err := r.sync(); err != nil {
		r.f.t.Fatal(err)
	}
	return r.response
}

func (r *remote) observe(id job.AttemptID, phase string) api.SyncResponse {
	r.f.t.Helper()
	r.request.Observations = []api.Observation{{AttemptRef: ref(id), Phase: phase}}
	return r.mustSync()
}

// started is the one attempt that the last answer starts.
func (r *remote) started() job.AttemptID {
	r.f.t.Helper()
	if len(r.response.Start) != 1 {
		r.f.t.Fatalf("answer starts %d attempts, want 1", len(r.response.Start))
	}
	return attemptID(r.response.Start[0].AttemptRef)
}

// run brings a fresh job to the given state in the region.
func (r *remote) run(id job.ID, state job.State) job.AttemptID {
	r.f.t.Helper()
	if state == job.Queued {
		return job.AttemptID{}
	}
	r.f.step()
	if state == job.Placed {
		return job.AttemptID{}
	}
	r.mustSync()
	attempt := r.started()
	if attempt.Job != id {
		r.f.t.Fatalf("started %s, want %s", attempt.Job, id)
	}
	phases := []string{"applied", "running", string(state)}
	n := slices.Index([]job.State{job.Claimed, job.Pending, job.Running}, state)
	if n < 0 {
		n = len(phases)
	}
	for _, phase := range phases[:n] {
		r.observe(attempt, phase)
	}
	r.f.wantState(id, state)
	return attempt
}

func TestJobRunsToItsEnd(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	j := f.submit()
	attempt := r.run(j.ID, job.Succeeded)
	if attempt.Attempt != 1 {
		t.Errorf("attempt %d, want 1", attempt.Attempt)
	}
	history, err := f.Store.History(t.Context(), j.ID)
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, h := range history {
		types = append(types, h.Type)
	}
	want := []string{"job.queued", "job.placed", "job.claimed", "job.pending", "job.running", "job.succeeded"}
	if !slices.Equal(types, want) {
		t.Errorf("events %v, want %v", types, want)
	}
}

func TestLostAnswerIsRepeatedUntilReported(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	j := f.submit()
	f.step()
	first := r.mustSync()
	second := r.mustSync()
	if len(first.Start) != 1 || len(second.Start) != 1 || first.Start[0].AttemptRef != second.Start[0].AttemptRef {
		t.Fatalf("the second answer starts %v, the first %v", second.Start, first.Start)
	}
	r.request.Known = []api.AttemptRef{first.Start[0].AttemptRef}
	if third := r.mustSync(); len(third.Start) != 0 {
		t.Errorf("an attempt that the agent is busy with came again: %v", third.Start)
	}
	if got := f.job(j.ID).Attempt; got != 1 {
		t.Errorf("attempt %d after three answers, want 1", got)
	}
}

func TestLongPollEndsWhenAJobIsPlaced(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	type answer struct {
		response api.SyncResponse
		err      error
	}
	answers := make(chan answer)
	request := r.request
	request.Sequence++
	request.WaitSeconds = 3
	go func() {
		response, err := f.Sync(t.Context(), "east", request)
		answers <- answer{response, err}
	}()
	// The poll's timer tells that it waits; the clock never moves, so only
	// the placement can end it.
	for !f.clock.HasWaiters() {
		if t.Context().Err() != nil {
			t.Fatal("the poll does not wait")
		}
	}
	f.submit()
	f.step()
	if a := <-answers; a.err != nil || len(a.response.Start) != 1 {
		t.Errorf("poll answered %+v, %v", a.response, a.err)
	}
}

func TestEmptyPollEndsAfterItsWait(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	done := make(chan error)
	request := r.request
	request.Sequence++
	request.WaitSeconds = 60
	go func() {
		_, err := f.Sync(context.Background(), "east", request)
		done <- err
	}()
	for !f.clock.HasWaiters() {
		if t.Context().Err() != nil {
			t.Fatal("the poll does not wait")
		}
	}
	f.clock.Step(f.Timing.LongPoll)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A job on one market goes to the region with a manifest that keeps its pods
// there, and takes no room on the other.
func TestCapacityTypeReachesTheRegion(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	spot := nodesOf(1)
	spot.Nodes[0].Labels = map[string]string{"karpenter.sh/capacity-type": "spot"}
	r.request.Capacity = &api.Snapshot{Nodes: append(spot.Nodes, nodesOf(1).Nodes...)}
	r.mustSync()
	whole := func(s *api.Submission) {
		s.Manifest = manifestOf("work", "4")
		s.Placement = &api.Placement{CapacityType: "spot"}
	}
	first, second := f.submit(whole), f.submit(whole)
	f.step()
	r.mustSync()
	if attempt := r.started(); attempt.Job != first.ID {
		t.Fatalf("started %s, want %s", attempt.Job, first.ID)
	}
	if text := string(r.response.Start[0].Manifest); !strings.Contains(text, `{"key":"karpenter.sh/capacity-type","operator":"In","values":["spot"]}`) {
		t.Errorf("the manifest does not keep to spot: %s", text)
	}
	f.wantState(second.ID, job.Queued)
}
