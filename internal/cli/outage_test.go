package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

func TestOutageIsToldOnceForAllStreams(t *testing.T) {
	var said []string
	o := &outage{addr: "http://here", say: func(line string) { said = append(said, line) }}
	for _, n := range []int{1, 1, -1, -1, 1, -1} {
		o.add(n)
	}
	once := []string{"lost the server at http://here; trying again", "the server at http://here is back"}
	if want := slices.Concat(once, once); !slices.Equal(said, want) {
		t.Errorf("said %q, want %q", said, want)
	}
}

// flaky is a server whose stream of events breaks off, is refused and comes
// back.
func flaky(t *testing.T) *httptest.Server {
	t.Helper()
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch calls.Add(1) {
		case 2, 3:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		case 4:
			fmt.Fprint(w, "id: c9\nevent: gco.event\ndata: {\"id\":\"e9\",\"type\":\"region.opened\",\"data\":{}}\n\n"+
				"event: gco.slow\ndata: {}\n\n")
			return
		}
		w.Header().Set("Gco-Cursor", "c1")
		w.WriteHeader(http.StatusOK)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestEventsSayThatTheServerIsAway(t *testing.T) {
	server := flaky(t)
	p, _, said := testProgram(t)
	if code := p.RunContext(t.Context(), []string{"events", "--follow", "--addr", server.URL, "-o", "name"}); code != ExitFailed {
		t.Errorf("exit code %d", code)
	}
	wants(t, "stderr", said.String(), "lost the server at "+server.URL+"; trying again\n", "the server at "+server.URL+" is back\n", "--after c9")
	if n := strings.Count(said.String(), "lost the server"); n != 1 {
		t.Errorf("the loss was told %d times:\n%s", n, said)
	}
}

func TestWaitSaysThatTheServerIsAway(t *testing.T) {
	server := flaky(t)
	p, _, said := testProgram(t)
	c, err := client.New(server.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.await(t.Context(), c, []api.Job{{ID: "x", Name: "x", State: "running"}}, awaiting{}); err == nil {
		t.Error("the wait ended well")
	}
	wants(t, "stderr", said.String(), "lost the server at "+server.URL, "is back")
}

// interrupt runs a command until ready, and then ends it as Ctrl-C does.
func interrupt(t *testing.T, p *Program, ready <-chan struct{}, args ...string) int {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan int, 1)
	go func() { ended <- p.RunContext(ctx, args) }()
	select {
	case <-ready:
	case code := <-ended:
		t.Fatalf("ended with exit code %d", code)
	}
	stop()
	return <-ended
}

func TestInterruptedEventsNameTheCursor(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Gco-Cursor", "c1")
		_, _ = io.WriteString(w, "id: c2\nevent: gco.event\ndata: {\"id\":\"e2\",\"type\":\"region.opened\",\"data\":{}}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	p, _, said := testProgram(t)
	out := &watchedBuffer{until: "e2", found: make(chan struct{})}
	p.Out = out
	if code := interrupt(t, p, out.found, "events", "--follow", "--addr", server.URL, "-o", "name"); code != ExitDone {
		t.Errorf("exit code %d", code)
	}
	if got := said.String(); got != "go on with --after c2\n" {
		t.Errorf("stderr %q", got)
	}
}
