package kube

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// patience bounds each wait; only a failing test waits that long.
const patience = time.Minute

// lab is a real Kubernetes control plane, which all tests of this package
// share. One node of it runs commands, the others play their pods.
type lab struct {
	command *exec.Cmd
	stdin   io.Closer
	config  *rest.Config
	control string
	dir     string
}

// theLab is started by the first test that needs it, and ended by TestMain.
var (
	theLab   *lab
	startOne sync.Once
)

func TestMain(m *testing.M) {
	code := m.Run()
	if theLab != nil {
		if err := theLab.close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// needLab fails the test if there is no lab to be had.
func needLab(t *testing.T) {
	t.Helper()
	startOne.Do(func() {
		started, err := startLab()
		if err != nil {
			t.Fatalf("starting kubelab, which these tests need: %v", err)
		}
		theLab = started
	})
	if theLab == nil {
		t.Fatal("kubelab, which these tests need, could not be started")
	}
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

func startLab() (*lab, error) {
	binary, err := exec.Command(filepath.Join("..", "..", "..", "scripts", "kubelab.sh")).Output()
	if err != nil {
		return nil, fmt.Errorf("building it: %w", err)
	}
	dir, err := os.MkdirTemp("", "gco-kube-")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir}
	if err := os.WriteFile(filepath.Join(dir, "nodes.yaml"), []byte(nodesFile), 0o600); err != nil {
		return nil, err
	}
	l.command = exec.Command(strings.TrimSpace(string(binary)), "--dir", dir, "--config", filepath.Join(dir, "nodes.yaml"), "--with-parent")
	l.command.Stderr = os.Stderr
	// It ends when this process does, however that happens.
	if l.stdin, err = l.command.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := l.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := l.command.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for it to be ready: %w", err), l.close())
	}
	var endpoints struct{ Kubeconfig, Control string }
	if err := json.Unmarshal(line, &endpoints); err != nil {
		return nil, errors.Join(err, l.close())
	}
	l.control = endpoints.Control
	if l.config, err = clientcmd.BuildConfigFromFlags("", endpoints.Kubeconfig); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *lab) close() error {
	l.stdin.Close()
	_ = l.command.Wait()
	return os.RemoveAll(l.dir)
}

// fault asks for one, and for its end when the test ends.
func (l *lab) fault(t *testing.T, path, body, end string) {
	t.Helper()
	l.put(t, path, body)
	t.Cleanup(func() { l.put(t, path, end) })
}

func (l *lab) put(t *testing.T, path, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, l.control+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusNoContent {
		t.Fatalf("asking kubelab for %s %s: %s %s", path, body, response.Status, text)
	}
}
