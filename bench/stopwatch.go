package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// perSecond runs callers side by side, each making one call after the other,
// for a round, and returns items a second. The first error ends it.
func perSecond(ctx context.Context, round time.Duration, callers, items int, call func(ctx context.Context, caller int) error) (float64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var done atomic.Int64
	var group sync.WaitGroup
	start := time.Now()
	for caller := range callers {
		group.Go(func() {
			for ctx.Err() == nil && time.Since(start) < round {
				if err := call(ctx, caller); err != nil {
					cancel(err)
					return
				}
				done.Add(int64(items))
			}
		})
	}
	group.Wait()
	return float64(done.Load()) / time.Since(start).Seconds(), context.Cause(ctx)
}

// each runs n calls, callers at a time, and returns the time of each.
func each(ctx context.Context, n, callers int, call func(ctx context.Context, i int) error) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	times := make([]time.Duration, n)
	var next atomic.Int64
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || ctx.Err() != nil {
					return
				}
				start := time.Now()
				if err := call(ctx, i); err != nil {
					cancel(err)
					return
				}
				times[i] = time.Since(start)
			}
		})
	}
	group.Wait()
	return times, context.Cause(ctx)
}

// median returns the middle of what is measured in rounds; the first error
// ends it.
func median(rounds int, measure func() (float64, error)) (float64, error) {
	values := make([]float64, rounds)
	for i := range values {
		var err error
		if values[i], err = measure(); err != nil {
			return 0, err
		}
	}
	return middle(values), nil
}

// middle is the median of some values; of an even number, the mean of two.
func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// percentile is the smallest time that p percent of all are at most.
func percentile(times []time.Duration, p float64) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	if len(sorted) == 0 {
		return 0
	}
	rank := int(float64(len(sorted))*p/100+0.999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
