package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/agent"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/sqlite"
)

// patience is for what takes milliseconds on a quiet machine.
const patience = 30 * time.Second

// counted counts the writes about endpoints.
type counted struct {
	store.Store
	writes atomic.Int64
}

func (c *counted) PutEndpoint(ctx context.Context, e endpoint.Endpoint) error {
	c.writes.Add(1)
	return c.Store.PutEndpoint(ctx, e)
}

func (c *counted) PutPlans(ctx context.Context, plans []endpoint.Plan) ([]error, error) {
	c.writes.Add(1)
	return c.Store.PutPlans(ctx, plans)
}

func (c *counted) PutObserved(ctx context.Context, guard store.Guard, observed []endpoint.Observed, all bool) error {
	c.writes.Add(1)
	return c.Store.PutObserved(ctx, guard, observed, all)
}

// world is a control plane and regions whose runtimes answer at once.
type world struct {
	t       testing.TB
	store   *counted
	queue   *queue.Queue
	serving *Serving
	regions map[string]*fakeRegion
	stop    func()
}

// fakeRegion is a region's agent with a runtime that holds replicas in memory.
type fakeRegion struct {
	w    *world
	name string
	// cut makes every call fail.
	cut  atomic.Bool
	stop func()

	mu      sync.Mutex
	sets    map[runtime.SetID]*runtime.HeldSet
	never   map[int]bool // revisions that never become ready
	room    int          // replicas; 0 is without bound
	changed chan struct{}
	// least is the fewest ready replicas there were since it was set.
	least  int
	routes []endpoint.Route
}

func newWorld(t testing.TB, regions ...string) *world {
	t.Helper()
	s, err := sqlite.OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: &counted{Store: s}, regions: map[string]*fakeRegion{}}
	log := slog.New(slog.DiscardHandler)
	w.serving = New(Options{
		Store: w.store, Log: log, Placement: placement.DefaultPolicy(), Tick: 100 * time.Millisecond,
		Leading: func() bool { return w.queue.Leading() }, Wake: func(region string) { w.queue.Wake(region) },
	})
	w.queue = queue.New(queue.Options{
		Store: w.store, Log: log, Holder: "only", Endpoints: w.serving,
		Timing: queue.Timing{
			Trust: 500 * time.Millisecond, Lease: 700 * time.Millisecond, Takeover: 900 * time.Millisecond,
			LongPoll: 200 * time.Millisecond, Tick: 50 * time.Millisecond,
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = w.queue.Run(ctx) })
	group.Go(func() { _ = w.serving.Run(ctx) })
	w.stop = func() { cancel(); group.Wait() }
	t.Cleanup(func() {
		for _, r := range w.regions {
			r.stop()
		}
		w.stop()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range regions {
		r := &fakeRegion{w: w, name: name, sets: map[runtime.SetID]*runtime.HeldSet{}, never: map[int]bool{}, changed: make(chan struct{}, 1)}
		w.regions[name] = r
		r.boot()
	}
	for _, name := range regions {
		w.up(name)
	}
	return w
}

// boot starts an agent; stop ends it.
func (r *fakeRegion) boot() {
	ctx, cancel := context.WithCancel(context.Background())
	a := agent.New(agent.Options{
		Region: r.name, Runtime: noJobs{r.name}, Replicas: r, Server: r, LongPoll: 200 * time.Millisecond,
		Routes: func(routes []endpoint.Route) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.routes = routes
		},
	})
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	r.stop = func() { cancel(); <-done }
}

// kill ends the agent, and takes what it held away.
func (r *fakeRegion) kill(withReplicas bool) {
	r.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	if withReplicas {
		r.sets = map[runtime.SetID]*runtime.HeldSet{}
	}
}

func (r *fakeRegion) Sync(ctx context.Context, region string, request api.SyncRequest) (api.SyncResponse, error) {
	if r.cut.Load() {
		return api.SyncResponse{}, errors.New("no way there")
	}
	response, err := r.w.queue.Sync(ctx, region, request)
	if errors.Is(err, store.ErrStaleSession) {
		err = fmt.Errorf("%w: %w", agent.ErrStaleSession, err)
	}
	return response, err
}

func (r *fakeRegion) ArchiveLogs(context.Context, string, api.AttemptRef, io.Reader) error {
	return nil
}

func (r *fakeRegion) Answer(context.Context, string, api.Request, io.Reader, error) error { return nil }

func (r *fakeRegion) Scale(_ context.Context, set runtime.ReplicaSet) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := r.sets[set.SetID]
	if held == nil {
		held = &runtime.HeldSet{SetID: set.SetID}
		r.sets[set.SetID] = held
	}
	held.Count, held.Shortage = set.Count, nil
	replicas := slices.Clone(held.Replicas)
	for len(replicas) < set.Count {
		if r.room > 0 && r.total()+len(replicas)-len(held.Replicas) >= r.room {
			held.Shortage = &endpoint.Shortage{Resource: capacity.CPU, Kind: capacity.NoCapacity, Message: "all nodes are taken"}
			break
		}
		phase := endpoint.Ready
		if r.never[set.Revision] {
			phase = endpoint.Starting
		}
		replicas = append(replicas, endpoint.Replica{
			ID: fmt.Sprintf("%s-%d-%d", set.Endpoint, set.Revision, len(replicas)), Revision: set.Revision, Phase: phase, Address: "127.0.0.1:1",
		})
	}
	held.Replicas = replicas[:min(len(replicas), set.Count)]
	if set.Count == 0 {
		delete(r.sets, set.SetID)
	}
	r.least = min(r.least, r.ready())
	r.signal()
	return nil
}

