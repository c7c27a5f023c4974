package webhook

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/gco-project/gco/internal/store"
)

func TestDeliver(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t, nil)
	made, secret, err := w.Create(t.Context(), Request{URL: &r.URL, Types: &[]string{"region.*"}})
	w.must(err)
	w.events("a", 3)
	w.run()
	w.same("messages", r.ids(), numbered("a", 1, 3))
	verifier, err := standardwebhooks.NewWebhook(secret)
	w.must(err)
	for _, m := range r.messages() {
		w.must(verifier.VerifyIgnoringTimestamp([]byte(m.body), m.header))
		var event struct{ ID, Type string }
		w.must(json.Unmarshal([]byte(m.body), &event))
		if event.ID != m.id() || !strings.HasPrefix(event.Type, "region.") || !strings.HasPrefix(m.header.Get("Content-Type"), "application/cloudevents+json") {
			t.Errorf("got %s with %v", m.body, m.header)
		}
	}
	for _, d := range w.deliveries(made) {
		if d.State != store.DeliveryDone || len(d.Tries) != 1 || d.Tries[0].Status != http.StatusNoContent {
			t.Errorf("a delivery that was made is %+v", d)
		}
	}
	w.run()
	if n := len(r.messages()); n != 3 {
		t.Errorf("%d messages instead of 3", n)
	}
}

// TestRetries follows one delivery to its end, and sees the next one wait for
// it.
func TestRetries(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t, func(w http.ResponseWriter, _ message) {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, "out of order")
	})
	made := w.create(r.URL, func(q *Request) { q.Types = &[]string{"region.*"} })
	w.events("a", 2)
	w.run()
	for i, wait := range w.Settings.Retries {
		d := w.deliveries(made)[0]
		least, most := wait*8/10, wait*12/10
		if in := d.DueAt.Sub(w.clock.Now()); d.State != store.DeliveryOpen || in < least || in > most {
			t.Fatalf("after %d tries the next is due in %s, not in about %s", i+1, in, wait)
		}
		w.clock.Step(least - 1)
		if n := w.round(); n != 0 {
			t.Fatalf("%d tries too early", n)
		}
		w.clock.Step(most - least + 1)
		w.must(w.deliverer.runOnce(t.Context(), t.Context(), true))
		w.deliverer.tries.Wait()
		batch := []result{<-w.deliverer.results}
		w.deliverer.settle(t.Context(), batch)
		w.deliverer.release(batch)
	}
	all := w.deliveries(made)
	last := all[0].Tries[len(all[0].Tries)-1]
	if all[0].State != store.DeliveryDead || all[0].Reason != "all 4 tries failed" || last.Status != 500 || last.Answer != "out of order" {
		t.Errorf("a delivery at its end is %+v", all[0])
	}
	if all[1].Attempts != 0 {
		t.Errorf("the next delivery was tried before: %+v", all[1])
	}
	r.answer = nil
	w.run()
	if d := w.deliveries(made)[1]; d.State != store.DeliveryDone {
		t.Errorf("the next delivery is %s", d.State)
	}
	w.same("messages", slices.Compact(r.ids()), numbered("a", 1, 2))
}

func TestRetryAfter(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t, func(w http.ResponseWriter, _ message) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	made := w.create(r.URL)
	w.events("a", 1)
	w.run()
	if d := w.deliveries(made)[0]; !d.DueAt.Equal(w.clock.Now().Add(time.Hour)) {
		t.Errorf("due at %s", d.DueAt)
	}
	now := start
	for header, want := range map[string]time.Duration{
		"": 0, "17": 17 * time.Second, "-5": 0, "1e9": 0, "99999999": maxRetryAfter, "99999999999999": 0,
		now.Add(time.Hour).Format(http.TimeFormat): time.Hour, now.Add(-time.Hour).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q is %s instead of %s", header, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "1", "-1", "Wed, 02 Jan 2030 03:04:05 GMT", "999999999999999999999", "1.5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if wait := retryAfter(header, start); wait < 0 || wait > maxRetryAfter {
			t.Fatalf("%q is %s", header, wait)
		}
	})
}

