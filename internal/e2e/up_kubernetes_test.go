package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/gco-project/gco/internal/kubelab/kubelabtest"
)

// Regions of gco up are real clusters, which are there again at its next start;
// what ran there when it ended begins again.
func TestUpOnKubernetes(t *testing.T) {
	t.Setenv("GCO_KUBELAB", kubelabtest.Binary(t))
	dir := t.TempDir()
	args := []string{"--kubernetes", "--regions", "east"}
	s := up(t, dir, args...)
	kubeconfig := filepath.Join(dir, "data", "regions", "east", "kubelab", "kubeconfig")
	if !strings.Contains(s.text(), "KUBECONFIG="+kubeconfig+"\n") {
		t.Errorf("it does not say that the cluster's kubeconfig is %s", kubeconfig)
	}
	if _, err := clientcmd.LoadFromFile(kubeconfig); err != nil {
		t.Error(err)
	}
	first := s.submit(script("first", `echo "in $GCO_REGION" && exit 3`))
	if ended := s.until(first.ID, "finished", finished); ended.State != "failed" || ended.ExitCode == nil || *ended.ExitCode != 3 {
		t.Errorf("the job ended as %s with exit code %v: %s %s", ended.State, ended.ExitCode, ended.Reason, ended.Message)
	}

	mark := filepath.Join(t.TempDir(), "mark")
	long := s.submit(script("long", "if [ -e "+mark+" ]; then exit 0; fi; touch "+mark+"; exec sleep 1000"))
	s.until(long.ID, "running", inState("running"))
	for deadline := time.After(patience); ; pause(10 * time.Millisecond) {
		if _, err := os.Stat(mark); err == nil {
			break
		}
		select {
		case <-deadline:
			t.Fatal("the job that runs has not begun")
		default:
		}
	}
	s.kill()

	s = up(t, dir, args...)
	if ended := s.until(long.ID, "finished", finished); ended.State != "succeeded" || ended.Attempt != 2 {
		t.Errorf("the job of before ended as %s on attempt %d: %s %s", ended.State, ended.Attempt, ended.Reason, ended.Message)
	}
}
