package kube

import (
	"fmt"
	goruntime "runtime"
	"testing"
	"time"

	"github.com/google/uuid"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

// TestTenThousandJobsAreSmall: what is kept of each is a fraction of what the
// cluster says of it.
func TestTenThousandJobsAreSmall(t *testing.T) {
	const count = 10_000
	clock := testclock.NewFakeClock(time.Now())
	r := still(clock)
	before := heapSize()
	for i := range count {
		j, p := busyJob(t, r, i)
		r.mu.Lock()
		r.takeIn(j)
		r.takePod(p)
		r.mu.Unlock()
	}
	grown := heapSize() - before
	held, synced, err := r.List(t.Context())
	if err != nil || !synced || len(held) != count || held[0].Phase != runtime.PhaseRunning {
		t.Fatalf("%d held, synced %t, %v", len(held), synced, err)
	}
	if h := r.held[held[0].ID]; h.demand.Count != 1 || h.demand.Requests["cpu"] != 1000 {
		t.Errorf("its demand is %+v", h.demand)
	}
	t.Logf("%d Jobs with a pod each take %d MB", count, grown>>20)
	if grown > 100<<20 {
		t.Errorf("%d Jobs take %d MB, want less than 100", count, grown>>20)
	}
	goruntime.KeepAlive(r)
}

func heapSize() int64 {
	goruntime.GC()
	var stats goruntime.MemStats
	goruntime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// busyJob is a Job with its pod as a cluster would send them.
func busyJob(t *testing.T, r *Runtime, i int) (*batchv1.Job, *corev1.Pod) {
	t.Helper()
	a := runtime.Attempt{
		ID: job.AttemptID{Job: job.NewID(), Attempt: 1}, Incarnation: uuid.NewString(), Namespace: "default", Name: fmt.Sprint("train-", i),
		Manifest: jobOf("exec train --epochs 90 --batch 256 --data /data/imagenet --out $GCO_CHECKPOINT", "1"),
	}
	s, err := r.compile(a)
	if err != nil {
		t.Fatal(err)
	}
	j := s.job
	j.UID, j.ResourceVersion = types.UID(uuid.NewString()), fmt.Sprint(1000+i)
	j.Annotations[annotationTerm] = r.lease.current()
	fields := &metav1.FieldsV1{}
	fields.SetRawBytes(fmt.Appendf(nil, `{"f:spec": %q}`, make([]byte, 500)))
	managed := []metav1.ManagedFieldsEntry{{Manager: "gco", FieldsV1: fields}}
	j.ManagedFields = managed
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: j.Name + "-abcde", Namespace: "default", UID: types.UID(uuid.NewString()), ManagedFields: managed,
			Labels: merged(j.Spec.Template.Labels, map[string]string{labelJobUID: string(j.UID), "batch.kubernetes.io/job-name": j.Name}),
		},
		Spec: *j.Spec.Template.Spec.DeepCopy(),
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "main", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
		}}},
	}
	pod.Spec.NodeName = fmt.Sprint("node-", i%100)
	pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("1")}
	return j, pod
}
