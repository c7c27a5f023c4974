package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/backup"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/sqlite"
)

// The load beside which changes are copied.
const (
	backupRate    = 1000
	backupCallers = 20
)

// backups measures (i): what copying every change costs at a steady rate, how
// far behind the copy is, and how long a second of the past takes to restore.
func (b *bench) backups(ctx context.Context) (err error) {
	depth := b.sizes.deepest()
	dir, remove, err := b.waiting(ctx, depth)
	if err != nil {
		return err
	}
	defer remove()
	s, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, databaseName), Checkpointed: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	vault, err := backup.OpenVault(ctx, filepath.Join(dir, "vault"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, vault.Close()) }()
	alone, err := b.steady(ctx, s, nil)
	if err != nil {
		return err
	}
	replication, took, err := replicate(ctx, s, filepath.Join(dir, databaseName), vault)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, replication.Close()) }()
	b.report.add(took.Seconds(), "s", "first copy of %s jobs into a directory", round(float64(depth)))
	copied, err := b.steady(ctx, s, replication)
	if err != nil {
		return err
	}
	b.report.add(milliseconds(alone.p(0.5)), "ms", "durable submit at %d a second, p50, alone", backupRate)
	b.report.add(milliseconds(copied.p(0.5)), "ms", "the same while every change is copied")
	b.report.add(milliseconds(alone.p(0.99)), "ms", "durable submit at %d a second, p99, alone", backupRate)
	b.report.add(milliseconds(copied.p(0.99)), "ms", "the same while every change is copied")
	b.report.add(100*alone.cores, "%", "of a core, alone")
	b.report.add(100*copied.cores, "%", "of a core while every change is copied")
	b.report.atMost(copied.lag.Seconds(), 2, "s of acknowledged work that a lost disk costs, at its worst", fmt.Sprintf("at %d submissions a second", backupRate))
	return b.restore(ctx, vault, dir, copied)
}

func replicate(ctx context.Context, s *sqlite.Store, path string, vault *backup.Vault) (*backup.Replication, time.Duration, error) {
	incarnation, err := s.Incarnation(ctx)
	if err != nil {
		return nil, 0, err
	}
	start := time.Now()
	replication, err := backup.StartReplication(ctx, backup.ReplicationOptions{
		Database: path, Incarnation: incarnation, Vault: vault, EverySecond: time.Hour, Keep: time.Hour,
		Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler),
	}, time.Minute)
	return replication, time.Since(start), err
}

// steadyLoad is what came of a steady load.
type steadyLoad struct {
	mu    sync.Mutex
	times []time.Duration
	acked []acked
	// cores is the processor time of this process by wall time.
	cores float64
	// lag is the longest time from an acknowledgement to its copy.
	lag time.Duration
}

// acked is a job that was acknowledged, with when it was asked for.
type acked struct {
	id        job.ID
	asked, at time.Time
}

func (l *steadyLoad) p(quantile float64) time.Duration {
	slices.Sort(l.times)
	return l.times[int(quantile*float64(len(l.times)-1))]
}

// steady submits at a steady rate for two rounds.
func (b *bench) steady(ctx context.Context, s *sqlite.Store, replication *backup.Replication) (*steadyLoad, error) {
	l := &steadyLoad{}
	every := time.Second * backupCallers / backupRate
	length := 2 * b.sizes.round
	before, start := processorTime(), time.Now()
	watched, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	if replication != nil {
		watching.Go(func() { l.watch(watched, replication) })
	}
	_, err := each(ctx, backupCallers, backupCallers, func(ctx context.Context, caller int) error {
		next := start.Add(every * time.Duration(caller) / backupCallers)
		for n := caller; next.Before(start.Add(length)); n += backupCallers {
			<-time.After(time.Until(next))
			next = next.Add(every)
			if err := l.submit(ctx, s, b.sources.submission(n, time.Now())); err != nil {
				return err
			}
		}
		return nil
	})
	stop()
	watching.Wait()
	l.cores = (processorTime() - before).Seconds() / time.Since(start).Seconds()
	if rate := float64(len(l.times)) / length.Seconds(); err == nil && rate < 0.9*backupRate {
		err = fmt.Errorf("only %.0f submissions a second were made", rate)
	}
	return l, err
}

func (l *steadyLoad) submit(ctx context.Context, s *sqlite.Store, submission store.Submission) error {
	asked := time.Now()
	answers, err := s.Insert(ctx, []store.Submission{submission})
	if err == nil {
		err = answers[0].Err
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times = append(l.times, now.Sub(asked))
	l.acked = append(l.acked, acked{submission.Job.ID, asked, now})
	return err
}

// watch notes how far the copy is behind, at every moment.
func (l *steadyLoad) watch(ctx context.Context, replication *backup.Replication) {
	for ctx.Err() == nil {
		l.lag = max(l.lag, time.Since(replication.Status().SafeAt))
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// restore goes back to a moment in the middle of the load, and looks at every
// job of the load.
func (b *bench) restore(ctx context.Context, vault *backup.Vault, dir string, l *steadyLoad) error {
	moment := l.acked[len(l.acked)/2].at
	to := filepath.Join(dir, "restored")
	start := time.Now()
	restored, err := backup.Restore(ctx, backup.RestoreOptions{
		Vault: vault, Dir: to, At: moment, Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	took := time.Since(start)
	b.report.atMost(took.Seconds(), 60, "s to restore "+round(float64(restored.Census.Jobs))+" jobs to a chosen second", fmt.Sprintf("the state of %s before it", moment.Sub(restored.At).Round(time.Millisecond)))
	start = time.Now()
	if _, err := sqlite.Examine(ctx, filepath.Join(to, databaseName), sqlite.Recount); err != nil {
		return err
	}
	b.report.add(time.Since(start).Seconds(), "s", "to check every page of it and count all anew")
	missing, early, err := lookFor(ctx, filepath.Join(to, databaseName), l.acked, moment)
	if err != nil {
		return err
	}
	b.report.atMost(float64(missing), 0, "jobs missing that were acknowledged a second before it", "")
	b.report.atMost(float64(early), 0, "jobs there that were submitted after it", "")
	return os.RemoveAll(to)
}

// lookFor counts what should be there and is not, and what should not and is.
func lookFor(ctx context.Context, path string, all []acked, moment time.Time) (missing, early int, err error) {
	s, err := sqlite.Open(ctx, sqlite.Options{Path: path})
	if err != nil {
		return 0, 0, err
	}
	for _, a := range all {
		_, err := s.Job(ctx, a.id)
		switch there := err == nil; {
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return 0, 0, errors.Join(err, s.Close())
		case !there && a.at.Before(moment.Add(-time.Second)):
			missing++
		case there && a.asked.After(moment):
			early++
		}
	}
	return missing, early, s.Close()
}
