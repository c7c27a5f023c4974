package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gco-project/gco/internal/runtime/local/process"
)

// startErrorCode is the exit code of a container that could not be started, as
// a kubelet reports it.
const startErrorCode = 128

// drainPatience is how long output is read on that what outlives a container
// holds open.
const drainPatience = time.Second

// maxMessage is how much of a termination message is kept, in bytes.
const maxMessage = 4096

// container is one container of a pod, over all its runs.
type container struct {
	pod  *pod
	spec *corev1.Container
	init bool

	// command is the running process; last is how the latest run ended, and
	// before how the one before it did.
	command      *exec.Cmd
	last, before *corev1.ContainerStateTerminated
	startedAt    time.Time
	restarts     int
	pause        time.Duration
	nextStart    time.Time
	// waiting is why it has not started.
	waiting *corev1.ContainerStateWaiting
	// held is set when it is not to start again; asked when it was told to end.
	held, asked bool

	// What readers of logs know: how often it was started, and whether the
	// latest run goes on.
	started atomic.Int32
	live    atomic.Bool
}

func newContainer(p *pod, spec *corev1.Container, init bool) *container {
	return &container{
		pod: p, spec: spec, init: init, pause: firstPause,
		waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"},
	}
}

func (c *container) running() bool { return c.command != nil }

// sidecar tells whether it runs beside the main containers and ends after
// them.
func (c *container) sidecar() bool {
	return c.init && c.spec.RestartPolicy != nil && *c.spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// over tells whether it has run, and is not to run again.
func (c *container) over() bool { return !c.running() && c.last != nil && (c.held || !c.again()) }

// again tells whether the container is started again after its last run.
func (c *container) again() bool {
	policy := c.pod.object.Spec.RestartPolicy
	switch {
	case c.sidecar():
		return true
	case c.last.ExitCode == 0:
		return policy == corev1.RestartPolicyAlways && !c.init
	default:
		return policy != corev1.RestartPolicyNever
	}
}

// passed tells whether what comes after an init container may start.
func (c *container) passed() bool {
	if c.sidecar() {
		return c.running() || c.last != nil
	}
	return c.over() && c.last.ExitCode == 0
}

// tend starts the container if that is due, and returns when to look again.
func (c *container) tend(ctx context.Context, now time.Time) time.Duration {
	if c.running() || c.over() {
		return time.Hour
	}
	if now.Before(c.nextStart) {
		return c.nextStart.Sub(now)
	}
	err := c.start(ctx)
	if err == nil {
		return time.Hour
	}
	if refused, ok := errors.AsType[*refusal](err); ok {
		c.waiting = &corev1.ContainerStateWaiting{Reason: refused.reason, Message: refused.message}
		c.nextStart = now.Add(c.pause)
		return c.pause
	}
	at := metav1.NewTime(now)
	c.ended(corev1.ContainerStateTerminated{
		ExitCode: startErrorCode, Reason: "StartError", Message: err.Error(), StartedAt: at, FinishedAt: at,
	})
	return 0
}

// refusal is why a container waits, and is tried again.
type refusal struct{ reason, message string }

func (r *refusal) Error() string { return r.reason + ": " + r.message }

// Waiting is the annotation of a pod that gets no further than this reason,
// such as ImagePullBackOff. Pods of simulated nodes have it, too.
const Waiting = "kubelab.gco.dev/waiting"

// start starts a run.
func (c *container) start(ctx context.Context) error {
	if reason, told := c.pod.object.Annotations[Waiting]; told {
		return &refusal{reason, "kubelab was told that this pod does not start"}
	}
	environment, err := c.environment(ctx)
	if err != nil {
		return err
	}
	line := environment.expand(append(append([]string(nil), c.spec.Command...), c.spec.Args...))
	if len(c.spec.Command) == 0 {
		return &refusal{"CreateContainerError", "kubelab pulls no images, so the container needs a command"}
	}
	dir := c.dir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of a container: %w", err)
	}
	if err := os.WriteFile(c.messageFile(), nil, 0o600); err != nil {
		return fmt.Errorf("making the file of the termination message: %w", err)
	}
	output, err := openLog(c.logFile(int(c.started.Load())), c.pod.kubelet.options.Clock)
	if err != nil {
		return err
	}
	command := exec.Command(line[0], line[1:]...)
	command.Dir, command.Env = dir, environment.list()
	if c.spec.WorkingDir != "" {
		command.Dir = c.spec.WorkingDir
	}
	command.Stdout, command.Stderr = output.stream("stdout"), output.stream("stderr")
	command.SysProcAttr, command.WaitDelay = process.Attributes(), drainPatience
	if err := startHere(command, func(err error) { c.report(command, output, err) }); err != nil {
		return errors.Join(err, output.Close())
	}
	c.command, c.startedAt, c.waiting, c.asked = command, c.pod.now(), nil, false
	if c.last != nil {
		c.restarts++
	}
	c.live.Store(true)
	c.started.Add(1)
	return nil
}

