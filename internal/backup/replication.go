package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/benbjohnson/litestream"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/blob"
)

// The levels of a history: each merges what the one below has written in so
// long. A restore reads the coarse ones first, so it opens some two hundred
// files at most.
var levels = litestream.CompactionLevels{
	{Level: 0},
	{Level: 1, Interval: 30 * time.Second},
	{Level: 2, Interval: 5 * time.Minute},
	{Level: 3, Interval: time.Hour},
}

const (
	// copyEvery is the time between two copies of what was committed. A
	// restore to a second T must have all from before T-1s, and a lost disk
	// may cost 2 s; a copy itself takes a part of both.
	copyEvery = 400 * time.Millisecond
	// stagedFor is how long merged changes stay beside the database.
	stagedFor = time.Minute
	// snapshotEvery is the time between two whole copies within a history: no
	// restore has to replay more than that.
	snapshotEvery = 24 * time.Hour
	// checkpointPages is how long the write-ahead log grows, in pages, before
	// it is copied into the database. Writers wait for that: 8 MB at a time.
	checkpointPages = 2000
	// lastCopy bounds the last copy at the end.
	lastCopy = 30 * time.Second
	// retryAfter is the pause after a copy that failed.
	retryAfter = 2 * time.Second
)

// ReplicationOptions is what a Replication is made of.
type ReplicationOptions struct {
	// Database is the file, which the store has open with
	// sqlite.Options.Checkpointed: from now on the log is Litestream's to copy
	// into it.
	Database    string
	Incarnation string
	Vault       *Vault
	// EverySecond is for how long any second can be restored, Keep for how
	// long any half minute.
	EverySecond, Keep time.Duration
	Clock             clock.WithTicker
	Log               *slog.Logger
}

// Replication copies every change of the database into a history in the vault.
// It is Litestream's engine, paced here: Litestream's own loops pause for up
// to minutes after an error.
type Replication struct {
	ReplicationOptions
	history *history
	store   *litestream.Store
	db      *litestream.DB
	ended   sync.WaitGroup
	stop    context.CancelFunc

	mu sync.Mutex
	// safeAt is the time by which everything committed is in the vault.
	safeAt   time.Time
	err      error
	failures int64
}

// StartReplication opens the database for copying and makes the first copy,
// for no longer than the patience: what is committed before that is done may
// be lost with the disk. The copying goes on until Close.
func StartReplication(ctx context.Context, o ReplicationOptions, patience time.Duration) (*Replication, error) {
	if err := o.Vault.begin(ctx, o.Incarnation, o.Clock.Now()); err != nil {
		return nil, err
	}
	h := newHistory(o.Vault.bucket, o.Incarnation)
	h.keep, h.now = o.EverySecond, o.Clock.Now
	r := &Replication{ReplicationOptions: o, history: h, db: litestream.NewDB(o.Database)}
	log := slog.New(quiet{o.Log.Handler()})
	r.db.MonitorInterval, r.db.MinCheckpointPageN = 0, checkpointPages
	r.db.BusyTimeout, r.db.ShutdownSyncTimeout = 5*time.Second, 0
	r.db.Replica = litestream.NewReplicaWithClient(r.db, h)
	r.db.Replica.MonitorEnabled = false
	r.store = litestream.NewStore([]*litestream.DB{r.db}, levels)
	r.store.Logger = log
	r.db.SetLogger(log.With("db", filepath.Base(o.Database)))
	r.store.SetL0Retention(stagedFor)
	r.store.L0RetentionCheckInterval = stagedFor
	r.store.SnapshotInterval, r.store.SnapshotRetention = snapshotEvery, o.Keep
	if err := r.beginAnew(ctx); err != nil {
		return nil, err
	}
	if err := r.store.Open(ctx); err != nil {
		return nil, fmt.Errorf("opening %s for copying: %w", o.Database, err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	first, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.copy(first); err != nil && ctx.Err() == nil {
		o.Log.Error("the first copy of the database is not made yet; what is written until then could be lost with the disk", "vault", o.Vault, "error", err)
	}
	r.ended.Go(func() { r.loop(running) })
	return r, nil
}

// beginAnew forgets how far another vault had come: where this one has nothing
// yet, it needs all from the beginning.
func (r *Replication) beginAnew(ctx context.Context) error {
	files, err := r.history.list(ctx, 0, true)
	if err != nil || len(files) > 0 {
		return err
	}
	if err := os.RemoveAll(r.db.MetaPath()); err != nil {
		return fmt.Errorf("beginning a new history: %w", err)
	}
	return nil
}

func (r *Replication) loop(ctx context.Context) {
	for ctx.Err() == nil {
		pause := copyEvery
		if err := r.copy(ctx); err != nil {
			pause = retryAfter
		}
		select {
		case <-r.Clock.After(pause):
		case <-ctx.Done():
		}
	}
}

// copy brings all that is committed now into the vault.
func (r *Replication) copy(ctx context.Context) error {
	begun := r.Clock.Now()
	err := r.db.SyncAndWait(ctx)
	if ctx.Err() != nil && err == nil {
		err = ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil && r.err == nil && !errors.Is(err, context.Canceled):
		r.Log.Error("copying the database to the vault fails; it is tried again and again", "vault", r.Vault, "error", err)
	case err == nil && r.err != nil:
		r.Log.Info("copying the database to the vault works again", "vault", r.Vault)
	}
	if r.err = err; err != nil {
		r.failures++
		return err
	}
	r.safeAt = begun
	return nil
}

// Status is how far the copying has come.
type Status struct {
	// SafeAt is the time by which everything that was committed is in the
	// vault; zero before the first copy.
	SafeAt   time.Time
	Failures int64
	// Err is why the last copy failed; nil if it did not.
	Err error
}

// Status tells how far the copying has come.
func (r *Replication) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Status{r.safeAt, r.failures, r.err}
}

// Close makes the last copy and lets go of the database, which must still be
// open and not be written to any more.
func (r *Replication) Close() error {
	r.stop()
	r.ended.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), lastCopy)
	defer cancel()
	if err := r.store.Close(ctx); err != nil {
		return fmt.Errorf("making the last copy of the database: %w", err)
	}
	return nil
}

// quiet passes on what an operator has to act on. Litestream calls much
// information that is none for users of GCO.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && q.Handler.Enabled(ctx, level)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }
func (q quiet) WithGroup(name string) slog.Handler       { return quiet{q.Handler.WithGroup(name)} }

// beginning says when a history began.
type beginning struct {
	Incarnation string    `json:"incarnation"`
	At          time.Time `json:"at"`
}

// begin notes the beginning of a history, once.
func (v *Vault) begin(ctx context.Context, incarnation string, now time.Time) error {
	key := beginningPrefix + incarnation + ".json"
	_, err := v.bucket.ReadAll(ctx, key)
	if err == nil || !errors.Is(err, blob.ErrNotFound) {
		return err
	}
	return v.write(ctx, key, beginning{incarnation, now.UTC()})
}

func (v *Vault) write(ctx context.Context, key string, document any) error {
	text, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", key, err)
	}
	return v.bucket.Write(ctx, key, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}
