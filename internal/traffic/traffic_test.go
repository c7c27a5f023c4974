package traffic

import (
	"context"
	"log/slog"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/gateway"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/serving"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/sqlite"
)

// world is a control plane with one region, whose agent is the test.
type world struct {
	t       *testing.T
	store   store.Store
	serving *serving.Serving
	traffic *Traffic
	clock   *testclock.FakeClock
	guard   store.Guard
	counted map[int]api.EndpointSample
	busy    float64
	open    int
}

func newWorld(t *testing.T, change func(*endpoint.Spec)) *world {
	t.Helper()
	db, err := sqlite.OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, store: db, clock: testclock.NewFakeClock(time.Now()), counted: map[int]api.EndpointSample{}}
	w.serving = serving.New(serving.Options{
		Store: db, Clock: w.clock, Placement: placement.DefaultPolicy(), Leading: func() bool { return true }, Wake: func(string) {},
	})
	q := queue.New(queue.Options{Store: db, Clock: w.clock, Log: slog.New(slog.DiscardHandler), Timing: queue.LocalTiming})
	session, err := q.Sync(t.Context(), "east", api.SyncRequest{Cluster: "c"})
	if err != nil {
		t.Fatal(err)
	}
	w.guard = store.Guard{Region: "east", Epoch: session.Epoch, Lease: capacity.LeaseLive}
	g, err := gateway.New(gateway.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.traffic = New(Options{Serving: w.serving, Gateway: g, Leading: func() bool { return true }, Clock: w.clock})
	spec := endpoint.Spec{Container: endpoint.Container{Image: "one", Port: 1}, Regions: endpoint.Regions{Names: []string{"east"}}}
	change(&spec)
	e, err := w.serving.Create(t.Context(), "e", spec.WithDefaults(), "someone")
	if err != nil {
		t.Fatal(err)
	}
	w.plan(e, 1)
	return w
}

// plan is the one that serving would have made.
func (w *world) plan(e endpoint.Endpoint, replicas int) {
	w.t.Helper()
	before, err := w.store.EndpointPlan(w.t.Context(), e.Name)
	if err != nil {
		before = endpoint.Plan{Name: e.Name, UID: e.UID}
	}
	before.Version, before.Edit, before.Replicas = before.Version+1, e.Version, replicas
	errs, err := w.store.PutPlans(w.t.Context(), []endpoint.Plan{before})
	if err != nil || errs[0] != nil {
		w.t.Fatal(err, errs)
	}
}

