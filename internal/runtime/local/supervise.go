package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/gco-project/gco/internal/runtime/local/supervise"
)

// Supervise is the supervisor's main function: it runs the attempt in dir
// until that has ended. It does not change its own process's environment, but
// takes notice of all its children, so it must have the process to itself.
func Supervise(ctx context.Context, dir string) error { return supervise.Run(ctx, dir) }

// start starts the supervisor of an attempt, in a session of its own so that
// it outlives this process.
func (r *Runtime) start(h *held) error {
	output, err := os.OpenFile(h.dir.SupervisorLog(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	defer output.Close()
	line := r.options.Supervisor
	command := exec.Command(line[0], append(line[1:len(line):len(line)], string(h.dir))...)
	command.Dir = "/"
	// It is one of many and waits most of the time: no second thread for Go
	// code, and no garbage collection before there is something to collect.
	command.Env = []string{"GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=16MiB"}
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	go func() {
		var ended *exec.ExitError
		if err := command.Wait(); err != nil && !errors.As(err, &ended) {
			r.options.Log.Error("waiting for a supervisor", "attempt", h.id, "error", err)
		}
		r.bury(h)
	}()
	return nil
}
