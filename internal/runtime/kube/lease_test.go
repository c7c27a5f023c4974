package kube

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/runtimetest"
)

// quick is a fixture whose agents hold the cluster for a second at a time.
func quick(t *testing.T) *fixture {
	f := newFixture(t)
	f.options.LeaseDuration = time.Second
	return f
}

// TestAnotherReplicaTakesOver: the work of an agent that died goes on, and
// ends with the trust that the dead one had, though the control plane gives
// the other no more.
func TestAnotherReplicaTakesOver(t *testing.T) {
	f := quick(t)
	d := drive(t, f)
	a := d.hold()
	if err := d.Renew(8 * time.Second); err != nil {
		t.Fatal(err)
	}
	ended := time.Now().Add(8 * time.Second)
	eventually(t, "the deadline in the Lease", func() bool {
		l, err := f.client.lease(t.Context(), f.options.Namespace, leaseName)
		if err != nil {
			t.Fatal(err)
		}
		trust, err := time.ParseDuration(l.Annotations[annotationTrust])
		return err == nil && trust > 0 && trust <= 8*time.Second
	})
	d.stopLoops()
	f.options.Wait = true
	next := drive(t, f)
	if o, held := next.see(a.ID); !held || o.Phase != runtime.PhaseRunning && time.Now().Before(ended) {
		t.Fatalf("taken over, it is %+v", o)
	}
	next.await(a.ID, runtime.PhaseLost)
	if left := time.Until(ended); left > 3*time.Second {
		t.Errorf("it was fenced %s before the trust was over", left)
	}
	f.AwaitRunning(t, a.ID, 0)
}

func TestAReplicaThatIsNotNeededStandsBy(t *testing.T) {
	f := quick(t)
	d := drive(t, f)
	waiting := f.options
	waiting.Wait, waiting.Identity = true, "standby"
	opened := make(chan error, 1)
	go func() {
		r, err := Open(t.Context(), waiting)
		if err == nil {
			err = r.Close()
		}
		opened <- err
	}()
	// For as long as the first one renews, the second has to wait: three
	// renewals are more than one duration.
	renewals := func() string {
		l, err := f.client.lease(t.Context(), f.options.Namespace, leaseName)
		if err != nil {
			t.Fatal(err)
		}
		return l.ResourceVersion
	}
	for range 5 {
		before := renewals()
		eventually(t, "a renewal", func() bool { return renewals() != before })
	}
	select {
	case err := <-opened:
		t.Fatalf("the second opened beside the first: %v", err)
	default:
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-opened:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("nobody took over from the one that was closed")
	}
}

func TestAgentThatWasReplacedIsTold(t *testing.T) {
	f := quick(t)
	d := drive(t, f)
	a := d.hold()
	eventually(t, "a Lease of another holder", func() bool {
		l, err := f.client.lease(t.Context(), f.options.Namespace, leaseName)
		if err != nil {
			t.Fatal(err)
		}
		other := "thief"
		l.Spec.HolderIdentity = &other
		_, err = f.client.writeLease(t.Context(), l)
		return err == nil
	})
	select {
	case <-d.Lost():
	case <-time.After(patience):
		t.Fatal("it was not told")
	}
	if err := d.Apply(t.Context(), d.attempt(jobOf("exit 0", "1"))); !errors.Is(err, runtime.ErrLocked) {
		t.Errorf("applying: %v, want ErrLocked", err)
	}
	f.AwaitRunning(t, a.ID, 1)
}

