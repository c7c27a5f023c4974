package kube

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/runtime"
)

// impatient is a fixture that does not wait for what is missing.
func impatient(t *testing.T) *fixture {
	f := newFixture(t)
	f.options.Unschedulable, f.options.Unstartable = 200*time.Millisecond, 200*time.Millisecond
	return f
}

func TestNoNodeTakesIt(t *testing.T) {
	d := drive(t, impatient(t))
	first := d.apply(onGPU(t, "8", map[string]any{"kubelab.gco.dev/runs": "10m"}))
	second := d.apply(onGPU(t, "8", map[string]any{"kubelab.gco.dev/runs": "10m"}))
	d.await(first.ID, runtime.PhaseRunning)
	d.await(second.ID, runtime.PhaseRunning)
	o := d.await(d.apply(onGPU(t, "1", nil)).ID, runtime.PhaseReleased)
	if c := o.Capacity; c == nil || c.Kind != capacity.NoCapacity || c.Resource != "nvidia.com/gpu" || !strings.Contains(c.Message, "nodes are available") {
		t.Errorf("released with %+v", o.Capacity)
	}
}

func TestNoNodeCouldEverTakeIt(t *testing.T) {
	f := newFixture(t)
	f.options.Unschedulable = time.Hour
	d := drive(t, f)
	o := d.await(d.apply(onGPU(t, "9", nil)).ID, runtime.PhaseReleased)
	if c := o.Capacity; c == nil || c.Kind != capacity.NeverFits || c.Resource != "nvidia.com/gpu" {
		t.Errorf("released with %+v", o.Capacity)
	}
}

// TestNodesThatMayBeAddedAreWaitedFor: what is provisionable keeps a request
// from being one that can never fit.
func TestNodesThatMayBeAddedAreWaitedFor(t *testing.T) {
	f := impatient(t)
	big := capacity.Resources{"cpu": 64000, "memory": 1 << 38, "nvidia.com/gpu": 16}
	f.options.Provisionable = []capacity.NodeShape{{Count: 1, Free: big, Total: big, Taints: []capacity.Taint{{Key: "any", Effect: "NoSchedule"}}}}
	d := drive(t, f)
	o := d.await(d.apply(onGPU(t, "9", nil)).ID, runtime.PhaseReleased)
	if c := o.Capacity; c == nil || c.Kind != capacity.NoCapacity || c.Resource != "nvidia.com/gpu" {
		t.Errorf("released with %+v", o.Capacity)
	}
	snapshot, err := d.Capacity(t.Context())
	if err != nil || len(snapshot.Provisionable) != 1 {
		t.Errorf("provisionable are %+v (%v)", snapshot.Provisionable, err)
	}
}

func TestImageThatCannotBePulled(t *testing.T) {
	d := drive(t, impatient(t))
	o := d.await(d.apply(onGPU(t, "1", map[string]any{"kubelab.gco.dev/waiting": "ImagePullBackOff"})).ID, runtime.PhaseFailed)
	if o.Reason != "ImagePullBackOff" || o.Capacity != nil || !strings.Contains(o.Message, "container main of pod") {
		t.Errorf("it is %+v", o)
	}
}

func TestMissingReferencesAreNamedAtOnce(t *testing.T) {
	d := drive(t, newFixture(t))
	if err := d.Renew(time.Hour); err != nil {
		t.Fatal(err)
	}
	a := d.attempt(edited(t, jobOf("exit 0", "1"), func(_, _, pod map[string]any) {
		pod["serviceAccountName"] = "trainer"
		pod["volumes"] = []any{
			map[string]any{"name": "data", "persistentVolumeClaim": map[string]any{"claimName": "data"}},
			map[string]any{"name": "maybe", "configMap": map[string]any{"name": "maybe", "optional": true}},
		}
		pod["containers"].([]any)[0].(map[string]any)["envFrom"] = []any{
			map[string]any{"secretRef": map[string]any{"name": "token"}}, map[string]any{"configMapRef": map[string]any{"name": "settings"}},
		}
	}))
	rejected, ok := errors.AsType[*runtime.Rejected](d.Apply(t.Context(), a))
	if !ok || rejected.Capacity != nil {
		t.Fatalf("applying: %v", rejected)
	}
	for _, want := range []string{"ServiceAccount trainer", "PersistentVolumeClaim data", "Secret token", "ConfigMap settings", "namespace default of region lab"} {
		if !strings.Contains(rejected.Message, want) {
			t.Errorf("%q does not name %s", rejected.Message, want)
		}
	}
	if strings.Contains(rejected.Message, "maybe") {
		t.Errorf("%q names what is optional", rejected.Message)
	}
}

