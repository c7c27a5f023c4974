package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/store"
)

// fleetNodes is the size of each region of (f).
const fleetNodes = 5000

// fleetSnapshot is a region of many nodes in the shapes of a cluster in use:
// three kinds of machines, each with several amounts left. i makes regions
// differ.
func fleetSnapshot(i int) capacity.Snapshot {
	const gib = 1 << 30
	var snapshot capacity.Snapshot
	kinds := []struct {
		share int
		total capacity.Resources
		label string
	}{
		{6, capacity.Resources{capacity.CPU: 64_000, capacity.Memory: 256 * gib, capacity.Pods: 110}, "m-64"},
		{3, capacity.Resources{capacity.CPU: 192_000, capacity.Memory: 768 * gib, capacity.Pods: 250}, "m-192"},
		{1, capacity.Resources{capacity.CPU: 96_000, capacity.Memory: 1024 * gib, capacity.Pods: 110, "nvidia.com/gpu": 8}, "p-8"},
	}
	for _, kind := range kinds {
		for step := range 4 {
			free := kind.total.Clone()
			free[capacity.CPU] = kind.total[capacity.CPU] * int64(4-step) / 4
			free[capacity.Memory] = kind.total[capacity.Memory] * int64(4-step) / 4
			snapshot.Nodes = append(snapshot.Nodes, capacity.NodeShape{
				Count: fleetNodes * kind.share / 40, Free: free, Total: kind.total, Architecture: "amd64",
				Labels: map[string]string{"node.kubernetes.io/instance-type": kind.label, "topology.kubernetes.io/region": regionName(i)},
			})
		}
	}
	return snapshot
}

// placements measures (f).
func (b *bench) placements(ctx context.Context) error {
	for _, regions := range []int{10, 100, 1000} {
		mean, p99 := b.decisions(regions)
		b.report.add(mean, "ms", "placement.Decide over %s regions of %s nodes, mean", thousands(int64(regions)), thousands(fleetNodes))
		b.report.add(p99, "ms", "the same, p99")
		if regions == 1000 {
			b.report.atMost(mean, 1, "ms for a decision over 1,000 regions", fmt.Sprintf("mean; p99 is %s", round(p99)))
		}
	}
	for _, regions := range []int{3, 100} {
		rates := make([]float64, 0, len(b.sizes.depths))
		for _, depth := range b.sizes.depths {
			rate, err := b.placed(ctx, regions, depth)
			if err != nil {
				return fmt.Errorf("placing over %d regions with %d queued: %w", regions, depth, err)
			}
			rates = append(rates, b.report.add(rate, "jobs/s", "placed by the Placer over %d regions, %s queued", regions, round(float64(depth))))
		}
		for i, depth := range b.sizes.depths {
			bound := 3750.0
			if i > 0 {
				bound *= 0.8
			}
			b.report.atLeast(rates[i], bound, fmt.Sprintf("jobs placed a second over %d regions, %s queued", regions, round(float64(depth))),
				fmt.Sprintf("%s of the rate with %s queued", round(rates[i]/rates[0]), round(float64(b.sizes.depths[0]))))
		}
	}
	return nil
}

// decisions times Decide alone; what it decides is taken, as the Placer does.
func (b *bench) decisions(regions int) (mean, p99 float64) {
	const rounds = 2000
	inputs := make([]placement.Input, regions)
	for i := range inputs {
		inputs[i] = placement.Input{Region: capacity.Region{
			Name: fmt.Sprintf("region-%04d", i), Lease: capacity.LeaseLive, Inventoried: true, Snapshot: fleetSnapshot(i),
		}}
	}
	fleet, policy := placement.NewFleet(inputs), placement.DefaultPolicy()
	now := time.Now()
	times := make([]time.Duration, rounds)
	var sum time.Duration
	for i := range times {
		demand := b.sources.compiled[i%classes].Demand
		start := time.Now()
		decision := placement.Decide(placement.Request{Demand: demand, Constraints: job.Constraints{}}, fleet, policy, now)
		times[i] = time.Since(start)
		sum += times[i]
		fleet.Take(decision.Region, demand)
	}
	return milliseconds(sum / rounds), milliseconds(percentile(times, 99))
}

// placed lets the real Placer run on a database with jobs queued, until it has
// placed a part of them. Where all of them are that part, it is measured some
// times over.
func (b *bench) placed(ctx context.Context, regions, depth int) (float64, error) {
	rounds := 1
	if depth <= b.sizes.cycled {
		rounds = b.sizes.rounds
	}
	return median(rounds, func() (float64, error) {
		dir, remove, err := b.waiting(ctx, depth)
		if err != nil {
			return 0, err
		}
		defer remove()
		s, err := openStore(ctx, dir)
		if err != nil {
			return 0, err
		}
		rate, err := placeSome(ctx, s, regions, min(depth, b.sizes.cycled))
		return rate, errors.Join(err, s.Close())
	})
}

func placeSome(ctx context.Context, s store.Store, regions, jobs int) (float64, error) {
	for i := range regions {
		if _, err := openRegion(ctx, s, fmt.Sprintf("region-%04d", i), fleetSnapshot(i)); err != nil {
			return 0, err
		}
	}
	// Nobody renews the sessions or claims: nothing may expire meanwhile.
	timing := queue.Timing{Trust: time.Hour, Lease: 2 * time.Hour, Takeover: 3 * time.Hour, Patience: time.Hour}
	q := queue.New(queue.Options{Store: s, Timing: timing, Placement: placement.DefaultPolicy()})
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	before, err := s.LastEvent(ctx)
	if err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	start := time.Now()
	go func() { ended <- q.Run(ctx) }()
	placed, err := waitUntilPlaced(ctx, s, before, jobs)
	elapsed := time.Since(start)
	cancel()
	return float64(placed) / elapsed.Seconds(), errors.Join(err, <-ended)
}

// waitUntilPlaced counts events: nothing else happens meanwhile, so each is a
// placement, and the newest one's cursor is cheap to read.
func waitUntilPlaced(ctx context.Context, s store.Events, before int64, jobs int) (int64, error) {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		last, err := s.LastEvent(ctx)
		if err != nil {
			return 0, err
		}
		if placed := last - before; placed >= int64(jobs) {
			return placed, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%d of %d jobs placed: %w", last-before, jobs, ctx.Err())
		case <-ticker.C:
		}
	}
}