func (w *world) endpoint() endpoint.Endpoint {
	w.t.Helper()
	e, err := w.store.Endpoint(w.t.Context(), "e")
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// measure lets time pass, in which revisions had requests, and the loop look.
func (w *world) measure(pass time.Duration, revisions map[int]api.EndpointSample) {
	w.t.Helper()
	for revision, more := range revisions {
		sum := w.counted[revision]
		sum.Requests, sum.Errors = sum.Requests+more.Requests, sum.Errors+more.Errors
		w.counted[revision] = sum
	}
	w.clock.Step(pass)
	e := w.endpoint()
	err := w.serving.Report(w.t.Context(), w.guard, api.EndpointReport{Observed: []api.EndpointObservation{{
		Name: "e", UID: e.UID, Target: "t", Gateway: "127.0.0.1:1",
		Replicas: []api.EndpointReplica{{ID: "r", Revision: 1, Phase: "ready", Address: "127.0.0.1:2", Since: w.clock.Now()}},
		Load:     &api.EndpointLoad{Began: w.clock.Now().Add(-time.Hour).Truncate(24 * time.Hour), At: w.clock.Now(), Open: w.open, Busy: w.busy, Revisions: w.counted},
	}}})
	if err == nil {
		err = w.traffic.runOnce(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// onTrial begins a canary.
func onTrial(t *testing.T) *world {
	w := newWorld(t, func(s *endpoint.Spec) {})
	_, err := w.serving.Edit(t.Context(), "e", 0, func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) {
		spec := e.Spec
		spec.Image = "two"
		spec.Canary = &endpoint.CanaryPolicy{Analysis: &endpoint.Analysis{Window: time.Minute, MinRequests: 100}}
		return e.Update(spec.WithDefaults(), "someone", now)
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestCanaryThatDoesWellIsPromotedStepByStep(t *testing.T) {
	w := onTrial(t)
	w.measure(5*time.Second, nil)
	for _, weight := range []int{1, 5, 25, 50} {
		if e := w.endpoint(); e.Canary == nil || e.Canary.Weight != weight {
			t.Fatalf("the canary is %+v, want %d %%", e.Canary, weight)
		}
		w.measure(30*time.Second, map[int]api.EndpointSample{1: {Requests: 5000, Errors: 5}, 2: {Requests: 200}})
		if e := w.endpoint(); e.Canary == nil || e.Canary.Weight != weight {
			t.Fatalf("it was judged before its window: %+v", e.Canary)
		}
		w.measure(31*time.Second, map[int]api.EndpointSample{1: {Requests: 5000, Errors: 5}, 2: {Requests: 200}})
		// The next share is watched from when it is first seen.
		w.measure(5*time.Second, nil)
	}
	e := w.endpoint()
	second, _ := e.Find(2)
	if e.Canary != nil || e.Revision != 2 || len(second.Trials) != 4 || second.Trials[3].Action != "promote" || second.Trials[0].Evidence.Canary.Requests != 400 {
		t.Errorf("revision %d serves, trials %+v", e.Revision, second.Trials)
	}
}

func TestCanaryThatFailsUnderLoadIsRolledBack(t *testing.T) {
	w := onTrial(t)
	w.measure(5*time.Second, nil)
	w.measure(61*time.Second, map[int]api.EndpointSample{1: {Requests: 9000}, 2: {Requests: 100}})
	w.measure(5*time.Second, nil)
	if e := w.endpoint(); e.Canary == nil || e.Canary.Weight != 5 {
		t.Fatalf("the canary is %+v", e.Canary)
	}
	w.measure(5*time.Second, map[int]api.EndpointSample{1: {Requests: 9000}, 2: {Requests: 500, Errors: 100}})
	e := w.endpoint()
	second, _ := e.Find(2)
	if e.Canary != nil || e.Revision != 1 || e.Spec.Image != "one" || second.Failure == "" || len(second.Trials) != 2 {
		t.Errorf("revision %d serves %s, and the canary %+v", e.Revision, e.Spec.Image, second)
	}
}

func TestLoadScalesAndRequestsWake(t *testing.T) {
	w := newWorld(t, func(s *endpoint.Spec) {
		s.Autoscaling = &endpoint.Autoscaling{Min: 0, Max: 8, Target: 4, Window: 30 * time.Second, ScaleDownDelay: time.Minute, IdleTime: time.Minute}
	})
	w.measure(5*time.Second, nil)
	for range 8 {
		// 20 requests at a time, all the time.
		w.open, w.busy = 20, w.busy+100
		w.measure(5*time.Second, map[int]api.EndpointSample{1: {Requests: 50}})
	}
	e := w.endpoint()
	if n := w.traffic.Replicas(&e); n != 5 {
		t.Errorf("20 requests at a time want %d replicas, at a target of 4", n)
	}
	w.open = 0
	for range 13 {
		w.measure(5*time.Second, nil)
	}
	if n := w.traffic.Replicas(&e); n != 0 {
		t.Errorf("an idle endpoint wants %d replicas", n)
	}
	w.plan(e, 0)
	w.measure(5*time.Second, nil)
	w.traffic.Wake(context.Background(), "e")
	woken := w.endpoint()
	if woken.WokenAt.IsZero() {
		t.Fatal("nothing was woken")
	}
	w.traffic.Wake(context.Background(), "e")
	if again := w.endpoint(); again.Version != woken.Version {
		t.Error("it was woken twice")
	}
	w.measure(5*time.Second, nil)
	if n := w.traffic.Replicas(&woken); n != 1 {
		t.Errorf("a request that waits wants %d replicas", n)
	}
}

func TestOnlyRegionsWithAReadyReplicaAreRoutedTo(t *testing.T) {
	ready := endpoint.Site{Region: "a", Up: true, Observed: endpoint.Observed{
		UID: "u", Gateway: "https://gw:1", Replicas: []endpoint.Replica{{Revision: 1, Phase: endpoint.Ready}},
	}}
	lost, unready, closed := ready, ready, ready
	lost.Region, lost.Up = "b", false
	unready.Region, unready.Observed.Replicas = "c", []endpoint.Replica{{Revision: 1, Phase: endpoint.Unready}}
	closed.Region, closed.Observed.Gateway = "d", ""
	e := routed(&serving.Standing{Endpoint: endpoint.Endpoint{UID: "u", Name: "e"}, Sites: []endpoint.Site{ready, lost, unready, closed}})
	if len(e.Replicas) != 1 || e.Replicas[0] != (gateway.Replica{Address: "gw:1", Region: "a", TLS: true}) {
		t.Errorf("%+v", e.Replicas)
	}
}
