package kube

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

// Stop asks for the end of an attempt. Its pods get their own grace period, and
// its Job goes after them.
func (r *Runtime) Stop(ctx context.Context, id job.AttemptID) error {
	r.mu.Lock()
	h, err := r.find(id)
	if err != nil || h.observation.Phase.Terminal() || h.ended() {
		r.mu.Unlock()
		return err
	}
	if h.ending == nil {
		h.ending = &ending{}
		h.tried = r.options.Clock.Now()
		r.waiting[id] = h
	}
	if h.ending.phase != runtime.PhaseLost {
		// Whatever it was to end for: it is not wanted any more.
		*h.ending = ending{phase: runtime.PhaseStopped, quick: h.ending.quick}
	}
	asked := h.asked
	r.mu.Unlock()
	if asked {
		return nil
	}
	r.keepLogs(h)
	if err := r.deleteHeld(ctx, h); err != nil {
		r.poke() // it is tried again from here, too
		return fmt.Errorf("stopping attempt %d of job %s: %w", id.Attempt, id.Job, err)
	}
	return nil
}

// Forget removes what is left of an attempt that has ended: its Job, and with
// that its pods, which do not run any more.
func (r *Runtime) Forget(ctx context.Context, id job.AttemptID) error {
	r.mu.Lock()
	h := r.held[id]
	if h == nil {
		r.mu.Unlock()
		return nil
	}
	if phase := h.observation.Phase; !phase.Terminal() {
		r.mu.Unlock()
		return fmt.Errorf("forgetting attempt %d of job %s: it is %s; stop it first", id.Attempt, id.Job, phase)
	}
	gone := h.gone
	if !gone {
		// What the watch still brings of it is old news.
		r.forgotten[h.uid] = true
	}
	r.mu.Unlock()
	if !gone {
		if err := r.client.deleteJob(ctx, h.namespace, h.name, h.uid, metav1.DeletePropagationBackground); err != nil {
			return fmt.Errorf("forgetting attempt %d of job %s: %w", id.Attempt, id.Job, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if h.gone {
		delete(r.forgotten, h.uid)
	}
	for uid, p := range r.podsOf[h.uid] {
		if r.pods[uid] == nil || p.over {
			delete(r.pods, uid)
			delete(r.podsOf[h.uid], uid)
		}
	}
	if len(r.podsOf[h.uid]) == 0 {
		delete(r.podsOf, h.uid)
	}
	r.dropSpool(h)
	delete(r.held, id)
	delete(r.byUID, h.uid)
	r.signal()
	return nil
}
