package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// agentEnds is how long an agent's process has to end by itself.
const agentEnds = 5 * time.Second

// startProcess starts a region's agent as a process of its own. It is not
// started again when it ends: killing one is how to see a region die.
func (l *laptop) startProcess(_ context.Context, name, dir, tokenFile string) (said string, run func(context.Context) error, err error) {
	args := []string{
		"agent", "--region", name, "--laptop", "--with-parent",
		"--addr", l.plane.URL, "--token-file", tokenFile,
		"--dir", filepath.Join(dir, "runtime"), "--checkpoint-dir", l.checkpoints(),
		"--log-format", l.config.Server.Log.Format, "--gateway-fd", strconv.Itoa(inheritedPort),
	}
	if l.kubernetes {
		args = append(args, "--runtime", "kube", "--kubeconfig", l.config.Regions[name].Kubernetes.Kubeconfig)
	} else {
		args = append(args, "--runtime", runtimeLocal)
	}
	if l.configFile != "" {
		file, err := filepath.Abs(l.configFile)
		if err != nil {
			return "", nil, err
		}
		args = append(args, "--config", file)
	}
	if l.logLevel != "" {
		args = append(args, "--log-level", l.logLevel)
	}
	command := exec.Command(l.executable, args...)
	command.Stdout, command.Stderr = l.Err, l.Err
	// Only the agent may hold the port: it has to be closed when it dies.
	port, err := l.doors.handOver(name)
	if err != nil {
		return "", nil, err
	}
	defer port.Close()
	command.ExtraFiles = []*os.File{port}
	// The agent ends when this pipe does: with this process, however it ends.
	alive, err := command.StdinPipe()
	if err != nil {
		return "", nil, fmt.Errorf("starting the agent of region %s: %w", name, err)
	}
	if err := command.Start(); err != nil {
		return "", nil, fmt.Errorf("starting the agent of region %s: %w", name, err)
	}
	run = func(ctx context.Context) error { //nolint:unparam // as startHere has it
		ended := make(chan struct{})
		var how error
		go func() {
			defer close(ended)
			how = command.Wait()
		}()
		select {
		case <-ended:
			l.log.Warn("the agent of a region has ended and is not started again",
				"region", name, "pid", command.Process.Pid, "how", howItEnded(how))
			return nil
		case <-ctx.Done():
		}
		_ = alive.Close()
		select {
		case <-ended:
		case <-l.Clock.After(agentEnds):
			_ = command.Process.Signal(syscall.SIGKILL)
			<-ended
		}
		return nil
	}
	return fmt.Sprintf("%s (pid %d)", name, command.Process.Pid), run, nil
}

func howItEnded(err error) string {
	if status, ok := errors.AsType[*exec.ExitError](err); ok {
		return status.String()
	}
	if err != nil {
		return err.Error()
	}
	return "exit status 0"
}