func (r *fakeRegion) signal() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *fakeRegion) total() (n int) {
	for _, set := range r.sets {
		n += len(set.Replicas)
	}
	return n
}

func (r *fakeRegion) ready() (n int) {
	for _, set := range r.sets {
		for _, replica := range set.Replicas {
			if replica.Phase == endpoint.Ready {
				n++
			}
		}
	}
	return n
}

func (r *fakeRegion) Sets(context.Context) ([]runtime.HeldSet, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []runtime.HeldSet
	for _, set := range r.sets {
		all = append(all, *set)
	}
	slices.SortFunc(all, func(a, b runtime.HeldSet) int {
		if c := strings.Compare(a.Endpoint, b.Endpoint); c != 0 {
			return c
		}
		return a.Revision - b.Revision
	})
	return all, true, nil
}

func (r *fakeRegion) SetsChanged() <-chan struct{} { return r.changed }

// noJobs is a runtime without jobs.
type noJobs struct{ region string }

func (n noJobs) Cluster() string { return "cluster-of-" + n.region }

func (noJobs) Apply(context.Context, runtime.Attempt) error { return errors.New("no jobs") }

func (noJobs) Stop(context.Context, job.AttemptID) error                  { return runtime.ErrNotFound }
func (noJobs) Forget(context.Context, job.AttemptID) error                { return nil }
func (noJobs) Changed() <-chan struct{}                                   { return nil }
func (noJobs) Renew(time.Duration) error                                  { return nil }
func (noJobs) Fence(context.Context) error                                { return nil }
func (noJobs) Close() error                                               { return nil }
func (noJobs) Pods(context.Context, job.AttemptID) ([]runtime.Pod, error) { return nil, nil }
func (noJobs) List(context.Context) ([]runtime.Observation, bool, error) {
	return nil, true, nil
}

func (noJobs) Logs(context.Context, job.AttemptID, runtime.LogOptions) (io.ReadCloser, error) {
	return nil, runtime.ErrNotFound
}

func (noJobs) ClusterEvents(context.Context, job.AttemptID) ([]runtime.ClusterEvent, error) {
	return nil, nil
}

func (noJobs) Capacity(context.Context) (capacity.Snapshot, error) {
	node := capacity.Resources{capacity.CPU: 100_000, capacity.Memory: 1 << 40, capacity.Pods: 1000}
	return capacity.Snapshot{Nodes: []capacity.NodeShape{{Count: 1, Free: node, Total: node}}}, nil
}

// up waits until a region's agent is there and has said what it has.
func (w *world) up(name string) {
	w.t.Helper()
	w.until(func() bool {
		r, err := w.store.Region(context.Background(), name)
		return err == nil && r.Lease == capacity.LeaseLive && r.Inventoried
	}, func() string { return "region " + name + " is not there" })
}

// create makes an endpoint.
func (w *world) create(name string, alter func(*endpoint.Spec)) {
	w.t.Helper()
	spec := endpoint.Spec{Container: endpoint.Container{Image: "echo", Port: 80}, Replicas: 4, Regions: endpoint.Regions{Names: []string{"a", "b"}}}
	if alter != nil {
		alter(&spec)
	}
	if _, err := w.serving.Create(w.t.Context(), name, spec.WithDefaults(), "someone"); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) update(name string, alter func(*endpoint.Spec)) {
	w.t.Helper()
	_, err := w.serving.Edit(w.t.Context(), name, 0, func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) {
		spec := e.Spec
		alter(&spec)
		return e.Update(spec, "someone", now)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) standing(name string) Standing {
	e, err := w.store.Endpoint(context.Background(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	all, err := w.serving.Standing(context.Background(), []endpoint.Endpoint{e})
	if err != nil {
		w.t.Fatal(err)
	}
	return all[0]
}

// shape is how many ready replicas of which revision each region says, as in
// "a:1x2 b:1x2".
func shape(s Standing) string {
	var all []string
	for _, site := range s.Sites {
		counts := map[int]int{}
		for _, r := range site.Observed.Replicas {
			if r.Phase == endpoint.Ready {
				counts[r.Revision]++
			}
		}
		for revision := range 20 {
			if counts[revision] > 0 && site.Up {
				all = append(all, fmt.Sprintf("%s:%dx%d", site.Region, revision, counts[revision]))
			}
		}
	}
	return strings.Join(all, " ")
}

// eventually waits for an endpoint to be in a state and a shape.
func (w *world) eventually(name string, state endpoint.State, want string) Standing {
	w.t.Helper()
	var last Standing
	w.until(func() bool {
		last = w.standing(name)
		return last.State == state && shape(last) == want
	}, func() string {
		plan := "no plan"
		if last.Plan != nil {
			plan = fmt.Sprintf("%+v", *last.Plan)
		}
		return fmt.Sprintf("%s is %s with %q; wanted %s with %q; %s", name, last.State, shape(last), state, want, plan)
	})
	return last
}

// until waits for what other goroutines do in their time.
func (w *world) until(done func() bool, why func() string) {
	w.t.Helper()
	ticker := clock.RealClock{}.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(patience); !done(); <-ticker.C() {
		if time.Now().After(end) {
			w.t.Fatal(why())
		}
	}
}
