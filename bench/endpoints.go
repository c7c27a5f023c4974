package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/serving"
	"github.com/gco-project/gco/internal/store"
)

const (
	servedEndpoints = 500
	servingRegions  = 30
	// idleTime is how long it is watched that nothing is written.
	idleTime = 15 * time.Second
)

// endpoints measures (l): the store on disk, the queue, the loop that
// reconciles, and agents over runtimes that answer at once, all in this process
// and without HTTP. Each endpoint has a replica in every region.
func (b *bench) endpoints(ctx context.Context) error {
	var made, changed, writes float64
	_, err := b.inFreshStore(ctx, func(s store.Store) (float64, error) {
		f := newFleet(s)
		return 0, during(ctx, f.run, func(ctx context.Context) (err error) {
			if err := f.opened(ctx); err != nil {
				return err
			}
			if made, err = f.converge(ctx, f.create, 1); err != nil {
				return fmt.Errorf("making endpoints: %w", err)
			}
			if changed, err = f.converge(ctx, f.update, 2); err != nil {
				return fmt.Errorf("changing endpoints: %w", err)
			}
			writes, err = f.idle(ctx)
			return err
		})
	})
	if err != nil {
		return err
	}
	b.report.add(made, "s", "%d endpoints in %d regions, from the first to be made to the last replica that is ready", servedEndpoints, servingRegions)
	b.report.add(changed, "s", "a new revision of all of them, rolled in every region: %d replicas", servedEndpoints*servingRegions)
	b.report.atMost(changed, 5, "seconds until all endpoints in all regions have come to a change", "")
	b.report.add(writes, "", "writes about endpoints in %s without a change", idleTime)
	b.report.atMost(writes, 0, "writes about endpoints while nothing changes", "")
	return nil
}

// watchedStore counts the writes about endpoints.
type watchedStore struct {
	store.Store
	writes atomic.Int64
}

func (w *watchedStore) PutPlans(ctx context.Context, plans []endpoint.Plan) ([]error, error) {
	w.writes.Add(1)
	return w.Store.PutPlans(ctx, plans)
}

func (w *watchedStore) PutObserved(ctx context.Context, guard store.Guard, observed []endpoint.Observed, all bool) error {
	w.writes.Add(1)
	return w.Store.PutObserved(ctx, guard, observed, all)
}

// fleet is a control plane and the agents of many regions.
type fleet struct {
	store   *watchedStore
	queue   *queue.Queue
	serving *serving.Serving
	regions []*instantRegion
	names   []string
}

func newFleet(s store.Store) *fleet {
	f := &fleet{store: &watchedStore{Store: s}}
	f.serving = serving.New(serving.Options{
		Store: f.store, Placement: placement.DefaultPolicy(),
		Leading: func() bool { return f.queue.Leading() }, Wake: func(region string) { f.queue.Wake(region) },
	})
	f.queue = queue.New(queue.Options{Store: f.store, Holder: "only", Endpoints: f.serving})
	for i := range servingRegions {
		f.names = append(f.names, fmt.Sprintf("region-%02d", i))
		f.regions = append(f.regions, newInstantRegion(f.names[i], f.queue))
	}
	return f
}

func (f *fleet) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return f.queue.Run(ctx) })
	group.Go(func() error { return f.serving.Run(ctx) })
	for _, r := range f.regions {
		group.Go(func() error { return r.agent.Run(ctx) })
	}
	return group.Wait()
}

// opened waits until every region has said what it has.
func (f *fleet) opened(ctx context.Context) error {
	return until(ctx, func() (bool, error) {
		regions, err := f.store.Regions(ctx)
		count := 0
		for _, r := range regions {
			if r.Inventoried {
				count++
			}
		}
		return count == servingRegions, err
	})
}

// until looks every few milliseconds.
func until(ctx context.Context, done func() (bool, error)) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fleet) spec() endpoint.Spec {
	return endpoint.Spec{
		Container: endpoint.Container{Image: "registry.example/model:1", Port: 8080}, Replicas: servingRegions,
		Regions: endpoint.Regions{Names: f.names},
	}.WithDefaults()
}

func nameOfEndpoint(i int) string { return fmt.Sprintf("endpoint-%03d", i) }

func (f *fleet) create(ctx context.Context, i int) error {
	_, err := f.serving.Create(ctx, nameOfEndpoint(i), f.spec(), "bench")
	return err
}

func (f *fleet) update(ctx context.Context, i int) error {
	_, err := f.serving.Edit(ctx, nameOfEndpoint(i), 0, func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) {
		spec := e.Spec
		spec.Image = "registry.example/model:2"
		return e.Update(spec, "bench", now)
	})
	return err
}

// converge changes every endpoint, and measures until every region has a
// revision only, and the plans say so.
func (f *fleet) converge(ctx context.Context, change func(context.Context, int) error, revision int) (seconds float64, err error) {
	start := time.Now()
	group, each := errgroup.WithContext(ctx)
	group.SetLimit(64)
	for i := range servedEndpoints {
		group.Go(func() error { return change(each, i) })
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	err = until(ctx, func() (bool, error) {
		for _, r := range f.regions {
			if !r.serves(revision) {
				return false, nil
			}
		}
		plans, err := f.store.EndpointPlans(ctx, "", servedEndpoints)
		for _, p := range plans {
			if p.Good != revision || p.Trying != 0 {
				return false, err
			}
		}
		return len(plans) == servedEndpoints, err
	})
	return time.Since(start).Seconds(), err
}

// idle counts the writes of a while in which nothing changes.
func (f *fleet) idle(ctx context.Context) (float64, error) {
	// What the last change left to say is said within a poll.
	for _, wait := range []time.Duration{2 * time.Second, idleTime} {
		before := f.store.writes.Load()
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		if wait == idleTime {
			return float64(f.store.writes.Load() - before), nil
		}
	}
	return 0, nil
}
