package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// The environment by which a test starts itself again as another process.
const (
	childTask = "GCO_STORE_TEST_TASK"
	childPath = "GCO_STORE_TEST_PATH"
)

func TestMain(m *testing.M) {
	tasks := map[string]func(*Store) error{"load": loadUntilKilled, "full": fillDisk}
	if task := tasks[os.Getenv(childTask)]; task != nil {
		if err := runChild(task); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func runChild(task func(*Store) error) error {
	s, err := Open(context.Background(), Options{Path: os.Getenv(childPath)})
	if err != nil {
		return err
	}
	return errors.Join(task(s), s.Close())
}

// child starts this test binary as another process with a task.
func child(t *testing.T, task, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childTask+"="+task, childPath+"="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// loadUntilKilled submits jobs and takes them through their lives, and prints
// what was acknowledged: the ID of a job and its version.
func loadUntilKilled(s *Store) error {
	ctx := context.Background()
	var printing sync.Mutex
	acknowledged := func(j job.Job) {
		printing.Lock()
		defer printing.Unlock()
		fmt.Println(j.ID, j.Version)
	}
	life := []job.Event{{Kind: job.Place, Region: "r"}, {Kind: job.Claim}, {Kind: job.Started}, {Kind: job.Finished}}
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for {
				submission := newSubmission("team-a")
				answers, err := s.Insert(ctx, []store.Submission{submission})
				if err != nil || answers[0].Err != nil {
					return
				}
				j := answers[0].Job
				acknowledged(j)
				for _, event := range life {
					after, transition, err := j.Apply(event, time.Now())
					if err != nil {
						return
					}
					errs, err := s.Commit(ctx, nil, []store.Change{{Job: after, Transition: transition}})
					if err != nil || errs[0] != nil {
						return
					}
					j = after
					acknowledged(j)
				}
			}
		})
	}
	all.Wait()
	return errors.New("the load ended by itself")
}

