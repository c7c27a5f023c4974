package server

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// StreamTiming holds the waits of streams.
type StreamTiming struct {
	// Heartbeat is how often a stream without events says that it lives.
	Heartbeat time.Duration
	// Poll is how often the store is looked at without a signal: events of
	// other servers send none.
	Poll time.Duration
	// Slow is how long a client may take for one page of events; one that
	// takes longer is cut off, and told.
	Slow time.Duration
	// Stall is how long a client may take nothing at all; then its
	// connection is closed.
	Stall time.Duration
}

func (t StreamTiming) withDefaults() StreamTiming {
	return StreamTiming{
		Heartbeat: cmp.Or(t.Heartbeat, 15*time.Second),
		Poll:      cmp.Or(t.Poll, 2*time.Second),
		Slow:      cmp.Or(t.Slow, 10*time.Second),
		Stall:     cmp.Or(t.Stall, 30*time.Second),
	}
}

// eventPage is how many events are read and written at a time.
const eventPage = 200

// events streams what happens, as server-sent events.
func (c *call) events() error {
	s, err := c.eventStream()
	if err != nil {
		return err
	}
	controller, stop := c.stream()
	defer stop()
	s.controller = controller
	c.metrics.streams.Inc()
	defer c.metrics.streams.Dec()
	// Whoever looks after it has subscribed misses nothing.
	changed, unwatch := c.queue.Watch()
	defer unwatch()
	header := c.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("Gco-Cursor", writeEventCursor(s.incarnation, s.query.After))
	c.w.WriteHeader(http.StatusOK)
	if err := controller.Flush(); err != nil {
		return nil
	}
	s.run(changed)
	return nil
}

// eventStream is one client's stream.
type eventStream struct {
	*call
	controller  *http.ResponseController
	incarnation string
	query       store.EventQuery
	follow      bool
	// none says that the client may see nothing of what it asks for.
	none bool
}

func (c *call) eventStream() (*eventStream, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	s := &eventStream{call: c, follow: q.flag("follow", true)}
	s.query = store.EventQuery{Types: q.eventTypes("type"), Limit: eventPage}
	s.query.Namespaces, s.none = c.who.scope(q.text("namespace"))
	if text := q.text("job"); text != "" {
		id, err := job.ParseID(text)
		if err != nil {
			q.fault("job", "%q is no ID of a job", shorten([]byte(text)))
		}
		s.query.Subject = store.JobSubject(id)
	}
	start := "now"
	if !s.follow {
		start = "oldest"
	}
	start = q.choice("from", start, "now", "oldest")
	if err := q.err(); err != nil {
		return nil, err
	}
	if s.incarnation, err = c.store.Incarnation(c.r.Context()); err != nil {
		return nil, fmt.Errorf("reading the incarnation: %w", err)
	}
	switch last := c.r.Header.Get("Last-Event-ID"); {
	case last != "":
		s.query.After, err = readEventCursor(s.incarnation, last)
	case start == "now":
		if s.query.After, err = c.store.LastEvent(c.r.Context()); err != nil {
			err = fmt.Errorf("looking for the newest event: %w", err)
		}
	}
	return s, err
}

// eventTypes reads types that are exact, or a prefix ending in "*".
func (q *query) eventTypes(name string) []string {
	types := slices.Clone(q.values[name])
	for _, text := range types {
		plain := strings.TrimSuffix(text, "*")
		if !printable(text) || strings.Contains(plain, "*") || text == "" {
			q.fault(name, "%q is neither a type such as job.running nor a prefix such as job.*", shorten([]byte(text)))
		}
	}
	return types
}

// run writes events until the client leaves, the server stops, or there is
// nothing more and the client does not follow.
func (s *eventStream) run(changed <-chan struct{}) {
	heartbeat := s.clock.NewTicker(s.timing.Heartbeat)
	defer heartbeat.Stop()
	poll := s.clock.NewTicker(s.timing.Poll)
	defer poll.Stop()
	for {
		if !s.catchUp() || !s.follow {
			return
		}
		select {
		case <-changed:
		case <-poll.C():
		case <-heartbeat.C():
			if !s.write([]byte(": heartbeat\n\n")) {
				return
			}
		case <-s.r.Context().Done():
			s.bye()
			return
		}
	}
}

// catchUp writes all events up to now; false ends the stream.
func (s *eventStream) catchUp() bool {
	for !s.none {
		events, next, err := s.store.Events(s.r.Context(), s.query)
		if err != nil {
			if s.r.Context().Err() == nil {
				s.log.Error("an event stream failed", "request", s.id, "error", err)
			}
			s.bye()
			return false
		}
		moved := next != s.query.After
		s.query.After = next
		if len(events) > 0 && !s.page(events) {
			return false
		}
		if !moved {
			break
		}
	}
	return true
}

// page writes some events at once. A client that takes long for them holds up
// nobody, but its connection: it is told, and may come back.
func (s *eventStream) page(events []store.Event) bool {
	buffer := takeBuffer()
	defer giveBuffer(buffer)
	for _, e := range events {
		wire, err := eventOnWire(e, s.source())
		if err != nil {
			s.log.Error("an event cannot be shown", "request", s.id, "error", err)
			continue
		}
		text, err := json.Marshal(wire)
		if err != nil {
			s.log.Error("an event cannot be shown", "request", s.id, "event", e.ID, "error", err)
			continue
		}
		fmt.Fprintf(buffer, "id: %s\nevent: %s\ndata: %s\n\n", writeEventCursor(s.incarnation, e.Cursor), e.Type, text)
	}
	start := s.clock.Now()
	if !s.write(buffer.Bytes()) {
		return false
	}
	if s.clock.Since(start) <= s.timing.Slow {
		return true
	}
	s.metrics.slowStreams.Inc()
	s.final("gco.slow", "events are read too slowly; go on from the last ID")
	return false
}

func (s *eventStream) source() string { return "/gco/" + s.incarnation }

func (s *eventStream) bye() {
	if s.ending.Err() != nil {
		s.final("gco.bye", "the server is stopping; go on from the last ID")
	}
}

// final is the last event of a stream; it has no ID, since it is no fact.
func (s *eventStream) final(name, message string) {
	text, err := json.Marshal(map[string]string{"message": message})
	if err == nil {
		s.write(fmt.Appendf(nil, "event: %s\ndata: %s\n\n", name, text))
	}
}

func (s *eventStream) write(text []byte) bool {
	w := &patientWriter{c: s.call, controller: s.controller, flush: true}
	_, err := w.Write(text)
	return err == nil
}
