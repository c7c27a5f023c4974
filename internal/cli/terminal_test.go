package cli

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// onTerminal runs gco as a person would, against a system of its own that the
// first call starts.
type onTerminal struct {
	t      *testing.T
	lookup func(string) (string, bool)
}

func newTerminal(t *testing.T, upFlags ...string) *onTerminal {
	t.Helper()
	dir := t.TempDir()
	c := &onTerminal{t: t, lookup: func(name string) (string, bool) {
		switch name {
		case "GCO_CONFIG":
			return filepath.Join(dir, "config.yaml"), true
		case "NO_COLOR":
			return "1", true
		}
		return "", false
	}}
	running, err := startSystem(c.env(nil, nil), dir, upFlags)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := running.end(); err != nil {
			t.Error(err)
		}
		wants(t, "the end of gco up", running.out.String(), "GCO is up", "Stopped.")
	})
	return c
}

func (c *onTerminal) env(out, err io.Writer) Env {
	env := envFor(c.lookup, out, err)
	env.Terminal, env.ErrTerminal = true, true
	return env
}

// run returns what a call writes to the screen.
func (c *onTerminal) run(code int, args ...string) (stdout, stderr string) {
	c.t.Helper()
	var out, err bytes.Buffer
	if got := New(c.env(&out, &err)).RunContext(c.t.Context(), args); got != code {
		c.t.Fatalf("gco %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, &out, &err)
	}
	return out.String(), err.String()
}

// wants checks that each part is in the text, in this order.
func wants(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Errorf("%s lacks %q (in this order):\n%s", what, part, text)
			return
		}
		rest = after
	}
}

func TestPagesOnATerminal(t *testing.T) {
	c := newTerminal(t)
	out, progress := c.run(ExitJobFailed, "submit", "../../examples/failing.yaml", "--wait")
	wants(t, "progress", progress, "failing is job", "\r\x1b[K", "failed in us-east-1", "job failing")
	wants(t, "list after a wait", out, "NAME", "STATE", "SUBMITTED", "failing", "failed", " ago")
	out, _ = c.run(ExitDone, "jobs", "list", "-o", "name")
	id := strings.TrimSpace(out)

	page, _ := c.run(ExitDone, "jobs", "get", id)
	wants(t, "page of a job", page, "Job:", id, "State:", "failed", "Why:", "Exit code:", "7",
		"Asks for:", "cpu 0.1, memory 64Mi", "History:", "AFTER", "submitted", "place", "claim", "failed")
	page, _ = c.run(ExitDone, "jobs", "explain", id)
	wants(t, "explanation", page, "Summary:", "Regions that would do:", "REGION", "SCORE", "us-east-1", "chosen")
	page, _ = c.run(ExitDone, "regions", "get", "us-east-1")
	wants(t, "page of a region", page, "Lease:", "live", "Capacity:", "nvidia.com/gpu", "Nodes:", "COUNT")
	page, _ = c.run(ExitDone, "regions", "list")
	wants(t, "list of regions", page, "eu-west-1", "live", "open", "nvidia.com/gpu 8/8", "ago")
	page, _ = c.run(ExitDone, "stats")
	wants(t, "counts", page, "all", "last minute: 1 submitted, 0 succeeded, 1 failed")
	page, _ = c.run(ExitDone, "events", "--job", id)
	wants(t, "events", page, "job.queued", "job/"+id, "job.failed")
}

func TestWaitForSeveralJobsOnATerminal(t *testing.T) {
	c := newTerminal(t, "--regions", "us-east-1")
	out, progress := c.run(ExitDone, "submit", "../../examples/hello.yaml", "../../examples/indexed.yaml", "--logs")
	wants(t, "progress", progress, "2 jobs: ")
	for _, part := range []string{"hello: succeeded", "indexed: succeeded"} {
		wants(t, "progress", progress, part)
	}
	for _, part := range []string{"[hello] hello from us-east-1", "[indexed] ", "shard 3 of 4"} {
		wants(t, "logs", out, part)
	}
}

func TestTopDrawsAndLeavesTheScreenAsItWas(t *testing.T) {
	c := newTerminal(t, "--regions", "us-east-1")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	// One frame, then the person presses Ctrl-C.
	out := &watchedBuffer{until: "us-east-1", found: make(chan struct{})}
	ended := make(chan int, 1)
	go func() {
		ended <- New(c.env(out, &watchedBuffer{})).RunContext(ctx, []string{"top", "--every", "100ms"})
	}()
	select {
	case <-out.found:
	case <-time.After(30 * time.Second):
		t.Fatalf("top drew nothing:\n%s", out)
	}
	stop()
	if code := <-ended; code != ExitDone {
		t.Errorf("top ended with exit code %d", code)
	}
	wants(t, "screen", out.String(), "\x1b[?1049h", "gco top", "last minute:", "NAME", "us-east-1", "ID", "\x1b[?1049l")
}

func TestFollowedLogsSayWhereTheJobGoesOn(t *testing.T) {
	c := newTerminal(t, "--regions", "us-east-1,us-west-2")
	out, _ := c.run(ExitDone, "submit", "../../examples/checkpoint.yaml", "-o", "name")
	id := strings.TrimSpace(out)
	// The wait ends with the test: it only tells when the job has begun.
	begun := &watchedBuffer{until: "running in ", found: make(chan struct{})}
	env := c.env(&watchedBuffer{}, begun)
	env.ErrTerminal = false
	ctx, stop := context.WithCancel(t.Context())
	waited := make(chan int, 1)
	go func() { waited <- New(env).RunContext(ctx, []string{"jobs", "wait", id}) }()
	defer func() { stop(); <-waited }()
	await(t, begun, "the job to run")

	text := &watchedBuffer{until: "\n", found: make(chan struct{})}
	said := &watchedBuffer{}
	followed := make(chan int, 1)
	go func() { followed <- New(c.env(text, said)).RunContext(ctx, []string{"jobs", "logs", id, "--follow"}) }()
	await(t, text, "a line of the logs")
	c.run(ExitDone, "regions", "drain", "us-east-1")
	if code := <-followed; code != ExitDone {
		t.Errorf("exit code %d", code)
	}
	wants(t, "stderr", said.String(), "attempt 1 has ended, and the job goes on: ")
	c.run(ExitDone, "jobs", "cancel", id)
}

func await(t *testing.T, text *watchedBuffer, what string) {
	t.Helper()
	select {
	case <-text.found:
	case <-time.After(30 * time.Second):
		t.Fatalf("waited in vain for %s:\n%s", what, text)
	}
}