// startHere starts a command and tells when it has ended. The process dies
// with the thread that started it, so that thread does nothing else.
func startHere(command *exec.Cmd, ended func(error)) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			ended(command.Wait())
		}
	}()
	return <-started
}

// report tells the pod how a run ended, once nothing of it is left.
func (c *container) report(command *exec.Cmd, output *logFile, err error) {
	if left := endAll(c.pod.kubelet.options.Clock, c.marker()); left != nil {
		err = errors.Join(err, left)
	}
	state := corev1.ContainerStateTerminated{
		ExitCode: exitCode(command.ProcessState), FinishedAt: metav1.NewTime(c.pod.now()), Reason: "Completed",
	}
	if state.ExitCode != 0 {
		state.Reason = "Error"
	}
	if command.ProcessState == nil && err != nil {
		state.Message = err.Error()
	}
	_ = output.Close()
	c.pod.exits <- exit{container: c, state: state}
}

// exitCode is as a shell gives it: 128 and the signal's number where a signal
// ended the process.
func exitCode(state *os.ProcessState) int32 {
	if state == nil {
		return startErrorCode
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return int32(128 + int(status.Signal()))
	}
	return int32(state.ExitCode())
}

// ended takes notice of the end of a run.
func (c *container) ended(state corev1.ContainerStateTerminated) {
	if c.command != nil {
		state.StartedAt = metav1.NewTime(c.startedAt)
	}
	if message, err := os.ReadFile(c.messageFile()); err == nil && len(message) > 0 {
		state.Message = string(message[:min(len(message), maxMessage)])
	}
	c.before, c.last, c.command = c.last, &state, nil
	c.live.Store(false)
	c.nextStart = c.pod.now().Add(c.pause)
	if c.again() && !c.held {
		c.waiting = &corev1.ContainerStateWaiting{
			Reason: "CrashLoopBackOff", Message: "back-off " + c.pause.String() + " restarting container " + c.spec.Name,
		}
	}
	c.pause = min(2*c.pause, longPause)
}

// terminate asks the processes of the container to end, once.
func (c *container) terminate() {
	if c.running() && !c.asked {
		c.asked = true
		c.signal(syscall.SIGTERM)
	}
}

func (c *container) kill() {
	if c.running() {
		c.signal(syscall.SIGKILL)
	}
}

// signal signals the group of the running process. It may have ended already,
// which its report will tell.
func (c *container) signal(signal syscall.Signal) {
	_ = process.SignalGroup(c.command.Process.Pid, signal)
}

// logged returns which run's log to read: the latest, or the one before it.
func (c *container) logged(previous bool) (run int, found bool) {
	run = int(c.started.Load()) - 1
	if previous {
		run--
	}
	return run, run >= 0
}

// goesOn tells whether that run has not ended.
func (c *container) goesOn(run int) bool { return c.live.Load() && int(c.started.Load())-1 == run }

func (c *container) dir() string { return filepath.Join(c.pod.dir, c.spec.Name) }

func (c *container) messageFile() string { return filepath.Join(c.dir(), ".termination-message") }

func (c *container) logFile(run int) string {
	return filepath.Join(c.pod.dir, c.spec.Name+"-"+strconv.Itoa(run)+".log")
}

func (c *container) marker() string {
	return marker(c.pod.kubelet.options.Dir, c.pod.object.UID) + "/" + c.spec.Name + "/"
}