// TestClusterThatCannotBeReached: the agent says so; when the cluster is back
// after the trust is over, what ran goes before anything new is applied.
func TestClusterThatCannotBeReached(t *testing.T) {
	f := quick(t)
	d := drive(t, f)
	a := d.hold()
	if err := d.Renew(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	var until time.Time
	eventually(t, "the deadline in the Lease", func() bool {
		d.lease.mu.Lock()
		defer d.lease.mu.Unlock()
		until = d.lease.recorded
		return time.Until(until) <= 5*time.Second
	})
	theLab.fault(t, theLab.StopAPI, theLab.ResumeAPI)
	eventually(t, "word that the cluster is away", func() bool {
		_, _, listErr := d.List(t.Context())
		_, capacityErr := d.Capacity(t.Context())
		return listErr != nil && capacityErr != nil
	})
	eventually(t, "the end of the trust", func() bool { return time.Now().After(until) })
	f.AwaitRunning(t, a.ID, 1)
	if err := d.Renew(time.Hour); err != nil {
		t.Fatal(err)
	}
	applied := make(chan error, 1)
	b := d.attempt(f.Manifest(t, runtimetest.Program{Hold: true}))
	go func() {
		err := d.Apply(t.Context(), b)
		if o, _ := d.see(a.ID); o.Phase != runtime.PhaseLost {
			err = errors.Join(err, errors.New("applied while the earlier attempt was "+string(o.Phase)))
		}
		applied <- err
	}()
	theLab.ask(t, theLab.ResumeAPI)
	if err := <-applied; err != nil {
		t.Errorf("applying: %v", err)
	}
	f.AwaitRunning(t, a.ID, 0)
	d.await(b.ID, runtime.PhaseRunning)
}

// TestShortOutageDisturbsNothing: the API server restarts within the trust.
func TestShortOutageDisturbsNothing(t *testing.T) {
	f := quick(t)
	d := drive(t, f)
	a := d.hold()
	theLab.fault(t, theLab.StopAPI, theLab.ResumeAPI)
	eventually(t, "word that the cluster is away", func() bool {
		_, _, err := d.List(t.Context())
		return err != nil
	})
	f.Release(t, a.ID)
	theLab.ask(t, theLab.ResumeAPI)
	d.await(a.ID, runtime.PhaseSucceeded)
	eventually(t, "a cluster that answers", func() bool {
		_, synced, err := d.List(t.Context())
		return err == nil && synced
	})
}

func TestSlowCluster(t *testing.T) {
	d := drive(t, newFixture(t))
	theLab.fault(t, func(ctx context.Context) error { return theLab.SlowAPI(ctx, 300*time.Millisecond) }, theLab.ResumeAPI)
	a := d.apply(jobOf("echo slow", "1"))
	d.await(a.ID, runtime.PhaseSucceeded)
	if _, _, err := d.List(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestClusterThatPushesBack: 429, conflicts, faults of the server and watches
// that expire are tried again.
func TestClusterThatPushesBack(t *testing.T) {
	f := newFixture(t)
	through := f.through()
	refusals := map[string]int{"PATCH": 3, "DELETE": 2, "WATCH": 8}
	var mu sync.Mutex
	through.set(func(r *http.Request) *http.Response {
		mu.Lock()
		defer mu.Unlock()
		kind, code := r.Method, http.StatusTooManyRequests
		if r.URL.Query().Get("watch") != "" {
			kind, code = "WATCH", []int{http.StatusGone, http.StatusTooManyRequests, http.StatusInternalServerError}[refusals["WATCH"]%3]
		}
		if refusals[kind] == 0 {
			return nil
		}
		refusals[kind]--
		return status(r, code)
	})
	d := drive(t, f)
	a := d.hold()
	if err := d.Stop(t.Context(), a.ID); err != nil {
		t.Logf("stopping: %v; it is tried again", err)
	}
	d.await(a.ID, runtime.PhaseStopped)
	f.AwaitRunning(t, a.ID, 0)
}

func status(r *http.Request, code int) *http.Response {
	text := `{"kind":"Status","apiVersion":"v1","status":"Failure","code":` + strconv.Itoa(code) + `}`
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}, "Retry-After": {"0"}}, Body: io.NopCloser(bytes.NewReader([]byte(text))),
	}
}