// TestOrder sends through receivers that fail half the time: every event
// arrives, those of a subject in their order, and repeats carry the same ID.
func TestOrder(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.Settings.Retries = slices.Repeat([]time.Duration{time.Second}, 40)
	})
	random := rand.New(rand.NewPCG(1, 2))
	var mutex sync.Mutex
	flaky := func(w http.ResponseWriter, _ message) {
		mutex.Lock()
		defer mutex.Unlock()
		if random.IntN(2) == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
	receivers := []*receiver{newReceiver(t, flaky), newReceiver(t, flaky)}
	for _, r := range receivers {
		w.create(r.URL, func(q *Request) { q.Types = &[]string{"region.*"} })
	}
	const regions, events = 5, 20
	for range events {
		for region := range regions {
			w.events(fmt.Sprint("r", region), 1)
		}
		w.run()
		w.clock.Step(2 * time.Second)
	}
	for backlog := true; backlog; {
		w.run()
		w.clock.Step(2 * time.Second)
		open, err := w.store.Backlogs(t.Context())
		w.must(err)
		backlog = len(open) > 0
	}
	for _, r := range receivers {
		bodies := map[string]string{}
		for _, m := range r.messages() {
			if body, ok := bodies[m.id()]; ok && body != m.body {
				t.Errorf("%s came as %s and as %s", m.id(), body, m.body)
			}
			bodies[m.id()] = m.body
		}
		for region := range regions {
			name := fmt.Sprint("r", region)
			var of []string
			for _, id := range r.ids() {
				if strings.HasPrefix(id, store.RegionSubject(name)+"/") {
					of = append(of, id)
				}
			}
			w.same("messages about "+name, slices.Compact(of), numbered(name, 1, events))
		}
	}
}

func TestPausedWhenGone(t *testing.T) {
	w := newWorld(t)
	watcher := newReceiver(t, nil)
	w.create(watcher.URL, func(q *Request) { q.Types = &[]string{"webhook.paused"} })
	r := newReceiver(t, status(http.StatusGone))
	made := w.create(r.URL)
	w.events("a", 2)
	w.run()
	w.run()
	if got := w.stored(made); got.PauseReason != PausedGone || !got.Paused() {
		t.Errorf("the webhook is %+v", got)
	}
	if n := len(r.messages()); n != 1 {
		t.Errorf("%d messages were sent to one that is gone", n)
	}
	w.same("events about it", watcher.ids(), []string{fmt.Sprintf("webhook/%s/2", made.ID)})
	if !strings.Contains(watcher.messages()[0].body, `"reason":"gone"`) {
		t.Errorf("the event is %s", watcher.messages()[0].body)
	}

	// What happens meanwhile is not recorded for it; what was open goes on.
	w.events("a", 2)
	w.run()
	r.answer = nil
	_, err := w.Resume(t.Context(), made.ID, "tester")
	w.must(err)
	w.events("a", 1)
	w.run()
	w.same("messages", r.ids()[1:], []string{"region/a/2", "region/a/5"})
}

func TestPausedWhenFailing(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t, status(http.StatusBadGateway))
	made := w.create(r.URL)
	for hour := range 80 {
		w.events(fmt.Sprint("r", hour), 1)
		w.run()
		w.clock.Step(time.Hour)
		got := w.stored(made)
		if want := hour >= 72; got.Paused() != want {
			t.Fatalf("after %d hours: paused %t", hour, got.Paused())
		}
		if got.Paused() {
			if got.PauseReason != PausedFailing || !strings.Contains(got.PauseMessage, "2030-01-02T03:04:05Z") {
				t.Errorf("it is paused as %s: %s", got.PauseReason, got.PauseMessage)
			}
			return
		}
	}
}

// TestFailingIsRemembered starts anew in between, and forgives after a success.
func TestFailingIsRemembered(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t, status(http.StatusBadGateway))
	made := w.create(r.URL)
	w.events("a", 1)
	w.run()
	if !w.stored(made).FailingSince.IsZero() {
		t.Error("one failure was written down")
	}
	w.clock.Step(time.Minute)
	w.run()
	if since := w.stored(made).FailingSince; !since.Equal(start) {
		t.Errorf("failing since %s", since)
	}
	w.Outbox = New(w.Options)
	w.clock.Step(73 * time.Hour)
	r.answer = nil
	w.run()
	if got := w.stored(made); !got.FailingSince.IsZero() || got.Paused() {
		t.Errorf("after a success it is %+v", got)
	}
}

func TestBacklogPauses(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Settings.PauseBacklog = 5 })
	r := newReceiver(t, status(http.StatusBadGateway))
	made := w.create(r.URL)
	w.events("a", 4)
	w.run()
	for _, want := range []bool{false, true} {
		_, err := w.sweepOnce(t.Context())
		w.must(err)
		if got := w.stored(made); got.Paused() != want || (want && got.PauseReason != PausedBacklog) {
			t.Errorf("it is %+v", got)
		}
		w.events("a", 1)
		w.run()
	}
}

