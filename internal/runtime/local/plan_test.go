package local

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

// The demand is package manifest's: what placement counted on, nodes hold.
func TestDemand(t *testing.T) {
	a := jobWith(func(j *batchv1.JobSpec, p *corev1.PodSpec) {
		j.Parallelism, j.Completions = new(int32(2)), new(int32(5))
		p.NodeSelector = map[string]string{"disk": "fast"}
		p.Containers = []corev1.Container{shell("main", "exit 0")}
		p.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")}
		p.Containers[0].Resources.Limits = corev1.ResourceList{gpu: resource.MustParse("2")}
	})
	plan, pod, err := compile(a, Options{}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	if want := (capacity.Resources{capacity.CPU: 1500, gpu: 2, capacity.Pods: 1}); !pod.Requests.Equal(want) || pod.NodeSelector["disk"] != "fast" || plan.Parallelism != 2 {
		t.Errorf("%+v, %d at a time; want %v", pod, plan.Parallelism, want)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"spec": 7}`))
	f.Add([]byte(jobOf("exit 0", "1")))
	whole := jobWith(func(j *batchv1.JobSpec, p *corev1.PodSpec) {
		j.Completions, j.Parallelism, j.CompletionMode = new(int32(3)), new(int32(2)), new(batchv1.IndexedCompletion)
		j.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
			Action: batchv1.PodFailurePolicyActionFailJob, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: "In", Values: []int32{42}},
		}}}
		p.TerminationGracePeriodSeconds = new(int64(1 << 62))
		p.Containers = []corev1.Container{shell("main", "exit 0")}
		p.Containers[0].Env = []corev1.EnvVar{
			{Name: "A", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['x']"}}},
			{Name: "B", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu"}}},
		}
	})
	f.Add([]byte(whole.Manifest))
	options := Options{}.withDefaults()
	f.Fuzz(func(t *testing.T, manifest []byte) {
		plan, pod, err := compile(runtime.Attempt{ID: newID(), Name: "test", Namespace: "default", Manifest: manifest}, options)
		if err != nil {
			if rejected, ok := errors.AsType[*runtime.Rejected](err); !ok || rejected.Message == "" || rejected.Capacity != nil {
				t.Errorf("%v, want a rejection that says why", err)
			}
			return
		}
		if plan.Parallelism < 1 || len(plan.Pod.Containers) == 0 || pod.Requests[capacity.Pods] != 1 {
			t.Errorf("compiled to %+v, which runs nothing", plan)
		}
		if plan.Pod.Grace < 0 || plan.Pod.Grace > options.MaxGrace {
			t.Errorf("grace %s", plan.Pod.Grace)
		}
		for _, c := range plan.Pod.All() {
			if len(c.Command) == 0 || c.Name == "" {
				t.Errorf("container %+v", c)
			}
		}
		if _, err := json.Marshal(plan); err != nil {
			t.Errorf("the plan can't be written down: %v", err)
		}
	})
}

func TestRejected(t *testing.T) {
	r := openTest(t, testOptions(t))
	for _, test := range []struct {
		name   string
		change func(j *batchv1.JobSpec, p *corev1.PodSpec)
		want   string
	}{
		{"no command", func(_ *batchv1.JobSpec, p *corev1.PodSpec) { p.Containers[0].Command = nil }, "pulls no image"},
		{"no containers", func(_ *batchv1.JobSpec, p *corev1.PodSpec) { p.Containers = nil }, "there are none"},
		{"secret", func(_ *batchv1.JobSpec, p *corev1.PodSpec) {
			p.Containers[0].Env = []corev1.EnvVar{{Name: "X", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "vault"}, Key: "pin"}}}}
		}, "key pin of secret vault"},
		{"config map", func(_ *batchv1.JobSpec, p *corev1.PodSpec) {
			p.Containers[0].Env = []corev1.EnvVar{{Name: "X", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, Key: "k"}}}}
		}, "key k of config map settings"},
		{"unknown field", func(_ *batchv1.JobSpec, p *corev1.PodSpec) {
			p.Containers[0].Env = []corev1.EnvVar{{Name: "X", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.whim"}}}}
		}, "spec.whim"},
		{"volume", func(_ *batchv1.JobSpec, p *corev1.PodSpec) {
			p.Volumes = []corev1.Volume{{Name: "claim", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "disk"}}}}
		}, "volumes[0] (claim)"},
		{"working directory outside", func(_ *batchv1.JobSpec, p *corev1.PodSpec) { p.Containers[0].WorkingDir = "../.." }, "leads out"},
		{"working directory missing", func(_ *batchv1.JobSpec, p *corev1.PodSpec) { p.Containers[0].WorkingDir = "/no/such/dir" }, "does not exist"},
		{"suspended", func(j *batchv1.JobSpec, _ *corev1.PodSpec) { j.Suspend = new(true) }, "suspend"},
		{"nothing to run", func(j *batchv1.JobSpec, _ *corev1.PodSpec) { j.Parallelism = new(int32(0)) }, "parallelism"},
		{"restart always", func(_ *batchv1.JobSpec, p *corev1.PodSpec) { p.RestartPolicy = corev1.RestartPolicyAlways }, "restartPolicy"},
		{"twins", func(_ *batchv1.JobSpec, p *corev1.PodSpec) { p.Containers = append(p.Containers, p.Containers[0]) }, "two containers"},
		{"a name that is a path", func(_ *batchv1.JobSpec, p *corev1.PodSpec) { p.Containers[0].Name = "../../main" }, "can't name a file"},
		{"lifecycle", func(_ *batchv1.JobSpec, p *corev1.PodSpec) { p.Containers[0].Lifecycle = &corev1.Lifecycle{} }, "lifecycle"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := jobWith(func(j *batchv1.JobSpec, p *corev1.PodSpec) {
				p.Containers = []corev1.Container{shell("main", "exit 0")}
				test.change(j, p)
			})
			rejected, ok := errors.AsType[*runtime.Rejected](r.Apply(t.Context(), a))
			if !ok || rejected.Reason != reasonUnsupported || !strings.Contains(rejected.Message, test.want) {
				t.Errorf("%v, want a rejection that says %q", rejected, test.want)
			}
		})
	}
	if held, _, _ := r.List(t.Context()); len(held) > 0 {
		t.Errorf("held: %+v", held)
	}
	bad := attemptOf(job.AttemptID{Job: "../../etc", Attempt: 1}, "exit 0")
	if _, ok := errors.AsType[*runtime.Rejected](r.Apply(t.Context(), bad)); !ok {
		t.Error("applied an attempt whose ID is a path")
	}
}
