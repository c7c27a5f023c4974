package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/webhook"
)

const (
	// deliveriesNow is how many deliveries wait when the rate is measured.
	deliveriesNow = 20_000
	// receivers get submittedPerSecond together, each those of a namespace of its
	// own.
	receivers          = namespaces
	submittedPerSecond = 500
	// roundsWithDead is how often the run with a dead receiver and the one
	// without take turns.
	roundsWithDead = 5
)

// deliveries measures (j): the store, the loops that deliver, and receivers
// over HTTP on loopback, all in this process.
func (b *bench) deliveries(ctx context.Context) error {
	rate, err := median(b.sizes.rounds, func() (float64, error) { return b.deliveryRate(ctx) })
	if err != nil {
		return fmt.Errorf("delivering to one receiver: %w", err)
	}
	b.report.add(rate, "/s", "deliveries to one local receiver, signed, claimed and settled in the store")
	b.report.atLeast(rate, 2_000, "deliveries to one receiver a second", "")
	var healthy, beside, rates []float64
	for round := range 2 * roundsWithDead {
		// One after the other and then the other way around, so that what changes
		// meanwhile on this machine falls on both.
		dead := round%4 == 1 || round%4 == 2
		p99, rate, err := b.deliveryTimes(ctx, dead)
		if err != nil {
			return fmt.Errorf("delivering to %d receivers: %w", receivers, err)
		}
		rates = append(rates, rate)
		if dead {
			beside = append(beside, p99)
		} else {
			healthy = append(healthy, p99)
		}
	}
	// Each round is held against its neighbour: what is busy on this machine is
	// so for both.
	shares := make([]float64, roundsWithDead)
	for i := range shares {
		shares[i] = beside[i] / healthy[i]
	}
	b.report.add(middle(rates), "/s", "events that were made, of %d; the rest was late", submittedPerSecond)
	b.report.add(middle(healthy), "ms", "from a job's submission to its event's arrival, p99 of %d receivers, median of %d rounds", receivers, roundsWithDead)
	b.report.add(middle(beside), "ms", "the same of the others, where one receiver never answers")
	b.report.atMost(middle(shares), 1.1, "p99 beside a dead receiver, as a share of p99 without one",
		fmt.Sprintf("median of %d pairs, %.2f to %.2f", roundsWithDead, slices.Min(shares), slices.Max(shares)))
	return nil
}

// newOutbox makes an outbox with the default settings that may deliver to this
// host. changed tells it of submissions, as the queue does.
func newOutbox(s store.Store, changed <-chan struct{}) *webhook.Outbox {
	c := config.Default().Webhooks
	return webhook.New(webhook.Options{
		Store: s, Watch: func() (<-chan struct{}, func()) { return changed, func() {} },
		Encode: func(e store.Event) ([]byte, error) { return json.Marshal(e) },
		Settings: webhook.Settings{
			Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Limit: c.Limit, Timeout: c.Timeout, Retries: c.Retries,
			Concurrency: c.Concurrency, PerWebhook: c.PerWebhook, PerHost: c.PerHost,
			PauseAfter: c.PauseAfter, PauseBacklog: c.PauseBacklog, KeepDeliveries: c.KeepDeliveries,
		},
	})
}

// subscribe makes a webhook for the submissions of a namespace; empty is all.
func subscribe(ctx context.Context, o *webhook.Outbox, url, namespace string) error {
	_, _, err := o.Create(ctx, webhook.Request{URL: &url, Namespace: namespace, Types: &[]string{"job.*"}})
	return err
}

// deliveryRate is how many deliveries that wait are made a second.
func (b *bench) deliveryRate(ctx context.Context) (float64, error) {
	return b.inFreshStore(ctx, func(s store.Store) (float64, error) {
		arrivals := make(chan string, deliveriesNow)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusNoContent)
			arrivals <- r.Header.Get("webhook-id")
		}))
		defer server.Close()
		outbox := newOutbox(s, nil)
		if err := subscribe(ctx, outbox, server.URL, ""); err != nil {
			return 0, err
		}
		if err := b.sources.fill(ctx, s, deliveriesNow); err != nil {
			return 0, err
		}
		start := time.Now()
		seen := map[string]bool{}
		err := during(ctx, outbox.Run, func(ctx context.Context) error {
			for len(seen) < deliveriesNow {
				select {
				case id := <-arrivals:
					seen[id] = true
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
		return deliveriesNow / time.Since(start).Seconds(), err
	})
}

// during runs a loop until work has ended.
func during(ctx context.Context, loop, work func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- loop(ctx) }()
	err := work(ctx)
	cancel()
	return errors.Join(err, <-ended)
}

