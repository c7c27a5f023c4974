package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

// Stop asks for the end of an attempt. The request is a file, so it holds
// whoever dies next.
func (r *Runtime) Stop(ctx context.Context, id job.AttemptID) error {
	h, err := r.find(ctx, id)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if h.status.Phase.Terminal() {
		return nil
	}
	if err := attempt.WriteDurably(h.dir.Stop(), nil); err != nil {
		return fmt.Errorf("asking attempt %s to stop: %w", attempt.Name(idOf(id)), err)
	}
	r.poke(h)
	return nil
}

// find returns an attempt that is held, waiting for one that is being made.
func (r *Runtime) find(ctx context.Context, id job.AttemptID) (*held, error) {
	h := r.lookUp(id)
	if h == nil {
		return nil, runtime.ErrNotFound
	}
	if err := h.await(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, runtime.ErrNotFound // it never came to be
	}
	return h, nil
}

// Forget removes what is left of an attempt that has ended, but for the job's
// checkpoints.
func (r *Runtime) Forget(ctx context.Context, id job.AttemptID) error {
	h, err := r.find(ctx, id)
	if errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	if !h.status.Phase.Terminal() {
		phase := h.status.Phase
		r.mu.Unlock()
		return fmt.Errorf("forgetting attempt %s: it is %s; stop it first", attempt.Name(idOf(id)), phase)
	}
	// One rename ends it; what follows is cleaning up.
	gone := filepath.Join(r.region.Attempts(), ".old-"+attempt.Name(idOf(id)))
	if err := os.Rename(string(h.dir), gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.mu.Unlock()
		return fmt.Errorf("forgetting attempt %s: %w", attempt.Name(idOf(id)), err)
	}
	delete(r.held, id)
	r.signal()
	r.mu.Unlock()
	if err := os.Remove(r.region.Status(idOf(id))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting attempt %s: %w", attempt.Name(idOf(id)), err)
	}
	if err := removeAll(gone); err != nil {
		return fmt.Errorf("forgetting attempt %s: %w", attempt.Name(idOf(id)), err)
	}
	return nil
}

// removeAll removes a tree also where a job took the write permission from
// its own directories.
func removeAll(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if entry != nil && entry.IsDir() {
			_ = os.Chmod(path, 0o700) //nolint:gosec // a directory, about to be removed
		}
		return nil
	})
	return os.RemoveAll(path)
}
