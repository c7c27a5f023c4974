package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

const (
	// agents drive as many regions; each claims so many jobs at a time.
	agents     = 8
	claimBatch = 100
	// mostPlaced is how many of the waiting jobs are promised to a region, at
	// most; the others are queued. More is not to be had: what is placed fits
	// into what regions have free.
	mostPlaced = 100_000
)

// cycles measures (b): jobs claimed and finished while others wait. A cycle
// writes each transition with its history row and event, and renews the
// region's session once a batch, which is the heartbeat.
func (b *bench) cycles(ctx context.Context) error {
	syncs, err := b.fsyncs(ctx)
	if err != nil {
		return err
	}
	b.report.add(syncs, "/s", "raw append of %d bytes and fsync, one after the other", fsyncBytes)
	ours, bare := map[int]float64{}, map[int]bareRates{}
	for _, depth := range b.sizes.depths {
		if ours[depth], err = b.cycleStore(ctx, depth); err != nil {
			return fmt.Errorf("claiming with %d waiting: %w", depth, err)
		}
		b.report.add(ours[depth], "jobs/s", "through the store, %d agents, %d at a time, %s waiting", agents, claimBatch, round(float64(depth)))
		if bare[depth], err = b.bareRows(ctx, depth); err != nil {
			return fmt.Errorf("updating bare rows with %d waiting: %w", depth, err)
		}
		b.report.add(bare[depth].own, "jobs/s", "the store's own rows bare, claim, heartbeat and finish, %s waiting", round(float64(depth)))
		b.report.add(bare[depth].plain, "jobs/s", "plain rows of 1 KB with three indexes, the same way, %s waiting", round(float64(depth)))
		b.report.add(bare[depth].silent, "jobs/s", "the store's own rows bare, claim and finish only, %s waiting", round(float64(depth)))
	}
	for _, depth := range b.sizes.depths[1:] {
		rate, err := b.cycleSync(ctx, depth)
		if err != nil {
			return fmt.Errorf("working through Sync with %d waiting: %w", depth, err)
		}
		b.report.add(rate, "jobs/s", "placed, claimed and finished through Sync over HTTP, %s waiting", round(float64(depth)))
	}
	compared, err := b.river(ctx, "-work", b.sizes.depths)
	if err != nil {
		return err
	}
	for _, work := range compared.Works {
		b.report.add(work.PerSecond, "jobs/s", "River on PostgreSQL %s, %d workers, %s waiting", compared.Postgres, work.Workers, round(float64(work.Waiting)))
	}
	first, last := b.sizes.depths[0], b.sizes.deepest()
	name := round(float64(last))
	b.report.atLeast(ours[last]/ours[first], 0.8, "claim to finish with "+name+" waiting, as a share of the rate with "+round(float64(first)),
		fmt.Sprintf("%s to %s", round(ours[last]), round(ours[first])))
	b.report.atLeast(ours[last], 2000, "jobs/s claimed and finished through the store with "+name+" waiting", "")
	b.report.atLeast(ours[last]/bare[last].own, 0.6, "the same, as a share of its own rows bare with a heartbeat each",
		fmt.Sprintf("%s to %s; %s of plain rows of 1 KB, %s of its own without heartbeats",
			round(ours[last]), round(bare[last].own), round(ours[last]/bare[last].plain), round(ours[last]/bare[last].silent)))
	return nil
}

// bareRates are jobs a second of rows with nothing beside them: those of the
// store's own table, plain ones, and the store's own without heartbeats.
type bareRates struct{ own, plain, silent float64 }

func (b *bench) bareRows(ctx context.Context, depth int) (rates bareRates, err error) {
	for _, way := range []struct {
		rate *float64
		table
		heartbeats bool
	}{{&rates.own, own{}, true}, {&rates.plain, plain{}, true}, {&rates.silent, own{}, false}} {
		dir, remove, err := b.waiting(ctx, depth)
		if err != nil {
			return bareRates{}, err
		}
		*way.rate, err = b.cycleRows(ctx, depth, filepath.Join(dir, way.file()), way.table, way.heartbeats)
		remove()
		if err != nil {
			return bareRates{}, err
		}
	}
	return rates, nil
}

// cycleStore loads a depth of placed jobs and takes a part of them from claim
// to finish.
func (b *bench) cycleStore(ctx context.Context, depth int) (float64, error) {
	dir, remove, err := b.waiting(ctx, depth)
	if err != nil {
		return 0, err
	}
	defer remove()
	s, err := openStore(ctx, dir)
	if err != nil {
		return 0, err
	}
	c := &cycling{store: s}
	if err := c.open(ctx); err != nil {
		return 0, errors.Join(err, s.Close())
	}
	first := true
	rate, err := b.cycled(ctx, depth, c.cycle, func(ctx context.Context, jobs int) error {
		if !first {
			if err := b.sources.fill(ctx, s, jobs); err != nil {
				return err
			}
		}
		first = false
		return c.place(ctx, min(jobs, mostPlaced))
	})
	return rate, errors.Join(err, s.Close())
}

// cycling is one measurement of the store.
type cycling struct {
	store   store.Store
	regions [agents]capacity.Region
}

func (c *cycling) open(ctx context.Context) error {
	for i := range c.regions {
		var err error
		if c.regions[i], err = openRegion(ctx, c.store, regionName(i), capacity.Snapshot{}); err != nil {
			return err
		}
	}
	return nil
}

