package server

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/store"
)

// manyEvents is a store of so many events of a kilobyte.
type manyEvents struct {
	store.Store
	last, reads atomic.Int64
	fails       atomic.Bool
}

func (f *manyEvents) Incarnation(context.Context) (string, error) { return "life", nil }

func (f *manyEvents) LastEvent(context.Context) (int64, error) { return f.last.Load(), nil }

func (f *manyEvents) Events(_ context.Context, query store.EventQuery) ([]store.Event, int64, error) {
	f.reads.Add(1)
	if f.fails.Load() {
		return nil, 0, store.ErrUnavailable
	}
	var events []store.Event
	next := query.After
	for last := f.last.Load(); next < last && len(events) < query.Limit; {
		next++
		events = append(events, store.Event{
			ID: fmt.Sprintf("region/r/%d", next), Cursor: next, Type: "region.opened", Subject: "region/r",
			Data: []byte(`{"region":"` + strings.Repeat("r", 1000) + `"}`),
		})
	}
	return events, next, nil
}

// newManyEvents returns a tail over such a store, and its signal.
func newManyEvents(last int64) (*tail, *manyEvents, chan struct{}) {
	events, changed := &manyEvents{}, make(chan struct{}, 1)
	events.last.Store(last)
	return &tail{
		store: events, watch: func() (<-chan struct{}, func()) { return changed, func() {} },
		clock: clock.RealClock{}, log: slog.New(slog.DiscardHandler), poll: time.Hour, grown: make(chan struct{}),
	}, events, changed
}

// follow counts events up to the last one, and checks that none is missing.
func follow(ctx context.Context, t *tail, cursor, last int64) error {
	for cursor < last {
		b, grown, behind := t.next(cursor)
		switch {
		case behind:
			return fmt.Errorf("the tail does not reach back to %d", cursor)
		case b == nil:
			select {
			case <-grown:
			case <-ctx.Done():
				return fmt.Errorf("nothing came after %d", cursor)
			}
		default:
			for _, m := range b.marks {
				if m.cursor > cursor+1 {
					return fmt.Errorf("%d comes after %d", m.cursor, cursor)
				}
				cursor = max(cursor, m.cursor)
			}
		}
	}
	return nil
}

func TestTailIsReadOnceForAll(t *testing.T) {
	tail, events, changed := newManyEvents(5)
	const followers, last = 50, 1500
	var began, ended sync.WaitGroup
	for range followers {
		began.Add(1)
		ended.Go(func() {
			leave := tail.join(t.Context())
			defer leave()
			err := follow(t.Context(), tail, 0, 5)
			began.Done()
			if err == nil {
				err = follow(t.Context(), tail, 5, last)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	began.Wait()
	events.last.Store(last)
	changed <- struct{}{}
	ended.Wait()
	// A page for every 200 events, and one look after each signal.
	if n := events.reads.Load(); n > 12 {
		t.Errorf("%d reads for %d followers", n, followers)
	}
}

func TestTailBeginsBeforeTheNewestEvent(t *testing.T) {
	tail, _, _ := newManyEvents(5000)
	leave := tail.join(t.Context())
	defer leave()
	if err := follow(t.Context(), tail, 5000-tailStart, 5000); err != nil {
		t.Error(err)
	}
	if _, _, behind := tail.next(5000 - tailStart - 1); !behind {
		t.Error("the tail reaches back further than it was read")
	}
}

func TestTailIsBounded(t *testing.T) {
	tail, events, changed := newManyEvents(1)
	leave := tail.join(t.Context())
	defer leave()
	if err := follow(t.Context(), tail, 0, 1); err != nil {
		t.Fatal(err)
	}
	const last = 6 * tailBytes / 1000
	events.last.Store(last)
	changed <- struct{}{}
	if err := follow(t.Context(), tail, last-1000, last); err != nil {
		t.Error(err)
	}
	tail.mu.Lock()
	defer tail.mu.Unlock()
	if tail.bytes > tailBytes || len(tail.batches) < 5 {
		t.Errorf("%d bytes in %d batches are kept", tail.bytes, len(tail.batches))
	}
	if tail.from == 0 {
		t.Error("the tail seems to reach back to events that it has dropped")
	}
}

func TestTailGoesOnWhenTheStoreDoes(t *testing.T) {
	tail, events, changed := newManyEvents(3)
	leave := tail.join(t.Context())
	defer leave()
	if err := follow(t.Context(), tail, 0, 3); err != nil {
		t.Fatal(err)
	}
	events.fails.Store(true)
	events.last.Store(7)
	reads := events.reads.Load()
	changed <- struct{}{}
	eventually(t, func() bool { return events.reads.Load() > reads })
	events.fails.Store(false)
	changed <- struct{}{}
	if err := follow(t.Context(), tail, 3, 7); err != nil {
		t.Error(err)
	}
}

// Nobody pays for a tail that nobody follows, and whoever comes back finds no
// gap in it.
func TestTailRestsWithoutFollowers(t *testing.T) {
	tail, events, changed := newManyEvents(3)
	leave := tail.join(t.Context())
	if err := follow(t.Context(), tail, 0, 3); err != nil {
		t.Fatal(err)
	}
	leave()
	if b, _, behind := tail.next(0); b != nil || behind {
		t.Errorf("after its last follower left the tail holds %+v", b)
	}
	events.last.Store(9)
	leave = tail.join(t.Context())
	defer leave()
	if err := follow(t.Context(), tail, 3, 9); err != nil {
		t.Error(err)
	}
	events.last.Store(11)
	changed <- struct{}{}
	if err := follow(t.Context(), tail, 9, 11); err != nil {
		t.Error(err)
	}
}

func TestBatchSelects(t *testing.T) {
	var events []store.Event
	for i, namespace := range []string{"a", "b", "", "a", "b"} {
		events = append(events, store.Event{
			ID: fmt.Sprint("region/r/", i), Cursor: int64(i + 1), Type: "region.opened", Subject: "region/r", Namespace: namespace, Data: []byte(`{}`),
		})
	}
	b := newBatch(slog.New(slog.DiscardHandler), "life", events, 5)
	for want, query := range map[string]store.EventQuery{
		"1 2 3 4 5": {}, "4 5": {After: 3}, "": {After: 5}, "1 4": {Namespaces: []string{"a"}},
		"2 4 5": {After: 1, Namespaces: []string{"a", "b"}},
	} {
		var got []string
		for line := range strings.Lines(string(b.selected(query))) {
			if id, ok := strings.CutPrefix(line, "id: "); ok {
				_, position, _ := readCursor(strings.TrimSpace(id))
				got = append(got, position)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%+v selects %v, want %s", query, got, want)
		}
	}
}