func TestSweep(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t, nil)
	made := w.create(r.URL)
	w.events("a", sweepPage+20)
	w.run()
	w.clock.Step(w.Settings.KeepDeliveries + 1)
	for _, want := range []bool{true, false} {
		more, err := w.sweepOnce(t.Context())
		w.must(err)
		if more != want {
			t.Errorf("more is %t", more)
		}
	}
	if left := w.deliveries(made); len(left) != 0 {
		t.Errorf("%d deliveries are left", len(left))
	}
}

// TestRoom has webhooks take all that they can: there is always something left
// for another, up to the limits of each and of its host.
func TestRoom(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Settings.Concurrency, o.Settings.PerWebhook, o.Settings.PerHost = 100, 40, 50 })
	d := w.deliverer
	add := func(id, host string) *hook {
		h := &hook{Webhook: store.Webhook{ID: id}, host: host, ready: true}
		d.hooks[id] = h
		d.health.know(h.Webhook)
		return h
	}
	take := func() map[string]int {
		room, _ := d.room()
		for id, n := range room {
			d.hooks[id].busy += n
			d.busy += n
			d.hosts[d.hooks[id].host] += n
		}
		return room
	}
	for i := range 2 {
		add(fmt.Sprint("greedy", i), "one host")
	}
	take()
	if d.hosts["one host"] != 50 {
		t.Errorf("%d to one host instead of 50", d.hosts["one host"])
	}
	served := map[string]bool{}
	for i := range 20 {
		add(fmt.Sprint("other", i), fmt.Sprint("host ", i))
	}
	for range 200 {
		for _, h := range d.hooks {
			if h.busy > 0 {
				h.busy--
				d.busy--
				d.hosts[h.host]--
			}
			h.ready = true
		}
		for id := range take() {
			served[id] = true
		}
		if d.busy > 100 {
			t.Fatalf("%d are busy", d.busy)
		}
	}
	if len(served) != len(d.hooks) {
		t.Errorf("%d of %d were served", len(served), len(d.hooks))
	}
	for id, h := range d.hooks {
		if h.busy > 40 {
			t.Errorf("%s has %d", id, h.busy)
		}
	}
	failing := add("failing", "elsewhere")
	for range failuresInRow {
		d.health.observe("failing", outcome{})
	}
	d.busy, d.hooks = 0, map[string]*hook{"failing": failing}
	if room := take(); room["failing"] != 1 || failing.busy != 1 {
		t.Errorf("one that only fails gets %d", room["failing"])
	}
}

// TestRoomForNewcomers has slow webhooks hold all there is: what they give back
// is for another first.
func TestRoomForNewcomers(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Settings.Concurrency, o.Settings.PerWebhook, o.Settings.PerHost = 100, 40, 1000 })
	d := w.deliverer
	for i := range 4 {
		d.hooks[fmt.Sprint("slow", i)] = &hook{Webhook: store.Webhook{ID: fmt.Sprint("slow", i)}, busy: 24, ready: true}
	}
	d.busy = 4 * 24
	d.hooks["new"] = &hook{Webhook: store.Webhook{ID: "new"}, ready: true}
	if room, _ := d.room(); len(room) != 1 || room["new"] != 2 {
		t.Errorf("of 4 that are free the room is %v", room)
	}
}

// TestSlowReceivers holds up many: others are served all the same.
func TestSlowReceivers(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Settings.Concurrency = 16 })
	release := make(chan struct{})
	slow := newReceiver(t, func(http.ResponseWriter, message) { <-release })
	fast := newReceiver(t, nil)
	for range 6 {
		w.create(slow.URL)
	}
	w.create(fast.URL, func(q *Request) { q.Types = &[]string{"region.*"} })
	for region := range 30 {
		w.events(fmt.Sprint("r", region), 1)
	}
	w.dispatch()
	settling := make(chan struct{})
	go func() {
		defer close(settling)
		w.deliverer.settleAll(t.Context())
	}()
	deadline := time.Now().Add(10 * time.Second)
	for len(fast.messages()) < 30 && time.Now().Before(deadline) {
		w.must(w.deliverer.runOnce(t.Context(), t.Context(), true))
		select {
		case <-w.deliverer.wake:
		case <-time.After(time.Until(deadline)):
		}
	}
	if n := len(fast.messages()); n != 30 {
		t.Errorf("%d of 30 messages arrived beside slow receivers", n)
	}
	close(release)
	w.deliverer.tries.Wait()
	close(w.deliverer.results)
	<-settling
}
