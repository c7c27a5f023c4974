package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// lookEvery is the time between two looks at whether a backup is due.
const lookEvery = time.Minute

// retryBackup is the pause after a scheduled backup that failed.
const retryBackup = 15 * time.Minute

// Source is the running database.
type Source interface {
	// CopyTo writes a whole copy to a file that does not exist yet.
	CopyTo(ctx context.Context, path string) error
	Incarnation(ctx context.Context) (string, error)
}

// KeeperOptions is what a Keeper is made of.
type KeeperOptions struct {
	Source Source
	Vault  *Vault
	// Scratch is a directory of the keeper's own, with room for a copy of the
	// database.
	Scratch string
	Rules   []Rule
	// Replication tells how far the copying of changes has come; nil is none.
	Replication *Replication
	Clock       clock.WithTicker
	Log         *slog.Logger
}

// Keeper makes backups and removes old ones. One at a time: making or
// verifying one takes a whole core and the disk. A round of its loop:
//
//  1. make the scheduled backups that are missing;
//  2. remove those whose time is over, and histories of before a restore.
type Keeper struct {
	KeeperOptions

	*Turns
	// background ends with Run and so does all that is under way.
	background context.Context
	cancel     context.CancelFunc
	working    sync.WaitGroup
	retryAt    time.Time
}

// NewKeeper returns a Keeper that can be asked at once; its schedule starts
// with Run.
func NewKeeper(o KeeperOptions) (*Keeper, error) {
	// What a crash has left of copies.
	if err := errors.Join(os.RemoveAll(o.Scratch), os.MkdirAll(o.Scratch, 0o700)); err != nil {
		return nil, fmt.Errorf("making room for backups: %w", err)
	}
	k := &Keeper{KeeperOptions: o, Turns: NewTurns(o.Clock, o.Log)}
	k.background, k.cancel = context.WithCancel(context.Background())
	return k, nil
}

// Run keeps the schedule until ctx ends, and ends what is under way.
func (k *Keeper) Run(ctx context.Context) error {
	ticker := k.Clock.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		if err := k.runOnce(ctx); err != nil && ctx.Err() == nil {
			k.Log.Error("keeping backups", "vault", k.Vault, "error", err)
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return k.Close()
		}
	}
}

// Close ends what is under way.
func (k *Keeper) Close() error {
	k.cancel()
	k.working.Wait()
	return os.RemoveAll(k.Scratch)
}

func (k *Keeper) runOnce(ctx context.Context) error {
	if len(k.Rules) == 0 {
		return nil
	}
	all, err := k.Vault.Backups(ctx)
	if err != nil {
		return err
	}
	incarnation, err := k.Source.Incarnation(ctx)
	if err != nil {
		return err
	}
	// Those of data that were restored since are none of these.
	ours := slices.DeleteFunc(slices.Clone(all), func(b Backup) bool { return b.Incarnation != incarnation })
	k.Remember(ours)
	now := k.Clock.Now()
	var failed []error
	if late := missing(k.Rules, ours, now); len(late) > 0 && !now.Before(k.retryAt) {
		for _, rule := range late {
			_, err := k.create(ctx, rule.Kind, rule.Keep)
			if errors.Is(err, ErrBusy) {
				// It is made in the next round.
				break
			}
			if err != nil {
				k.retryAt = now.Add(retryBackup)
			}
			failed = append(failed, err)
		}
	}
	for _, b := range expired(all, now) {
		err := k.Vault.remove(ctx, b.ID)
		if err == nil {
			k.Log.Info("backup removed: its time is over", "backup", b.ID)
		}
		failed = append(failed, err)
	}
	if k.Replication != nil {
		failed = append(failed, k.Vault.forget(ctx, k.Replication, now.Add(-k.Replication.Keep)))
	}
	return errors.Join(failed...)
}

// String is how people know the vault.
func (k *Keeper) String() string { return k.Vault.String() }

// List lists the backups in the vault, newest first.
func (k *Keeper) List(ctx context.Context) ([]Backup, error) { return k.Vault.Backups(ctx) }

// Find returns one backup, or ErrNotFound.
func (k *Keeper) Find(ctx context.Context, id string) (Backup, error) { return k.Vault.Backup(ctx, id) }

// Windows lists the times from which data can be restored.
func (k *Keeper) Windows(ctx context.Context) ([]Window, error) {
	return k.Vault.windows(ctx, k.Replication)
}

// Status tells how far the copying of changes has come; zero where there is
// none.
func (k *Keeper) Status() Status {
	if k.Replication == nil {
		return Status{}
	}
	return k.Replication.Status()
}

// create makes a backup and waits for it. Keep 0 is for ever.
func (k *Keeper) create(ctx context.Context, kind Kind, keep time.Duration) (Backup, error) {
	activity, done, err := k.Take(Activity{ID: NewID(kind, k.Clock.Now()), Kind: kind})
	if err != nil {
		return Backup{}, err
	}
	b, err := k.make(ctx, activity, keep)
	done(err)
	return b, err
}

// StartCreate begins a backup that somebody asked for, and returns while it is
// being made; Activities tells what becomes of it. Keep 0 is for ever.
func (k *Keeper) StartCreate(keep time.Duration) (Activity, error) {
	activity, done, err := k.Take(Activity{ID: NewID(Manual, k.Clock.Now()), Kind: Manual})
	if err != nil {
		return Activity{}, err
	}
	k.working.Go(func() {
		_, err := k.make(k.background, activity, keep)
		done(err)
	})
	return activity, nil
}

// StartVerify begins to restore a backup into a directory that is thrown
// away, and returns meanwhile.
func (k *Keeper) StartVerify(ctx context.Context, id string) (Activity, error) {
	b, err := k.Vault.Backup(ctx, id)
	if err != nil {
		return Activity{}, err
	}
	activity, done, err := k.Take(Activity{ID: id, Kind: b.Kind, Verifying: true})
	if err != nil {
		return Activity{}, err
	}
	k.working.Go(func() {
		_, err := Verify(k.background, k.Vault, b, k.Scratch, k.Clock)
		done(err)
	})
	return activity, nil
}

// make copies the database to the scratch directory and from there to the
// vault.
func (k *Keeper) make(ctx context.Context, a Activity, keep time.Duration) (Backup, error) {
	b := Backup{ID: a.ID, Kind: a.Kind, CreatedAt: a.BegunAt}
	if keep > 0 {
		b.ExpiresAt = b.CreatedAt.Add(keep)
	}
	var err error
	if b.Incarnation, err = k.Source.Incarnation(ctx); err != nil {
		return b, err
	}
	dir, err := os.MkdirTemp(k.Scratch, "make-")
	if err != nil {
		return b, fmt.Errorf("making room for a backup: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "gco.db")
	if err := k.Source.CopyTo(ctx, file); err != nil {
		return b, err
	}
	return k.Vault.add(ctx, b, file)
}
