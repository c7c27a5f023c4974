package kube

import (
	"context"
	"fmt"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gco-project/gco/internal/runtime"
)

const (
	// maxEndings bounds the calls that end attempts at the same time.
	maxEndings = 32
	// tendRetry is the pause after such a call has failed.
	tendRetry = time.Second
	// orphanage is for how long pods may outlive their Job, as far as this
	// process can see, before it ends them itself.
	orphanage = 2 * time.Second
)

// stray is a Job that stands for an attempt which has ended.
type stray struct{ namespace, name string }

// stray ends a Job that nobody asked for; r.mu must be held.
func (r *Runtime) stray(j *batchv1.Job) {
	if j.DeletionTimestamp != nil || r.strays[j.UID] != nil {
		return
	}
	r.options.Log.Warn("a Job of an attempt that has ended; deleting it", "namespace", j.Namespace, "name", j.Name)
	r.strays[j.UID] = &stray{j.Namespace, j.Name}
	r.poke()
}

// tend ends what is to be ended, until ctx does. It acts on what it finds, so
// it does not matter who failed to before. Each round:
//
//  1. Fenced attempts of an earlier term begin to end.
//  2. So do those that have waited for too long (see overdue).
//  3. The Jobs of attempts that end are deleted, pods first to go; where time
//     matters, their pods are told to be quick.
//  4. Pods without a Job are deleted.
func (r *Runtime) tend(ctx context.Context) {
	for ctx.Err() == nil {
		again := r.tendOnce(ctx)
		var timer <-chan time.Time
		if again > 0 {
			timer = r.options.Clock.After(again)
		}
		select {
		case <-ctx.Done():
		case <-r.poked:
		case <-timer:
		}
	}
}

// tendOnce returns after which time to look again; 0 is when poked.
func (r *Runtime) tendOnce(ctx context.Context) (again time.Duration) {
	calls, again := r.plan()
	limit := make(chan struct{}, maxEndings)
	var all sync.WaitGroup
	for _, call := range calls {
		limit <- struct{}{}
		all.Go(func() {
			call(ctx)
			<-limit
		})
	}
	all.Wait()
	return again
}

// plan says what to ask of the cluster now.
func (r *Runtime) plan() (calls []func(context.Context), again time.Duration) {
	sooner := func(after time.Duration) {
		if again == 0 || after < again {
			again = max(after, time.Millisecond)
		}
	}
	term := r.lease.current()
	r.mu.Lock()
	defer r.mu.Unlock()
	if term != r.term {
		r.term = term
		for _, h := range r.held {
			r.outdate(h)
		}
	}
	now := r.options.Clock.Now()
	for _, h := range r.waiting {
		r.outdate(h)
		if h.ending == nil {
			overdue, after := r.overdue(h, now)
			if h.ending = overdue; overdue == nil && after > 0 {
				sooner(after)
			}
		}
		if h.ended() {
			if since := now.Sub(h.status.seenAt); since < settle {
				sooner(settle - since)
			} else {
				r.look(h)
			}
			continue
		}
		found, after := r.endingCalls(h, now)
		calls = append(calls, found...)
		if after > 0 {
			sooner(after)
		}
	}
	orphans, after := r.orphanCalls()
	if after > 0 {
		sooner(after)
	}
	return append(calls, orphans...), again
}

// outdate begins to end a fenced attempt of an earlier term.
func (r *Runtime) outdate(h *held) {
	if !h.outdated(r.lease.current()) || h.ended() || h.ending != nil && h.ending.quick {
		return
	}
	if h.ending == nil {
		h.ending = &ending{phase: runtime.PhaseLost, reason: "Fenced", message: "the region's lease passed"}
	}
	h.ending.quick = true
	r.waiting[h.id] = h
}

// endingCalls are what to ask for one attempt; r.mu must be held.
func (r *Runtime) endingCalls(h *held, now time.Time) (calls []func(context.Context), again time.Duration) {
	if h.ending != nil && !h.gone && !h.asked {
		if since := now.Sub(h.tried); since < tendRetry {
			again = tendRetry - since
		} else {
			h.tried = now
			again = tendRetry
			calls = append(calls, func(ctx context.Context) { r.logged(h, r.deleteHeld(ctx, h)) })
		}
	}
	orphaned := h.gone && now.Sub(h.goneAt) >= orphanage
	if h.gone && !orphaned {
		again = orphanage - now.Sub(h.goneAt)
	}
	grace := time.Duration(-1)
	if h.ending != nil && h.ending.quick {
		grace = r.options.FenceGrace
	}
	for _, p := range r.podsOf[h.uid] {
		if !p.live() || p.killed || !orphaned && grace < 0 {
			continue
		}
		p.killed = true
		calls = append(calls, func(ctx context.Context) {
			r.killed(p, r.client.deletePod(ctx, p.namespace, p.view.Name, p.uid, grace))
		})
	}
	return calls, again
}

