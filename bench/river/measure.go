package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// maxConnections keeps PostgreSQL, which has a process for each, from being
// measured at switching between them: with 256 it is slower than with 64.
const maxConnections = 64

type nothing struct {
	Manifest string `json:"manifest"`
}

func (nothing) Kind() string { return "nothing" }

type worker struct{ river.WorkerDefaults[nothing] }

func (worker) Work(context.Context, *river.Job[nothing]) error { return nil }

// fresh returns a pool on an empty database with River's schema.
func fresh(ctx context.Context, server *postgres, connections int) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(server.url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(connections)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	err = migrate(ctx, pool)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("making River's schema: %w", err)
	}
	return pool, nil
}

func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	if _, err := pool.Exec(ctx, `DROP SCHEMA public CASCADE; CREATE SCHEMA public`); err != nil {
		return err
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: quiet()})
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// measureInserts counts rows that submitters insert, each waiting for its
// answer, in one round.
func measureInserts(ctx context.Context, server *postgres, o options, submitters, batch int) (float64, error) {
	pool, err := fresh(ctx, server, min(submitters, maxConnections))
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: quiet()})
	if err != nil {
		return 0, err
	}
	args := nothing{Manifest: strings.Repeat("m", o.payload)}
	many := make([]river.InsertManyParams, batch)
	for i := range many {
		many[i] = river.InsertManyParams{Args: args}
	}
	insert := func() error {
		if batch == 1 {
			_, err := client.Insert(ctx, args, nil)
			return err
		}
		_, err := client.InsertMany(ctx, many)
		return err
	}
	fmt.Fprintf(os.Stderr, "river: %d submitters, batches of %d\n", submitters, batch)
	return median(o.rounds, func() (float64, error) { return rate(o.round, submitters, batch, insert) })
}

func median(rounds int, measure func() (float64, error)) (float64, error) {
	values := make([]float64, max(rounds, 1))
	for i := range values {
		var err error
		if values[i], err = measure(); err != nil {
			return 0, err
		}
	}
	slices.Sort(values)
	return values[len(values)/2], nil
}

// rate runs calls side by side for a round and returns items a second.
func rate(round time.Duration, callers, items int, call func() error) (float64, error) {
	var done atomic.Int64
	var group sync.WaitGroup
	failures := make(chan error, callers)
	start := time.Now()
	for range callers {
		group.Go(func() {
			for time.Since(start) < round {
				if err := call(); err != nil {
					failures <- err
					return
				}
				done.Add(int64(items))
			}
		})
	}
	group.Wait()
	elapsed := time.Since(start)
	close(failures)
	return float64(done.Load()) / elapsed.Seconds(), <-failures
}

// measureWork lets one River client work on a table of waiting jobs, with two
// numbers of workers. A job counts when River says that its completion is
// stored.
func measureWork(ctx context.Context, server *postgres, o options, waiting int) ([]Work, error) {
	pool, err := fresh(ctx, server, 20)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	fmt.Fprintf(os.Stderr, "river: loading %d jobs\n", waiting)
	inserter, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: quiet()})
	if err != nil {
		return nil, err
	}
	var works []Work
	missing := waiting
	for _, workers := range []int{100, 2000} {
		if err := load(ctx, inserter, o.payload, missing); err != nil {
			return nil, fmt.Errorf("loading jobs: %w", err)
		}
		if _, err := pool.Exec(ctx, `VACUUM ANALYZE river_job`, pgx.QueryExecModeSimpleProtocol); err != nil {
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "river: %d waiting, %d workers\n", waiting, workers)
		perSecond, err := work(ctx, pool, o, waiting, workers)
		if err != nil {
			return nil, err
		}
		works = append(works, Work{waiting, workers, perSecond})
		// What the client took before it stopped is not counted above, but
		// gone: a shallow table is made anew.
		missing = int(perSecond * o.round.Seconds())
		if waiting < shallow {
			missing = waiting
			if _, err := pool.Exec(ctx, `TRUNCATE river_job`); err != nil {
				return nil, err
			}
		}
	}
	return works, nil
}

// shallow is the depth below which a table would run dry within a round.
const shallow = 10_000

func work(ctx context.Context, pool *pgxpool.Pool, o options, waiting, workers int) (float64, error) {
	registry := river.NewWorkers()
	river.AddWorker(registry, &worker{})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Logger:  quiet(),
		Workers: registry,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {
			MaxWorkers: workers, FetchCooldown: time.Millisecond, FetchPollInterval: 10 * time.Millisecond,
		}},
	})
	if err != nil {
		return 0, err
	}
	completed, unsubscribe := client.SubscribeConfig(&river.SubscribeConfig{
		Kinds: []river.EventKind{river.EventKindJobCompleted}, ChanSize: 1_000_000,
	})
	defer unsubscribe()
	start := time.Now()
	if err := client.Start(ctx); err != nil {
		return 0, err
	}
	done, elapsed, err := count(ctx, client, completed, start, waiting, o)
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return float64(done) / elapsed.Seconds(), errors.Join(err, client.StopAndCancel(stopping))
}

// count takes completions for a round; where few jobs wait, it puts as many
// back as were done, so that the depth stays what it was.
func count(ctx context.Context, client *river.Client[pgx.Tx], completed <-chan *river.Event, start time.Time, waiting int, o options) (int, time.Duration, error) {
	const top = 500
	done, refilled := 0, 0
	end := time.After(o.round)
	for {
		select {
		case <-completed:
			done++
			if waiting < shallow && done-refilled >= top {
				if err := load(ctx, client, o.payload, top); err != nil {
					return 0, 0, err
				}
				refilled += top
			}
		case <-end:
			return done, time.Since(start), nil
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
	}
}

func load(ctx context.Context, client *river.Client[pgx.Tx], payload, jobs int) error {
	const batch = 5000
	args := nothing{Manifest: strings.Repeat("m", payload)}
	for left := jobs; left > 0; left -= batch {
		many := make([]river.InsertManyParams, min(left, batch))
		for i := range many {
			many[i] = river.InsertManyParams{Args: args}
		}
		if _, err := client.InsertManyFast(ctx, many); err != nil {
			return err
		}
	}
	return nil
}
