package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

// maxEvents bounds the events that are read of one object, maxEventPods the
// pods of an attempt whose events are read: the newest ones.
const (
	maxEvents    = 200
	maxEventPods = 20
)

// Pods returns the pods of an attempt, oldest first.
func (r *Runtime) Pods(_ context.Context, id job.AttemptID) ([]runtime.Pod, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, err := r.find(id)
	if err != nil {
		return nil, err
	}
	pods := []runtime.Pod{}
	for _, p := range r.sortedPods(h) {
		view := p.view
		view.Containers = slices.Clone(view.Containers)
		pods = append(pods, view)
	}
	return pods, nil
}

// ClusterEvents returns what the cluster said of an attempt's Job and of its
// pods, oldest first. Clusters keep events for an hour, as a rule.
func (r *Runtime) ClusterEvents(ctx context.Context, id job.AttemptID) ([]runtime.ClusterEvent, error) {
	r.mu.Lock()
	h, err := r.find(id)
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	namespace, objects := h.namespace, []types.UID{h.uid}
	pods := r.sortedPods(h)
	for _, p := range pods[max(0, len(pods)-maxEventPods):] {
		objects = append(objects, p.uid)
	}
	r.mu.Unlock()
	var all []runtime.ClusterEvent
	for _, uid := range objects {
		found, err := r.client.events(ctx, namespace, uid)
		if err != nil {
			return nil, fmt.Errorf("reading the cluster's events: %w", err)
		}
		for i := range found {
			all = append(all, readEvent(&found[i]))
		}
	}
	slices.SortStableFunc(all, func(a, b runtime.ClusterEvent) int { return a.At.Compare(b.At) })
	return all, nil
}

func readEvent(e *corev1.Event) runtime.ClusterEvent {
	out := runtime.ClusterEvent{
		At: e.LastTimestamp.Time, Warning: e.Type == corev1.EventTypeWarning, Reason: e.Reason, Message: e.Message,
		Object: strings.ToLower(e.InvolvedObject.Kind) + "/" + e.InvolvedObject.Name, Count: max(int(e.Count), 1),
	}
	if e.Series != nil {
		out.At, out.Count = e.Series.LastObservedTime.Time, int(e.Series.Count)
	}
	if out.At.IsZero() {
		out.At = e.EventTime.Time
	}
	if out.At.IsZero() {
		out.At = e.CreationTimestamp.Time
	}
	out.Message = cmp.Or(out.Message, out.Reason)
	return out
}
