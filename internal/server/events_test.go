package server

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	clocktest "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// next returns the next events' types.
func next(t *testing.T, events *client.Events, n int) []api.Event {
	t.Helper()
	var got []api.Event
	for range n {
		event, err := events.Next()
		if err != nil {
			t.Fatalf("after %d events: %v", len(got), err)
		}
		got = append(got, event)
	}
	return got
}

func types(events []api.Event) []string {
	var list []string
	for _, e := range events {
		list = append(list, e.Type)
	}
	return list
}

func TestEventsFollowAndResume(t *testing.T) {
	s := start(t)
	s.submit()
	events, err := s.admin.Events(t.Context(), client.EventFilter{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	a := s.openRegion(testRegion)
	j := s.submit()
	got := next(t, events, 2)
	if want := []string{"region.opened", "job.placed"}; got[0].Type != want[0] {
		t.Errorf("first %v", types(got))
	}
	for !slices.Contains(types(got), "job.queued") {
		got = append(got, next(t, events, 1)...)
	}
	for _, e := range got {
		if e.SpecVersion != "1.0" || e.ID == "" || e.Source == "" || e.Subject == "" || e.Time.IsZero() || len(e.Data) == 0 {
			t.Errorf("event %+v", e)
		}
	}
	cursor := events.Cursor()
	events.Close()

	// What happens while nobody listens comes afterwards, and nothing twice.
	ref := a.claim()
	if _, err := s.admin.CancelJob(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	_ = ref
	again, err := s.admin.Events(t.Context(), client.EventFilter{After: cursor, Once: true})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	seen := map[string]bool{}
	for _, e := range got {
		seen[e.ID] = true
	}
	count := 0
	for {
		e, err := again.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if seen[e.ID] {
			t.Errorf("event %s came twice", e.ID)
		}
		seen[e.ID] = true
		count++
	}
	if count == 0 {
		t.Error("nothing came after the cursor")
	}
}

// all returns every event that is kept and selected.
func (s *system) all(c *client.Client, filter client.EventFilter) []api.Event {
	s.t.Helper()
	filter.Once = true
	events, err := c.Events(s.t.Context(), filter)
	if err != nil {
		s.t.Fatal(err)
	}
	defer events.Close()
	var list []api.Event
	for {
		e, err := events.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			s.t.Fatal(err)
		}
		list = append(list, e)
	}
}

func TestEventFilters(t *testing.T) {
	s := start(t)
	a := s.submit(func(sub *api.Submission) { sub.Namespace = "team-a" })
	b := s.submit(func(sub *api.Submission) { sub.Namespace = "team-b" })
	s.openRegion(testRegion)
	viewer := s.as(api.NewToken{Role: "viewer", Namespaces: []string{"team-a"}})
	if _, err := s.admin.CancelJob(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	only := func(list []api.Event, what string, ok func(api.Event) bool) {
		t.Helper()
		if len(list) == 0 {
			t.Errorf("%s: nothing", what)
		}
		for _, e := range list {
			if !ok(e) {
				t.Errorf("%s: %s of %s in %s", what, e.Type, e.Subject, e.Namespace)
			}
		}
	}
	only(s.all(s.admin, client.EventFilter{Namespace: "team-b"}), "namespace", func(e api.Event) bool { return e.Namespace == "team-b" })
	only(s.all(s.admin, client.EventFilter{Job: a.ID}), "job", func(e api.Event) bool { return strings.Contains(e.Subject, a.ID) })
	only(s.all(s.admin, client.EventFilter{Types: []string{"region.*"}}), "types", func(e api.Event) bool { return strings.HasPrefix(e.Type, "region.") })
	only(s.all(s.admin, client.EventFilter{Types: []string{"job.queued"}}), "type", func(e api.Event) bool { return e.Type == "job.queued" })
	only(s.all(viewer, client.EventFilter{}), "viewer", func(e api.Event) bool { return e.Namespace == "team-a" })
	if list := s.all(viewer, client.EventFilter{Namespace: "team-b"}); len(list) != 0 {
		t.Errorf("a viewer of team-a saw %v", types(list))
	}
	if list := s.all(viewer, client.EventFilter{Job: b.ID}); len(list) != 0 {
		t.Errorf("a viewer of team-a saw %v", types(list))
	}
}

func TestEventCursorsOfElsewhere(t *testing.T) {
	s := start(t)
	for cursor, want := range map[string]string{
		"nonsense":                          api.ProblemBadCursor,
		writeCursor("x", "not a number"):    api.ProblemBadCursor,
		writeEventCursor("another-life", 5): api.ProblemGone,
	} {
		if _, err := s.admin.Events(t.Context(), client.EventFilter{After: cursor}); !client.Is(err, want) {
			t.Errorf("%s: %v", cursor, err)
		}
	}
}

func TestEventStreamEndsWithTheServer(t *testing.T) {
	s := start(t)
	events, err := s.admin.Events(t.Context(), client.EventFilter{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	eventually(t, func() bool { return s.counter("gco_event_streams") == 1 })
	begin := time.Now()
	s.stop()
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("stopping took %s", took)
	}
}

// slowReader is a client that takes its time, on a clock that does not.
type slowReader struct {
	*httptest.ResponseRecorder
	clock *clocktest.FakeClock
	took  time.Duration
}

func (w *slowReader) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "job.queued") {
		w.clock.Step(w.took)
	}
	return w.ResponseRecorder.Write(p)
}

func TestSlowReaderIsCutOffAndTold(t *testing.T) {
	clock := clocktest.NewFakeClock(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC))
	s := start(t, func(o *setUp) { o.clock, o.noLoops = clock, true })
	s.submit()
	for took, cut := range map[time.Duration]bool{time.Second: false, 11 * time.Second: true} {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/events?from=oldest&follow=false", nil)
		request.Header.Set("Authorization", "Bearer "+s.token)
		w := &slowReader{httptest.NewRecorder(), clock, took}
		s.server.Handler().ServeHTTP(w, request)
		if got := strings.Contains(w.Body.String(), "event: gco.slow"); got != cut {
			t.Errorf("a reader that takes %s: cut off %v: %s", took, got, w.Body)
		}
	}
	if n := s.counter("gco_event_streams_cut_total"); n != 1 {
		t.Errorf("%v streams were counted as cut", n)
	}
}

// stream reads the raw text of an event stream, block by block.
func (s *system) stream(query string) func() string {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/api/v1/events"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	response, err := s.http.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { response.Body.Close() })
	lines := bufio.NewReader(response.Body)
	return func() string {
		s.t.Helper()
		for block := ""; ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				s.t.Fatalf("after %q: %v", block, err)
			}
			if line == "\n" {
				return block
			}
			block += line
		}
	}
}

// A client whose filter lets nothing through has to get on all the same, or
// its cursor would grow too old to come back with.
func TestHeartbeatsSayHowFarTheStreamHasCome(t *testing.T) {
	s := start(t, func(o *setUp) { o.Stream.Heartbeat = 5 * time.Millisecond })
	block := s.stream("?type=job.failed")
	s.submit()
	last, err := s.store.LastEvent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	incarnation, err := s.store.Incarnation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for want := ": heartbeat\nid: " + writeEventCursor(incarnation, last) + "\n"; ; {
		got := block()
		if !strings.HasPrefix(got, ": heartbeat\nid: ") {
			t.Fatalf("a block is %q", got)
		}
		if got == want {
			return
		}
	}
}
