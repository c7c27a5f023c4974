package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/tmaxmax/go-sse"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// follower is a client that follows the stream from before the first event.
type follower struct {
	client *client.Client
	filter client.EventFilter
	// leaves is after how many events it closes the stream and comes back.
	leaves int
}

// read returns the IDs of the first n events.
func (f follower) read(ctx context.Context, events *client.Events, n int) (ids []string, err error) {
	defer func() { events.Close() }()
	for len(ids) < n {
		event, err := events.Next()
		if err != nil {
			return ids, fmt.Errorf("after %d events: %w", len(ids), err)
		}
		ids = append(ids, event.ID)
		if f.leaves == 0 || len(ids)%f.leaves != 0 {
			continue
		}
		events.Close()
		f.filter.After = events.Cursor()
		if events, err = f.client.Events(ctx, f.filter); err != nil {
			return ids, fmt.Errorf("coming back after %d events: %w", len(ids), err)
		}
	}
	return ids, nil
}

// Many clients follow at once, each with its own filter and its own sight, and
// some leave and come back: each sees what is for it, once and in order.
func TestManyFollowOneStream(t *testing.T) {
	s := start(t, func(o *setUp) { o.noLoops = true })
	viewer := s.as(api.NewToken{Role: "viewer", Namespaces: []string{"team-a"}})
	kinds := []follower{
		{client: s.admin},
		{client: viewer},
		{client: s.admin, filter: client.EventFilter{Namespace: "team-b"}},
		{client: s.admin, filter: client.EventFilter{Types: []string{"job.c*"}}},
	}
	const jobs = 30
	counts := []int{jobs + jobs/2, jobs / 2, jobs, jobs / 2}
	got := make([][]string, 40)
	var group sync.WaitGroup
	for i := range got {
		f := kinds[i%len(kinds)]
		f.leaves = []int{0, 1, 7}[i%3]
		events, err := f.client.Events(t.Context(), f.filter)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			var err error
			if got[i], err = f.read(t.Context(), events, counts[i%len(kinds)]); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	// All of team-b's are cancelled.
	for i := range jobs {
		j := s.submit(func(sub *api.Submission) { sub.Namespace = []string{"team-a", "team-b"}[i%2] })
		if i%2 == 1 {
			if _, err := s.admin.CancelJob(t.Context(), j.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	group.Wait()
	for i, ids := range got {
		f := kinds[i%len(kinds)]
		var want []string
		for _, e := range s.all(f.client, f.filter) {
			want = append(want, e.ID)
		}
		if !slices.Equal(ids, want) {
			t.Errorf("client %d saw %v, want %v", i, ids, want)
		}
	}
}

// countedEvents counts the reads of the stream.
type countedEvents struct {
	store.Store
	reads atomic.Int64
}

func (c *countedEvents) Events(ctx context.Context, query store.EventQuery) ([]store.Event, int64, error) {
	c.reads.Add(1)
	return c.Store.Events(ctx, query)
}

// Who comes back from further away than the tail reaches reads from the store
// up to it, and then with the others.
func TestFollowerFromBeforeTheTail(t *testing.T) {
	var counted *countedEvents
	s := start(t, func(o *setUp) {
		o.noLoops = true
		o.wrapStore = func(s store.Store) store.Store {
			counted = &countedEvents{Store: s}
			return counted
		}
	})
	const batches, size = 3, 600
	batch := make([]api.BatchItem, size)
	for i := range batch {
		batch[i].Submission = hello()
	}
	for range batches {
		result, err := s.admin.SubmitBatch(t.Context(), batch)
		if err != nil || result.Items[size-1].Status != http.StatusCreated {
			t.Fatal(err, result.Items[size-1])
		}
	}
	f := follower{client: s.admin, filter: client.EventFilter{Oldest: true}}
	events, err := s.admin.Events(t.Context(), f.filter)
	if err != nil {
		t.Fatal(err)
	}
	ids := make(chan []string, 1)
	go func() {
		list, err := f.read(t.Context(), events, batches*size+1)
		if err != nil {
			t.Error(err)
		}
		ids <- list
	}()
	s.submit()
	list := <-ids
	slices.Sort(list)
	if list = slices.Compact(list); len(list) != batches*size+1 {
		t.Errorf("%d events came, want %d", len(list), batches*size+1)
	}
	if n := counted.reads.Load(); n > 30 {
		t.Errorf("the store was read %d times", n)
	}
}

// A cursor that stands before events which are gone cannot be followed without
// a gap, and that is said.
func TestCursorOlderThanTheRetention(t *testing.T) {
	s := start(t, func(o *setUp) { o.noLoops = true })
	remove := func() {
		j := s.submit()
		if _, err := s.admin.CancelJob(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		if err := s.admin.DeleteJob(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
	}
	incarnation, err := s.store.Incarnation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	remove()
	last, err := s.store.LastEvent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kept := s.submit()
	for position, gone := range map[int64]bool{0: false, 1: true, last - 1: true, last: false, last + 1: false} {
		events, err := s.admin.Events(t.Context(), client.EventFilter{After: writeEventCursor(incarnation, position), Once: true})
		if client.Is(err, api.ProblemGone) != gone || err != nil && !gone {
			t.Errorf("from %d of %d: %v", position, last, err)
		}
		if err == nil {
			events.Close()
		}
	}
	if list := s.all(s.admin, client.EventFilter{After: writeEventCursor(incarnation, last)}); len(list) != 1 || !strings.Contains(list[0].Subject, kept.ID) {
		t.Errorf("after the newest event that is gone came %v", types(list))
	}
}

// A reader that stands still holds up nobody but itself: it is cut off, the
// others go on, and it finds all of it when it comes back.
func TestReaderThatStandsStill(t *testing.T) {
	s := start(t, func(o *setUp) {
		o.noLoops = true
		o.Stream.Slow, o.Stream.Stall = 20*time.Millisecond, 50*time.Millisecond
	})
	standing, err := s.admin.Events(t.Context(), client.EventFilter{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { standing.Close() }()
	// More than the connection holds.
	const size = 1000
	batch := make([]api.BatchItem, size)
	for i := range batch {
		batch[i].Submission = hello()
		batch[i].Labels = map[string]string{"long": strings.Repeat("x", 60)}
	}
	written := 0
	for s.counter("gco_event_streams_cut_total") == 0 {
		if written += size; written > 100*size {
			t.Fatalf("after %d events nobody was cut off", written)
		}
		if _, err := s.admin.SubmitBatch(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for len(seen) < written {
		event, err := standing.Next()
		if errors.Is(err, client.ErrSlow) {
			standing.Close()
			standing, err = s.admin.Events(t.Context(), client.EventFilter{After: standing.Cursor()})
		} else if err == nil && seen[event.ID] {
			err = errors.New("it came twice")
		}
		if err != nil {
			t.Fatalf("after %d of %d events, %s: %v", len(seen), written, event.ID, err)
		}
		if event.ID != "" {
			seen[event.ID] = true
		}
	}
}

// A token may end while its stream goes on.
func TestStreamEndsWithItsToken(t *testing.T) {
	s := start(t, func(o *setUp) { o.Stream.Heartbeat = 5 * time.Millisecond })
	created, err := s.admin.CreateToken(t.Context(), api.NewToken{Name: "viewer", Role: "viewer"})
	if err != nil {
		t.Fatal(err)
	}
	events, err := s.client(created.Secret).Events(t.Context(), client.EventFilter{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	if err := s.admin.DeleteToken(t.Context(), created.ID); err != nil {
		t.Fatal(err)
	}
	if event, err := events.Next(); !client.Is(err, api.ProblemUnauthenticated) {
		t.Errorf("without its token it saw %+v, %v", event, err)
	}
}

// The stream and its events, as implementations that are not ours read them.
func TestOthersReadTheStream(t *testing.T) {
	s := start(t, func(o *setUp) { o.noLoops = true })
	j := s.submit()
	s.openRegion(testRegion)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/v1/events?follow=false", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	response, err := s.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	ours := s.all(s.admin, client.EventFilter{})
	seen := 0
	for block, err := range sse.Read(response.Body, nil) {
		if err != nil {
			t.Fatal(err)
		}
		var e event.Event
		if err := e.UnmarshalJSON([]byte(block.Data)); err != nil {
			t.Fatalf("%s: %v", block.Data, err)
		}
		if err := e.Validate(); err != nil {
			t.Errorf("%s: %v", block.Data, err)
		}
		if seen == len(ours) {
			t.Fatalf("one event too many: %s", block.Data)
		}
		want := ours[seen]
		seen++
		var data map[string]any
		if err := e.DataAs(&data); err != nil || len(data) == 0 {
			t.Errorf("the data of %s: %v, %v", e.ID(), data, err)
		}
		if block.Type != e.Type() || e.Type() != want.Type || e.ID() != want.ID || e.Source() != want.Source || e.Subject() != want.Subject ||
			!e.Time().Equal(want.Time) || e.SpecVersion() != "1.0" {
			t.Errorf("event %s is\n%s\nwant %+v", block.Type, e, want)
		}
		if namespace, _ := e.Extensions()["gconamespace"].(string); namespace != want.Namespace {
			t.Errorf("%s is in namespace %q, want %q", e.ID(), namespace, want.Namespace)
		}
		if _, _, ok := readCursor(block.LastEventID); !ok {
			t.Errorf("%s has the cursor %q", e.ID(), block.LastEventID)
		}
	}
	if seen < 2 || seen != len(ours) || ours[0].Subject != store.JobSubject(job.ID(j.ID)) {
		t.Errorf("%d events came, want %v", seen, types(ours))
	}
}
