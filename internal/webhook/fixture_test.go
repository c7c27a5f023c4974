package webhook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/sqlite"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

var start = time.Date(2030, time.January, 2, 3, 4, 5, 0, time.UTC)

func defaultSettings() Settings {
	return Settings{
		Networks: loopback, Limit: 100, Timeout: 2 * time.Second,
		Retries:     []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute},
		Concurrency: 64, PerWebhook: 8, PerHost: 16,
		PauseAfter: 72 * time.Hour, PauseBacklog: 1000, KeepDeliveries: 72 * time.Hour,
	}
}

// world is an outbox over a store in memory, whose time stands still unless a
// test moves it.
type world struct {
	*testing.T
	*Outbox
	store *sqlite.Store
	clock *testingclock.FakeClock
	// logged is what was logged.
	logged *bytes.Buffer
}

func newWorld(t *testing.T, alter ...func(*Options)) *world {
	t.Helper()
	s, err := sqlite.OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{T: t, store: s, clock: testingclock.NewFakeClock(start), logged: &bytes.Buffer{}}
	o := Options{
		Store: s, Clock: w.clock, Settings: defaultSettings(),
		Log: slog.New(slog.NewTextHandler(w.logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Encode: func(e store.Event) ([]byte, error) {
			return fmt.Appendf(nil, `{"id":%q,"type":%q,"data":%s}`, e.ID, e.Type, e.Data), nil
		},
	}
	for _, change := range alter {
		change(&o)
	}
	w.Outbox = New(o)
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// create makes a webhook for an address.
func (w *world) create(address string, alter ...func(*Request)) store.Webhook {
	w.Helper()
	r := Request{URL: &address, By: "tester"}
	for _, change := range alter {
		change(&r)
	}
	made, _, err := w.Create(w.Context(), r)
	w.must(err)
	return made
}

// events makes so many events about a region.
func (w *world) events(region string, n int) {
	w.Helper()
	if _, err := w.store.Region(w.Context(), region); err != nil {
		_, err := w.store.OpenSession(w.Context(), region, "c", "s", w.clock.Now())
		w.must(err)
		n--
	}
	for range n {
		r, err := w.store.Region(w.Context(), region)
		w.must(err)
		_, err = w.store.SetSchedulable(w.Context(), region, !r.Cordoned, false, w.clock.Now())
		w.must(err)
	}
}

// dispatch passes all events.
func (w *world) dispatch() {
	w.Helper()
	for more := true; more; {
		var err error
		more, err = w.dispatcher.runOnce(w.Context(), true)
		w.must(err)
	}
}

// round makes what is due now, and settles it; it returns how many tries that
// were.
func (w *world) round() int {
	w.Helper()
	w.must(w.deliverer.runOnce(w.Context(), context.WithoutCancel(w.Context()), true))
	w.deliverer.tries.Wait()
	var batch []result
	for len(w.deliverer.results) > 0 {
		batch = append(batch, <-w.deliverer.results)
	}
	if len(batch) > 0 {
		w.deliverer.settle(w.Context(), batch)
		w.deliverer.release(batch)
	}
	return len(batch)
}

// deliver makes everything that is due now.
func (w *world) deliver() {
	w.Helper()
	for w.round() > 0 {
	}
}

// run dispatches and delivers everything that is due now.
func (w *world) run() {
	w.Helper()
	w.dispatch()
	w.deliver()
}

// deliveries lists those of a webhook, oldest first.
func (w *world) deliveries(of store.Webhook) []store.Delivery {
	w.Helper()
	page, err := w.store.Deliveries(w.Context(), store.DeliveryQuery{Webhook: of.ID, Limit: 1000})
	w.must(err)
	slices.Reverse(page.Deliveries)
	return page.Deliveries
}

// stored reads a webhook back.
func (w *world) stored(of store.Webhook) store.Webhook {
	w.Helper()
	got, err := w.store.Webhook(w.Context(), of.ID)
	w.must(err)
	return got
}

// message is one request that a receiver got.
type message struct {
	header http.Header
	body   string
}

func (m message) id() string { return m.header.Get(headerID) }

// receiver is an address that keeps what it got.
type receiver struct {
	*httptest.Server
	mutex sync.Mutex
	got   []message
	// answer says what to answer; nil is 204.
	answer func(w http.ResponseWriter, m message)
}

func newReceiver(t *testing.T, answer func(http.ResponseWriter, message)) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			t.Error(err)
		}
		m := message{request.Header, string(body)}
		r.mutex.Lock()
		r.got = append(r.got, m)
		r.mutex.Unlock()
		if r.answer == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		r.answer(w, m)
	}))
	t.Cleanup(r.Close)
	return r
}

func status(code int) func(http.ResponseWriter, message) {
	return func(w http.ResponseWriter, _ message) { w.WriteHeader(code) }
}

func (r *receiver) messages() []message {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return slices.Clone(r.got)
}

// ids are the event IDs that a receiver got, in their order.
func (r *receiver) ids() []string {
	var all []string
	for _, m := range r.messages() {
		all = append(all, m.id())
	}
	return all
}

// numbered are the IDs of events 1 to n of a region.
func numbered(region string, first, last int) []string {
	var all []string
	for n := first; n <= last; n++ {
		all = append(all, fmt.Sprintf("%s/%d", store.RegionSubject(region), n))
	}
	return all
}

func (w *world) same(what string, got, want []string) {
	w.Helper()
	if !slices.Equal(got, want) {
		w.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, " "), strings.Join(want, " "))
	}
}
