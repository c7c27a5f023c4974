package sqlite

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// newSubmission returns a submission of one job in a namespace.
func newSubmission(namespace string) store.Submission {
	demand := capacity.Demand{Pods: []capacity.PodGroup{{Count: 1, Pod: capacity.Pod{Requests: capacity.Resources{capacity.CPU: 1000}}}}}
	spec := job.Spec{Namespace: namespace, Name: "train", Class: capacity.ClassOf(demand, job.Constraints{})}.WithDefaults()
	j, transition := job.New(job.NewID(), spec, time.Now())
	return store.Submission{Job: j, Transition: transition, Demand: demand, Manifest: []byte(`{"kind":"Job"}`)}
}

// insertOne inserts a job, which must work.
func insertOne(t testing.TB, s *Store) job.Job {
	t.Helper()
	answers, err := s.Insert(t.Context(), []store.Submission{newSubmission("team-a")})
	if err != nil {
		t.Fatal(err)
	}
	if answers[0].Err != nil {
		t.Fatal(answers[0].Err)
	}
	return answers[0].Job
}

func openAt(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeNow(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "er", "gco.db")
	s := openAt(t, path)
	first := insertOne(t, s)
	incarnation, err := s.Incarnation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	closeNow(t, s)

	s = openAt(t, path)
	defer closeNow(t, s)
	second := insertOne(t, s)
	if again, err := s.Incarnation(t.Context()); err != nil || again != incarnation {
		t.Errorf("the incarnation was %s and is %s (%v)", incarnation, again, err)
	}
	page, err := s.List(t.Context(), store.ListQuery{Limit: 10})
	if err != nil || len(page.Jobs) != 2 || page.Jobs[0].ID != second.ID || page.Jobs[1].ID != first.ID {
		t.Errorf("the jobs are %v (%v)", page.Jobs, err)
	}
	verify(t, s)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the database has mode %s", info.Mode())
	}
}

// TestCursorsAreNotReused deletes the newest events and opens the database
// again.
func TestCursorsAreNotReused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gco.db")
	s := openAt(t, path)
	j := insertOne(t, s)
	after, transition, err := j.Apply(job.Event{Kind: job.Stopped, StopReason: job.ByCancel}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if errs, err := s.Commit(t.Context(), nil, []store.Change{{Job: after, Transition: transition}}); err != nil || errs[0] != nil {
		t.Fatal(err, errs)
	}
	if errs, err := s.Delete(t.Context(), []job.ID{j.ID}, time.Now(), 0); err != nil || errs[0] != nil {
		t.Fatal(err, errs)
	}
	closeNow(t, s)
	s = openAt(t, path)
	defer closeNow(t, s)
	insertOne(t, s)
	events, _, err := s.Events(t.Context(), store.EventQuery{Limit: 10})
	if err != nil || len(events) != 1 || events[0].Cursor != 3 {
		t.Errorf("after two events that are gone came %+v (%v)", events, err)
	}
}

func TestSecondServerIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "gco.db")
	s := openAt(t, path)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{path, filepath.Join(dir, ".", "gco.db"), link} {
		if _, err := Open(t.Context(), Options{Path: other}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "stop it first") {
			t.Errorf("opening %s a second time: %v", other, err)
		}
	}
	// The refusals did no harm, and the lock ends with the first server.
	insertOne(t, s)
	closeNow(t, s)
	closeNow(t, openAt(t, path))
}

func TestClosed(t *testing.T) {
	memory, err := OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{openAt(t, filepath.Join(t.TempDir(), "gco.db")), memory} {
		closeNow(t, s)
		if _, err := s.Job(t.Context(), job.NewID()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("reading from a closed store: %v", err)
		}
		if err := s.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("writing to a closed store: %v", err)
		}
	}
}

// TestPragmas reads the settings back on every connection.
func TestPragmas(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "gco.db"))
	defer closeNow(t, s)
	var all []*session
	for range cap(s.readers.idle) {
		select {
		case r := <-s.readers.idle:
			all = append(all, r)
			defer func() { s.readers.idle <- r }() //nolint:revive,gocritic // all of them stay taken until the test ends
		default:
		}
	}
	if len(all) < 4 {
		t.Fatalf("%d connections read", len(all))
	}
	for i, r := range append(all, s.writer.session) {
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000", "wal_autocheckpoint": "0"} {
			if err := r.expectPragma(t.Context(), pragma, want); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		}
	}
	if _, err := all[0].conn.ExecContext(t.Context(), "DELETE FROM jobs"); err == nil {
		t.Error("a connection for readers can write")
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gco.db")
	s := openAt(t, path)
	execute(t, s, "PRAGMA user_version = 1000")
	closeNow(t, s)
	refused(t, path, ErrNewer, "run the newer program")
}

func TestForeignDatabaseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gco.db")
	s := openAt(t, path)
	execute(t, s, "PRAGMA application_id = 1")
	closeNow(t, s)
	refused(t, path, nil, "another program")
}

// exec runs a statement on the writer's connection.
func execute(t testing.TB, s *Store, text string) {
	t.Helper()
	if _, err := s.writer.session.conn.ExecContext(t.Context(), text); err != nil {
		t.Fatal(err)
	}
}

// refused opens a database that must be refused, and sees to it that neither
// the file nor its log was changed.
func refused(t *testing.T, path string, target error, says string) {
	t.Helper()
	before := snapshotOf(t, path)
	s, err := Open(t.Context(), Options{Path: path})
	if err == nil {
		closeNow(t, s)
		t.Fatal("the database was opened")
	}
	if (target != nil && !errors.Is(err, target)) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
		t.Errorf("the error is %q; it should be %v, say %q and name the file", err, target, says)
	}
	if after := snapshotOf(t, path); !slices.EqualFunc(before, after, bytes.Equal) {
		t.Error("the files were changed")
	}
}

func snapshotOf(t *testing.T, path string) [][]byte {
	t.Helper()
	var contents [][]byte
	for _, name := range []string{path, path + "-wal"} {
		content, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		contents = append(contents, content)
	}
	return contents
}

// TestDamagedFileIsRefused damages a database that was not closed, so that a
// part of it is only in the log.
func TestDamagedFileIsRefused(t *testing.T) {
	healthy := filepath.Join(t.TempDir(), "gco.db")
	s := openAt(t, healthy)
	for range 300 {
		insertOne(t, s)
	}
	if _, _, err := s.writer.session.checkpoint(stCheckpoint); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		insertOne(t, s)
	}
	files := snapshotOf(t, healthy)
	closeNow(t, s)
	if len(files[1]) == 0 {
		t.Fatal("the database had no log")
	}

	fill := func(content []byte, from, to int) []byte {
		out := slices.Clone(content)
		for i := from; i < min(to, len(out)); i++ {
			out[i] = 0x5a
		}
		return out
	}
	for name, damage := range map[string]func(db, log []byte) ([]byte, []byte){
		"not a database":     func(_, _ []byte) ([]byte, []byte) { return []byte("hello, world\n"), nil },
		"header":             func(db, log []byte) ([]byte, []byte) { return fill(db, 0, 100), log },
		"schema":             func(db, _ []byte) ([]byte, []byte) { return fill(db, 100, 4096), nil },
		"page in the middle": func(db, _ []byte) ([]byte, []byte) { return fill(db, 20*4096, 21*4096), nil },
		"cut off":            func(db, _ []byte) ([]byte, []byte) { return db[:len(db)/2/4096*4096], nil },
		"empty":              func(_, log []byte) ([]byte, []byte) { return nil, log },
		"header of the log":  func(db, log []byte) ([]byte, []byte) { return db, fill(log, 0, 32) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "gco.db")
			db, log := damage(files[0], files[1])
			write(t, path, db)
			if log != nil {
				write(t, path+"-wal", log)
			}
			refused(t, path, ErrCorrupt, "restore a backup")
		})
	}
	t.Run("healthy", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "gco.db")
		write(t, path, files[0])
		write(t, path+"-wal", files[1])
		s := openAt(t, path)
		defer closeNow(t, s)
		verify(t, s)
		if page, err := s.List(t.Context(), store.ListQuery{Limit: 1000}); err != nil || len(page.Jobs) != 310 {
			t.Errorf("%d jobs of 310 (%v)", len(page.Jobs), err)
		}
	})
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamageWhileRunning damages pages under a running store: it stops writing
// and says so.
func TestDamageWhileRunning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gco.db")
	s := openAt(t, path)
	for range 200 {
		insertOne(t, s)
	}
	closeNow(t, s)
	s = openAt(t, path)
	content := snapshotOf(t, path)[0]
	for i := 4096; i < len(content); i++ {
		content[i] = 0x5a
	}
	write(t, path, content)
	var err error
	for range 3 {
		_, err = s.Insert(t.Context(), []store.Submission{newSubmission("team-a")})
		if !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("inserting into a damaged database: %v", err)
		}
	}
	if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "restore a backup") {
		t.Errorf("the error is %q", err)
	}
	if _, err := s.Job(t.Context(), job.NewID()); !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrNotFound) {
		t.Errorf("reading from a damaged database: %v", err)
	}
	_ = s.Close()
}
