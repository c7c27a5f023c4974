package webhook

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

func TestCreateFindsEveryFault(t *testing.T) {
	w := newWorld(t)
	address, text := "ftp://user:secret@127.0.0.1/", strings.Repeat("a", maxDescription+1)
	_, _, err := w.Create(t.Context(), Request{
		URL: &address, Description: &text, Namespace: "No Label", Types: &[]string{"job.*", "", "*", "*.x*", "Job", "job.failed"}, Secret: "whsec_c2hvcnQ=",
	})
	invalid, ok := errors.AsType[*job.Invalid](err)
	if !ok {
		t.Fatal(err)
	}
	var fields []string
	for _, fault := range invalid.Faults {
		fields = append(fields, fault.Field)
		if strings.Contains(fault.Message, "c2hvcnQ") || strings.Contains(fault.Message, "user:secret") {
			t.Errorf("a fault repeats a secret: %s", fault.Message)
		}
	}
	w.same("faults", fields, []string{"description", "namespace", "secret", "types[1]", "types[3]", "types[4]", "url"})
	if _, _, err := w.Create(t.Context(), Request{URL: &address, Types: &[]string{}}); err == nil {
		t.Error("a bad address was taken")
	}
	if hooks, err := w.store.Webhooks(t.Context()); err != nil || len(hooks) != 0 {
		t.Errorf("%d webhooks were made (%v)", len(hooks), err)
	}
}

func TestRotate(t *testing.T) {
	w := newWorld(t)
	made := w.create("http://127.0.0.1:1/")
	_, second, err := w.Rotate(t.Context(), made.ID, time.Hour, Request{})
	w.must(err)
	rotated := w.stored(made)
	if len(rotated.Secrets) != 2 || secretText(rotated.Secrets[0].Key) != second || !rotated.Secrets[1].ExpiresAt.Equal(start.Add(time.Hour)) ||
		secretText(rotated.Secrets[1].Key) != secretText(made.Secrets[0].Key) {
		t.Errorf("rotated once: %+v", rotated.Secrets)
	}
	_, third, err := w.Rotate(t.Context(), made.ID, 0, Request{Secret: secretText(newKey())})
	w.must(err)
	if rotated = w.stored(made); len(rotated.Secrets) != 1 || secretText(rotated.Secrets[0].Key) != third {
		t.Errorf("rotated at once: %+v", rotated.Secrets)
	}
}

// TestChangesMeet changes a webhook while somebody else does.
func TestChangesMeet(t *testing.T) {
	w := newWorld(t)
	made := w.create("http://127.0.0.1:1/")
	text := "mine"
	calls := 0
	changed, err := w.change(t.Context(), made.ID, store.EventWebhookUpdated, "me", func(hook *store.Webhook, _ time.Time) bool {
		if calls++; calls == 1 {
			_, err := w.Pause(t.Context(), made.ID, "somebody else")
			w.must(err)
		}
		hook.Description = text
		return true
	})
	w.must(err)
	if calls != 2 || changed.Version != 3 || changed.Description != text || !changed.Paused() {
		t.Errorf("after %d calls it is %+v", calls, changed)
	}
}

func TestPauseAndTest(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t, nil)
	made := w.create(r.URL, func(q *Request) { q.Types = &[]string{"job.failed"} })
	event, err := w.Test(t.Context(), made.ID, "me")
	w.must(err)
	w.run()
	w.same("messages", r.ids(), []string{event})
	for range 2 {
		_, err = w.Pause(t.Context(), made.ID, "me")
		w.must(err)
	}
	if _, err := w.Test(t.Context(), made.ID, "me"); !errors.Is(err, ErrPaused) {
		t.Errorf("a test of a paused webhook: %v", err)
	}
	if got := w.stored(made); got.Version != 3 || got.PauseReason != PausedByUser {
		t.Errorf("paused twice it is %+v", got)
	}
	w.must(w.Delete(t.Context(), made.ID, "me"))
	if err := w.Delete(t.Context(), made.ID, "me"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleting again: %v", err)
	}
}

// TestRedeliverRange makes up for a pause, for what was given up, and for what
// was before the webhook.
func TestRedeliverRange(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Settings.Retries = nil })
	w.events("a", 5)
	w.clock.Step(time.Hour)
	r := newReceiver(t, nil)
	made := w.create(r.URL, func(q *Request) { q.Types = &[]string{"region.*"} })
	w.events("a", 2) // 6 and 7 arrive
	w.run()
	r.answer = status(500)
	w.events("a", 2) // 8 and 9 are given up
	w.run()
	_, err := w.Pause(t.Context(), made.ID, "me")
	w.must(err)
	w.events("a", 2) // 10 and 11 are not recorded
	w.run()
	_, err = w.Resume(t.Context(), made.ID, "me")
	w.must(err)
	r.answer = nil
	w.events("a", 1) // 12 arrives
	w.run()
	r.got = nil

	redeliver := func(q RedeliverRequest) int {
		t.Helper()
		all := 0
		for {
			n, next, err := w.Redeliver(t.Context(), made.ID, q)
			w.must(err)
			all += n
			if q.After = next; next == 0 {
				return all
			}
		}
	}
	if n := redeliver(RedeliverRequest{Since: start.Add(time.Hour)}); n != 4 {
		t.Errorf("%d were made again instead of 4", n)
	}
	w.deliver()
	w.same("made again", r.ids(), numbered("a", 8, 11))
	if n := redeliver(RedeliverRequest{Since: start.Add(time.Hour)}); n != 0 {
		t.Errorf("%d were made a third time", n)
	}
	r.got = nil
	if n := redeliver(RedeliverRequest{Since: start, Until: start.Add(time.Minute)}); n != 5 {
		t.Errorf("%d from before were made instead of 5", n)
	}
	w.deliver()
	w.same("from before", r.ids(), numbered("a", 1, 5))
	r.got = nil
	if n := redeliver(RedeliverRequest{Since: start, All: true}); n != 12 {
		t.Errorf("%d of all were made again instead of 12", n)
	}
	w.deliver()
	w.same("all of them", r.ids(), numbered("a", 1, 12))

	// By hand, whatever became of it; what is open is left alone.
	cursor := w.deliveries(made)[0].Cursor
	r.answer, r.got = status(500), nil
	for _, want := range []int{1, 0} {
		if n := redeliver(RedeliverRequest{Cursors: []int64{cursor}}); n != want {
			t.Errorf("%d were made again instead of %d", n, want)
		}
	}
	if _, _, err := w.Redeliver(t.Context(), made.ID, RedeliverRequest{Cursors: []int64{1 << 40}}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a delivery that is not there: %v", err)
	}
}
