package local

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

// TestMain lets the test binary be what the runtime starts.
func TestMain(m *testing.M) {
	if len(os.Args) < 3 {
		os.Exit(m.Run())
	}
	var err error
	switch os.Args[1] {
	case "supervise":
		err = Supervise(context.Background(), os.Args[2])
	case "replica":
		err = serveReplica()
	case "agent":
		err = runAgent(os.Args[2])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// The race detector would hold up os.Exit for a second.
	syscall.Exit(0)
}

// patience bounds every wait; only a failing test waits that long.
const patience = 30 * time.Second

func testOptions(t testing.TB) Options {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return Options{
		Dir: dir + "/region", CheckpointDir: dir + "/checkpoints", Region: "us-east-1",
		Nodes: []capacity.NodeShape{{
			Count: 2, Architecture: "amd64",
			Total: capacity.Resources{capacity.CPU: 64_000, capacity.Memory: 256 << 30, capacity.Pods: 110, gpu: 4},
		}},
		Supervisor: []string{executable, "supervise"},
		Backoff:    5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func openTest(t testing.TB, options Options) *Runtime {
	t.Helper()
	r, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endAll(t, r) })
	if err := r.Renew(time.Hour); err != nil {
		t.Fatal(err)
	}
	return r
}

// endAll leaves nothing running behind a test.
func endAll(t testing.TB, r *Runtime) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r.mu.Lock()
	closed := r.closed
	r.mu.Unlock()
	if !closed {
		list, _, _ := r.List(ctx)
		for _, o := range list {
			_ = r.Stop(ctx, o.ID)
		}
		if err := r.Fence(ctx); err != nil {
			t.Errorf("fencing at the end: %v", err)
		}
		err := r.wait(ctx, func() bool {
			return !slices.ContainsFunc(slices.Collect(maps.Values(r.held)), func(h *held) bool { return !h.status.Phase.Terminal() })
		})
		if err != nil {
			t.Errorf("stopping at the end: %v", err)
		}
	}
	if err := r.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
}

func newID() job.AttemptID { return job.AttemptID{Job: job.NewID(), Attempt: 1} }

// attemptOf is an attempt whose only container runs a shell script.
func attemptOf(id job.AttemptID, script string) runtime.Attempt {
	text, _ := json.Marshal(map[string]any{
		"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{"name": "test"},
		"spec": map[string]any{
			"backoffLimit": 0,
			"template": map[string]any{"spec": map[string]any{
				"restartPolicy": "Never",
				"containers":    []any{map[string]any{"name": "main", "image": "busybox", "command": []string{"/bin/sh", "-c", script}}},
			}},
		},
	})
	return runtime.Attempt{ID: id, Incarnation: "one", Namespace: "default", Name: "test", Manifest: text}
}

func apply(t testing.TB, r *Runtime, a runtime.Attempt) {
	t.Helper()
	if err := r.Apply(t.Context(), a); err != nil {
		t.Fatalf("applying: %v", err)
	}
}

// await returns what r says of an attempt once ok holds for it.
func await(t testing.TB, r *Runtime, id job.AttemptID, what string, ok func(runtime.Observation) bool) runtime.Observation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last runtime.Observation
	err := r.wait(ctx, func() bool {
		h := r.held[id]
		if h == nil {
			return false
		}
		last = h.observation()
		return ok(last)
	})
	if err != nil {
		t.Fatalf("%s did not come; last: %+v", what, last)
	}
	return last
}

func awaitEnd(t testing.TB, r *Runtime, id job.AttemptID) runtime.Observation {
	t.Helper()
	return await(t, r, id, "the end", func(o runtime.Observation) bool { return o.Phase.Terminal() })
}

func awaitPhase(t testing.TB, r *Runtime, id job.AttemptID, phase runtime.Phase) runtime.Observation {
	t.Helper()
	return await(t, r, id, string(phase), func(o runtime.Observation) bool { return o.Phase == phase })
}

func TestOneContainer(t *testing.T) {
	r := openTest(t, testOptions(t))
	for _, test := range []struct {
		script string
		phase  runtime.Phase
		code   int
		reason string
	}{
		{"exit 0", runtime.PhaseSucceeded, 0, "Completed"},
		{"exit 7", runtime.PhaseFailed, 7, "BackoffLimitExceeded"},
		{"kill -9 $$$$", runtime.PhaseFailed, 137, "BackoffLimitExceeded"},
	} {
		id := newID()
		apply(t, r, attemptOf(id, test.script))
		got := awaitEnd(t, r, id)
		if got.Phase != test.phase || got.ExitCode == nil || *got.ExitCode != test.code || got.Reason != test.reason {
			t.Errorf("%s: %+v, code %v", test.script, got, got.ExitCode)
		}
		if got.StartedAt.IsZero() || got.FinishedAt.Before(got.StartedAt) {
			t.Errorf("%s: started %s, finished %s", test.script, got.StartedAt, got.FinishedAt)
		}
	}
}
