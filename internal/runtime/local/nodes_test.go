package local

import (
	"errors"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/runtime"
)

func TestNodesAreShared(t *testing.T) {
	r := openTest(t, testOptions(t)) // two nodes with four GPUs each
	withGPUs := func(n string) runtime.Attempt {
		return jobWith(func(_ *batchv1.JobSpec, p *corev1.PodSpec) {
			c := shell("main", `echo "$GCO_NODE $CUDA_VISIBLE_DEVICES"; `+holding)
			c.Resources.Limits = corev1.ResourceList{gpu: resource.MustParse(n)}
			p.Containers = []corev1.Container{c}
		})
	}
	var held []runtime.Attempt
	for _, n := range []string{"3", "1", "2", "2"} {
		a := withGPUs(n)
		apply(t, r, a)
		held = append(held, a)
	}
	refused := func(n string, kind capacity.FailureKind) {
		t.Helper()
		rejected, ok := errors.AsType[*runtime.Rejected](r.Apply(t.Context(), withGPUs(n)))
		if !ok || rejected.Capacity == nil || rejected.Capacity.Kind != kind || rejected.Capacity.Resource != gpu {
			t.Errorf("%s GPUs: %+v, want %s", n, rejected, kind)
		}
	}
	refused("1", capacity.NoCapacity)
	refused("5", capacity.NeverFits)
	snapshot, err := r.Capacity(t.Context())
	if err != nil || snapshot.Free()[gpu] != 0 || snapshot.Total()[gpu] != 8 {
		t.Errorf("%+v (%v)", snapshot, err)
	}
	f := &fixture{r.options}
	given := map[string]bool{}
	for i, a := range held {
		line := strings.Fields(firstLine(t, r, a.ID))
		gpus := strings.Split(line[1], ",")
		if len(gpus) != []int{3, 1, 2, 2}[i] {
			t.Errorf("attempt %d was given %v", i, gpus)
		}
		for _, g := range gpus {
			if given[g] {
				t.Errorf("GPU %s was given twice", g)
			}
			given[g] = true
		}
		if o := line[0]; i < 2 && o != "us-east-1-node-0" || i >= 2 && o != "us-east-1-node-1" {
			t.Errorf("attempt %d is on %s; they leave GPUs apart that could be together", i, o)
		}
	}
	f.Release(t, held[0].ID)
	awaitPhase(t, r, held[0].ID, runtime.PhaseSucceeded)
	if got := func() int64 { s, _ := r.Capacity(t.Context()); return s.Free()[gpu] }(); got != 3 {
		t.Errorf("%d GPUs are free after the end, want 3", got)
	}
	apply(t, r, withGPUs("3"))
}

func TestNodeChoice(t *testing.T) {
	options := testOptions(t)
	options.Nodes = []capacity.NodeShape{
		{Count: 1, Architecture: "amd64", Total: capacity.Resources{capacity.CPU: 8000}},
		{Count: 1, Architecture: "arm64", Total: capacity.Resources{capacity.CPU: 8000}, Labels: map[string]string{"disk": "fast"}},
		{Count: 1, Architecture: "amd64", Total: capacity.Resources{capacity.CPU: 8000}, Taints: []capacity.Taint{{Key: "team", Value: "vision", Effect: "NoSchedule"}}},
	}
	r := openTest(t, options)
	for _, test := range []struct {
		name   string
		change func(p *corev1.PodSpec)
		want   string
	}{
		{"architecture", func(p *corev1.PodSpec) { p.NodeSelector = map[string]string{"kubernetes.io/arch": "arm64"} }, "us-east-1-node-1"},
		{"label", func(p *corev1.PodSpec) { p.NodeSelector = map[string]string{"disk": "fast"} }, "us-east-1-node-1"},
		{"toleration and affinity", func(p *corev1.PodSpec) {
			p.Tolerations = []corev1.Toleration{{Key: "team", Operator: corev1.TolerationOpExists}}
			p.NodeSelector = map[string]string{"kubernetes.io/arch": "amd64"}
			p.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("8")}
		}, "us-east-1-node-0"},
		{"nowhere", func(p *corev1.PodSpec) { p.NodeSelector = map[string]string{"disk": "slow"} }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := jobWith(func(_ *batchv1.JobSpec, p *corev1.PodSpec) {
				p.Containers = []corev1.Container{shell("main", `echo "$GCO_NODE"`)}
				test.change(p)
			})
			if test.want == "" {
				rejected, ok := errors.AsType[*runtime.Rejected](r.Apply(t.Context(), a))
				if !ok || rejected.Capacity == nil || rejected.Capacity.Kind != capacity.NeverFits {
					t.Errorf("%+v", rejected)
				}
				return
			}
			if o, text := run(t, r, a); strings.TrimSpace(text) != test.want {
				t.Errorf("on %q, want %s (%+v)", text, test.want, o)
			}
		})
	}
}
