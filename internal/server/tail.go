package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/store"
)

// Bounds of the tail.
const (
	// tailBytes is how much text it keeps: at 500 events a second those of some
	// 6 s. Who falls behind it reads from the store.
	tailBytes = 2 << 20
	// tailStart is how far before the newest event it begins, so that the clients
	// who come back after a restart of the server find their place in it.
	tailStart = 1000
	// An event costs a write to every client, and events that are written
	// together cost one. So the tail is read again after gather for each client,
	// but at the latest after maxGather.
	gather    = 100 * time.Microsecond
	maxGather = 100 * time.Millisecond
)

// tail is the newest part of the stream of events, for everyone who follows
// it: read from the store once and encoded once. It reads while there is
// someone. docs/decisions/server-event-tail.md says why.
type tail struct {
	store store.Store
	watch func() (changed <-chan struct{}, stop func())
	clock clock.WithTicker
	log   *slog.Logger
	// poll is how often the store is looked at without a signal.
	poll time.Duration

	mu        sync.Mutex
	followers int
	stop      context.CancelFunc
	// read says that the batches hold all events that were read after from.
	read    bool
	from    int64
	batches []*batch
	bytes   int
	// grown is closed, and replaced, when there is more.
	grown chan struct{}
}

func newTail(s *Server) *tail {
	return &tail{
		store: s.store, watch: s.queue.Watch, clock: s.clock, log: s.log, poll: s.timing.Poll,
		grown: make(chan struct{}),
	}
}

// join keeps the tail reading until leave, or until ctx ends, which is that of
// the server.
func (t *tail) join(ctx context.Context) (leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.followers++; t.followers == 1 {
		ctx, t.stop = context.WithCancel(ctx)
		go (&reading{tail: t}).run(ctx)
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.followers--; t.followers == 0 {
			t.stop()
			t.read, t.batches, t.bytes = false, nil, 0
		}
	}
}

// next returns the first events after the cursor. Where there are none, grown
// is closed when there may be some; behind says that the tail does not reach
// back to the cursor, and the store has to be asked.
func (t *tail) next(after int64) (b *batch, grown <-chan struct{}, behind bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.read {
		return nil, t.grown, false
	}
	if after < t.from {
		return nil, t.grown, true
	}
	i := sort.Search(len(t.batches), func(i int) bool { return t.batches[i].next > after })
	if i < len(t.batches) {
		return t.batches[i], nil, false
	}
	return nil, t.grown, false
}

// reading is the tail's reader, from the first follower to the last.
type reading struct {
	*tail
	// incarnation is empty until the first read.
	incarnation string
	at          int64
}

// run reads whatever is new. A store that cannot be read is asked again at the
// next signal; those who follow only wait the longer.
func (r *reading) run(ctx context.Context) {
	// Whoever looks after it has subscribed misses nothing.
	changed, unwatch := r.watch()
	defer unwatch()
	poll := r.clock.NewTicker(r.poll)
	defer poll.Stop()
	failing := false
	for {
		err := r.runOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			r.log.Error("the event stream cannot be read; trying again", "error", err)
		}
		failing = err != nil
		select {
		case <-r.clock.After(r.pause()):
		case <-ctx.Done():
			return
		}
		select {
		case <-changed:
		case <-poll.C():
		case <-ctx.Done():
			return
		}
	}
}

// pause is how long events may gather.
func (t *tail) pause() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return min(time.Duration(t.followers)*gather, maxGather)
}

// runOnce reads up to the newest event.
func (r *reading) runOnce(ctx context.Context) error {
	if r.incarnation == "" {
		if err := r.begin(ctx); err != nil {
			return err
		}
	}
	for {
		events, next, err := r.store.Events(ctx, store.EventQuery{After: r.at, Limit: eventPage})
		if err != nil || next == r.at {
			return err
		}
		r.add(ctx, newBatch(r.log, r.incarnation, events, next))
		r.at = next
	}
}

// begin begins a little before the newest event.
func (r *reading) begin(ctx context.Context) error {
	incarnation, err := r.store.Incarnation(ctx)
	if err != nil {
		return fmt.Errorf("reading the incarnation: %w", err)
	}
	last, err := r.store.LastEvent(ctx)
	if err != nil {
		return fmt.Errorf("looking for the newest event: %w", err)
	}
	r.incarnation, r.at = incarnation, max(0, last-tailStart)
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() == nil {
		r.read, r.from = true, r.at
		r.tell()
	}
	return nil
}

// add keeps a batch, and drops the oldest ones that are too many. The context
// ends, under the lock, with the last follower.
func (t *tail) add(ctx context.Context, b *batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() != nil || len(b.marks) == 0 {
		return
	}
	t.batches = append(t.batches, b)
	t.bytes += len(b.text)
	for t.bytes > tailBytes && len(t.batches) > 1 {
		t.bytes -= len(t.batches[0].text)
		t.from = t.batches[0].next
		t.batches[0], t.batches = nil, t.batches[1:]
	}
	t.tell()
}

// tell wakes those who wait; t.mu must be held.
func (t *tail) tell() {
	close(t.grown)
	t.grown = make(chan struct{})
}

// batch is some events in a row, as the stream has them.
type batch struct {
	// next is the cursor to go on from.
	next  int64
	text  []byte
	marks []mark
}

// mark is that of an event which a query looks at, and where in the text it
// ends.
type mark struct {
	cursor                        int64
	eventType, subject, namespace string
	end                           int
}

func (m mark) selectedBy(query store.EventQuery) bool {
	return query.Selects(store.Event{Cursor: m.cursor, Type: m.eventType, Subject: m.subject, Namespace: m.namespace})
}

func newBatch(log *slog.Logger, incarnation string, events []store.Event, next int64) *batch {
	b := &batch{next: next, marks: make([]mark, 0, len(events))}
	var out bytes.Buffer
	for _, e := range events {
		text, err := encodeEvent(e, incarnation)
		if err != nil {
			log.Error("an event cannot be shown", "event", e.ID, "error", err)
			continue
		}
		fmt.Fprintf(&out, "id: %s\nevent: %s\ndata: %s\n\n", writeEventCursor(incarnation, e.Cursor), e.Type, text)
		b.marks = append(b.marks, mark{e.Cursor, e.Type, e.Subject, e.Namespace, out.Len()})
	}
	b.text = bytes.Clone(out.Bytes())
	return b
}

func encodeEvent(e store.Event, incarnation string) ([]byte, error) {
	wire, err := eventOnWire(e, eventSource(incarnation))
	if err != nil {
		return nil, err
	}
	return json.Marshal(wire)
}

// selected is the text of those events that a query selects: mostly all of
// them, and then nothing is copied.
func (b *batch) selected(query store.EventQuery) []byte {
	isNot := func(m mark) bool { return !m.selectedBy(query) }
	if !slices.ContainsFunc(b.marks, isNot) {
		return b.text
	}
	var some []byte
	start := 0
	for _, m := range b.marks {
		if !isNot(m) {
			some = append(some, b.text[start:m.end]...)
		}
		start = m.end
	}
	return some
}
