package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/sqlite"
)

// DatabaseFile is the name of the database in a control plane's directory.
const DatabaseFile = "gco.db"

// unfinished ends the name of a directory that is being restored; a file of
// that name in it tells that it is ours to throw away.
const unfinished = ".restoring"

// RestoreOptions say what to restore, and where.
type RestoreOptions struct {
	Vault *Vault
	// Dir is the directory to make. It must not exist, or be empty.
	Dir string
	// Backup is the ID of one; without it the histories are used.
	Backup string
	// At is the moment to go back to; zero is the last there is.
	At time.Time
	// Depth is how closely the database is looked at before it is given out.
	Depth Depth
	Clock clock.PassiveClock
	Log   *slog.Logger
	// Say is told of each step, for whoever waits; nil is nobody.
	Say func(step string)
}

// Depth says how closely to look at a restored database.
type Depth = sqlite.Examination

// The depths, each with what the one before looks at: that it can be read and
// counted; that every page is sound; that every counter is what a recount
// gives.
const (
	Count   = sqlite.Count
	Check   = sqlite.Check
	Recount = sqlite.Recount
)

// Restored is what a restore made.
type Restored struct {
	Dir string
	// Source is the ID of the backup, or the incarnation of the history.
	Source string
	// At is the time by which everything in it had been committed.
	At time.Time
	// Incarnation is the new one. Awaited are the regions that have to send
	// their inventory, or to be written off, before anything starts.
	Incarnation string
	Awaited     []string
	Census      sqlite.Census
}

// Restore makes a new directory from what the vault has. It makes it under
// another name and renames it when it is whole, so that nothing half made is
// ever taken for a directory of a server. Nothing else is changed.
func Restore(ctx context.Context, o RestoreOptions) (Restored, error) {
	if o.Say == nil {
		o.Say = func(string) {}
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return Restored{}, err
	}
	if err := mustBeFree(dir); err != nil {
		return Restored{}, err
	}
	work := dir + unfinished
	if err := clearUnfinished(work); err != nil {
		return Restored{}, err
	}
	if err := makeUnfinished(work); err != nil {
		return Restored{}, err
	}
	restored, err := o.into(ctx, work)
	if err == nil {
		err = finish(work, dir)
	}
	if err != nil {
		return Restored{}, errors.Join(err, os.RemoveAll(work))
	}
	restored.Dir = dir
	return restored, nil
}

// mustBeFree refuses a directory that holds anything.
func mustBeFree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking into the directory to restore into: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%w: %s holds %s; name one that does not exist yet", ErrOccupied, dir, entries[0].Name())
	}
	return nil
}

// clearUnfinished removes what a restore left that was ended half-way.
func clearUnfinished(work string) error {
	if err := mustBeFree(work); err == nil {
		return nil
	}
	if _, err := os.Stat(filepath.Join(work, unfinished)); err != nil {
		return fmt.Errorf("%w: %s is in the way, and is not what a restore left behind", ErrOccupied, work)
	}
	return os.RemoveAll(work)
}

func makeUnfinished(work string) error {
	if err := os.MkdirAll(work, 0o700); err != nil {
		return fmt.Errorf("making the directory: %w", err)
	}
	if err := os.WriteFile(filepath.Join(work, unfinished), nil, 0o600); err != nil {
		return fmt.Errorf("making the directory: %w", err)
	}
	return nil
}

// into restores the database into a directory and gives it a new history.
func (o RestoreOptions) into(ctx context.Context, work string) (r Restored, err error) {
	file := filepath.Join(work, DatabaseFile)
	if o.Backup != "" {
		r, err = o.fromBackup(ctx, file)
	} else {
		r, err = o.fromHistory(ctx, file)
	}
	if err != nil {
		return r, err
	}
	if o.Depth > sqlite.Count {
		o.Say("checking the database")
	}
	if r.Census, err = sqlite.Examine(ctx, file, o.Depth); err != nil {
		return r, err
	}
	r.Incarnation, r.Awaited, err = o.reincarnate(ctx, file)
	return r, err
}

func (o RestoreOptions) fromBackup(ctx context.Context, file string) (Restored, error) {
	b, err := o.Vault.Backup(ctx, o.Backup)
	if err != nil {
		return Restored{}, err
	}
	o.Say("restoring backup " + b.ID)
	return Restored{Source: b.ID, At: b.CreatedAt}, o.Vault.fetch(ctx, b, file)
}

