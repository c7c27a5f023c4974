package kube

import (
	"encoding/json"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

// FuzzReadPod: whatever a cluster says of a pod, reading it does not panic, and
// its result is of a length that the contract allows.
func FuzzReadPod(f *testing.F) {
	f.Add([]byte(`{"metadata":{"labels":{"app.kubernetes.io/managed-by":"gco","gco.dev/job":"x"}},"spec":{"containers":[{"name":"a"}]},
"status":{"phase":"Failed","containerStatuses":[{"name":"a","state":{"terminated":{"exitCode":1,"message":"k=v"}}}]}}`))
	f.Add([]byte(`{"status":{"conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable"}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var p corev1.Pod
		if json.Unmarshal(text, &p) != nil {
			return
		}
		read := readPod(&p)
		if len(read.result) > runtime.MaxResult+1 || len(read.view.Containers) > len(p.Spec.Containers)+len(p.Spec.InitContainers) {
			t.Errorf("read %+v", read)
		}
	})
}

// FuzzAttemptOf: only a Job of the name that its labels make is an attempt.
func FuzzAttemptOf(f *testing.F) {
	f.Add("gco", "01a20666", "1", "first", "train", "train-0123456789")
	f.Add("", "", "x", "", "", "")
	f.Fuzz(func(t *testing.T, manager, id, attempt, incarnation, title, name string) {
		var j batchv1.Job
		j.Name = name
		j.Labels = map[string]string{labelManagedBy: manager, labelJob: id, labelAttempt: attempt}
		j.Annotations = map[string]string{annotationIncarnation: incarnation, annotationName: title}
		got, ok := attemptOf(&j)
		if ok && (name != objectName(title, incarnation, got) || manager != fieldManager || got.Job != job.ID(id)) {
			t.Errorf("%s of %s is taken for %v", name, title, got)
		}
	})
}

func TestObjectNames(t *testing.T) {
	id := job.AttemptID{Job: "01a20666-5f0d-7e36-8a7f-d3fa3d859703", Attempt: 1}
	seen := map[string]bool{}
	for _, name := range []string{
		objectName("train", "first", id), objectName("train", "second", id), objectName("train", "first", job.AttemptID{Job: id.Job, Attempt: 2}),
		objectName("a.name.that.is.longer.than.a.label.of.dns.may.be.and.has.dots", "first", id), objectName("cut-just-behind-its-last-hyphen-her-e", "first", id),
	} {
		if seen[name] || len(name) > 47 || len(name) < 12 {
			t.Errorf("%s is taken, or no name for a Job whose pods get longer ones", name)
		}
		seen[name] = true
	}
}
