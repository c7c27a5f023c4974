package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

// fakeRuntime holds what it is told to, and records the order of calls.
type fakeRuntime struct {
	mu       sync.Mutex
	held     map[job.AttemptID]runtime.Observation
	applied  runtime.Attempt
	calls    []string
	reads    []job.AttemptID
	refuse   error
	applying chan struct{}
	stopErr  error
	stopping func()
	// forgetting, if it is there, holds up each Forget until it is told.
	forgetting chan struct{}
	listErr    error
	unsynced   bool
	changed    chan struct{}
	fenced     chan struct{}
	capacity   capacity.Snapshot
	// capacityErr is what Capacity fails with.
	capacityErr error
	restless    func() capacity.Snapshot
}

func newFakeRuntime() *fakeRuntime {
	return &fakeRuntime{
		held: map[job.AttemptID]runtime.Observation{}, changed: make(chan struct{}, 1), fenced: make(chan struct{}, 1),
	}
}

func (f *fakeRuntime) call(format string, args ...any) {
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

// set changes the phase of an attempt and signals it.
func (f *fakeRuntime) set(id job.AttemptID, phase runtime.Phase) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held[id] = runtime.Observation{ID: id, Incarnation: "here", Phase: phase}
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// model is the directory of the model of the last attempt that was applied.
func (f *fakeRuntime) model() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.applied.Model
}

func (f *fakeRuntime) Cluster() string { return "cluster" }

