package webhook

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/sqlite"
)

// shaky is a store that dies in the middle of its work, before a write or
// after it, and counts its writes.
type shaky struct {
	*sqlite.Store
	random     *rand.Rand
	dispatches int
}

var errDied = errors.New("the process died")

func (s *shaky) dies() error {
	if s.random != nil && s.random.IntN(3) == 0 {
		return errDied
	}
	return nil
}

func (s *shaky) Dispatch(ctx context.Context, from, to int64, deliveries []store.Delivery) error {
	s.dispatches++
	if err := s.dies(); err != nil {
		return err
	}
	return errors.Join(s.Store.Dispatch(ctx, from, to, deliveries), s.dies())
}

func (s *shaky) ClaimDeliveries(ctx context.Context, claim store.DeliveryClaim) ([]store.Delivery, error) {
	claimed, err := s.Store.ClaimDeliveries(ctx, claim)
	if died := s.dies(); died != nil {
		return nil, died
	}
	return claimed, err
}

// overShaky puts a shaky store under the outbox.
func overShaky(w *world, random *rand.Rand) *shaky {
	s := &shaky{Store: w.store, random: random}
	w.Options.Store = s
	w.Outbox = New(w.Options)
	return s
}

// TestCrashes begins anew after every crash between two writes: every event
// is delivered, in order, and none is invented.
func TestCrashes(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, func(o *Options) { o.Settings.PerWebhook = 300 })
		overShaky(w, rand.New(rand.NewPCG(seed, 1)))
		r := newReceiver(t, nil)
		w.create(r.URL, func(q *Request) { q.Types = &[]string{"region.*"} })
		const events = 30
		for n := range events {
			w.events([]string{"a", "b", "c"}[n%3], 1)
			if _, err := w.dispatcher.runOnce(t.Context(), true); errors.Is(err, errDied) {
				// The next process remembers nothing.
				w.Outbox = New(w.Options)
			}
			if err := w.deliverer.runOnce(t.Context(), t.Context(), true); errors.Is(err, errDied) {
				w.Outbox = New(w.Options)
			}
			w.clock.Step(time.Minute)
		}
		w.Options.Store = w.store
		w.Outbox = New(w.Options)
		w.clock.Step(time.Minute)
		w.run()
		for _, region := range []string{"a", "b", "c"} {
			var of []string
			for _, id := range r.ids() {
				if strings.HasPrefix(id, store.RegionSubject(region)+"/") && !slices.Contains(of, id) {
					of = append(of, id)
				}
			}
			w.same(fmt.Sprintf("messages about %s with seed %d", region, seed), of, numbered(region, 1, events/3))
		}
	}
}

// TestDispatchManyAtOnce has more deliveries of one event than a write takes.
func TestDispatchManyAtOnce(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Settings.Limit = 1000 })
	s := overShaky(w, nil)
	var hooks []store.Webhook
	for range dispatchPage + 50 {
		hooks = append(hooks, w.create("http://127.0.0.1:1/", func(q *Request) { q.Types = &[]string{"region.*"} }))
	}
	s.random = rand.New(rand.NewPCG(7, 7))
	w.events("a", 3)
	for range 40 {
		if _, err := w.dispatcher.runOnce(t.Context(), true); err != nil && !errors.Is(err, errDied) {
			t.Fatal(err)
		}
	}
	s.random = nil
	w.dispatch()
	for _, hook := range hooks {
		if n := len(w.deliveries(hook)); n != 3 {
			t.Fatalf("%d deliveries of 3 events", n)
		}
	}
}

