package local

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/runtimetest"
)

func TestConformance(t *testing.T) {
	runtimetest.Run(t, func(t *testing.T) runtimetest.Fixture { return &fixture{testOptions(t)} })
}

// fixture is a directory. Its agent lives in this process; the tests of
// faults kill real ones.
type fixture struct{ options Options }

func (f *fixture) Open(*testing.T) (runtime.Runtime, error) {
	r, err := Open(f.options)
	if err != nil {
		return nil, err // not a nil *Runtime
	}
	return r, nil
}

func (f *fixture) Crash(t *testing.T, r runtime.Runtime) {
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) Manifest(_ *testing.T, program runtimetest.Program) json.RawMessage {
	var script strings.Builder
	for _, line := range program.Lines {
		fmt.Fprintf(&script, "echo '%s'\n", line)
	}
	if program.Result != "" {
		fmt.Fprintf(&script, "printf %%s '%s' > \"$GCO_RESULT\"\n", program.Result)
	}
	if program.Hold {
		script.WriteString("until [ -e \"$GCO_CHECKPOINT/release.$GCO_ATTEMPT\" ]; do sleep 0.01; done\n")
	}
	fmt.Fprintf(&script, "exit %d\n", program.Exit)
	return jobOf(script.String(), "1")
}

func (f *fixture) TooLarge(*testing.T) json.RawMessage { return jobOf("exit 0", "1000") }

func jobOf(script, cpu string) json.RawMessage {
	text, err := json.Marshal(map[string]any{
		"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{"name": "conformance"},
		"spec": map[string]any{
			"backoffLimit": 0,
			"template": map[string]any{"spec": map[string]any{
				"restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
				"containers": []any{map[string]any{
					"name": "main", "image": "busybox", "command": []string{"/bin/sh", "-c", script},
					"resources": map[string]any{"requests": map[string]string{"cpu": cpu}},
				}},
			}},
		},
	})
	if err != nil {
		panic(err)
	}
	return text
}

func (f *fixture) Release(t *testing.T, id job.AttemptID) {
	path := filepath.Join(f.options.CheckpointDir, string(id.Job), fmt.Sprintf("release.%d", id.Attempt))
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) FencesAlone() bool { return true }

// AwaitRunning polls: the kernel tells nobody of processes that are not its
// children.
func (f *fixture) AwaitRunning(t *testing.T, id job.AttemptID, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d running programs of %v", n, id), func() bool { return len(leaders(t, id)) == n })
}

// eventually is for what the operating system gives no signal of.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
