package local

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/runtime"
)

// orders is what an agent in a process of its own does before it waits to be
// killed.
type orders struct {
	Options  Options
	Trust    time.Duration
	Attempts []runtime.Attempt
	// DieAt is a step of Apply.
	DieAt string
}

// runAgent is the other process: it says "ready" and waits.
func runAgent(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var o orders
	if err := json.Unmarshal(text, &o); err != nil {
		return err
	}
	r, err := Open(o.Options)
	if err != nil {
		return err
	}
	r.fault = func(step string) error {
		if step == o.DieAt {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	}
	if err := r.Renew(o.Trust); err != nil {
		return err
	}
	for _, a := range o.Attempts {
		if err := r.Apply(context.Background(), a); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

// agent is an agent that a test kills.
type agent struct {
	command *exec.Cmd
	output  *bufio.Reader
}

func startAgent(t *testing.T, o orders) *agent {
	t.Helper()
	o.Options.Log = nil
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "orders.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(os.Args[0], "agent", path)
	command.Stderr = t.Output()
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := command.StdinPipe(); err != nil { // held open
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	a := &agent{command, bufio.NewReader(output)}
	t.Cleanup(a.kill)
	return a
}

// ready returns when the agent has followed its orders.
func (a *agent) ready(t *testing.T) {
	t.Helper()
	if line, err := a.output.ReadString('\n'); err != nil {
		t.Fatalf("the agent said %q: %v", line, err)
	}
}

func (a *agent) kill() {
	_ = a.command.Process.Kill()
	_ = a.command.Wait()
}