func TestNamespaceThatIsNotThere(t *testing.T) {
	d := drive(t, newFixture(t))
	if err := d.Renew(time.Hour); err != nil {
		t.Fatal(err)
	}
	a := d.attempt(jobOf("exit 0", "1"))
	a.Namespace = "nowhere"
	rejected, ok := errors.AsType[*runtime.Rejected](d.Apply(t.Context(), a))
	if !ok || rejected.Reason != "NoNamespace" || !strings.Contains(rejected.Message, "nowhere") {
		t.Errorf("applying: %v", rejected)
	}
}

func TestForeignJobOfTheSameNameIsLeftAlone(t *testing.T) {
	f := newFixture(t)
	d := drive(t, f)
	if err := d.Renew(time.Hour); err != nil {
		t.Fatal(err)
	}
	a := d.attempt(jobOf("exit 0", "1"))
	foreign := edited(t, jobOf("sleep 1000", "2"), func(spec, _, _ map[string]any) { spec["suspend"] = true })
	var object map[string]any
	if err := json.Unmarshal(foreign, &object); err != nil {
		t.Fatal(err)
	}
	object["metadata"] = map[string]any{"name": d.object(a), "namespace": f.options.Namespace}
	a.Namespace = f.options.Namespace
	f.post(t, f.client.batch.Post().Namespace(a.Namespace).Resource("jobs"), object)
	rejected, ok := errors.AsType[*runtime.Rejected](d.Apply(t.Context(), a))
	if !ok || rejected.Reason != "NameTaken" || rejected.Capacity != nil {
		t.Errorf("applying: %v", rejected)
	}
	left, err := f.client.job(t.Context(), a.Namespace, d.object(a))
	if err != nil || left.Labels[labelJob] != "" || len(left.Spec.Template.Labels) == 0 || left.Spec.Template.Labels[labelJob] != "" {
		t.Errorf("the foreign Job is %+v (%v)", left.ObjectMeta, err)
	}
	if _, held := d.see(a.ID); held {
		t.Error("it is held")
	}
}

func TestQuotaIsToldApart(t *testing.T) {
	f := impatient(t)
	d := drive(t, f)
	if err := d.Renew(time.Hour); err != nil {
		t.Fatal(err)
	}
	f.create(t, "resourcequotas", f.options.Namespace, &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "small"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"requests.nvidia.com/gpu": resource.MustParse("0")}},
	})
	eventually(t, "a quota that the cluster has counted", func() bool {
		var quota corev1.ResourceQuota
		err := f.client.core.Get().Namespace(f.options.Namespace).Resource("resourcequotas").Name("small").Do(t.Context()).Into(&quota)
		return err == nil && len(quota.Status.Hard) > 0
	})
	a := d.attempt(onGPU(t, "1", nil))
	a.Namespace = f.options.Namespace
	if err := d.Apply(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	o := d.await(a.ID, runtime.PhaseReleased)
	if c := o.Capacity; c == nil || c.Kind != capacity.Quota || c.Resource != "nvidia.com/gpu" || !strings.Contains(c.Message, "exceeded quota") {
		t.Errorf("released with %+v", o)
	}
}

// TestAdmission tells a webhook that is broken, which is the region's fault,
// from one that says no, which is the job's.
func TestAdmission(t *testing.T) {
	d := drive(t, newFixture(t))
	for _, test := range []struct {
		says   string
		reason string
		kind   capacity.FailureKind
	}{
		{`Internal error occurred: failed calling webhook "policy.example.com": connection refused`, "no-capacity", capacity.NoCapacity},
		{`admission webhook "policy.example.com" denied the request: no`, "AdmissionDenied", ""},
		{`jobs.batch "x" is forbidden: exceeded quota: jobs, requested: count/jobs.batch=1, used: count/jobs.batch=1, limited: count/jobs.batch=1`, "quota", capacity.Quota},
	} {
		err := d.refused(t.Context(), runtime.Attempt{}, &spec{}, errors.New(test.says))
		rejected, ok := errors.AsType[*runtime.Rejected](err)
		if !ok || rejected.Reason != test.reason || (rejected.Capacity != nil) != (test.kind != "") {
			t.Errorf("%s: %v", test.says, err)
			continue
		}
		if test.kind != "" && (rejected.Capacity.Kind != test.kind || rejected.Capacity.Resource != capacity.Pods) {
			t.Errorf("%s: %+v", test.says, rejected.Capacity)
		}
	}
}

func TestEvictionIsALoss(t *testing.T) {
	f := newFixture(t)
	d := drive(t, f)
	a := d.hold()
	pods, err := d.Pods(t.Context(), a.ID)
	if err != nil || len(pods) != 1 {
		t.Fatalf("pods %+v (%v)", pods, err)
	}
	f.post(t, f.client.core.Post().Namespace("default").Resource("pods").Name(pods[0].Name).SubResource("eviction"), map[string]any{
		"apiVersion": "policy/v1", "kind": "Eviction", "metadata": map[string]any{"name": pods[0].Name, "namespace": "default"},
	})
	o := d.await(a.ID, runtime.PhaseLost)
	if o.Reason != "EvictionByEvictionAPI" || !strings.Contains(o.Message, pods[0].Name) {
		t.Errorf("it is %+v", o)
	}
}

