package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
)

// serve answers with the handlers in turn; the last one again and again. It
// returns a client that does not wait between attempts, and what it would
// have waited.
func serve(t *testing.T, handlers ...http.HandlerFunc) (c *Client, calls *atomic.Int32, waited *[]time.Duration) {
	t.Helper()
	calls = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(calls.Add(1))
		handlers[min(n, len(handlers))-1](w, r)
	}))
	t.Cleanup(server.Close)
	c, err := New(server.URL, "gco_x_y")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	waited = new([]time.Duration)
	c.pause.wait = func(ctx context.Context, d time.Duration) error {
		*waited = append(*waited, d)
		return ctx.Err()
	}
	return c, calls, waited
}

func refuse(status int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("X-Request-Id", "request-1")
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(api.Problem{Type: api.ProblemUnavailable, Title: "T", Status: status, Detail: "D"})
	}
}

// cut closes the connection without an answer.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func answer(document any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(document)
	}
}

func TestBaseURL(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:8080": "http://127.0.0.1:8080", "localhost:1": "http://localhost:1", "[::1]:80": "http://[::1]:80",
		"gco.example:443": "https://gco.example:443", "gco.example": "https://gco.example", "http://a/": "http://a", "https://a/base/": "https://a/base",
		"ftp://a": "", "": "", "http://": "", "a b": "",
	} {
		got, err := baseURL(addr)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", addr, got, err)
		}
	}
}

