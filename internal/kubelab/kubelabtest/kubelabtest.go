// Package kubelabtest gives tests a real Kubernetes API server: a kubelab
// process that ends with the test. make test builds the program; a test that
// has to build it takes minutes.
package kubelabtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	script, err := find(filepath.Join("scripts", "kubelab.sh"))
	if err != nil {
		return "", err
	}
	command := exec.Command("bash", script)
	command.Stderr = os.Stderr
	path, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("building the kubelab program by %s: %w", script, err)
	}
	return strings.TrimSpace(string(path)), nil
})

// find looks for a file of the repository from the test's package upwards.
func find(name string) (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil || dir == filepath.Dir(dir) {
			return path, err
		}
	}
	return "", err
}

// Binary is the path of the program.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
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
