// Package webhook tells the outside of events: it owns the way from the event
// stream to the addresses that users gave. It signs as Standard Webhooks has
// it, sends, tries again, gives up, and pauses an address that only fails. It
// owns no storage (store) and no form of events (Options.Encode). The server
// calls it to change webhooks; daemon runs its loops:
//
//   - the dispatcher (of the leader) reads the stream behind a durable cursor,
//     and writes a delivery for each event and webhook that wants it, in one
//     step with the cursor;
//   - the deliverer (of every server) claims deliveries that are due, makes
//     them, and settles them;
//   - the sweeper (of the leader) removes old deliveries, and pauses webhooks
//     that fall too far behind.
//
// A delivery is made at least once. A receiver tells repeats by their
// webhook-id, which is the ID of the event.
package webhook

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/store"
)

// Store is what the package needs of a store.
type Store interface {
	store.Webhooks
	store.Outbox
	Events(ctx context.Context, query store.EventQuery) (events []store.Event, next int64, err error)
	LastEvent(ctx context.Context) (int64, error)
}

// Settings bound what deliveries may do; see config.Webhooks, whose fields
// these are.
type Settings struct {
	// Networks may be reached although they are not public, and without TLS.
	Networks       []netip.Prefix
	Limit          int
	Timeout        time.Duration
	Retries        []time.Duration
	Concurrency    int
	PerWebhook     int
	PerHost        int
	PauseAfter     time.Duration
	PauseBacklog   int64
	KeepDeliveries time.Duration
}

// Options is what an Outbox is made of. Store and Encode are required.
type Options struct {
	Store Store
	Clock clock.WithTicker
	Log   *slog.Logger
	// Encode is what is sent of an event.
	Encode func(store.Event) ([]byte, error)
	// Leading tells whether this process runs the leader's loops.
	Leading func() bool
	// Watch returns a channel that is signalled when there may be events.
	Watch    func() (changed <-chan struct{}, stop func())
	Settings Settings
	// Resolver finds addresses; nil is the system's.
	Resolver *net.Resolver
}

// Outbox delivers events to webhooks. Its methods may be called concurrently.
type Outbox struct {
	Options

	metrics    *metrics
	guard      guard
	dispatcher *dispatcher
	deliverer  *deliverer
}

// New returns an Outbox; its loops start with Run.
func New(options Options) *Outbox {
	o := &Outbox{Options: options, metrics: newMetrics(options.Store), guard: guard{options.Settings.Networks}}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Leading == nil {
		o.Leading = func() bool { return true }
	}
	if o.Watch == nil {
		o.Watch = func() (<-chan struct{}, func()) { return nil, func() {} }
	}
	o.dispatcher = &dispatcher{o: o, woken: make(chan struct{}, 1)}
	o.deliverer = newDeliverer(o)
	return o
}

// Collector has the metrics of the deliveries.
func (o *Outbox) Collector() prometheus.Collector { return o.metrics }

// tick is how often the loops look without having been told to.
const tick = time.Second

// Run runs the loops until ctx ends, and the tries that have begun to their
// end or for a few seconds.
func (o *Outbox) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, loop := range []func(context.Context) error{o.dispatcher.run, o.deliverer.run, o.sweep} {
		group.Go(func() error { return loop(ctx) })
	}
	return group.Wait()
}

// wants tells whether a webhook gets an event.
func wants(w *store.Webhook, e *store.Event) bool {
	if e.Cursor <= w.After || w.Paused() {
		return false
	}
	return selects(w, e)
}

// selects is wants without regard to when the webhook was made.
func selects(w *store.Webhook, e *store.Event) bool {
	if e.Type == store.EventWebhookTest {
		return e.Subject == store.WebhookSubject(w.ID)
	}
	query := store.EventQuery{Types: w.Types}
	if w.Namespace != "" {
		query.Namespaces = []string{w.Namespace}
	}
	return query.Selects(*e)
}
