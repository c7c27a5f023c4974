package server

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/api"
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
	header := c.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("Gco-Cursor", s.cursor())
	c.w.WriteHeader(http.StatusOK)
	if err := controller.Flush(); err != nil {
		return nil
	}
	return s.run()
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
		err = s.goOnAfter(last)
	case start == "now":
		if s.query.After, err = c.store.LastEvent(c.r.Context()); err != nil {
			err = fmt.Errorf("looking for the newest event: %w", err)
		}
	}
	return s, err
}

// goOnAfter begins where another stream ended, if all that has happened since
// can still be told. A cursor that stands before all events can be followed
// for ever.
func (s *eventStream) goOnAfter(cursor string) error {
	after, err := readEventCursor(s.incarnation, cursor)
	if err != nil {
		return err
	}
	s.query.After = after
	if after == 0 || s.none {
		return nil
	}
	oldest, err := s.store.OldestEvent(s.r.Context())
	if err != nil {
		return fmt.Errorf("looking for the oldest event: %w", err)
	}
	if after+1 < oldest {
		return newProblem(api.ProblemGone, "events after this cursor were removed with their jobs, or for their age; start without one and read the lists anew")
	}
	return nil
}

func (s *eventStream) cursor() string { return writeEventCursor(s.incarnation, s.query.After) }

// eventTypes reads types that are exact, or have one "*".
func (q *query) eventTypes(name string) []string {
	types := slices.Clone(q.values[name])
	for _, text := range types {
		if !printable(text) || strings.Count(text, "*") > 1 || text == "" {
			q.fault(name, "%q is neither a type such as job.running nor a pattern such as job.* or *.failed", shorten([]byte(text)))
		}
	}
	return types
}

// run writes events until the client leaves, the server stops, or there is
// nothing more and the client does not follow. With an error the stream must
// not look whole.
func (s *eventStream) run() error {
	defer s.bye()
	if !s.follow {
		return s.drain()
	}
	leave := s.tail.join(s.ending)
	defer leave()
	heartbeat := s.clock.NewTicker(s.timing.Heartbeat)
	defer heartbeat.Stop()
	for s.r.Context().Err() == nil {
		events, grown, err := s.next()
		if err != nil {
			return err
		}
		if events != nil {
			if !s.page(events) {
				return nil
			}
			continue
		}
		select {
		case <-grown:
		case <-heartbeat.C():
			if !s.allowed() || !s.beat() {
				return nil
			}
		case <-s.r.Context().Done():
		}
	}
	return nil
}

// drain writes all events up to now.
func (s *eventStream) drain() error {
	for !s.none {
		events, err := s.read()
		if err != nil || events == nil || !s.page(events) {
			return err
		}
	}
	return nil
}

// next returns the client's next events, from the tail if that reaches back so
// far; without any, a channel that is closed when there may be some.
func (s *eventStream) next() (events *batch, grown <-chan struct{}, err error) {
	if s.none {
		return nil, nil, nil
	}
	events, grown, behind := s.tail.next(s.query.After)
	if behind {
		events, err = s.read()
	}
	return events, grown, err
}

// read asks the store for the client's next events; nil if there are none.
func (s *eventStream) read() (*batch, error) {
	events, next, err := s.store.Events(s.r.Context(), s.query)
	switch {
	case s.r.Context().Err() != nil:
		// The client has gone, or the server is going: nobody wants to know.
		return nil, nil //nolint:nilerr // the stream ends for that, and not for the error
	case err != nil:
		return nil, fmt.Errorf("reading events: %w", err)
	case next == s.query.After:
		return nil, nil
	}
	return newBatch(s.log, s.incarnation, events, next), nil
}

// page writes what the client wants of some events, at once. A client that
// takes long for them holds up nobody, but its connection: it is told, and may
// come back.
func (s *eventStream) page(events *batch) bool {
	text := events.selected(s.query)
	s.query.After = events.next
	if len(text) == 0 {
		return true
	}
	start := s.clock.Now()
	ok := s.write(text)
	if s.clock.Since(start) <= s.timing.Slow {
		return ok
	}
	// One that took nothing at all has been cut off already.
	s.metrics.slowStreams.Inc()
	if ok {
		s.final("gco.slow", "events are read too slowly; go on from the last ID")
	}
	return false
}

// allowed tells whether the client's token still holds, which may end while a
// stream goes on.
func (s *eventStream) allowed() bool {
	_, err := s.auth.principal(s.r)
	if p := (*problem)(nil); errors.As(err, &p) {
		s.final("gco.bye", p.Detail)
		return false
	}
	return true
}

// beat says that the stream lives, and how far it has come: without that, a
// client whose filter lets little through would come back with an old cursor.
func (s *eventStream) beat() bool {
	return s.write([]byte(": heartbeat\nid: " + s.cursor() + "\n\n"))
}

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