func (o RestoreOptions) fromHistory(ctx context.Context, file string) (Restored, error) {
	h, incarnation, err := o.Vault.historyAt(ctx, o.At)
	if err != nil {
		return Restored{}, err
	}
	if h == nil {
		return Restored{}, o.Vault.nothingFrom(ctx, o.At)
	}
	last, err := h.lastBefore(ctx, o.At)
	if err != nil {
		return Restored{}, err
	}
	if last == nil {
		return Restored{}, o.Vault.nothingFrom(ctx, o.At)
	}
	o.Say("restoring the state of " + last.CreatedAt.Format(time.RFC3339Nano))
	replica := litestream.NewReplicaWithClient(nil, everyTime{h})
	err = replica.Restore(ctx, litestream.RestoreOptions{OutputPath: file, TXID: last.MaxTXID})
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: the history of %s does not lead to %s: %w", ErrDamaged, incarnation, last.CreatedAt, err)
	}
	if err == nil {
		err = os.Chmod(file, 0o600)
	}
	return Restored{Source: incarnation, At: last.CreatedAt}, err
}

// historyAt finds the history that a moment belongs to: the last that had
// begun by then. It is nil where there is none.
func (v *Vault) historyAt(ctx context.Context, at time.Time) (h *history, incarnation string, err error) {
	begun, err := v.histories(ctx)
	if err != nil {
		return nil, "", err
	}
	for _, b := range begun {
		if at.IsZero() || !b.At.After(at) {
			h, incarnation = newHistory(v.bucket, b.Incarnation), b.Incarnation
		}
	}
	return h, incarnation, nil
}

// lastBefore finds the last file of changes in a chain that ends before a
// moment, or at the end of the history; nil is none.
func (h *history) lastBefore(ctx context.Context, at time.Time) (*ltx.FileInfo, error) {
	plan, err := litestream.CalcRestorePlan(ctx, everyTime{h}, 0, at, slog.New(slog.DiscardHandler))
	if errors.Is(err, litestream.ErrTxNotAvailable) || err == nil && plan[0].MinTXID != 1 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: planning the restore: %w", ErrDamaged, err)
	}
	last := plan[len(plan)-1]
	return last, h.mustEnd(ctx, last, at)
}

// mustEnd refuses a chain that ends too early because a file is missing, and
// not because nothing was written after it.
func (h *history) mustEnd(ctx context.Context, last *ltx.FileInfo, at time.Time) error {
	for level := range litestream.SnapshotLevel + 1 {
		files, err := h.list(ctx, level, true)
		if err != nil {
			return err
		}
		for _, f := range files {
			if f.MaxTXID > last.MaxTXID && (at.IsZero() || f.CreatedAt.Before(at)) {
				return fmt.Errorf("%w: the history breaks off after %s; restore a time up to then, or a backup", ErrDamaged, last.CreatedAt.Format(time.RFC3339Nano))
			}
		}
	}
	return nil
}

// everyTime shows a restore all files, the hidden ones, too.
type everyTime struct{ *history }

func (e everyTime) LTXFiles(ctx context.Context, level int, seek ltx.TXID, _ bool) (ltx.FileIterator, error) {
	return e.history.LTXFiles(ctx, level, seek, true)
}

// nothingFrom says what there is instead.
func (v *Vault) nothingFrom(ctx context.Context, at time.Time) error {
	err := fmt.Errorf("%w: no history in %s reaches back to %s", ErrNotFound, v, at.UTC().Format(time.RFC3339))
	if at.IsZero() {
		err = fmt.Errorf("%w: %s has no history", ErrNotFound, v)
	}
	all, listErr := v.Backups(ctx)
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	for _, b := range all {
		if at.IsZero() || !b.CreatedAt.After(at) {
			return fmt.Errorf("%w; the last backup before it is %s", err, b.ID)
		}
	}
	return err
}

// reincarnate makes the restored data a history of their own, and lists the
// regions that are awaited.
func (o RestoreOptions) reincarnate(ctx context.Context, file string) (incarnation string, awaited []string, err error) {
	s, err := sqlite.Open(ctx, sqlite.Options{Path: file, Log: o.Log, Readers: 1})
	if err != nil {
		return "", nil, err
	}
	incarnation, err = s.Reincarnate(ctx, o.Clock.Now())
	if err == nil {
		awaited, err = Awaited(ctx, s)
	}
	return incarnation, awaited, errors.Join(err, s.Close())
}

// Awaited lists the regions that restored data wait for.
func Awaited(ctx context.Context, s store.Regions) ([]string, error) {
	regions, err := s.Regions(ctx)
	var names []string
	for _, region := range regions {
		if !region.AwaitedSince.IsZero() {
			names = append(names, region.Name)
		}
	}
	return names, err
}

// finish gives the directory its name, durably.
func finish(work, dir string) error {
	for _, name := range []string{filepath.Join(work, DatabaseFile), work} {
		if err := syncPath(name); err != nil {
			return fmt.Errorf("finishing the restore: %w", err)
		}
	}
	// An empty directory may be there.
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("finishing the restore: %w", err)
	}
	if err := os.Rename(work, dir); err != nil {
		return fmt.Errorf("finishing the restore: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, unfinished)); err != nil {
		return fmt.Errorf("finishing the restore: %w", err)
	}
	return syncPath(cmp.Or(filepath.Dir(dir), "."))
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