// deleteHeld asks for the end of an attempt's Job; its pods go first.
func (r *Runtime) deleteHeld(ctx context.Context, h *held) error {
	err := r.client.deleteJob(ctx, h.namespace, h.name, h.uid, metav1.DeletePropagationForeground)
	if err == nil {
		r.mu.Lock()
		h.asked = true
		r.mu.Unlock()
	}
	return err
}

func (r *Runtime) logged(h *held, err error) {
	if err != nil {
		r.options.Log.Warn("ending an attempt; trying again", "region", r.options.Region, "job", h.id.Job, "attempt", h.id.Attempt, "error", err)
	}
}

// killed notes whether a pod was told to end.
func (r *Runtime) killed(p *pod, err error) {
	if err == nil {
		return
	}
	r.options.Log.Warn("ending a pod; trying again", "region", r.options.Region, "namespace", p.namespace, "pod", p.view.Name, "error", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.pods[p.uid]; now != nil {
		now.killed = false
	}
	poke(r.poked)
}

// orphanCalls end strays, and pods whose Job this process does not hold and
// the cluster does not have; r.mu must be held.
func (r *Runtime) orphanCalls() (calls []func(context.Context), again time.Duration) {
	for uid, s := range r.strays {
		calls = append(calls, func(ctx context.Context) {
			if err := r.client.deleteJob(ctx, s.namespace, s.name, uid, metav1.DeletePropagationForeground); err != nil {
				r.options.Log.Warn("deleting a stray Job; trying again", "namespace", s.namespace, "name", s.name, "error", err)
			}
		})
		again = tendRetry
	}
	if !r.synced() {
		return calls, again
	}
	for uid, p := range r.loose {
		if r.byUID[p.of] != nil || r.pods[uid] != p || !p.live() || p.deleting {
			delete(r.loose, uid)
		} else if !p.killed && !r.forgotten[p.of] {
			p.killed = true
			calls = append(calls, func(ctx context.Context) { r.killed(p, r.endOrphan(ctx, p)) })
		}
	}
	return calls, again
}

// endOrphan deletes a pod if its Job is gone, and is not only late to show.
func (r *Runtime) endOrphan(ctx context.Context, p *pod) error {
	j, err := r.client.job(ctx, p.namespace, p.jobName)
	if err == nil && j.UID == p.of {
		r.mu.Lock()
		defer r.mu.Unlock()
		p.killed = false
		delete(r.loose, p.uid)
		return nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return r.client.deletePod(ctx, p.namespace, p.view.Name, p.uid, -1)
}

// Fence kills all fenced attempts, and returns when none runs: not as far as
// this process has heard, and not as the cluster itself says.
func (r *Runtime) Fence(ctx context.Context) error {
	r.lease.newTerm()
	for {
		r.poke()
		if err := r.wait(ctx, func() bool { return !r.fencing() }); err != nil {
			return err
		}
		left, err := r.listFenced(ctx)
		if err != nil {
			return fmt.Errorf("looking for what still runs: %w", err)
		}
		if left == 0 {
			return nil
		}
		if err := pause(ctx, r.options.Clock, firstWatchPause); err != nil {
			return err
		}
	}
}

// fencing tells whether attempts of an earlier term have not ended, or may
// still come to be; r.mu must be held.
func (r *Runtime) fencing() bool {
	term := r.lease.current()
	if r.applying[term] != r.applies {
		return true
	}
	for _, h := range r.held {
		if h.outdated(term) {
			return true
		}
	}
	return false
}

// outdated tells whether a fence has yet to end it.
func (h *held) outdated(term string) bool {
	return !h.unfenced && h.term != term && !h.observation.Phase.Terminal()
}

// listFenced asks the cluster for attempts that a fence should have ended, and
// takes in what it says.
func (r *Runtime) listFenced(ctx context.Context) (count int, err error) {
	all, err := r.client.ownJobs(ctx)
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range all {
		j := &all[i]
		r.takeIn(j)
		if h := r.byUID[j.UID]; h != nil && h.outdated(r.lease.current()) {
			count++
		}
	}
	return count, nil
}

// wait returns when done holds. done is called with r.mu held.
func (r *Runtime) wait(ctx context.Context, done func() bool) error {
	for {
		r.mu.Lock()
		updated, ok := r.updated, done()
		r.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for fenced attempts to end: %w", ctx.Err())
		case <-updated:
		}
	}
}