// cycled measures so many cycles at a depth of waiting jobs, as the median of
// some shares of them: in rounds of at most half of what is placed, after each of which
// load puts back what it has taken, outside of the measured time.
func (b *bench) cycled(ctx context.Context, depth int, cycle func(ctx context.Context, agent int) (int, error), load func(ctx context.Context, jobs int) error) (float64, error) {
	missing := depth
	return median(b.sizes.rounds, func() (float64, error) {
		var spent time.Duration
		done, share := 0, b.sizes.cycled/b.sizes.rounds
		for done < share {
			if err := load(ctx, missing); err != nil {
				return 0, fmt.Errorf("loading: %w", err)
			}
			start := time.Now()
			n, err := oneRound(ctx, min(max(share-done, agents*claimBatch), max(min(depth, mostPlaced)/2, agents*claimBatch)), cycle)
			if err != nil {
				return 0, err
			}
			spent += time.Since(start)
			done, missing = done+n, n
		}
		return float64(done) / spent.Seconds(), nil
	})
}

// place promises waiting jobs to the regions in turn, the oldest first, as the
// Placer does.
func (c *cycling) place(ctx context.Context, jobs int) error {
	for placed := 0; placed < jobs; {
		page, err := c.oldest(ctx, jobs-placed)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return fmt.Errorf("only %d of %d jobs were waiting", placed, jobs)
		}
		const batch = 1000
		_, err = each(ctx, (len(page)+batch-1)/batch, 4, func(ctx context.Context, i int) error {
			changes := make([]store.Change, 0, batch)
			for k, j := range page[i*batch : min(len(page), (i+1)*batch)] {
				next, err := change(j, job.Event{Kind: job.Place, Region: c.regions[k%agents].Name})
				if err != nil {
					return err
				}
				changes = append(changes, next)
			}
			return commit(ctx, c.store, nil, changes)
		})
		if err != nil {
			return err
		}
		placed += len(page)
	}
	return nil
}

// oldest returns some waiting jobs of every class, about as many as asked for.
func (c *cycling) oldest(ctx context.Context, jobs int) ([]job.Job, error) {
	waiting, err := c.store.WaitingClasses(ctx, store.Position{}, classes)
	if err != nil || len(waiting) == 0 {
		return nil, err
	}
	var all []job.Job
	for _, class := range waiting {
		page, err := c.store.Waiting(ctx, class.Class, store.Position{}, min(250, (jobs+len(waiting)-1)/len(waiting)))
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
	}
	slices.SortFunc(all, func(a, b job.Job) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// oneRound lets every agent work until together they have begun so many jobs.
func oneRound(ctx context.Context, jobs int, cycle func(ctx context.Context, agent int) (int, error)) (int, error) {
	var begun, done atomic.Int64
	_, err := each(ctx, agents, agents, func(ctx context.Context, agent int) error {
		for begun.Add(claimBatch) <= int64(jobs) {
			n, err := cycle(ctx, agent)
			if err != nil {
				return err
			}
			if n == 0 {
				return nil
			}
			done.Add(int64(n))
		}
		return nil
	})
	if err == nil && done.Load() == 0 {
		err = errors.New("no job was there to claim")
	}
	return int(done.Load()), err
}

// cycle renews the session, claims a batch and finishes it.
func (c *cycling) cycle(ctx context.Context, agent int) (int, error) {
	region := &c.regions[agent]
	region.Sequence++
	_, err := c.store.Renew(ctx, store.Renewal{
		Region: region.Name, Session: region.Session, Epoch: region.Epoch, Sequence: region.Sequence,
	}, time.Now())
	if err != nil {
		return 0, err
	}
	jobs, err := c.store.Placed(ctx, region.Name, store.Position{}, claimBatch)
	if err != nil || len(jobs) == 0 {
		return 0, err
	}
	guard := &store.Guard{Region: region.Name, Epoch: region.Epoch, Lease: capacity.LeaseLive}
	exit := 0
	for _, event := range []job.Event{{Kind: job.Claim}, {Kind: job.Finished, ExitCode: &exit}} {
		changes := make([]store.Change, len(jobs))
		for i, j := range jobs {
			if changes[i], err = change(j, event); err != nil {
				return 0, err
			}
			jobs[i] = changes[i].Job
		}
		if err := commit(ctx, c.store, guard, changes); err != nil {
			return 0, err
		}
	}
	return len(jobs), nil
}

func change(j job.Job, event job.Event) (store.Change, error) {
	next, transition, err := j.Apply(event, time.Now())
	return store.Change{Job: next, Transition: transition}, err
}

// commit expects every change to be written.
func commit(ctx context.Context, s store.Jobs, guard *store.Guard, changes []store.Change) error {
	errs, err := s.Commit(ctx, guard, changes)
	return errors.Join(append(errs, err)...)
}

// openRegion makes a region that is ready for work.
func openRegion(ctx context.Context, s store.Regions, name string, snapshot capacity.Snapshot) (capacity.Region, error) {
	now := time.Now()
	region, err := s.OpenSession(ctx, name, "cluster-"+name, "session-"+name, now)
	if err != nil {
		return capacity.Region{}, fmt.Errorf("opening region %s: %w", name, err)
	}
	region, err = s.Renew(ctx, store.Renewal{
		Region: name, Session: region.Session, Epoch: region.Epoch, Sequence: 1, Snapshot: &snapshot, Inventoried: true,
	}, now)
	if err != nil {
		return capacity.Region{}, fmt.Errorf("renewing region %s: %w", name, err)
	}
	return region, nil
}