// TestDispatchCostsNothing counts the writes without webhooks, and with one
// that wants nothing of what happens.
func TestDispatchCostsNothing(t *testing.T) {
	w := newWorld(t)
	s := overShaky(w, nil)
	w.events("a", 100)
	w.dispatch()
	if s.dispatches != 0 {
		t.Errorf("%d writes without webhooks", s.dispatches)
	}
	w.create("http://127.0.0.1:1/", func(q *Request) { q.Types = &[]string{"job.*"} })
	for range 10 {
		w.events("a", 10)
		if _, err := w.dispatcher.runOnce(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	if s.dispatches != 0 {
		t.Errorf("%d writes between ticks although nothing was wanted", s.dispatches)
	}
	w.dispatch()
	if s.dispatches != 1 {
		t.Errorf("%d writes at a tick", s.dispatches)
	}
	cursor, err := w.store.OutboxCursor(t.Context())
	w.must(err)
	last, err := w.store.LastEvent(t.Context())
	w.must(err)
	if cursor != last {
		t.Errorf("the cursor is at %d of %d", cursor, last)
	}
}

func TestWhoGetsWhat(t *testing.T) {
	event := func(kind, subject, namespace string) *store.Event {
		return &store.Event{Type: kind, Subject: subject, Namespace: namespace, Cursor: 10}
	}
	for _, test := range []struct {
		name string
		hook store.Webhook
		want string
	}{
		{"everything", store.Webhook{}, "running a, running b, lost, paused a"},
		{"a namespace", store.Webhook{Namespace: "a"}, "running a, paused a"},
		{"a type", store.Webhook{Types: []string{"job.running"}}, "running a, running b"},
		{"a prefix", store.Webhook{Types: []string{"region.*", "webhook.p*"}}, "lost, paused a"},
		{"a suffix", store.Webhook{Types: []string{"*.running", "web*sed"}}, "running a, running b, paused a"},
		{"a star", store.Webhook{Types: []string{"*"}}, "running a, running b, lost, paused a"},
		{"parts that overlap", store.Webhook{Types: []string{"job.runn*nning", "region.lost*lost"}}, ""},
		{"both", store.Webhook{Namespace: "b", Types: []string{"job.*"}}, "running b"},
		{"no such type", store.Webhook{Types: []string{"job"}}, ""},
		{"later ones", store.Webhook{After: 10}, ""},
		{"paused", store.Webhook{PausedAt: start}, ""},
		{"its own test", store.Webhook{ID: "other", Types: []string{"job.failed"}}, "test of other"},
	} {
		var got []string
		for _, e := range []struct {
			name  string
			event *store.Event
		}{
			{"running a", event("job.running", "job/1", "a")},
			{"running b", event("job.running", "job/2", "b")},
			{"lost", event("region.lost", "region/r", "")},
			{"paused a", event("webhook.paused", "webhook/x", "a")},
			{"test of other", event(store.EventWebhookTest, "webhook/other", "a")},
		} {
			if wants(&test.hook, e.event) {
				got = append(got, e.name)
			}
		}
		if text := strings.Join(got, ", "); text != test.want {
			t.Errorf("%s gets %q instead of %q", test.name, text, test.want)
		}
	}
}

// hurried is a store in which something happens just before events are read.
type hurried struct {
	*sqlite.Store
	before func()
}

func (h *hurried) Events(ctx context.Context, query store.EventQuery) ([]store.Event, int64, error) {
	if before := h.before; before != nil {
		h.before = nil
		before()
	}
	return h.Store.Events(ctx, query)
}

// TestNewcomer makes a webhook, and an event for it, while the dispatcher is
// between the list of webhooks and the events.
func TestNewcomer(t *testing.T) {
	w := newWorld(t)
	w.create("http://127.0.0.1:1/", func(q *Request) { q.Types = &[]string{"job.*"} })
	over := &hurried{Store: w.store}
	w.Options.Store = over
	w.Outbox = New(w.Options)
	r := newReceiver(t, nil)
	over.before = func() {
		w.create(r.URL, func(q *Request) { q.Types = &[]string{"region.*"} })
		w.events("a", 1)
	}
	w.run()
	w.same("messages", r.ids(), numbered("a", 1, 1))
}

// TestUnencodable has an event that cannot be sent: it is logged, and stands
// in nobody's way.
func TestUnencodable(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		encode := o.Encode
		o.Encode = func(e store.Event) ([]byte, error) {
			if e.Number == 2 {
				return nil, errors.New("no words for it")
			}
			return encode(e)
		}
	})
	r := newReceiver(t, nil)
	w.create(r.URL, func(q *Request) { q.Types = &[]string{"region.*"} })
	w.events("a", 3)
	w.run()
	w.same("messages", r.ids(), []string{"region/a/1", "region/a/3"})
	if !strings.Contains(w.logged.String(), "no words for it") {
		t.Error("it was not logged")
	}
}

// TestRun runs the loops as a process does, and stops them while a receiver
// thinks: what it took is settled.
func TestRun(t *testing.T) {
	w := newWorld(t)
	w.Options.Clock = nil
	changed := make(chan struct{}, 1)
	w.Options.Watch = func() (<-chan struct{}, func()) { return changed, func() {} }
	w.Outbox = New(w.Options)
	ctx, cancel := context.WithCancel(t.Context())
	r := newReceiver(t, func(http.ResponseWriter, message) { cancel() })
	made := w.create(r.URL, func(q *Request) { q.Types = &[]string{"region.*"} })
	ended := make(chan error, 1)
	go func() { ended <- w.Outbox.Run(ctx) }()
	w.events("a", 1)
	changed <- struct{}{}
	w.must(<-ended)
	if d := w.deliveries(made); len(d) != 1 || d[0].State != store.DeliveryDone {
		t.Errorf("the deliveries are %+v", d)
	}
}
