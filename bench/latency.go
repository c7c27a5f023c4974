package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gco-project/gco/api"
)

// submissionsPerSecond is the pace of (c).
const submissionsPerSecond = 50

// latency measures (c): from the moment that a client begins to submit to the
// moment that the job's own process looks at the clock, through a real gco up
// with its three regions.
func (b *bench) latency(ctx context.Context) error {
	dir, remove, err := b.fresh("up")
	if err != nil {
		return err
	}
	defer remove()
	up, err := b.startUp(ctx, dir)
	if err != nil {
		return err
	}
	stamps := filepath.Join(dir, "stamps")
	if err := os.Mkdir(stamps, 0o700); err != nil {
		return errors.Join(err, up.stop())
	}
	// The first ones pay for connections and page cache.
	if _, err = startTimes(ctx, up, stamps, "warm", submissionsPerSecond); err != nil {
		return errors.Join(err, up.stop())
	}
	times, err := startTimes(ctx, up, stamps, "job", int(b.sizes.pace.Seconds()*submissionsPerSecond))
	if err := errors.Join(err, up.stop()); err != nil {
		return err
	}
	p50, p99 := milliseconds(percentile(times, 50)), milliseconds(percentile(times, 99))
	b.report.add(p50, "ms", "submit to process start, p50 of %d jobs at %d a second", len(times), submissionsPerSecond)
	b.report.add(p99, "ms", "the same, p99")
	b.report.add(milliseconds(percentile(times, 100)), "ms", "the same, slowest")
	b.report.atMost(p50, 30, "p50 in ms", "")
	b.report.atMost(p99, 150, "p99 in ms", "")
	return nil
}

// startTimes submits n jobs at the pace, each of which writes the time at which
// it runs into a file of its own.
func startTimes(ctx context.Context, up *process, stamps, name string, n int) ([]time.Duration, error) {
	begun := make([]time.Time, n)
	errs := make([]error, n)
	var group sync.WaitGroup
	ticker := time.NewTicker(time.Second / submissionsPerSecond)
	defer ticker.Stop()
	for i := range n {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		group.Go(func() {
			manifest := stampManifest(fmt.Sprintf("%s-%d", name, i), stamps)
			begun[i] = time.Now()
			_, _, errs[i] = up.Submit(ctx, api.Submission{Manifest: manifest}, "")
		})
	}
	group.Wait()
	if first := slices.IndexFunc(errs, func(err error) bool { return err != nil }); first >= 0 {
		return nil, fmt.Errorf("submitting: %w", errs[first])
	}
	times := make([]time.Duration, n)
	for i := range times {
		started, err := readStamp(ctx, filepath.Join(stamps, fmt.Sprintf("%s-%d", name, i)))
		if err != nil {
			return nil, err
		}
		times[i] = started.Sub(begun[i])
	}
	return times, nil
}

func stampManifest(name, stamps string) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":%q},"spec":{"template":{"spec":{
"restartPolicy":"Never","containers":[{"name":"main","image":"docker.io/library/busybox:1.36",
"command":["/bin/sh","-c","date +%%s%%N > %s/.$GCO_JOB_NAME && mv %s/.$GCO_JOB_NAME %s/$GCO_JOB_NAME"],
"resources":{"requests":{"cpu":"10m","memory":"16Mi"}}}]}}}}`, name, stamps, stamps, stamps)
}

// readStamp waits for the file, which is there whole or not at all.
func readStamp(ctx context.Context, path string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		text, err := os.ReadFile(path)
		if err == nil {
			nanoseconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			return time.Unix(0, nanoseconds), err
		}
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("job %s did not run: %w", filepath.Base(path), err)
		case <-ticker.C:
		}
	}
}
