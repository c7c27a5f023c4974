package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/runtimetest"
)

func TestConformance(t *testing.T) {
	runtimetest.Run(t, func(t *testing.T) runtimetest.Fixture { return newFixture(t) })
}

// fixture is one agent's view of the lab, with a Lease of its own. What it
// made is gone when its test ends.
type fixture struct {
	options Options
	client  *client
	// crashed: the next Open is the next life of the same agent.
	crashed bool
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	needLab(t)
	c, err := newClient(theLab.config, patience)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{client: c, options: Options{
		Config: theLab.config, Region: "lab", Namespace: "agent-" + uuid.NewString()[:8], Identity: "first", FenceGrace: time.Second,
	}}
	f.create(t, "namespaces", "", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.options.Namespace}})
	t.Cleanup(func() { f.empty(t) })
	return f
}

func (f *fixture) create(t *testing.T, resource, namespace string, object any) {
	t.Helper()
	call := f.client.core.Post().Resource(resource)
	if namespace != "" {
		call = call.Namespace(namespace)
	}
	f.post(t, call, object)
}

func (f *fixture) post(t *testing.T, call *rest.Request, object any) {
	t.Helper()
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	if err := call.SetHeader("Content-Type", "application/json").Body(body).Do(t.Context()).Error(); err != nil {
		t.Fatalf("posting %s: %v", body, err)
	}
}

// empty deletes what attempts left, and returns when it is gone.
func (f *fixture) empty(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	eventually(t, "a cluster without Jobs", func() bool {
		jobs, err := f.client.ownJobs(ctx)
		if err != nil {
			t.Fatalf("listing what is left: %v", err)
		}
		for i := range jobs {
			if err := f.client.deleteJob(ctx, jobs[i].Namespace, jobs[i].Name, jobs[i].UID, metav1.DeletePropagationBackground); err != nil {
				t.Fatalf("deleting what is left: %v", err)
			}
		}
		return len(jobs) == 0
	})
}

func (f *fixture) Open(t *testing.T) (runtime.Runtime, error) {
	options := f.options
	if !f.crashed {
		options.Identity = uuid.NewString()
	}
	r, err := Open(t.Context(), options)
	if err != nil {
		return nil, err
	}
	f.options.Identity, f.crashed = options.Identity, false
	return r, nil
}

func (f *fixture) Crash(_ *testing.T, r runtime.Runtime) {
	r.(*Runtime).stopLoops()
	f.crashed = true
}

// release is the file that lets a program with Hold go on.
func release(id job.AttemptID) string {
	return filepath.Join(theLab.dir, fmt.Sprintf("release.%s.%d", id.Job, id.Attempt))
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
		fmt.Fprintf(&script, "until [ -e \"%s/release.$GCO_JOB_ID.$GCO_ATTEMPT\" ]; do sleep 0.02; done\n", theLab.dir)
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
	if err := os.WriteFile(release(id), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) FencesAlone() bool { return false }

// AwaitRunning polls: the operating system tells nobody of processes that are
// not its children.
func (f *fixture) AwaitRunning(t *testing.T, id job.AttemptID, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d running programs of %v", n, id), func() bool { return programs(t, id) == n })
}

// programs counts the shells of an attempt, by what their environment says.
func programs(t *testing.T, id job.AttemptID) int {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, path := range found {
		environment, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(environment), fmt.Sprintf("GCO_JOB_ID=%s\x00", id.Job)) ||
			!strings.Contains(string(environment), fmt.Sprintf("GCO_ATTEMPT=%d\x00", id.Attempt)) {
			continue
		}
		line, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err == nil && strings.HasPrefix(string(line), "/bin/sh\x00-c\x00") {
			count++
		}
	}
	return count
}

// eventually is for what the operating system gives no signal of.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
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

func readAll(t *testing.T, stream io.ReadCloser) string {
	t.Helper()
	defer stream.Close()
	text, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
