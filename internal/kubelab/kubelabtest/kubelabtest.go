// Package kubelabtest gives tests a real Kubernetes API server: a kubelab
// process that ends with the test. make test builds the program; a test that
// has to build it takes minutes.
package kubelabtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/kubelab"
)

// startWithin is how long a cluster may take on a busy machine.
const startWithin = 3 * time.Minute

// built is the program's path, which a script finds or builds.
var built = sync.OnceValues(func() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	command := exec.Command("bash", filepath.Join(filepath.Dir(file), "..", "..", "..", "scripts", "kubelab.sh"))
	command.Stderr = os.Stderr
	path, err := command.Output()
	return strings.TrimSpace(string(path)), err
})

// Binary is the path of the program.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatalf("scripts/kubelab.sh, which builds the kubelab program: %v", err)
	}
	return path
}

// Start starts a cluster of these nodes, a file as docs/kubelab.md has it;
// empty is one node that runs commands. What it kept goes with the test.
func Start(t testing.TB, nodes string, more ...string) *kubelab.Cluster {
	t.Helper()
	return StartIn(t, t.TempDir(), nodes, more...)
}

// StartIn is Start in a directory of the test's own, in which a cluster that
// has ended can be started again.
func StartIn(t testing.TB, dir, nodes string, more ...string) *kubelab.Cluster {
	t.Helper()
	options := kubelab.Options{Binary: Binary(t), Dir: dir, More: more}
	if nodes != "" {
		options.Nodes = filepath.Join(dir, "nodes.yaml")
		if err := os.WriteFile(options.Nodes, []byte(nodes), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	cluster, err := kubelab.Start(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)
	return cluster
}
