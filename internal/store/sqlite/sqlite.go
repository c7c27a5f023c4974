// Package sqlite is the embedded driver of store: one database file, one
// process. It owns the file, its schema and the one goroutine that writes to
// it; what the records mean is the business of job and capacity. The queue and
// the server call it through the interfaces of store.
//
// Concurrent writers share a transaction and its fsync (writer.go). Readers
// have connections of their own and never wait for the writer. The schema is
// in migrations/, with the meaning of each column; docs/storage.md has the
// whole picture.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"

	"github.com/gco-project/gco/internal/store"
)

// ErrInUse says that another process has the database open.
var ErrInUse = errors.New("the database is in use")

// ErrCorrupt says that the file is not a database, or a damaged one.
var ErrCorrupt = errors.New("the database is damaged")

// ErrNewer says that a newer version of the program wrote the database.
var ErrNewer = errors.New("the database was written by a newer version")

// Options say which database to open.
type Options struct {
	// Path is the database file. It and its directory are made if they do not
	// exist; SQLite keeps two more files beside it (-wal, -shm), and the
	// store a third (.lock).
	Path string
	// Log is where the store says what nobody asked for, such as a checkpoint
	// that failed; nil is nowhere.
	Log *slog.Logger
	// Readers is the number of connections that read; 0 is twice the number
	// of processors, at least 4.
	Readers int
}

// Store is a store.Store in one SQLite file. It is safe for concurrent use.
type Store struct {
	path        string
	log         *slog.Logger
	incarnation string

	lock      *lockFile
	readers   *pool
	writer    *writer
	snapshots snapshotCache
	closeAll  []func() error
}

var _ store.Store = (*Store)(nil)

// Open opens the database, and makes it where there is none. It returns
// ErrInUse while another Store has it open, ErrCorrupt when the file is
// damaged, and ErrNewer when its schema is unknown here; in all three cases
// nothing was changed.
func Open(ctx context.Context, options Options) (*Store, error) {
	s := &Store{path: options.Path, log: options.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if options.Readers == 0 {
		options.Readers = max(4, 2*runtime.GOMAXPROCS(0))
	}
	if err := s.open(ctx, options); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the database %s: %w", options.Path, err), s.release())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, options Options) error {
	if err := os.MkdirAll(filepath.Dir(options.Path), 0o700); err != nil {
		return err
	}
	// Through a symbolic link it is still the same database.
	if path, err := filepath.EvalSymlinks(options.Path); err == nil {
		options.Path = path
	}
	lock, err := takeLock(options.Path + ".lock")
	if err != nil {
		return err
	}
	s.lock = lock
	if err := inspect(ctx, options.Path); err != nil {
		return err
	}
	writing, err := openSession(ctx, fileDSN(options.Path), writerPragmas)
	if err != nil {
		return err
	}
	s.onClose(writing.close)
	if err := prepareDatabase(ctx, writing, true); err != nil {
		return err
	}
	checkpointing, err := openSession(ctx, fileDSN(options.Path), checkpointPragmas)
	if err != nil {
		return err
	}
	s.onClose(checkpointing.close)
	s.readers = newPool()
	for range options.Readers {
		reading, err := openSession(ctx, fileDSN(options.Path), readerPragmas)
		if err != nil {
			return err
		}
		s.onClose(reading.close)
		s.readers.put(reading)
	}
	return s.start(writing, newCheckpointer(checkpointing, s.log))
}

// OpenMemory opens an empty database that lives in memory and dies with its
// Store. It has no goroutine of its own and no clock: the same calls, one
// after the other, give the same answers.
func OpenMemory(ctx context.Context) (*Store, error) {
	s := &Store{path: ":memory:", log: slog.New(slog.DiscardHandler)}
	only, err := openSession(ctx, ":memory:", memoryPragmas)
	if err != nil {
		return nil, fmt.Errorf("opening a database in memory: %w", err)
	}
	s.onClose(only.close)
	s.readers = newPool()
	if err := prepareDatabase(ctx, only, false); err != nil {
		return nil, errors.Join(fmt.Errorf("opening a database in memory: %w", err), s.release())
	}
	if err := s.start(only, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("opening a database in memory: %w", err), s.release())
	}
	return s, nil
}

// start begins to take writes. Without a checkpointer the database is in
// memory, and its one session serves readers and writer in turn.
func (s *Store) start(writing *session, checkpoints *checkpointer) error {
	var err error
	if s.incarnation, err = readIncarnation(writing); err != nil {
		return err
	}
	if s.writer, err = newWriter(writing, s.path, s.log); err != nil {
		return err
	}
	if checkpoints == nil {
		s.writer.share(s.readers)
	} else {
		s.writer.start(checkpoints)
	}
	return nil
}

// Close finishes the writes that were accepted and closes the database. It
// must not be called twice, or before reads have returned.
func (s *Store) Close() error {
	s.writer.stop()
	if err := s.release(); err != nil {
		return fmt.Errorf("closing the database %s: %w", s.path, err)
	}
	return nil
}

func (s *Store) onClose(f func() error) { s.closeAll = append(s.closeAll, f) }

// release closes what was opened, the newest first, and the lock last.
func (s *Store) release() error {
	var all error
	for i := len(s.closeAll) - 1; i >= 0; i-- {
		all = errors.Join(all, s.closeAll[i]())
	}
	if s.lock != nil {
		all = errors.Join(all, s.lock.release())
	}
	return all
}

// Incarnation identifies this history of the data.
func (s *Store) Incarnation(context.Context) (string, error) { return s.incarnation, nil }

var stPing = statement(`UPDATE meta SET value = value + 1 WHERE name = 'pings'`)

// Ping makes one durable write.
func (s *Store) Ping(ctx context.Context) error {
	err := s.writer.do(ctx, func(t *tx) error {
		_, err := t.exec(stPing)
		return err
	})
	return wrap(err, "writing to the database")
}
