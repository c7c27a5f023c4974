package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	racers, err := b.enterAll(ctx)
	if err == nil {
		err = b.race(ctx, racers)
	}
	for _, r := range racers {
		err = errors.Join(err, r.close())
		b.report.add(middle(r.rates), "jobs/s", "%s, %s waiting", r.name, round(float64(r.depth)))
	}
	if err != nil {
		return err
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
	shallow, deep := racers[0], racers[len(racers)-len(ways)]
	own, plain, silent := racers[len(racers)-3], racers[len(racers)-2], racers[len(racers)-1]
	name := round(float64(deep.depth))
	b.report.atLeast(deep.share(shallow), 0.8, "claim to finish with "+name+" waiting, as a share of the rate with "+round(float64(shallow.depth)),
		fmt.Sprintf("%s to %s", round(middle(deep.rates)), round(middle(shallow.rates))))
	b.report.atLeast(middle(deep.rates), 2000, "jobs/s claimed and finished through the store with "+name+" waiting", "")
	b.report.atLeast(deep.share(own), 0.6, "the same, as a share of its own rows bare with a heartbeat each",
		fmt.Sprintf("%s to %s; %s of plain rows of 1 KB, %s of its own without heartbeats",
			round(middle(deep.rates)), round(middle(own.rates)), round(deep.share(plain)), round(deep.share(silent))))
	return nil
}

// ways are those of a race: the store first, then what it is compared with,
// rows with nothing beside them.
var ways = []struct {
	name  string
	enter func(b *bench, ctx context.Context, depth int) (*racer, error)
}{
	{fmt.Sprintf("through the store, %d agents, %d at a time", agents, claimBatch), (*bench).enterStore},
	{"the store's own rows bare, claim, heartbeat and finish", func(b *bench, ctx context.Context, depth int) (*racer, error) {
		return b.enterRows(ctx, depth, own{}, true)
	}},
	{"plain rows of 1 KB with three indexes, the same way", func(b *bench, ctx context.Context, depth int) (*racer, error) {
		return b.enterRows(ctx, depth, plain{}, true)
	}},
	{"the store's own rows bare, claim and finish only", func(b *bench, ctx context.Context, depth int) (*racer, error) {
		return b.enterRows(ctx, depth, own{}, false)
	}},
}

// racer takes jobs from claim to finish, in a database of its own.
type racer struct {
	name  string
	depth int
	// cycle lets an agent take a batch, load puts back as many as were taken.
	cycle func(ctx context.Context, agent int) (int, error)
	load  func(ctx context.Context, jobs int) error
	close func() error

	taken int
	rates []float64
}

// share is the racer's rate as a share of another's, the median of the turns.
func (r *racer) share(other *racer) float64 {
	shares := make([]float64, len(r.rates))
	for turn := range shares {
		shares[turn] = r.rates[turn] / other.rates[turn]
	}
	return middle(shares)
}

// enterAll returns a racer for each depth and way. What has begun is returned
// with an error, too.
func (b *bench) enterAll(ctx context.Context) ([]*racer, error) {
	var racers []*racer
	for _, depth := range b.sizes.depths {
		for _, way := range ways {
			r, err := way.enter(b, ctx, depth)
			if err != nil {
				return racers, fmt.Errorf("%s, %d waiting: %w", way.name, depth, err)
			}
			r.name, r.depth, r.taken = way.name, depth, depth
			racers = append(racers, r)
		}
	}
	return racers, nil
}

// race lets the racers take turns, so that what else the machine does is the
// same for all of them.
func (b *bench) race(ctx context.Context, racers []*racer) error {
	for range b.sizes.turns {
		for _, r := range racers {
			rate, err := r.turn(ctx, b.sizes.cycled/b.sizes.turns)
			if err != nil {
				return fmt.Errorf("%s, %d waiting: %w", r.name, r.depth, err)
			}
			r.rates = append(r.rates, rate)
		}
	}
	return nil
}

// turn takes so many jobs, in rounds of at most half of what is placed, before
// each of which load puts back what was taken, outside of the measured time.
func (r *racer) turn(ctx context.Context, jobs int) (float64, error) {
	var spent time.Duration
	done := 0
	for done < jobs {
		if err := r.load(ctx, r.taken); err != nil {
			return 0, fmt.Errorf("loading: %w", err)
		}
		start := time.Now()
		n, err := oneRound(ctx, min(max(jobs-done, agents*claimBatch), max(min(r.depth, mostPlaced)/2, agents*claimBatch)), r.cycle)
		if err != nil {
			return 0, err
		}
		spent += time.Since(start)
		done, r.taken = done+n, n
	}
	return float64(done) / spent.Seconds(), nil
}

// enterStore opens a store with so many jobs, of which those that are placed
// are taken.
func (b *bench) enterStore(ctx context.Context, depth int) (*racer, error) {
	dir, remove, err := b.waiting(ctx, depth)
	if err != nil {
		return nil, err
	}
	s, err := openStore(ctx, dir)
	if err != nil {
		remove()
		return nil, err
	}
	end := func() error {
		defer remove()
		return s.Close()
	}
	c := &cycling{store: s}
	if err := c.open(ctx); err != nil {
		return nil, errors.Join(err, end())
	}
	first := true
	load := func(ctx context.Context, jobs int) error {
		if !first {
			if err := b.sources.fill(ctx, s, jobs); err != nil {
				return err
			}
		}
		first = false
		return c.place(ctx, min(jobs, mostPlaced))
	}
	return &racer{cycle: c.cycle, load: load, close: end}, nil
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
