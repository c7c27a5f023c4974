package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gco-project/gco/internal/runtime/local/attempt"
	"github.com/gco-project/gco/internal/runtime/local/process"
)

// openLease reads the lease, which may still be running. One of another boot,
// or one that can't be read, allows nothing that was applied before.
func (r *Runtime) openLease(found []*held) error {
	lease, err := attempt.LoadLease(r.region)
	if err == nil && lease.Boot == r.boot {
		r.lease = lease
		return nil
	}
	var corrupt *attempt.CorruptError
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.As(err, &corrupt) {
		return fmt.Errorf("reading the lease: %w", err)
	}
	for _, h := range found {
		lease.Fences = max(lease.Fences, h.record.Fences+1)
	}
	r.lease = attempt.Lease{Boot: r.boot, Fences: lease.Fences}
	if err := r.lease.Save(r.region); err != nil {
		return err
	}
	for _, h := range found {
		r.poke(h)
	}
	return nil
}

// Renew lets fenced attempts run for at most trust from now.
func (r *Runtime) Renew(trust time.Duration) error {
	if trust <= 0 {
		return fmt.Errorf("renewing the lease for %s: want a positive time", trust)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return os.ErrClosed
	}
	renewed := r.lease
	renewed.Deadline = process.Now() + trust
	if err := renewed.Save(r.region); err != nil {
		return err
	}
	sooner := renewed.Deadline < r.lease.Deadline
	r.lease = renewed
	if sooner {
		// Supervisors sleep until the deadline that they know.
		r.pokeFenced()
	}
	return nil
}

// Fence kills all fenced attempts, and returns when none runs. What it ended
// stays ended, whatever Renew says later.
func (r *Runtime) Fence(ctx context.Context) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return os.ErrClosed
	}
	fenced := attempt.Lease{Boot: r.boot, Fences: r.lease.Fences + 1}
	if err := fenced.Save(r.region); err != nil {
		r.mu.Unlock()
		return err
	}
	r.lease = fenced
	r.pokeFenced()
	r.mu.Unlock()
	return r.wait(ctx, func() bool {
		for _, h := range r.held {
			if h.runs() && h.record.Fences < fenced.Fences {
				return false
			}
		}
		return true
	})
}

// pokeFenced makes all supervisors look at the lease; r.mu must be held.
func (r *Runtime) pokeFenced() {
	for _, h := range r.held {
		if h.runs() {
			r.poke(h)
		}
	}
}

// runs tells whether a fence would end it.
func (h *held) runs() bool { return !h.record.Unfenced && !h.status.Phase.Terminal() }

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

// poke makes a supervisor look at its files. One that does not listen yet
// looks at them when it starts.
func (r *Runtime) poke(h *held) {
	if err := attempt.Poke(h.dir); err != nil {
		r.options.Log.Error("calling a supervisor", "job", h.id.Job, "attempt", h.id.Attempt, "error", err)
	}
}
