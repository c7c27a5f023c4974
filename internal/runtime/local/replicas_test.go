package local

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/runtime"
)

// serveReplica is what replicas of these tests run: it says who it is, ends at
// /exit, and hangs once the file in HANG exists.
func serveReplica() error {
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		return err
	}
	if os.Getenv("BROKEN") != "" {
		return fmt.Errorf("broken")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(_ http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat(os.Getenv("HANG")); err == nil {
			<-r.Context().Done()
		}
	})
	mux.HandleFunc("/whoami", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "%s %s", os.Getenv("GCO_ENDPOINT"), os.Getenv("GCO_REVISION"))
	})
	mux.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) { syscall.Exit(3) }) //nolint:revive // a replica that crashes
	server := &http.Server{Handler: mux, ReadHeaderTimeout: patience}
	return server.Serve(listener)
}

// replicaSetOf is a set of two replicas that hang once the file exists.
func replicaSetOf(t *testing.T, hang string) runtime.ReplicaSet {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return runtime.ReplicaSet{
		SetID: runtime.SetID{Endpoint: "chat", UID: "uid", Revision: 1}, Count: 2,
		Container: endpoint.Container{
			Image: "test", Command: []string{executable, "replica", "$(PORT)"}, Env: map[string]string{"HANG": hang},
			Port: 80, HealthPath: "/healthz", Resources: map[string]string{"cpu": "1"},
		},
		DrainTime: time.Millisecond,
	}
}

func openForReplicas(t *testing.T, options Options) *Runtime {
	t.Helper()
	options.EndReplicas = true
	r, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, set := range setsOf(t, r) {
			if err := r.Scale(context.Background(), runtime.ReplicaSet{SetID: set.SetID}); err != nil {
				t.Error(err)
			}
		}
		eventually(t, "no set is left", func() bool { return len(setsOf(t, r)) == 0 })
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func setsOf(t *testing.T, r *Runtime) []runtime.HeldSet {
	t.Helper()
	sets, synced, err := r.Sets(context.Background())
	if err != nil || !synced {
		t.Fatal(synced, err)
	}
	return sets
}

// phases are those of the only set's replicas, as in "ready, ready".
func phases(t *testing.T, r *Runtime) string {
	t.Helper()
	var all []string
	for _, set := range setsOf(t, r) {
		for _, one := range set.Replicas {
			all = append(all, string(one.Phase))
		}
	}
	return strings.Join(all, ", ")
}

func get(t *testing.T, address, path string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	var text [100]byte
	n, _ := response.Body.Read(text[:])
	return string(text[:n])
}

func TestReplicas(t *testing.T) {
	options := testOptions(t)
	r := openForReplicas(t, options)
	set := replicaSetOf(t, "none")
	if err := r.Scale(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two are ready", func() bool { return phases(t, r) == "ready, ready" })
	replicas := setsOf(t, r)[0].Replicas
	if got := get(t, replicas[0].Address, "/whoami"); got != "chat 1" {
		t.Errorf("it says that it is %q", got)
	}
	if held, _, _ := r.List(t.Context()); len(held) != 0 {
		t.Errorf("replicas are listed as attempts: %v", held)
	}
	snapshot, err := r.Capacity(t.Context())
	if free := snapshot.Free()["cpu"]; err != nil || free != 126_000 {
		t.Errorf("%d millicores are free, %v", free, err)
	}
	if err := r.Fence(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := phases(t, r); got != "ready, ready" {
		t.Errorf("after a fence they are %s", got)
	}

	get(t, replicas[0].Address, "/exit")
	eventually(t, "the one that ended is ready again", func() bool {
		now := setsOf(t, r)[0].Replicas
		return len(now) == 2 && now[0].ID == replicas[0].ID && now[0].Restarts == 1 && phases(t, r) == "ready, ready"
	})
	set.Count = 1
	if err := r.Scale(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one is left", func() bool { return phases(t, r) == "ready" })
	large := replicaSetOf(t, "none")
	large.Revision, large.Count, large.Container.Resources = 2, 3, map[string]string{"cpu": "40"}
	if err := r.Scale(t.Context(), large); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is room for two of three", func() bool {
		sets := setsOf(t, r)
		return len(sets) == 2 && len(sets[1].Replicas) == 2 && sets[1].Shortage != nil && sets[1].Shortage.Resource == "cpu"
	})
}

// TestReplicaHangs has a replica stop answering: it is not ready any more, and
// is started again.
func TestReplicaHangs(t *testing.T) {
	options := testOptions(t)
	options.ProbeEvery = 20 * time.Millisecond
	r := openForReplicas(t, options)
	hang := filepath.Join(t.TempDir(), "hang")
	set := replicaSetOf(t, hang)
	set.Count = 1
	if err := r.Scale(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is ready", func() bool { return phases(t, r) == "ready" })
	if err := os.WriteFile(hang, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is not ready", func() bool { return phases(t, r) == "unready" })
	if err := os.Remove(hang); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is ready again", func() bool { return phases(t, r) == "ready" })

	if err := os.WriteFile(hang, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is started again", func() bool {
		now := setsOf(t, r)[0].Replicas
		return len(now) == 1 && now[0].Restarts >= 1 && now[0].Reason == "Unhealthy"
	})
	if err := os.Remove(hang); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is ready in the end", func() bool { return phases(t, r) == "ready" })
}

// TestReplicasOutliveAgent closes the runtime without ending what runs, and
// opens it again: the same processes are there.
func TestReplicasOutliveAgent(t *testing.T) {
	options := testOptions(t)
	first, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Scale(t.Context(), replicaSetOf(t, "none")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two are ready", func() bool { return phases(t, first) == "ready, ready" })
	before := setsOf(t, first)[0].Replicas
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for _, one := range before {
		if got := get(t, one.Address, "/whoami"); got != "chat 1" {
			t.Errorf("without an agent it says %q", got)
		}
	}
	second := openForReplicas(t, options)
	eventually(t, "they are ready again", func() bool { return phases(t, second) == "ready, ready" })
	for i, one := range setsOf(t, second)[0].Replicas {
		if one.ID != before[i].ID || one.Address != before[i].Address || one.Restarts != 0 {
			t.Errorf("%+v became %+v", before[i], one)
		}
	}
}

func TestReplicaThatCannotRun(t *testing.T) {
	options := testOptions(t)
	r := openForReplicas(t, options)
	set := replicaSetOf(t, "none")
	set.Container.Command = nil
	if err := r.Scale(t.Context(), set); err == nil || !strings.Contains(err.Error(), "name the command") {
		t.Errorf("without a command: %v", err)
	}
	set = replicaSetOf(t, "none")
	set.Count, set.Container.Env = 1, map[string]string{"BROKEN": "yes"}
	if err := r.Scale(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it failed three times", func() bool {
		now := setsOf(t, r)[0].Replicas
		return len(now) == 1 && now[0].Restarts >= 3 && now[0].Phase == endpoint.Failed && strings.Contains(now[0].Message, "exit code 1")
	})
}
