package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/local/attempt"
	"github.com/gco-project/gco/internal/runtime/local/process"
)

// Apply writes the attempt down and starts its supervisor:
//
//  1. it is compiled to a plan, and its pods are given room on the nodes;
//  2. its directory is made under another name and synced;
//  3. the directory is renamed: from here on the attempt is held;
//  4. a supervisor is started. If this process dies before, its successor
//     starts one, unless the lease has passed.
func (r *Runtime) Apply(ctx context.Context, a runtime.Attempt) error { return r.apply(ctx, a, nil) }

// apply is Apply; of is set for a replica, which needs no lease.
func (r *Runtime) apply(ctx context.Context, a runtime.Attempt, of *attempt.Replica) error {
	if h := r.lookUp(a.ID); h != nil {
		return h.await(ctx)
	}
	if _, err := attempt.ParseName(attempt.Name(idOf(a.ID))); err != nil {
		return &runtime.Rejected{Reason: "InvalidName", Message: err.Error()}
	}
	plan, pod, err := compile(a, r.options)
	if err != nil {
		return err
	}
	h, mine, err := r.reserve(a, plan, pod, of)
	if err != nil {
		return err
	}
	if !mine {
		return h.await(ctx)
	}
	if err := r.write(h); err != nil {
		return r.drop(h, err)
	}
	r.mu.Lock()
	close(h.made)
	r.signal()
	r.mu.Unlock()
	if err := r.start(h); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.releaseUnstarted(h, err)
	}
	return nil
}

func (r *Runtime) lookUp(id job.AttemptID) *held {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[id]
}

// drop takes back what could not be written.
func (r *Runtime) drop(h *held, cause error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.err = fmt.Errorf("holding attempt %s: %w", attempt.Name(idOf(h.id)), cause)
	delete(r.held, h.id)
	r.nodes.release(h.slots, h.record.Plan.Requests)
	close(h.made)
	r.signal()
	return h.err
}

// reserve gives the attempt room on the nodes. mine is false where another
// call holds it or is about to.
func (r *Runtime) reserve(a runtime.Attempt, plan attempt.Plan, pod capacity.Pod, of *attempt.Replica) (h *held, mine bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, false, os.ErrClosed
	}
	if h := r.held[a.ID]; h != nil {
		return h, false, nil
	}
	if of == nil && !r.lease.Allows(r.lease.Fences, r.boot, process.Now()) {
		return nil, false, runtime.ErrFenced
	}
	slots, failure := r.nodes.take(pod, plan.Parallelism)
	if failure != nil {
		return nil, false, r.nodes.noRoom(pod.Requests, plan.Parallelism, *failure)
	}
	plan.Slots, plan.Requests = slots, pod.Requests
	h = &held{id: a.ID, dir: r.region.Dir(idOf(a.ID)), made: make(chan struct{}), slots: slots}
	h.status.Phase = attempt.Applied
	h.record = attempt.Record{
		ID: idOf(a.ID), Incarnation: a.Incarnation, Namespace: a.Namespace, Name: a.Name, Region: r.options.Region,
		Unfenced: a.Unfenced, Fences: r.lease.Fences, Boot: r.boot, AppliedAt: r.now(),
		Token: uuid.NewString(), Path: os.Getenv("PATH"), Checkpoint: r.checkpoint(a.ID.Job), Model: a.Model,
		LogLimit: r.options.LogLimit, Backoff: r.options.Backoff, MaxBackoff: r.options.MaxBackoff, Plan: plan, Replica: of,
	}
	r.held[a.ID] = h
	return h, true, nil
}

// write makes the attempt durable.
func (r *Runtime) write(h *held) (err error) {
	fresh := attempt.Dir(filepath.Join(r.region.Attempts(), ".new-"+attempt.Name(idOf(h.id))))
	defer func() {
		if err != nil && !errors.Is(err, errCrash) {
			err = errors.Join(err, removeAll(string(fresh)), removeAll(string(h.dir)))
		}
	}()
	steps := []struct {
		name string
		do   func() error
	}{
		{"checkpoint", func() error { return os.MkdirAll(h.record.Checkpoint, 0o700) }},
		{"directory", func() error { return os.Mkdir(string(fresh), 0o700) }},
		{"record", func() error { return fresh.Make(h.record) }},
		{"event", func() error { return attempt.AppendEvent(fresh, h.scheduled()) }},
		{"sync", func() error { return attempt.SyncDir(string(fresh)) }},
		{"rename", func() error { return os.Rename(string(fresh), string(h.dir)) }},
		{"hold", func() error { return attempt.SyncDir(r.region.Attempts()) }},
	}
	for _, step := range steps {
		if err := r.crash("before " + step.name); err != nil {
			return err
		}
		if err := step.do(); err != nil {
			return err
		}
	}
	return r.crash("after hold")
}

// errCrash makes Apply stop where it is, as a crash would.
var errCrash = errors.New("crashed on request of a test")

func (r *Runtime) crash(step string) error {
	if r.fault == nil {
		return nil
	}
	return r.fault(step)
}

func (h *held) scheduled() attempt.Event {
	var nodes []string
	for _, slot := range h.record.Plan.Slots {
		if !slices.Contains(nodes, slot.Node) {
			nodes = append(nodes, slot.Node)
		}
	}
	return attempt.Event{
		At: h.record.AppliedAt, Reason: "Scheduled", Object: "job/" + h.record.Name,
		Message: fmt.Sprintf("%d pod(s) at a time on %s", len(h.record.Plan.Slots), strings.Join(nodes, ", ")),
	}
}

// releaseUnstarted gives back an attempt whose supervisor could not be
// started; r.mu must be held, or nobody else know of the attempt yet.
func (r *Runtime) releaseUnstarted(h *held, cause error) error {
	status := attempt.Status{
		Phase: attempt.Released, Reason: "SupervisorFailed", Message: cause.Error(),
		Boot: r.boot, FinishedAt: r.now(),
	}
	if err := status.Save(h.dir); err != nil {
		return err
	}
	r.observe(h, status)
	return nil
}
