package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/store"
)

const pageLength = 50

// lists measures (d), through the store and over HTTP, one list after the
// other, of namespaces picked at random.
func (b *bench) lists(ctx context.Context) error {
	depth := b.sizes.deepest()
	dir, remove, err := b.waiting(ctx, depth)
	if err != nil {
		return err
	}
	defer remove()
	alone, err := listStore(ctx, dir)
	if err != nil {
		return fmt.Errorf("listing through the store: %w", err)
	}
	server, err := b.startServer(ctx, dir)
	if err != nil {
		return err
	}
	http, err := each(ctx, 1000, 1, func(ctx context.Context, _ int) error {
		page, err := server.Jobs(ctx, client.JobFilter{Namespace: someNamespace(), Limit: pageLength})
		return errors.Join(err, whole(len(page.Items)))
	})
	if err := errors.Join(err, server.stop()); err != nil {
		return fmt.Errorf("listing over HTTP: %w", err)
	}
	name := round(float64(depth))
	for _, m := range []struct {
		how   string
		times []time.Duration
	}{{"through the store", alone}, {"over HTTP", http}} {
		b.report.add(milliseconds(percentile(m.times, 50)), "ms", "newest %d of a namespace in %s, %s, p50", pageLength, name, m.how)
		b.report.add(milliseconds(percentile(m.times, 99)), "ms", "the same, p99")
	}
	b.report.atMost(milliseconds(percentile(http, 99)), 5, "p99 over HTTP in ms, "+name+" jobs",
		fmt.Sprintf("%s ms through the store", round(milliseconds(percentile(alone, 99)))))
	return nil
}

func listStore(ctx context.Context, dir string) ([]time.Duration, error) {
	s, err := openStore(ctx, dir)
	if err != nil {
		return nil, err
	}
	times, err := each(ctx, 2000, 1, func(ctx context.Context, _ int) error {
		page, err := s.List(ctx, store.ListQuery{Namespaces: []string{someNamespace()}, Limit: pageLength})
		return errors.Join(err, whole(len(page.Jobs)))
	})
	return times, errors.Join(err, s.Close())
}

func someNamespace() string { return fmt.Sprintf("team-%02d", rand.IntN(namespaces)) }

func whole(n int) error {
	if n != pageLength {
		return fmt.Errorf("a page has %d jobs; want %d", n, pageLength)
	}
	return nil
}
