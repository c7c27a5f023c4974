package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
)

// logLine is a line as a region has it.
type logLine struct {
	source string
	at     time.Time
	text   string
}

func (l logLine) write(to *bytes.Buffer, stamped bool) {
	if l.source != "" {
		fmt.Fprintf(to, "[%s] ", l.source)
	}
	if stamped {
		fmt.Fprintf(to, "%s ", l.at.Format(time.RFC3339Nano))
	}
	fmt.Fprintln(to, l.text)
}

// someLines are lines of some sources, of which many have one time, and many
// of those one text.
func someLines(random *rand.Rand, sources ...string) []logLine {
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	lines := make([]logLine, 300)
	for i := range lines {
		at = at.Add(time.Duration(random.IntN(3)) * 400 * time.Millisecond)
		lines[i] = logLine{sources[random.IntN(len(sources))], at, strings.Repeat("x", random.IntN(4))}
	}
	return lines
}

// breakOff ends an answer in its middle.
func breakOff(w http.ResponseWriter, text string) {
	_, _ = io.WriteString(w, text)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// cutter serves the lines, and cuts most connections somewhere.
func cutter(t *testing.T, random *rand.Rand, lines []logLine) (server *httptest.Server, calls *atomic.Int32) {
	t.Helper()
	calls = &atomic.Int32{}
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		switch n := calls.Add(1); {
		case n > 1 && query.Get("attempt") != "2":
			t.Errorf("call %d is %s", n, r.URL)
		case n%5 == 3:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		since, _ := time.Parse(time.RFC3339Nano, query.Get("since"))
		// Whole seconds, as Kubernetes takes them.
		since = since.Truncate(time.Second)
		var text bytes.Buffer
		for _, l := range lines {
			if !l.at.Before(since) {
				l.write(&text, query.Get("timestamps") == "true")
			}
		}
		w.Header().Set("Gco-Logs", "live")
		w.Header().Set("Gco-Attempt", "2")
		if end := random.IntN(2 * text.Len()); end < text.Len() {
			breakOff(w, text.String()[:end])
		}
		_, _ = w.Write(text.Bytes())
	}))
	server.Config.ErrorLog = nil
	t.Cleanup(server.Close)
	return server, calls
}

func quick(t *testing.T, url string) *Client {
	t.Helper()
	c, err := New(url, "")
	if err != nil {
		t.Fatal(err)
	}
	c.pause.wait = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	t.Cleanup(c.Close)
	return c
}

func TestFollowedLogsGoOnWhereTheyBroke(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 1))
		sources := [][]string{{""}, {"pod-a/main"}, {"pod-a/main", "pod-b/main", "pod-a/side"}}[seed%3]
		lines, stamped := someLines(random, sources...), seed%2 == 0
		server, calls := cutter(t, random, lines)
		var lost, back int
		logs, err := quick(t, server.URL).Logs(t.Context(), "x", LogOptions{
			Follow: true, Timestamps: stamped, Lost: func(error) { lost++ }, Back: func() { back++ },
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(logs)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		logs.Close()
		var want bytes.Buffer
		for _, l := range lines {
			l.write(&want, stamped)
		}
		if !bytes.Equal(got, want.Bytes()) {
			t.Errorf("seed %d, %d calls: %d bytes, want %d:\n%s", seed, calls.Load(), len(got), want.Len(), got)
		}
		if lost != back || logs.Source != "live" || logs.Attempt != 2 {
			t.Errorf("seed %d: lost %d times, back %d, source %q, attempt %d", seed, lost, back, logs.Source, logs.Attempt)
		}
	}
}

// The archive does not prefix the lines of the only container that wrote.
func TestFollowedLogsGoOnInTheArchive(t *testing.T) {
	var calls int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls == 1 {
			w.Header().Set("Gco-Logs", "live")
			breakOff(w, "[pod/main] 2026-03-01T10:00:00Z one\n[pod/main] 2026-03-01T10:00:01Z two\n[pod/main] 2026-03-01T1")
		}
		if query := r.URL.Query(); query.Get("since") != "2026-03-01T09:59:51Z" || query.Has("tail") {
			t.Errorf("it goes on with %v", query)
		}
		w.Header().Set("Gco-Logs", "archived")
		fmt.Fprint(w, "2026-03-01T10:00:00Z one\n2026-03-01T10:00:01Z two\n2026-03-01T10:00:01Z more\n2026-03-01T10:00:02Z three")
	}))
	t.Cleanup(server.Close)
	logs, err := quick(t, server.URL).Logs(t.Context(), "x", LogOptions{Follow: true, Tail: 2})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(logs)
	if want := "[pod/main] one\n[pod/main] two\nmore\nthree"; err != nil || string(got) != want {
		t.Errorf("read %q, %v; want %q", got, err, want)
	}
}

func TestFollowedLogsEnd(t *testing.T) {
	answer := func(status int, kind string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"type":%q,"title":"x","status":%d}`, kind, status)
		}
	}
	broken := func(w http.ResponseWriter) {
		w.Header().Set("Gco-Logs", "archived")
		breakOff(w, "")
	}
	for name, test := range map[string]struct {
		then func(http.ResponseWriter)
		want func(error) bool
	}{
		"lost with the region":   {answer(http.StatusGone, api.ProblemGone), func(err error) bool { return Is(err, api.ProblemGone) }},
		"an archive that breaks": {broken, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				switch calls++; calls {
				case 1:
					breakOff(w, "2026-03-01T10:00:00Z one\n")
				case 2:
					answer(http.StatusGatewayTimeout, api.ProblemRegionSilent)(w)
				default:
					test.then(w)
				}
			}))
			t.Cleanup(server.Close)
			logs, err := quick(t, server.URL).Logs(t.Context(), "x", LogOptions{Follow: true})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(logs)
			if string(got) != "one\n" || !test.want(err) {
				t.Errorf("read %q, then %v", got, err)
			}
		})
	}
}

func FuzzCutTime(f *testing.F) {
	for _, seed := range []string{
		"", "[", "] ", "[a/b] ", "plain", "2026-03-01T10:00:00Z ", "[a/b] 2026-03-01T10:00:00Z x\n", "2026-03-01T10:00:00.5Z [a/b] x\n", "[no source] x",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		source, at, text := cutTime(line)
		if at.IsZero() && (source != "" || !bytes.Equal(text, line)) {
			t.Errorf("%q has no time, and is %q of %q", line, text, source)
		}
		if !bytes.HasSuffix(line, text) || !bytes.Contains(line, []byte(source)) {
			t.Errorf("%q has the text %q of %q", line, text, source)
		}
	})
}