// deliveryTimes is the p99 of the time from a submission to the arrival of its
// event, in milliseconds, over the receivers that answer, and how many jobs
// were submitted a second.
func (b *bench) deliveryTimes(ctx context.Context, dead bool) (p99, rate float64, err error) {
	p99, err = b.inFreshStore(ctx, func(s store.Store) (float64, error) {
		a := &arrivals{at: map[string]time.Time{}}
		changed := make(chan struct{}, 1)
		outbox := newOutbox(s, changed)
		var servers []*httptest.Server
		defer func() {
			for _, server := range servers {
				server.Close()
			}
		}()
		// The receiver that is dead has to let go before its server closes.
		closing, stop := context.WithCancel(ctx)
		defer stop()
		for i := range receivers {
			handler := http.Handler(a)
			if dead && i == 0 {
				handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-closing.Done() })
			}
			server := httptest.NewServer(handler)
			servers = append(servers, server)
			if err := subscribe(ctx, outbox, server.URL, namespaceOf(i)); err != nil {
				return 0, err
			}
		}
		var sent map[string]time.Time
		err := during(ctx, outbox.Run, func(ctx context.Context) (err error) {
			if sent, rate, err = b.submitAtPace(ctx, s, changed); err != nil {
				return err
			}
			return a.wait(ctx, sent)
		})
		if err != nil {
			return 0, err
		}
		return milliseconds(percentile(a.delays(sent), 99)), nil
	})
	return p99, rate, err
}

// arrivals notes when each event arrived first.
type arrivals struct {
	mutex sync.Mutex
	at    map[string]time.Time
}

// ServeHTTP takes one delivery.
func (a *arrivals) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	_, _ = io.Copy(io.Discard, r.Body)
	w.WriteHeader(http.StatusNoContent)
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if id := r.Header.Get("webhook-id"); a.at[id].IsZero() {
		a.at[id] = now
	}
}

// wait returns when all that was sent has arrived.
func (a *arrivals) wait(ctx context.Context, sent map[string]time.Time) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		got := a.count()
		// Others may have arrived that nobody waits for.
		if got >= len(sent) && len(a.delays(sent)) == len(sent) {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d events arrived: %w", got, len(sent), ctx.Err())
		}
	}
}

// count is how many events have arrived.
func (a *arrivals) count() int {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return len(a.at)
}

// delays are those of what was sent and has arrived.
func (a *arrivals) delays(sent map[string]time.Time) []time.Duration {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	var all []time.Duration
	for id, at := range sent {
		if arrived, ok := a.at[id]; ok {
			all = append(all, arrived.Sub(at))
		}
	}
	return all
}

// submitAtPace inserts jobs for half of the pace, each in the namespace after
// that of the one before, and returns when each event was on its way, but for
// those of the first receiver, which may be dead. A machine that is busy makes
// fewer of them, and does not take longer.
func (b *bench) submitAtPace(ctx context.Context, s store.Store, changed chan<- struct{}) (sent map[string]time.Time, rate float64, err error) {
	sent = map[string]time.Time{}
	const batch = 10
	ticker := time.NewTicker(batch * time.Second / submittedPerSecond)
	defer ticker.Stop()
	begun, made := time.Now(), 0
	for ; time.Since(begun) < b.sizes.pace/2; made += batch {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
		submissions := make([]store.Submission, batch)
		now := time.Now()
		for j := range submissions {
			submissions[j] = b.sources.submission((made+j)*(classes+1), now)
			if submissions[j].Job.Spec.Namespace != namespaceOf(0) {
				sent[eventOf(submissions[j].Job.ID)] = now
			}
		}
		if _, err := s.Insert(ctx, submissions); err != nil {
			return nil, 0, fmt.Errorf("submitting: %w", err)
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	return sent, float64(made) / time.Since(begun).Seconds(), nil
}

// eventOf is the ID of the event of a job's submission.
func eventOf(id job.ID) string { return store.JobSubject(id) + "/1" }
