package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/manifest"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/sqlite"
)

// The load: jobs of so many classes, spread over so many namespaces.
const (
	classes    = 20
	namespaces = 100
)

// templates are compiled once, as the queue compiles what users send.
type templates struct {
	compiled [classes]manifest.Compiled
}

// manifestOf is a usual job: one container with a command, an environment and
// requests. i makes its class.
func manifestOf(namespace string, i int) []byte {
	return fmt.Appendf(nil, `apiVersion: batch/v1
kind: Job
metadata:
  name: train-resnet
  namespace: %s
  labels: {team: vision, experiment: e-%03d}
spec:
  backoffLimit: 2
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: main
        image: docker.io/library/busybox:1.36
        command: ["/bin/sh", "-c", "exec train --epochs 90 --batch 256 --data /data/imagenet --out $GCO_CHECKPOINT"]
        env:
        - {name: OMP_NUM_THREADS, value: "8"}
        - {name: LEARNING_RATE, value: "0.1"}
        - {name: WARMUP_STEPS, value: "500"}
        resources:
          requests: {cpu: "%dm", memory: 512Mi}
          limits: {memory: 512Mi}
`, namespace, i, 100+10*i)
}

func newTemplates() (*templates, error) {
	t := &templates{}
	for i := range t.compiled {
		compiled, faults := manifest.Compile(manifestOf("default", i), "", manifest.DefaultPolicy())
		if len(faults) > 0 {
			return nil, fmt.Errorf("compiling the load: %w", &job.Invalid{Faults: faults})
		}
		t.compiled[i] = compiled
	}
	return t, nil
}

// bytes is the size of a stored manifest.
func (t *templates) bytes() int { return len(t.compiled[0].JSON) }

// submission is the i-th job of a load, ready to insert.
func (t *templates) submission(i int, now time.Time) store.Submission {
	compiled := t.compiled[i%classes]
	spec := job.Spec{
		Namespace: namespaceOf(i / classes), Name: compiled.Name, Labels: compiled.Labels, SubmittedBy: "bench",
	}.WithDefaults()
	spec.Class = capacity.ClassOf(compiled.Demand, spec.Placement)
	record, transition := job.New(job.NewID(), spec, now)
	return store.Submission{Job: record, Transition: transition, Demand: compiled.Demand, Manifest: compiled.JSON}
}

// namespaceOf is the i-th namespace of the load.
func namespaceOf(i int) string { return fmt.Sprintf("team-%02d", i%namespaces) }

func openStore(ctx context.Context, dir string) (*sqlite.Store, error) {
	return sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, databaseName)})
}

// fill inserts jobs in large batches, some at a time.
func (t *templates) fill(ctx context.Context, s store.Jobs, jobs int) error {
	const batch, callers = 1000, 4
	var made atomic.Int64
	calls := (jobs + batch - 1) / batch
	_, err := each(ctx, calls, callers, func(ctx context.Context, call int) error {
		now := time.Now()
		submissions := make([]store.Submission, 0, batch)
		for i := call * batch; i < min(jobs, (call+1)*batch); i++ {
			submissions = append(submissions, t.submission(i, now))
		}
		inserted, err := s.Insert(ctx, submissions)
		for _, in := range inserted {
			err = errors.Join(err, in.Err)
		}
		made.Add(int64(len(submissions)))
		return err
	})
	if err == nil && made.Load() != int64(jobs) {
		err = fmt.Errorf("%d of %d jobs were inserted", made.Load(), jobs)
	}
	return err
}

// waiting returns a folder of its own with a database in which so many jobs
// wait. Each depth is loaded once a run and copied for each use.
func (b *bench) waiting(ctx context.Context, jobs int) (string, func(), error) {
	if _, found := b.loaded[jobs]; !found {
		dir, err := b.loadOnce(ctx, jobs)
		if err != nil {
			return "", nil, fmt.Errorf("loading %d jobs: %w", jobs, err)
		}
		b.loaded[jobs] = dir
	}
	dir, remove, err := b.fresh("waiting")
	if err != nil {
		return "", nil, err
	}
	err = copyFile(filepath.Join(dir, databaseName), filepath.Join(b.loaded[jobs], databaseName))
	return dir, remove, err
}

func (b *bench) loadOnce(ctx context.Context, jobs int) (string, error) {
	dir, remove, err := b.fresh("loaded")
	if err != nil {
		return "", err
	}
	s, err := openStore(ctx, dir)
	if err != nil {
		remove()
		return "", err
	}
	start := time.Now()
	if err := errors.Join(b.sources.fill(ctx, s, jobs), s.Close()); err != nil {
		remove()
		return "", err
	}
	info, err := os.Stat(filepath.Join(dir, databaseName))
	if err != nil {
		return "", err
	}
	b.report.note("loaded %s jobs in %s: %s jobs/s, %s MB", round(float64(jobs)), time.Since(start).Round(time.Second/10),
		round(float64(jobs)/time.Since(start).Seconds()), round(float64(info.Size())/1e6))
	return dir, nil
}

func copyFile(to, from string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Sync(), target.Close())
}