// TestKill kills a process under load at random moments, again and again on
// the same database: everything that it had acknowledged is there, and
// everything that is kept beside the records is what a recount gives.
func TestKill(t *testing.T) {
	const rounds = 20
	path := filepath.Join(t.TempDir(), "gco.db")
	versions := map[job.ID]int64{}
	for round := range rounds {
		killUnderLoad(t, path, versions)
		s := openAt(t, path)
		for id, version := range versions {
			j, err := s.Job(t.Context(), id)
			if err != nil {
				t.Fatalf("round %d: an acknowledged job: %v", round, err)
			}
			if j.Version < version {
				t.Fatalf("round %d: job %s is at version %d, and %d was acknowledged", round, id, j.Version, version)
			}
		}
		verify(t, s)
		insertOne(t, s)
		closeNow(t, s)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d jobs were acknowledged in %d rounds", len(versions), rounds)
	if len(versions) < 10*rounds {
		t.Error("that is no load")
	}
}

// killUnderLoad runs the load, kills it, and notes what it acknowledged.
func killUnderLoad(t *testing.T, path string, versions map[job.ID]int64) {
	t.Helper()
	cmd := child(t, "load", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var timer *time.Timer
	for lines.Scan() {
		var id job.ID
		var version int64
		if _, err := fmt.Sscan(lines.Text(), &id, &version); err != nil {
			t.Fatalf("the process under load says %q", lines.Text())
		}
		versions[id] = max(versions[id], version)
		if timer == nil {
			after := time.Duration(rand.IntN(200)) * time.Millisecond
			timer = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process under load ended by itself: %v", err)
	}
}

// TestFileSizeLimit lets the operating system refuse to let the files grow, in
// another process, because the limit is one of the whole process.
func TestFileSizeLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gco.db")
	out, err := child(t, "full", path).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !strings.Contains(string(out), "recovered") {
		t.Fatalf("the process says %q", out)
	}
	s := openAt(t, path)
	defer closeNow(t, s)
	verify(t, s)
}

// fillDisk inserts until the files may not grow, checks that it was refused
// cleanly, and goes on when they may grow again.
func fillDisk(s *Store) error {
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	small := limit
	small.Cur = 1 << 20
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		return err
	}
	inserted, err := insertUntilRefused(s, 100_000)
	if err != nil {
		return err
	}
	for range 10 {
		if err := s.Ping(context.Background()); err != nil && !errors.Is(err, store.ErrUnavailable) {
			return fmt.Errorf("a ping at the limit: %w", err)
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	if err := wantJobs(s, inserted); err != nil {
		return err
	}
	answers, err := s.Insert(context.Background(), []store.Submission{newSubmission("team-a")})
	if err != nil || answers[0].Err != nil {
		return fmt.Errorf("after the limit was lifted: %w", errors.Join(err, answers[0].Err))
	}
	fmt.Println("recovered after", inserted)
	return nil
}

// insertUntilRefused inserts in parallel until the store cannot write, and
// returns how many jobs were acknowledged.
func insertUntilRefused(s *Store, limit int) (int, error) {
	var mutex sync.Mutex
	var wrong error
	inserted := 0
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range limit / 8 {
				answers, err := s.Insert(context.Background(), []store.Submission{newSubmission("team-a")})
				if err == nil {
					err = answers[0].Err
				}
				mutex.Lock()
				if err == nil {
					inserted++
				} else if !errors.Is(err, store.ErrUnavailable) {
					wrong = errors.Join(wrong, err)
				}
				mutex.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	if wrong == nil && inserted > limit-8 {
		wrong = errors.New("nothing was refused")
	}
	return inserted, wrong
}

// wantJobs counts the jobs that are there.
func wantJobs(s *Store, want int) error {
	counts, err := s.Counts(context.Background())
	if err != nil {
		return err
	}
	total := int64(0)
	for _, count := range counts {
		total += count.Jobs
	}
	if total != int64(want) {
		return fmt.Errorf("%d jobs are there, and %d were acknowledged", total, want)
	}
	return nil
}

// TestFullDatabase lets SQLite itself say that the disk is full.
func TestFullDatabase(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "gco.db"))
	defer closeNow(t, s)
	insertOne(t, s)
	execute(t, s, "PRAGMA max_page_count = 150")
	inserted, err := insertUntilRefused(s, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, s)
	if err := wantJobs(s, inserted+1); err != nil {
		t.Error(err)
	}
	// Small writes may still fit; a whole batch of jobs does not.
	batch := make([]store.Submission, 3*insertStep)
	for i := range batch {
		batch[i] = newSubmission("team-a")
	}
	if _, err := s.Insert(t.Context(), batch); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("inserting into a full database: %v", err)
	}
	execute(t, s, "PRAGMA max_page_count = 4294967294")
	insertOne(t, s)
	answers, err := s.Insert(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range answers {
		if answer.Err != nil || !answer.Created {
			t.Fatalf("after there was room again: %v", answer.Err)
		}
	}
	verify(t, s)
}

// TestCancelledUnderLoad cancels calls at random moments while others go on:
// the others do not notice, and an error without store.ErrUnknown means that
// nothing was written.
func TestCancelledUnderLoad(t *testing.T) {
	const callers, each = 32, 50
	s := openAt(t, filepath.Join(t.TempDir(), "gco.db"))
	defer closeNow(t, s)
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for range each {
				submission := newSubmission("team-a")
				ctx, cancel := context.WithCancel(t.Context())
				impatient := caller%2 == 0
				if impatient {
					time.AfterFunc(time.Duration(rand.IntN(1000))*time.Microsecond, cancel)
				}
				answers, err := s.Insert(ctx, []store.Submission{submission})
				cancel()
				if err == nil {
					err = answers[0].Err
				}
				if err != nil && !impatient {
					t.Errorf("a patient caller was refused: %v", err)
				}
				_, reading := s.Job(t.Context(), submission.Job.ID)
				switch {
				case err == nil && reading != nil:
					t.Errorf("an acknowledged job: %v", reading)
				case err != nil && !errors.Is(err, store.ErrUnknown) && !errors.Is(reading, store.ErrNotFound):
					t.Errorf("a job that was not inserted (%v) is there (%v)", err, reading)
				}
			}
		})
	}
	all.Wait()
	verify(t, s)
}
