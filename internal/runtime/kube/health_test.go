package kube

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/internal/runtime"
)

// still is a runtime that hears only what a test tells it.
func still(clock *testclock.FakeClock) *Runtime {
	r := newRuntime(Options{Clock: clock, Region: "still"}.withDefaults(), nil)
	for _, state := range r.watches {
		state.synced = true
	}
	return r
}

func TestNodesConditionHasHysteresis(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	r := still(clock)
	set := func(ready int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for i := range 10 {
			status := corev1.ConditionFalse
			if i < ready {
				status = corev1.ConditionTrue
			}
			r.takeNode(&corev1.Node{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("node-", i)},
				Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}}},
			})
		}
	}
	for _, step := range []struct {
		ready int
		after time.Duration
		want  runtime.Status
	}{
		{10, 0, runtime.StatusOK},
		{4, 0, runtime.StatusOK},
		{4, 29 * time.Second, runtime.StatusOK},
		{5, time.Second, runtime.StatusFailed}, // few for 30 s, and five are not enough to end it
		{6, 0, runtime.StatusFailed},
		{6, 29 * time.Second, runtime.StatusFailed},
		{4, 0, runtime.StatusFailed},
		{7, time.Second, runtime.StatusFailed},
		{7, 30 * time.Second, runtime.StatusOK},
		{5, time.Minute, runtime.StatusOK},
	} {
		clock.Step(step.after)
		set(step.ready)
		if got := r.Conditions(t.Context())[0]; got.Status != step.want || got.Message != fmt.Sprintf("%d of 10 nodes are ready", step.ready) {
			t.Errorf("with %d nodes, %s later: %+v, want %s", step.ready, step.after, got, step.want)
		}
	}
}