func TestWhatIsRepeated(t *testing.T) {
	ok := answer(api.Job{ID: "1"})
	submit := func(key string) func(*Client) error {
		return func(c *Client) error { _, _, err := c.Submit(t.Context(), api.Submission{}, key); return err }
	}
	read := func(c *Client) error { _, err := c.Job(t.Context(), "1"); return err }
	sync := func(c *Client) error { _, err := c.Sync(t.Context(), "r", api.SyncRequest{}); return err }
	cancel := func(c *Client) error { _, err := c.CancelJob(t.Context(), "1"); return err }
	ship := func(c *Client) error {
		return c.ArchiveLogs(t.Context(), "r", api.AttemptRef{}, false, strings.NewReader("x"))
	}
	batch := func(keys ...string) func(*Client) error {
		return func(c *Client) error {
			var items []api.BatchItem
			for _, key := range keys {
				items = append(items, api.BatchItem{IdempotencyKey: key})
			}
			_, err := c.SubmitBatch(t.Context(), items)
			return err
		}
	}
	tests := map[string]struct {
		call   func(*Client) error
		answer http.HandlerFunc
		calls  int32
	}{
		"a read, cut off":                  {read, cut, 2},
		"a read, unavailable":              {read, refuse(503), 2},
		"a read, bad gateway":              {read, refuse(502), 2},
		"a read, limited":                  {read, refuse(429, "Retry-After", "1"), 2},
		"a read, not found":                {read, refuse(404), 1},
		"a read, failed":                   {read, refuse(500), 1},
		"a read, limited for long":         {read, refuse(429, "Retry-After", "60"), 1},
		"a submission with a key, cut off": {submit("k"), cut, 2},
		"a submission without, cut off":    {submit(""), cut, 1},
		"a submission without, 503":        {submit(""), refuse(503), 1},
		"a batch with all keys":            {batch("a", "b"), cut, 2},
		"a batch with some keys":           {batch("a", ""), cut, 1},
		"a sync, cut off":                  {sync, cut, 2},
		"a sync, stale":                    {sync, refuse(409), 1},
		"a cancel":                         {cancel, cut, 1},
		"a stream to the server":           {ship, cut, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, calls, _ := serve(t, test.answer, ok)
			err := test.call(c)
			if n := calls.Load(); n != test.calls {
				t.Errorf("%d calls, want %d (%v)", n, test.calls, err)
			}
			if (err == nil) != (test.calls == 2) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestPausesGrowAndEnd(t *testing.T) {
	c, calls, waited := serve(t, refuse(503))
	_, err := c.Job(t.Context(), "1")
	if Status(err) != 503 || calls.Load() != defaultAttempts || len(*waited) != defaultAttempts-1 {
		t.Fatalf("%d calls, waited %v, %v", calls.Load(), *waited, err)
	}
	for i, pause := range *waited {
		full := defaultPauses.first << i
		if pause > full || pause < full/2 {
			t.Errorf("pause %d is %s, not within %s to %s", i, pause, full/2, full)
		}
	}
}

func TestErrorsSayWhatWasWrong(t *testing.T) {
	c, _, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
		w.Header().Set("X-Request-Id", "request-1")
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"type":"`+api.ProblemInvalid+`","title":"Invalid","status":422,"detail":"2 faults","errors":[{"field":"a","message":"b"},{"field":"c","message":"d"}]}`)
	})
	_, err := c.Job(t.Context(), "1")
	e, ok := errors.AsType[*Error](err)
	if !ok || e.RequestID != "request-1" || !Is(err, api.ProblemInvalid) || Is(err, api.ProblemLimited) || Status(err) != 422 {
		t.Fatalf("%#v", err)
	}
	if want := "2 faults\n  a: b\n  c: d"; err.Error() != want {
		t.Errorf("%q", err)
	}

	proxy, _, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusForbidden) })
	if _, err := proxy.Job(t.Context(), "1"); Status(err) != 403 || !strings.Contains(err.Error(), "not by GCO's API") {
		t.Errorf("a proxy's page: %v", err)
	}
	garbled, _, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{") })
	if _, err := garbled.Job(t.Context(), "1"); err == nil || !strings.Contains(err.Error(), "GET /api/v1/jobs/1") {
		t.Errorf("half an answer: %v", err)
	}
	nobody, err := New("127.0.0.1:1", "", WithAttempts(1))
	if err != nil {
		t.Fatal(err)
	}
	_, err = nobody.Job(t.Context(), "1")
	if gone, ok := errors.AsType[*Unreachable](err); !ok || gone.Method != http.MethodGet {
		t.Errorf("nobody there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := nobody.Job(ctx, "1"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestTimeoutIsPerAttempt(t *testing.T) {
	release := make(chan struct{})
	slow := func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}
	c, calls, _ := serve(t, slow, answer(api.Job{ID: "1"}))
	t.Cleanup(func() { close(release) })
	c.timeout = 50 * time.Millisecond
	if job, err := c.Job(t.Context(), "1"); err != nil || job.ID != "1" || calls.Load() != 2 {
		t.Errorf("%+v after %d calls, %v", job, calls.Load(), err)
	}
}

func TestAllJobsGoesThroughAllPages(t *testing.T) {
	var cursors []string
	page := func(next string, ids ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			cursors = append(cursors, r.URL.Query().Get("cursor"))
			list := api.JobList{Items: []api.Job{}, NextCursor: next}
			for _, id := range ids {
				list.Items = append(list.Items, api.Job{ID: id})
			}
			answer(list)(w, r)
		}
	}
	c, _, _ := serve(t, page("a", "1", "2"), page("b"), page("", "3"))
	var ids []string
	for job, err := range c.AllJobs(t.Context(), JobFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, job.ID)
	}
	if fmt.Sprint(ids, cursors) != "[1 2 3] [ a b]" {
		t.Errorf("%v by %q", ids, cursors)
	}
}

// stream writes server-sent events, and then breaks off or ends.
func stream(text string, whole bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Gco-Cursor", "c0")
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
		if !whole {
			panic(http.ErrAbortHandler)
		}
	}
}

func sse(ids ...string) string {
	var text strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&text, ": a comment\n\nid: %s\nevent: job.queued\ndata: {\"id\":\"e-%s\",\"type\":\"job.queued\"}\n\n", id, id)
	}
	return text.String()
}

func TestEventsGoOnAfterABreak(t *testing.T) {
	var last []string
	remember := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			last = append(last, r.Header.Get("Last-Event-ID"))
			next(w, r)
		}
	}
	c, _, _ := serve(t,
		remember(stream("", false)),
		remember(stream(sse("c1", "c2")+"id: c3\ndata: {\"half", false)),
		remember(refuse(503)),
		remember(stream(sse("c3")+"event: gco.bye\ndata: {\"message\":\"stopping\"}\n\n", true)),
		remember(stream(sse("c4"), true)),
	)
	var told []string
	events, err := c.Events(t.Context(), EventFilter{
		Lost: func(err error) { told = append(told, fmt.Sprintf("lost %d", Status(err))) },
		Back: func() { told = append(told, "back") },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	for _, want := range []string{"e-c1", "e-c2", "e-c3", "e-c4"} {
		event, err := events.Next()
		if err != nil || event.ID != want {
			t.Fatalf("%+v, %v; want %s", event, err, want)
		}
	}
	if !slices.Equal(told, []string{"lost 503", "back"}) {
		t.Errorf("told %q, want one loss and one return", told)
	}
	if events.Cursor() != "c4" || strings.Join(last, ",") != ",c0,c2,c2,c3" {
		t.Errorf("cursor %s, resumed after %q", events.Cursor(), last)
	}
}

func TestEventsEnd(t *testing.T) {
	c, _, _ := serve(t, stream(sse("c1"), true))
	events, err := c.Events(t.Context(), EventFilter{Once: true})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	if _, err := events.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := events.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("the end of what there is: %v", err)
	}

	c, _, _ = serve(t, stream("event: gco.slow\ndata: {\"message\":\"slow\"}\n\n", true))
	if events, err = c.Events(t.Context(), EventFilter{}); err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	if _, err := events.Next(); !errors.Is(err, ErrSlow) {
		t.Errorf("cut off: %v", err)
	}

	c, _, _ = serve(t, stream("", false), refuse(401))
	if events, err = c.Events(t.Context(), EventFilter{}); err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	if _, err := events.Next(); Status(err) != 401 {
		t.Errorf("refused: %v", err)
	}
}

func TestEventsCloseWakesNext(t *testing.T) {
	c, _, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	events, err := c.Events(t.Context(), EventFilter{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := events.Next()
		ended <- err
	}()
	events.Close()
	if err := <-ended; err == nil {
		t.Error("Next returned an event")
	}
}

func TestAnswerGoesToTheServerThatAsked(t *testing.T) {
	var here, there atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		there.Add(1)
		if text, _ := io.ReadAll(r.Body); string(text) != "logs" || r.Header.Get("Content-Type") != TypeText {
			t.Errorf("got %q as %s", text, r.Header.Get("Content-Type"))
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer other.Close()
	c, _, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		here.Add(1)
		w.WriteHeader(http.StatusNoContent)
	})
	if err := c.Answer(t.Context(), "r", api.Request{ID: "1", Server: other.URL}, TypeText, strings.NewReader("logs")); err != nil {
		t.Fatal(err)
	}
	if err := c.Answer(t.Context(), "r", api.Request{ID: "1"}, TypeText, strings.NewReader("logs")); err != nil {
		t.Fatal(err)
	}
	if here.Load() != 1 || there.Load() != 1 {
		t.Errorf("%d here, %d there", here.Load(), there.Load())
	}
}

func TestCAFile(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty.pem": "", "text.pem": "not a certificate"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New("https://a", "", WithCA(path)); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New("https://a", "", WithCA(filepath.Join(dir, "none"))); err == nil {
		t.Error("a missing file was no error")
	}
}

func FuzzEvents(f *testing.F) {
	f.Add(sse("a", "b"))
	f.Add("data: {}\n\n")
	f.Add("id\nevent: gco.slow\ndata\n\n:\n")
	f.Fuzz(func(t *testing.T, text string) {
		e := &Events{filter: EventFilter{Once: true}}
		e.lines = newLines(strings.NewReader(text))
		for range 1000 {
			if _, err := e.read(); err != nil {
				return
			}
		}
	})
}
