package local

import (
	"context"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

// Pods returns the pods of an attempt, oldest first; of those that have ended,
// the last hundred.
func (r *Runtime) Pods(ctx context.Context, id job.AttemptID) ([]runtime.Pod, error) {
	h, err := r.find(ctx, id)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return podsOf(h.status.Pods), nil
}

// ClusterEvents returns what happened to an attempt, oldest first.
func (r *Runtime) ClusterEvents(ctx context.Context, id job.AttemptID) ([]runtime.ClusterEvent, error) {
	h, err := r.find(ctx, id)
	if err != nil {
		return nil, err
	}
	events, err := attempt.LoadEvents(h.dir)
	return eventsOf(events), err
}