func TestJobDeletedByHand(t *testing.T) {
	for _, propagation := range []metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan} {
		t.Run(string(propagation), func(t *testing.T) {
			f := newFixture(t)
			d := drive(t, f)
			a := d.hold()
			j, err := f.client.job(t.Context(), "default", d.object(a))
			if err != nil {
				t.Fatal(err)
			}
			if err := f.client.deleteJob(t.Context(), "default", j.Name, j.UID, propagation); err != nil {
				t.Fatal(err)
			}
			if o := d.await(a.ID, runtime.PhaseLost); o.Reason != "Deleted" {
				t.Errorf("it is %+v", o)
			}
			f.AwaitRunning(t, a.ID, 0)
		})
	}
}

// TestOrphansOfAnEarlierLifeAreEnded: the Job goes while no agent lives.
func TestOrphansOfAnEarlierLifeAreEnded(t *testing.T) {
	f := newFixture(t)
	d := drive(t, f)
	a := d.hold()
	f.Crash(t, d.Runtime)
	j, err := f.client.job(t.Context(), "default", d.object(a))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.client.deleteJob(t.Context(), "default", j.Name, j.UID, metav1.DeletePropagationOrphan); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the Job", func() bool {
		_, err := f.client.job(t.Context(), "default", d.object(a))
		return gone(err)
	})
	next := drive(t, f)
	f.AwaitRunning(t, a.ID, 0)
	if _, held := next.see(a.ID); held {
		t.Error("what has no Job is held")
	}
}

func TestNodeThatIsSilentLosesItsPods(t *testing.T) {
	d := drive(t, newFixture(t))
	a := d.hold()
	silent := func(ctx context.Context) error { return theLab.SetNode(ctx, "runs-0", "Unknown") }
	ready := func(ctx context.Context) error { return theLab.SetNode(ctx, "runs-0", "True") }
	theLab.fault(t, silent, ready)
	eventually(t, "capacity without the node", func() bool {
		snapshot, err := d.Capacity(t.Context())
		return err == nil && snapshot.Total()[capacity.CPU] == 64_000
	})
	eventually(t, "a pod that was told to go", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, p := range d.pods {
			if p.of != "" && p.deleting {
				return true
			}
		}
		return false
	})
	if o, _ := d.see(a.ID); o.Phase != runtime.PhaseRunning {
		t.Errorf("nobody knows whether it runs, and it is %s", o.Phase)
	}
	theLab.ask(t, ready)
	if o := d.await(a.ID, runtime.PhaseLost); o.Reason != "DeletionByTaintManager" {
		t.Errorf("it is %+v", o)
	}
}

func TestCordonedNodesDoNotCount(t *testing.T) {
	d := drive(t, newFixture(t))
	before, err := d.Capacity(t.Context())
	if err != nil || before.Total()["nvidia.com/gpu"] != 16 || len(before.Nodes) != 2 {
		t.Fatalf("capacity %+v (%v), want two shapes with 16 GPUs", before, err)
	}
	theLab.fault(t,
		func(ctx context.Context) error { return theLab.SetCapacity(ctx, false) },
		func(ctx context.Context) error { return theLab.SetCapacity(ctx, true) })
	eventually(t, "no capacity", func() bool {
		now, err := d.Capacity(t.Context())
		return err == nil && len(now.Nodes) == 0
	})
}

func TestLogsOfSeveralContainersAndAnEarlierLife(t *testing.T) {
	d := drive(t, newFixture(t))
	a := d.apply(edited(t, jobOf("", "1"), func(spec, _, pod map[string]any) {
		spec["backoffLimit"] = 3
		pod["restartPolicy"] = "OnFailure"
		container := func(name, script string) any {
			return map[string]any{"name": name, "image": "busybox", "command": []string{"/bin/sh", "-c", script}}
		}
		pod["initContainers"] = []any{container("before", "echo ready")}
		pod["containers"] = []any{
			container("main", `if [ -e "$HOME/again" ]; then echo second; else touch "$HOME/again"; echo first; exit 1; fi`),
		}
	}))
	d.await(a.ID, runtime.PhaseSucceeded)
	stream, err := d.Logs(t.Context(), a.ID, runtime.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text := readAll(t, stream)
	pod := "[" + d.object(a)
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		want := []string{"/before] ready", "/main] first", "/main] second"}[min(i, 2)]
		if !strings.HasPrefix(line, pod) || !strings.HasSuffix(line, want) {
			t.Errorf("line %d is %q, want %s", i, line, want)
		}
	}
	if strings.Count(text, "\n") != 3 {
		t.Errorf("the log is %q", text)
	}
}