func (f *fakeRuntime) Apply(_ context.Context, a runtime.Attempt) error {
	if f.applying != nil {
		<-f.applying
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.call("apply %s.%d", a.ID.Job, a.ID.Attempt)
	if f.refuse != nil {
		return f.refuse
	}
	f.applied = a
	f.held[a.ID] = runtime.Observation{ID: a.ID, Incarnation: a.Incarnation, Phase: runtime.PhaseApplied}
	return nil
}

func (f *fakeRuntime) Stop(_ context.Context, id job.AttemptID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.call("stop %s.%d", id.Job, id.Attempt)
	if f.stopping != nil {
		f.stopping()
	}
	if f.stopErr != nil {
		return f.stopErr
	}
	if _, ok := f.held[id]; !ok {
		return runtime.ErrNotFound
	}
	return nil
}

func (f *fakeRuntime) Forget(_ context.Context, id job.AttemptID) error {
	if f.forgetting != nil {
		f.forgetting <- struct{}{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.call("forget %s.%d", id.Job, id.Attempt)
	delete(f.held, id)
	return nil
}

func (f *fakeRuntime) List(context.Context) ([]runtime.Observation, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []runtime.Observation
	for _, id := range sortedIDs(f.held) {
		list = append(list, f.held[id])
	}
	return list, !f.unsynced, f.listErr
}

func (f *fakeRuntime) Capacity(context.Context) (capacity.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.restless != nil {
		return f.restless(), nil
	}
	return f.capacity, f.capacityErr
}

func (f *fakeRuntime) Changed() <-chan struct{}  { return f.changed }
func (f *fakeRuntime) Renew(time.Duration) error { return nil }
func (f *fakeRuntime) Close() error              { return nil }

func (f *fakeRuntime) Fence(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.call("fence")
	select {
	case f.fenced <- struct{}{}:
	default:
	}
	return nil
}

func (f *fakeRuntime) Logs(_ context.Context, id job.AttemptID, _ runtime.LogOptions) (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads = append(f.reads, id)
	return io.NopCloser(strings.NewReader("hello\n")), nil
}

func (f *fakeRuntime) Pods(context.Context, job.AttemptID) ([]runtime.Pod, error) {
	return []runtime.Pod{{Name: "pod-0", Phase: "Running", Containers: []runtime.Container{{Name: "main", State: "running"}}}}, nil
}

func (f *fakeRuntime) ClusterEvents(context.Context, job.AttemptID) ([]runtime.ClusterEvent, error) {
	return []runtime.ClusterEvent{{Warning: true, Reason: "BackOff"}}, nil
}

func (f *fakeRuntime) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// exchange is one Sync that the fake server was asked.
type exchange struct {
	request api.SyncRequest
	answer  func(api.SyncResponse, error)
	done    <-chan struct{}
}

// fakeServer lets the test answer each call.
type fakeServer struct {
	syncs    chan exchange
	archived chan api.AttemptRef
	answers  chan string
	// reading, if it is there, holds up each answer until its client has read
	// all of it.
	reading chan struct{}
	archive error
}

func newFakeServer() *fakeServer {
	return &fakeServer{syncs: make(chan exchange), archived: make(chan api.AttemptRef, 10), answers: make(chan string, 10)}
}

func (f *fakeServer) Sync(ctx context.Context, _ string, request api.SyncRequest) (api.SyncResponse, error) {
	type answer struct {
		response api.SyncResponse
		err      error
	}
	answers := make(chan answer, 1)
	e := exchange{request, func(r api.SyncResponse, err error) { answers <- answer{r, err} }, ctx.Done()}
	select {
	case f.syncs <- e:
	case <-ctx.Done():
		return api.SyncResponse{}, ctx.Err()
	}
	select {
	case a := <-answers:
		return a.response, a.err
	case <-ctx.Done():
		return api.SyncResponse{}, ctx.Err()
	}
}

func (f *fakeServer) ArchiveLogs(_ context.Context, _ string, attempt api.AttemptRef, lines io.Reader) error {
	if f.archive != nil {
		return f.archive
	}
	if _, err := io.Copy(io.Discard, lines); err != nil {
		return err
	}
	f.archived <- attempt
	return nil
}

func (f *fakeServer) Answer(_ context.Context, _ string, request api.Request, body io.Reader, refused error) error {
	if refused != nil {
		f.answers <- request.ID + ": " + refused.Error()
		return nil //nolint:nilerr // the refusal is what was to be delivered
	}
	if f.reading != nil {
		<-f.reading
	}
	text, err := io.ReadAll(body)
	f.answers <- request.ID + ": " + string(text)
	return err
}

// bench is a running agent between a fake server and a fake runtime.
type bench struct {
	t       *testing.T
	runtime *fakeRuntime
	server  *fakeServer
	clock   *clocktesting.FakeClock
}

func start(t *testing.T, change ...func(*Options)) *bench {
	t.Helper()
	b := &bench{t: t, runtime: newFakeRuntime(), server: newFakeServer(), clock: clocktesting.NewFakeClock(time.Now())}
	options := Options{Region: "east", Runtime: b.runtime, Server: b.server, Clock: b.clock, LongPoll: time.Minute}
	for _, c := range change {
		c(&options)
	}
	agent := New(options)
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- agent.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return b
}

// next is the agent's next call.
func (b *bench) next() exchange {
	b.t.Helper()
	select {
	case e := <-b.server.syncs:
		return e
	case <-time.After(20 * time.Second):
		b.t.Fatal("the agent does not call")
		return exchange{}
	}
}

var good = api.SyncResponse{Session: "s1", Epoch: 1, Incarnation: "here", TrustSeconds: 90}

func with(change func(*api.SyncResponse)) api.SyncResponse {
	response := good
	change(&response)
	return response
}

// open answers until the agent has sent its inventory, and returns its next
// call.
func (b *bench) open() exchange {
	b.t.Helper()
	if e := b.next(); e.request.Session != "" {
		b.t.Fatalf("the first call names session %q", e.request.Session)
	} else {
		e.answer(with(func(r *api.SyncResponse) { r.InventoryWanted = true }), nil)
	}
	e := b.next()
	if e.request.Inventory == nil || !e.request.Inventory.Last || e.request.MaxStart != 0 {
		b.t.Fatalf("the second call is %+v, want the inventory and no appetite", e.request)
	}
	e.answer(good, nil)
	return b.poll()
}

// poll answers calls that say something until one comes that only waits.
func (b *bench) poll() exchange {
	b.t.Helper()
	for {
		e := b.next()
		if e.request.WaitSeconds > 0 {
			return e
		}
		e.answer(good, nil)
	}
}

var one = job.AttemptID{Job: "j1", Attempt: 1}

func TestAttemptFromStartToForgotten(t *testing.T) {
	b := start(t)
	b.open().answer(with(func(r *api.SyncResponse) {
		r.Start = []api.Start{{AttemptRef: ref(one), Manifest: []byte(`{}`)}}
	}), nil)
	var phases []string
	for _, phase := range []runtime.Phase{"", runtime.PhaseRunning, runtime.PhaseSucceeded} {
		if phase != "" {
			b.runtime.set(one, phase)
		}
		e := b.next()
		for len(e.request.Observations) == 0 {
			if e.request.WaitSeconds == 0 {
				e.answer(good, nil)
			}
			e = b.next()
		}
		phases = append(phases, e.request.Observations[0].Phase)
		if phase == runtime.PhaseSucceeded {
			if calls := b.runtime.seen(); slices.Contains(calls, "forget j1.1") {
				t.Fatal("forgotten before its end was acknowledged")
			}
		}
		e.answer(good, nil)
	}
	if want := []string{"applied", "running", "succeeded"}; !slices.Equal(phases, want) {
		t.Errorf("reported %v, want %v", phases, want)
	}
	if got := <-b.server.archived; got != ref(one) {
		t.Errorf("archived the logs of %v", got)
	}
	for !b.forgot() {
		b.poll().answer(good, nil)
	}
	if calls := b.runtime.seen(); !slices.Equal(calls, []string{"apply j1.1", "forget j1.1"}) {
		t.Errorf("the runtime saw %v", calls)
	}
}

func TestNewsEndsThePoll(t *testing.T) {
	b := start(t)
	poll := b.open()
	b.runtime.set(one, runtime.PhaseRunning)
	<-poll.done
	if e := b.next(); len(e.request.Observations) != 1 || e.request.WaitSeconds != 0 || e.request.Sequence <= poll.request.Sequence {
		t.Errorf("the next call is %+v", e.request)
	}
}

func TestStaleSessionFencesBeforeTheNextOne(t *testing.T) {
	b := start(t)
	b.open().answer(api.SyncResponse{}, fmt.Errorf("refused: %w", ErrStaleSession))
	if e := b.next(); e.request.Session != "" {
		t.Errorf("the next call still names session %q", e.request.Session)
	}
	if calls := b.runtime.seen(); !slices.Equal(calls, []string{"fence"}) {
		t.Errorf("the runtime saw %v before the new session", calls)
	}
}

// A restored control plane may know the session, and not what came after the
// backup.
func TestRestoredControlPlaneGetsANewSession(t *testing.T) {
	b := start(t)
	b.runtime.set(one, runtime.PhaseRunning)
	b.open().answer(with(func(r *api.SyncResponse) { r.Incarnation = "restored" }), nil)
	if e := b.next(); e.request.Session != "" {
		t.Errorf("the next call still names session %q", e.request.Session)
	}
	if calls := b.runtime.seen(); !slices.Equal(calls, []string{"fence"}) {
		t.Errorf("the runtime saw %v before the new session", calls)
	}
}

func TestSilenceFencesWhenTrustEnds(t *testing.T) {
	b := start(t)
	b.open()
	b.clock.Step(90*time.Second - time.Millisecond)
	if calls := b.runtime.seen(); len(calls) > 0 {
		t.Fatalf("the runtime saw %v while the lease held", calls)
	}
	tooLong := time.After(20 * time.Second)
	for {
		select {
		case <-b.runtime.fenced:
			return
		case <-tooLong:
			t.Fatal("not fenced after the lease")
		default:
			// The watcher may have missed the tick before.
			b.clock.Step(250 * time.Millisecond)
		}
	}
}

func TestRejectedAttemptIsReportedWithItsReason(t *testing.T) {
	b := start(t)
	poll := b.open()
	b.runtime.mu.Lock()
	b.runtime.refuse = &runtime.Rejected{
		Reason: "no-capacity", Message: "full",
		Capacity: &runtime.CapacityFailure{Resource: "nvidia.com/gpu", Kind: capacity.NoCapacity, Message: "full"},
	}
	b.runtime.mu.Unlock()
	poll.answer(with(func(r *api.SyncResponse) { r.Start = []api.Start{{AttemptRef: ref(one)}} }), nil)
	e := b.next()
	for len(e.request.Observations) == 0 {
		if e.request.WaitSeconds == 0 {
			e.answer(good, nil)
		}
		e = b.next()
	}
	o := e.request.Observations[0]
	if o.Phase != "released" || o.CapacityFailure == nil || o.CapacityFailure.Resource != "nvidia.com/gpu" {
		t.Errorf("reported %+v", o)
	}
}

func TestStopOfAnUnknownAttemptIsAnsweredStopped(t *testing.T) {
	b := start(t)
	b.open().answer(with(func(r *api.SyncResponse) { r.Stop = []api.Stop{{AttemptRef: ref(one), Reason: "cancel"}} }), nil)
	e := b.next()
	for len(e.request.Observations) == 0 {
		e = b.next()
	}
	if o := e.request.Observations[0]; o.Phase != "stopped" || o.AttemptRef != ref(one) {
		t.Errorf("reported %+v", o)
	}
}

func TestVanishedAttemptIsReportedLost(t *testing.T) {
	b := start(t)
	b.runtime.set(one, runtime.PhaseRunning)
	b.open()
	b.runtime.mu.Lock()
	delete(b.runtime.held, one)
	b.runtime.mu.Unlock()
	b.runtime.changed <- struct{}{}
	e := b.next()
	for len(e.request.Observations) == 0 {
		e = b.next()
	}
	if o := e.request.Observations[0]; o.Phase != "lost" || o.Reason != "vanished" {
		t.Errorf("reported %+v", o)
	}
}

func TestAttemptOfAnotherIncarnationIsStoppedAndNotReported(t *testing.T) {
	b := start(t)
	b.runtime.mu.Lock()
	b.runtime.held[one] = runtime.Observation{ID: one, Incarnation: "elsewhere", Phase: runtime.PhaseRunning}
	b.runtime.mu.Unlock()
	poll := b.open()
	if calls := b.runtime.seen(); !slices.Contains(calls, "stop j1.1") {
		t.Errorf("the runtime saw %v", calls)
	}
	if len(poll.request.Observations) > 0 {
		t.Errorf("reported %+v", poll.request.Observations)
	}
}

func TestQuestionsAreAnsweredOnce(t *testing.T) {
	b := start(t)
	questions := []api.Request{
		{ID: "q1", Kind: "logs", AttemptRef: ref(one)},
		{ID: "q2", Kind: "pods", AttemptRef: ref(one)},
		{ID: "q3", Kind: "events", AttemptRef: ref(one)},
		{ID: "q4", Kind: "weather", AttemptRef: ref(one)},
	}
	b.open().answer(with(func(r *api.SyncResponse) { r.Requests = questions }), nil)
	var got []string
	for range questions {
		got = append(got, <-b.server.answers)
	}
	slices.Sort(got)
	for i, want := range []string{"q1: hello\n", `q2: [{"name":"pod-0"`, `q3: [{"at":`, "q4: this agent cannot answer"} {
		if !strings.HasPrefix(got[i], want) {
			t.Errorf("answer %q, want %q...", got[i], want)
		}
	}
}

func TestUnreachableClusterIsSaid(t *testing.T) {
	b := start(t)
	poll := b.open()
	b.runtime.mu.Lock()
	b.runtime.listErr = errors.New("connection refused")
	b.runtime.mu.Unlock()
	poll.answer(good, nil)
	if e := b.next(); !e.request.Unreachable || len(e.request.Observations) > 0 || e.request.Inventory != nil {
		t.Errorf("the call is %+v", e.request)
	}
}

func TestInventoryPagesNeverSplitAJob(t *testing.T) {
	a := New(Options{Region: "east", Runtime: newFakeRuntime(), Server: newFakeServer()})
	a.incarnation = "here"
	var held []runtime.Observation
	for i := range maxInventory + 2 {
		id := job.AttemptID{Job: job.ID(fmt.Sprintf("j%06d", i/3)), Attempt: 1 + i%3}
		held = append(held, runtime.Observation{ID: id, Incarnation: "here", Phase: runtime.PhaseRunning})
	}
	first := a.inventoryPage(held)
	if first.Last || first.Items[len(first.Items)-1].JobID != first.Through {
		t.Fatalf("the first page ends at %s with last=%t", first.Through, first.Last)
	}
	a.inventoryAfter = first.Through
	second := a.inventoryPage(held)
	if !second.Last || second.After != first.Through || len(first.Items)+len(second.Items) != len(held) {
		t.Errorf("pages of %d and %d items for %d attempts", len(first.Items), len(second.Items), len(held))
	}
}
