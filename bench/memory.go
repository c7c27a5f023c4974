package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// memory measures (e): the resident memory of a server on a database with jobs
// waiting, at rest and after some use of every kind.
func (b *bench) memory(ctx context.Context) error {
	depth := b.sizes.deepest()
	dir, remove, err := b.waiting(ctx, depth)
	if err != nil {
		return err
	}
	defer remove()
	server, err := b.startServer(ctx, dir)
	if err != nil {
		return err
	}
	rest, _, err := server.megabytes()
	if err == nil {
		err = b.use(ctx, server)
	}
	if err != nil {
		return errors.Join(err, server.stop())
	}
	used, highest, err := server.megabytes()
	if err := errors.Join(err, server.stop()); err != nil {
		return err
	}
	name := round(float64(depth))
	b.report.add(rest, "MB", "server with %s waiting, just started", name)
	b.report.add(used, "MB", "the same, after lists, statistics, submissions and placements")
	b.report.add(highest, "MB", "the same, at its highest")
	b.report.atMost(highest, 300, "MB of the server with "+name+" waiting, at its highest", "")
	return nil
}

// use asks for a bit of everything.
func (b *bench) use(ctx context.Context, server *process) error {
	_, err := each(ctx, 200, 8, func(ctx context.Context, i int) error {
		page, err := server.Jobs(ctx, client.JobFilter{Namespace: someNamespace(), Limit: 1000})
		if err != nil || len(page.Items) == 0 {
			return errors.Join(err, whole(len(page.Items)))
		}
		if _, err := server.Job(ctx, page.Items[i%len(page.Items)].ID); err != nil {
			return err
		}
		if _, err := server.Stats(ctx); err != nil {
			return err
		}
		_, err = server.ExplainJob(ctx, page.Items[0].ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	if _, err := each(ctx, 2000, 16, func(ctx context.Context, i int) error {
		_, _, err := server.Submit(ctx, api.Submission{Manifest: b.sources.compiled[i%classes].JSON}, "")
		return err
	}); err != nil {
		return fmt.Errorf("submitting: %w", err)
	}
	if _, err := b.syncAgents(ctx, server); err != nil {
		return fmt.Errorf("working: %w", err)
	}
	return nil
}
