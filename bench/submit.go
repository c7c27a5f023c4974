package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/store"
)

var (
	submitters = []int{1, 16, 64, 256}
	batches    = []int{1, 100}
)

// way is one way of submitting.
type way struct{ submitters, batch int }

func (w way) String() string {
	if w.batch == 1 {
		return fmt.Sprintf("%d submitters, one at a time", w.submitters)
	}
	return fmt.Sprintf("%d submitters, batches of %d", w.submitters, w.batch)
}

// submits measures (a): jobs that are durable when the caller has its answer.
func (b *bench) submits(ctx context.Context) error {
	before, err := b.fsyncs(ctx)
	if err != nil {
		return err
	}
	alone, err := b.submitToStore(ctx)
	if err != nil {
		return fmt.Errorf("inserting into the store: %w", err)
	}
	http, err := b.submitOverHTTP(ctx)
	if err != nil {
		return fmt.Errorf("submitting over HTTP: %w", err)
	}
	between, err := b.fsyncs(ctx)
	if err != nil {
		return err
	}
	compared, err := b.river(ctx, "-insert", submitters)
	if err != nil {
		return err
	}
	after, err := b.fsyncs(ctx)
	if err != nil {
		return err
	}
	syncs := b.report.add(middle([]float64{before, between, after}), "/s", "raw append of %d bytes and fsync, one after the other", fsyncBytes)
	theirs := map[way]float64{}
	for _, insert := range compared.Inserts {
		theirs[way{insert.Submitters, insert.Batch}] = insert.PerSecond
	}
	for _, batch := range batches {
		for _, n := range submitters {
			w := way{n, batch}
			b.report.add(alone[w], "jobs/s", "store alone, %s", w)
			b.report.add(http[w], "jobs/s", "whole HTTP path, %s", w)
			b.report.add(theirs[w], "jobs/s", "River on PostgreSQL %s, %s", compared.Postgres, w)
		}
	}
	store, server, err := b.submitInTurn(ctx)
	if err != nil {
		return err
	}
	single, many := way{64, 1}, way{256, 100}
	b.report.atLeast(store, 3, "store alone, as a multiple of River, 64 submitters",
		fmt.Sprintf("median of turns; %s to %s before them, %s times the raw fsync rate", round(alone[single]), round(theirs[single]), round(alone[single]/syncs)))
	b.report.atLeast(server, 1.5, "whole HTTP path, as a multiple of River, 64 submitters",
		fmt.Sprintf("median of turns; %s to %s before them", round(http[single]), round(theirs[single])))
	b.report.atLeast(http[many], 10_000, "jobs/s over HTTP, 256 submitters in batches of 100", fmt.Sprintf("River's InsertMany: %s", round(theirs[many])))
	return nil
}

// submitInTurn measures 64 submitters again, store, server and River one after
// the other in turns, so that what else the machine does is the same for all
// three. It returns the rates of store and server as multiples of River's, the
// median of the turns.
func (b *bench) submitInTurn(ctx context.Context) (store, server float64, err error) {
	single := way{64, 1}
	var stores, servers []float64
	for range b.sizes.rounds {
		alone, err := b.submitToFreshStore(ctx, single)
		if err != nil {
			return 0, 0, err
		}
		http, err := b.submitToServer(ctx, single)
		if err != nil {
			return 0, 0, err
		}
		compared, err := b.river(ctx, "-insert", []int{single.submitters})
		if err != nil {
			return 0, 0, err
		}
		river := compared.Inserts[0].PerSecond
		b.report.note("in turn, %s: store %s, HTTP %s, River %s jobs/s", single, round(alone), round(http), round(river))
		stores, servers = append(stores, alone/river), append(servers, http/river)
	}
	return middle(stores), middle(servers), nil
}

// submitToStore inserts job, manifest, history row and event through the store,
// in this process.
func (b *bench) submitToStore(ctx context.Context) (map[way]float64, error) {
	rates := map[way]float64{}
	for _, batch := range batches {
		for _, n := range submitters {
			w := way{n, batch}
			rate, err := b.submitToFreshStore(ctx, w)
			if err != nil {
				return nil, err
			}
			rates[w] = rate
		}
	}
	return rates, nil
}

func (b *bench) submitToFreshStore(ctx context.Context, w way) (float64, error) {
	return b.inFreshStore(ctx, func(s store.Store) (float64, error) {
		return median(b.sizes.rounds, func() (float64, error) { return b.insertRate(ctx, s, w) })
	})
}

// insertRate inserts for one round, and returns the jobs a second.
func (b *bench) insertRate(ctx context.Context, s store.Store, w way) (float64, error) {
	return perSecond(ctx, b.sizes.round, w.submitters, w.batch, func(ctx context.Context, caller int) error {
		now := time.Now()
		submissions := make([]store.Submission, w.batch)
		for i := range submissions {
			submissions[i] = b.sources.submission(caller+i, now)
		}
		inserted, err := s.Insert(ctx, submissions)
		for _, in := range inserted {
			err = errors.Join(err, in.Err)
		}
		return err
	})
}

// inFreshStore measures in a new database.
func (b *bench) inFreshStore(ctx context.Context, measure func(store.Store) (float64, error)) (float64, error) {
	dir, remove, err := b.fresh("store")
	if err != nil {
		return 0, err
	}
	defer remove()
	s, err := openStore(ctx, dir)
	if err != nil {
		return 0, err
	}
	measured, err := measure(s)
	return measured, errors.Join(err, s.Close())
}

// submitOverHTTP submits through the Go client to a server in a process of its
// own, over loopback. No region is connected, so all jobs stay queued.
func (b *bench) submitOverHTTP(ctx context.Context) (map[way]float64, error) {
	rates := map[way]float64{}
	for _, batch := range batches {
		for _, n := range submitters {
			w := way{n, batch}
			rate, err := b.submitToServer(ctx, w)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w, err)
			}
			rates[w] = rate
		}
	}
	return rates, nil
}

func (b *bench) submitToServer(ctx context.Context, w way) (float64, error) {
	dir, remove, err := b.fresh("server")
	if err != nil {
		return 0, err
	}
	defer remove()
	server, err := b.startServer(ctx, dir)
	if err != nil {
		return 0, err
	}
	submission := api.Submission{Manifest: b.sources.compiled[0].JSON}
	items := make([]api.BatchItem, w.batch)
	for i := range items {
		items[i] = api.BatchItem{Submission: api.Submission{Manifest: b.sources.compiled[i%classes].JSON}}
	}
	rate, err := median(b.sizes.rounds, func() (float64, error) {
		return perSecond(ctx, b.sizes.round, w.submitters, w.batch, func(ctx context.Context, _ int) error {
			if w.batch == 1 {
				_, _, err := server.Submit(ctx, submission, "")
				return err
			}
			result, err := server.SubmitBatch(ctx, items)
			for _, item := range result.Items {
				if item.Problem != nil {
					err = errors.Join(err, fmt.Errorf("%d %s: %s", item.Status, item.Problem.Title, item.Problem.Detail))
				}
			}
			return err
		})
	})
	return rate, errors.Join(err, server.stop())
}
