package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// The load of (h): so many clients, and so many events a second, made by
// batches of submissions at an even pace.
const (
	streamClients   = 1000
	eventsPerSecond = 500
	eventsPerBatch  = 10
)

// lateEvents is how long an event may take before it counts as missed.
const lateEvents = 15 * time.Second

// streams measures (h): clients that follow the event stream of one server
// while jobs are submitted; one alone, and all of another server.
func (b *bench) streams(ctx context.Context) error {
	var all *audience
	for _, clients := range []int{1, streamClients} {
		all = &audience{events: int(b.sizes.pace.Seconds() * eventsPerSecond)}
		if err := b.streamsOf(ctx, all, clients); err != nil {
			return fmt.Errorf("%d clients: %w", clients, err)
		}
	}
	b.report.atMost(all.highest-all.idle, 200, fmt.Sprintf("MB above idle with %d clients", streamClients), "at its highest")
	b.report.atMost(float64(all.wrong), 0, fmt.Sprintf("clients of %d that did not see every event once and in order", streamClients),
		fmt.Sprintf("%s events to each", round(float64(all.events))))
	b.report.atLeast(all.rate, 0.99*eventsPerSecond, "events a second meanwhile", "")
	return nil
}

// streamsOf lets the clients follow a server of their own.
func (b *bench) streamsOf(ctx context.Context, a *audience, clients int) error {
	dir, remove, err := b.fresh("streams")
	if err != nil {
		return err
	}
	defer remove()
	if a.server, err = b.startServer(ctx, dir); err != nil {
		return err
	}
	err = pause(ctx, 3*time.Second)
	if err == nil {
		a.idle, _, err = a.server.megabytes()
	}
	if err == nil {
		err = b.follow(ctx, a, clients)
	}
	if err == nil {
		_, a.highest, err = a.server.megabytes()
	}
	b.report.add(a.idle, "MB", "server with %d clients to come, at rest", clients)
	b.report.add(a.resting, "MB", "the same, with the clients and before the first event")
	b.report.add(a.highest, "MB", "the same, at its highest")
	return errors.Join(err, a.server.stop())
}

// audience is the clients of one round.
type audience struct {
	server   *process
	token    string
	events   int
	watchers []*watcher
	// Memory of the server in MB: without a client, with all of them, and at
	// its highest.
	idle, resting, highest float64
	// rate is of the events that were made, wrong counts the clients that did
	// not see exactly those.
	rate  float64
	wrong int
}

// follow lets clients follow while jobs are submitted.
func (b *bench) follow(ctx context.Context, a *audience, clients int) error {
	viewer, err := a.server.CreateToken(ctx, api.NewToken{Name: "watcher", Role: "viewer"})
	if err != nil {
		return fmt.Errorf("making a token: %w", err)
	}
	a.token = viewer.Secret
	watching, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	for range clients {
		w, err := watch(watching, a)
		if err != nil {
			return fmt.Errorf("opening a stream: %w", err)
		}
		a.watchers = append(a.watchers, w)
		group.Go(w.run)
	}
	if a.resting, _, err = a.server.megabytes(); err != nil {
		return err
	}
	before, err := a.server.cpu()
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := b.submitEvenly(ctx, a); err != nil {
		return err
	}
	a.rate = float64(a.events) / time.Since(begun).Seconds()
	late := time.AfterFunc(lateEvents, cancel)
	group.Wait()
	late.Stop()
	after, err := a.server.cpu()
	if err != nil {
		return err
	}
	b.report.add(100*(after-before).Seconds()/time.Since(begun).Seconds(), "%", "of one core, server with %d clients at %s events/s", clients, round(a.rate))
	b.reportDelays(a)
	return a.check(ctx)
}

// submitEvenly makes the events: each job that is submitted is one. A batch
// that is late does not hold up the next one.
func (b *bench) submitEvenly(ctx context.Context, a *audience) error {
	const callers = 8
	begun := time.Now()
	_, err := each(ctx, a.events/eventsPerBatch, callers, func(ctx context.Context, batch int) error {
		due := time.Duration(batch) * time.Second * eventsPerBatch / eventsPerSecond
		if err := pause(ctx, due-time.Since(begun)); err != nil {
			return err
		}
		items := make([]api.BatchItem, eventsPerBatch)
		for i := range items {
			items[i].Manifest = b.sources.compiled[(batch+i)%classes].JSON
		}
		result, err := a.server.SubmitBatch(ctx, items)
		for _, item := range result.Items {
			if item.Job == nil {
				err = errors.Join(err, fmt.Errorf("status %d", item.Status))
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("submitting: %w", err)
	}
	return nil
}

// reportDelays tells the time from a transition, by the server's clock, to the
// client's hand.
func (b *bench) reportDelays(a *audience) {
	var delays []time.Duration
	for _, w := range a.watchers {
		delays = append(delays, w.delays...)
	}
	b.report.add(milliseconds(percentile(delays, 50)), "ms", "from a transition to a client that reads it, %d clients, p50", len(a.watchers))
	b.report.add(milliseconds(percentile(delays, 99)), "ms", "the same, p99")
	b.report.add(milliseconds(percentile(delays, 100)), "ms", "the same, slowest")
}

// check compares what each client saw with what the server has.
func (a *audience) check(ctx context.Context) error {
	events, err := a.server.Events(ctx, client.EventFilter{After: a.watchers[0].begin, Once: true})
	if err != nil {
		return fmt.Errorf("reading the events again: %w", err)
	}
	defer events.Close()
	truth := &watcher{}
	for {
		if _, err := events.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("reading the events again: %w", err)
		}
		truth.saw([]byte(events.Cursor()))
	}
	if truth.seen != a.events {
		return fmt.Errorf("%d events were made, and the server has %d", a.events, truth.seen)
	}
	for _, w := range a.watchers {
		if w.seen != truth.seen || w.sum != truth.sum {
			a.wrong++
		}
	}
	return nil
}
