package kube

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gco-project/gco/internal/kubelab"
	"github.com/gco-project/gco/internal/kubelab/kubelabtest"
)

// patience bounds each wait; only a failing test waits that long.
const patience = time.Minute

// lab is a real Kubernetes control plane, which all tests of this package
// share. One node of it runs commands, the others play their pods.
type lab struct {
	*kubelab.Cluster
	config *rest.Config
	dir    string
}

// theLab is started by the first test that needs it, and ended by TestMain.
var (
	theLab   *lab
	startOne sync.Once
)

func TestMain(m *testing.M) {
	code := m.Run()
	if theLab != nil {
		theLab.Stop()
		_ = os.RemoveAll(theLab.dir)
	}
	os.Exit(code)
}

// nodesFile has what the tests need: a node for commands, and simulated ones.
const nodesFile = `
nodes:
- name: runs
  kind: process
  count: 1
  resources: {cpu: "64", memory: 64Gi}
- name: gpu
  kind: simulated
  count: 2
  instanceType: gpu-8x
  resources: {cpu: "32", memory: 128Gi, nvidia.com/gpu: "8"}
  taints:
  - {key: nvidia.com/gpu, effect: NoSchedule}
`

// needLab fails the test if there is no lab to be had.
func needLab(t *testing.T) {
	t.Helper()
	startOne.Do(func() { theLab = startLab(t) })
	if theLab == nil {
		t.Fatal("kubelab, which these tests need, could not be started")
	}
}

func startLab(t *testing.T) *lab {
	t.Helper()
	// It outlives the test that starts it.
	dir, err := os.MkdirTemp("", "gco-kube-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "nodes.yaml")
	if err := os.WriteFile(file, []byte(nodesFile), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	cluster, err := kubelab.Start(ctx, kubelab.Options{Binary: kubelabtest.Binary(t), Dir: dir, Nodes: file})
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", cluster.Kubeconfig)
	if err != nil {
		cluster.Stop()
		t.Fatal(err)
	}
	return &lab{Cluster: cluster, config: config, dir: dir}
}

// fault brings one about, and ends it when the test ends.
func (l *lab) fault(t *testing.T, begin, end func(context.Context) error) {
	t.Helper()
	t.Cleanup(func() { l.ask(t, end) })
	l.ask(t, begin)
}

func (l *lab) ask(t *testing.T, fault func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := fault(ctx); err != nil {
		t.Fatal(err)
	}
}