// TestLateCreationIsEnded: the API server makes an object after the agent gave
// the call up and fenced.
func TestLateCreationIsEnded(t *testing.T) {
	f := newFixture(t)
	d := drive(t, f)
	if err := d.Renew(time.Hour); err != nil {
		t.Fatal(err)
	}
	a := d.attempt(f.Manifest(t, runtimetest.Program{Hold: true}))
	s, err := d.compile(a)
	if err != nil {
		t.Fatal(err)
	}
	object, err := s.encode(d.lease.current())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Fence(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.client.applyJob(t.Context(), "default", s.name, object); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a Job that is seen", func() bool { _, held := d.see(a.ID); return held })
	d.await(a.ID, runtime.PhaseLost)
	f.AwaitRunning(t, a.ID, 0)
}

// TestFenceEndsThoughTheAgentGoesOn: what is applied while a fence is under
// way, in a term that began after it, is no matter of the fence.
func TestFenceEndsThoughTheAgentGoesOn(t *testing.T) {
	f := newFixture(t)
	d := drive(t, f)
	a := d.hold()
	fenced := make(chan error, 1)
	go func() { fenced <- d.Fence(t.Context()) }()
	eventually(t, "an attempt that is being ended", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.held[a.ID].ending != nil
	})
	d.lease.newTerm()
	b := d.hold()
	select {
	case err := <-fenced:
		if err != nil {
			t.Errorf("fencing: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the fence waits for what was applied after it")
	}
	if o, _ := d.see(b.ID); o.Phase != runtime.PhaseRunning {
		t.Errorf("what was applied after the fence is %s", o.Phase)
	}
}

// TestStopOfWhatIsGivenBack: who cancels hears that it was stopped.
func TestStopOfWhatIsGivenBack(t *testing.T) {
	f := newFixture(t)
	f.options.Unschedulable = time.Hour
	d := drive(t, f)
	a := d.hold()
	d.mu.Lock()
	d.held[a.ID].ending = released("Unschedulable", "no-capacity", "cpu", "none")
	d.mu.Unlock()
	if err := d.Stop(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if o := d.await(a.ID, runtime.PhaseStopped); o.Capacity != nil {
		t.Errorf("it is %+v", o)
	}
}

// TestPermissionsThatLack: one clear condition, and no end of the agent.
func TestPermissionsThatLack(t *testing.T) {
	f := newFixture(t)
	config := rest.CopyConfig(f.options.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "nobody"}
	f.options.Config = config
	if _, err := f.Open(t); err == nil || !strings.Contains(err.Error(), "kube-system") {
		t.Errorf("opening without any right: %v", err)
	}
	rbac := f.client.core
	role := map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": map[string]any{"name": f.options.Namespace},
		"rules": []any{
			map[string]any{"apiGroups": []string{""}, "resources": []string{"namespaces"}, "verbs": []string{"get"}},
			map[string]any{"apiGroups": []string{"coordination.k8s.io"}, "resources": []string{"leases"}, "verbs": []string{"get", "create", "update"}},
			map[string]any{"apiGroups": []string{""}, "resources": []string{"nodes", "events"}, "verbs": []string{"list", "watch"}},
			map[string]any{"apiGroups": []string{"batch"}, "resources": []string{"jobs"}, "verbs": []string{"list", "watch"}},
		},
	}
	binding := map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": map[string]any{"name": f.options.Namespace},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f.options.Namespace},
		"subjects": []any{map[string]any{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "nobody"}},
	}
	f.post(t, rbac.Post().AbsPath("/apis/rbac.authorization.k8s.io/v1/clusterroles"), role)
	f.post(t, rbac.Post().AbsPath("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"), binding)
	t.Cleanup(func() {
		for _, path := range []string{"clusterrolebindings", "clusterroles"} {
			_ = rbac.Delete().AbsPath("/apis/rbac.authorization.k8s.io/v1/" + path + "/" + f.options.Namespace).Do(context.Background()).Error()
		}
	})
	f.options.CallTimeout = time.Second
	var d *driver
	eventually(t, "rights that the API server knows of", func() bool {
		r, err := f.Open(t)
		if err != nil {
			return false
		}
		d = &driver{T: t, Runtime: r.(*Runtime), fixture: f}
		return true
	})
	t.Cleanup(func() { d.Close() })
	eventually(t, "a clear word", func() bool {
		_, _, err := d.List(t.Context())
		return err != nil && strings.Contains(err.Error(), "may not watch the cluster's pods") && strings.Contains(err.Error(), "grant it list and watch")
	})
}

func TestRecordedDeadline(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	stamp := func(after time.Duration) string { return now.Add(after).Format(time.RFC3339Nano) }
	for _, test := range []struct {
		name, until, trust string
		want               time.Duration
	}{
		{"it says when", stamp(time.Minute), "90s", time.Minute},
		{"the writer's clock was ahead", stamp(time.Hour), "90s", 90 * time.Second},
		{"it has passed", stamp(-time.Second), "90s", -time.Second},
	} {
		l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{annotationUntil: test.until, annotationTrust: test.trust}}}
		if got := recordedDeadline(l, now); !got.Equal(now.Add(test.want)) {
			t.Errorf("%s: %s, want %s", test.name, got, now.Add(test.want))
		}
	}
	for _, bad := range []map[string]string{nil, {annotationUntil: "soon", annotationTrust: "90s"}, {annotationUntil: stamp(time.Minute), annotationTrust: "long"}} {
		if got := recordedDeadline(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: bad}}, now); !got.IsZero() {
			t.Errorf("%v gives %s, want no deadline", bad, got)
		}
	}
}

// TestIdleAgentOnlyRenewsItsLease counts what it sends while nothing changes.
func TestIdleAgentOnlyRenewsItsLease(t *testing.T) {
	f := quick(t)
	through := f.through()
	d := drive(t, f)
	d.hold()
	before := through.counts()
	eventually(t, "some renewals", func() bool { return through.counts()["PUT gco-agent"] >= before["PUT gco-agent"]+6 })
	for call, count := range through.counts() {
		// A node renews its own Lease, and a watch may end by itself.
		if count != before[call] && call != "PUT gco-agent" {
			t.Errorf("%d calls of %s while nothing changed", count-before[call], call)
		}
	}
}
