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
	"slices"

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
	// Checkpointed says that somebody else copies the write-ahead log into the
	// database, as continuous backup does: the log must not begin anew before
	// it has been read.
	Checkpointed bool
}

// Store is a store.Store in one SQLite file. It is safe for concurrent use.
type Store struct {
	path        string
	incarnation string
	writer      *writer
	readers     *pool
	snapshots   snapshotCache

	// opened closes what Open opened, in the opposite order.
	opened []func() error
}

var _ store.Store = (*Store)(nil)

// Open opens the database, and makes it where there is none. It returns
// ErrInUse while another Store has it open, ErrCorrupt when the file is
// damaged, and ErrNewer when its schema is unknown here; in all three cases
// nothing was changed.
func Open(ctx context.Context, options Options) (*Store, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Readers == 0 {
		options.Readers = max(4, 2*runtime.GOMAXPROCS(0))
	}
	s := &Store{path: options.Path}
	if err := s.open(ctx, options); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the database %s: %w", options.Path, err), s.release())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, options Options) error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	// Through a symbolic link it is still the same database.
	if path, err := filepath.EvalSymlinks(s.path); err == nil {
		s.path = path
	}
	lock, err := takeLock(s.path + ".lock")
	if err != nil {
		return err
	}
	s.opened = append(s.opened, lock.release)
	if err := inspect(ctx, s.path); err != nil {
		return err
	}
	writing, err := s.connect(ctx, writerPragmas)
	if err != nil {
		return err
	}
	if err := prepareDatabase(ctx, writing, true); err != nil {
		return err
	}
	checkpointing, err := s.connect(ctx, checkpointPragmas)
	if err != nil {
		return err
	}
	if err := s.connectReaders(ctx, options.Readers); err != nil {
		return err
	}
	if err := s.load(writing, options.Log); err != nil {
		return err
	}
	checkpoints := newCheckpointer(checkpointing, options.Log)
	checkpoints.off = options.Checkpointed
	s.writer.start(checkpoints)
	return nil
}

// connect opens a session that release closes.
func (s *Store) connect(ctx context.Context, pragmas []string) (*session, error) {
	opened, err := openSession(ctx, fileDSN(s.path), pragmas)
	if err == nil {
		s.opened = append(s.opened, opened.close)
	}
	return opened, err
}

func (s *Store) connectReaders(ctx context.Context, n int) error {
	var sessions []*session
	for range n {
		reading, err := openSession(ctx, fileDSN(s.path), readerPragmas)
		if err != nil {
			return errors.Join(err, newPool(sessions...).close())
		}
		sessions = append(sessions, reading)
	}
	s.readers = newPool(sessions...)
	s.opened = append(s.opened, s.readers.close)
	return nil
}

// load reads what the store keeps in mind.
func (s *Store) load(writing *session, log *slog.Logger) (err error) {
	if s.incarnation, err = readIncarnation(writing); err != nil {
		return err
	}
	s.writer, err = newWriter(writing, s.path, log)
	return err
}

// OpenMemory opens an empty database that lives in memory and dies with its
// Store. It has no goroutine of its own and no clock: the same calls, one
// after the other, give the same answers.
func OpenMemory(ctx context.Context) (*Store, error) {
	s := &Store{path: ":memory:"}
	if err := s.openMemory(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening a database in memory: %w", err), s.release())
	}
	return s, nil
}

func (s *Store) openMemory(ctx context.Context) error {
	only, err := openSession(ctx, s.path, memoryPragmas)
	if err != nil {
		return err
	}
	s.readers = newPool(only)
	s.opened = append(s.opened, s.readers.close)
	if err := prepareDatabase(ctx, only, false); err != nil {
		return err
	}
	if err := s.load(only, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	s.writer.shared = s.readers
	return nil
}

// Close finishes the calls that were accepted, refuses others and closes the
// database. It must not be called twice.
func (s *Store) Close() error {
	s.writer.stop()
	return wrap(s.release(), "closing the database %s", s.path)
}

// release closes what was opened, the newest first, and the lock last.
func (s *Store) release() error {
	var all error
	for _, closeOne := range slices.Backward(s.opened) {
		all = errors.Join(all, closeOne())
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
