// Package supervise is the process that each attempt of runtime/local has to
// itself: it starts the attempt's containers, follows Kubernetes' rules for
// Jobs (controller), keeps their output, writes the attempt's status, and
// kills everything when it is told to or when the region's lease passes,
// whether or not the agent lives. It lives exactly as long as its attempt.
package supervise

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	goruntime "runtime"
	"slices"
	"syscall"
	"time"

	"github.com/gco-project/gco/internal/runtime/local/attempt"
	"github.com/gco-project/gco/internal/runtime/local/process"
)

const (
	// sweepPause is how long to wait between two looks at what is left, where
	// the kernel tells nothing of the end of a descendant that is no child. It
	// doubles up to maxSweepPause: some can't be killed, or not soon.
	sweepPause    = 20 * time.Millisecond
	maxSweepPause = time.Second
	// retryPause is the pause after a status that could not be written.
	retryPause = 200 * time.Millisecond
	// drainPatience is how long the output may stay open after everything of a
	// container has ended: whom it was handed to is no business of the job's.
	drainPatience = time.Second
)

// supervisor is the one goroutine that owns everything; the others send to
// its channels.
type supervisor struct {
	dir    attempt.Dir
	record attempt.Record
	boot   string
	self   process.Process
	log    *slog.Logger
	job    *controller
	alarm  *process.Alarm

	tasks   []*task
	drained chan *task
	// killed is set once everything is to be killed; it says how the attempt
	// then ends.
	killed    *outcome
	childless bool
	// pause is how long to wait for what was killed; 0 if nothing was.
	pause time.Duration
	// told holds the troubles that were logged; most would come back each turn.
	told map[string]bool
	// saved is the status as it was last written.
	saved []byte
}

// Run supervises the attempt in dir until it has ended. It does nothing where
// that was done before.
func Run(ctx context.Context, dir string) error {
	// Containers die with the thread that started them, so it must be this
	// one for as long as the supervisor lives.
	goruntime.LockOSThread()
	s := &supervisor{
		dir: attempt.Dir(dir), drained: make(chan *task), told: map[string]bool{},
		log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	lock, err := attempt.WaitLock(s.dir.Lock())
	if err != nil {
		return fmt.Errorf("supervising %s: %w", dir, err)
	}
	defer lock.Release()
	if done, err := s.prepare(); err != nil || done {
		return err
	}
	return s.loop(ctx)
}

// prepare reads what to do, and writes the first status: from then on nobody
// else may start this attempt.
func (s *supervisor) prepare() (done bool, err error) {
	if s.record, err = attempt.LoadRecord(s.dir); err != nil {
		return false, fmt.Errorf("reading the attempt: %w", err)
	}
	if _, err := attempt.LoadStatus(s.dir.Region().Status(s.record.ID)); !errors.Is(err, os.ErrNotExist) {
		return true, err
	}
	if s.boot, err = process.Boot(); err != nil {
		return false, err
	}
	self, err := process.Look(os.Getpid())
	if err != nil {
		return false, fmt.Errorf("looking at this process: %w", err)
	}
	s.self = self.Process
	if err := process.AdoptOrphans(); err != nil {
		return false, err
	}
	if s.alarm, err = process.NewAlarm(); err != nil {
		return false, err
	}
	s.job = newController(s.record, s, randomSuffix, now())
	return false, s.save(s.status())
}

func (s *supervisor) loop(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	asked := ctx.Done()
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	// An attempt does not end because a terminal was closed. The signals are
	// taken, not ignored: what is ignored stays so in the containers.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT)
	pokes, err := listen(s.dir.Control())
	if err != nil {
		return err
	}
	defer s.alarm.Close()
	timer := time.NewTimer(0)
	for {
		select {
		case <-asked:
			asked = nil
			s.kill(outcome{phase: attempt.Lost, reason: "SupervisorTerminated", message: "the supervisor was asked to end"})
		case <-children:
		case <-pokes:
		case <-s.alarm.C:
		case <-timer.C:
		case t := <-s.drained:
			t.drained = true
		}
		over, wake := s.turn()
		if over {
			return nil
		}
		timer.Stop()
		if !wake.IsZero() {
			timer.Reset(max(time.Until(wake), 0))
		}
	}
}

// turn does everything that can be done now.
func (s *supervisor) turn() (over bool, wake time.Time) {
	s.reap()
	s.settle()
	s.checkStop()
	s.checkLease()
	if s.killed == nil {
		if over, wake = s.job.step(now()); over {
			// Whatever the containers left behind ends with the attempt.
			s.kill(*s.job.outcome)
		}
	}
	if s.killed != nil && s.sweep() {
		return s.finish()
	}
	if settling := s.settling(); settling || s.killed != nil {
		s.pause = min(max(2*s.pause, sweepPause), maxSweepPause)
		wake = earlier(wake, now().Add(s.pause))
	} else {
		s.pause = 0
	}
	if err := s.save(s.status()); err != nil {
		s.complain("the status was not written; trying until it is", err)
		wake = earlier(wake, now().Add(retryPause))
	}
	return false, wake
}

// finish writes how the attempt ended, of which nothing is left.
func (s *supervisor) finish() (over bool, wake time.Time) {
	s.job.abandon(now())
	end := s.status()
	end.Phase, end.Reason, end.Message, end.ExitCode = s.killed.phase, s.killed.reason, s.killed.message, s.killed.exitCode
	end.FinishedAt = now()
	end.Result = attempt.LoadResult(s.dir)
	err := s.save(end)
	if err == nil {
		return true, time.Time{}
	}
	// The record, not the directory: what is written here in the middle of a
	// removal leaves the directory behind.
	if _, gone := os.Lstat(s.dir.Record()); errors.Is(gone, os.ErrNotExist) {
		return true, time.Time{} // somebody removed it all; there is nobody to tell
	}
	s.complain("the end was not written; trying until it is", err)
	return false, now().Add(retryPause)
}

// complain logs a trouble, the first time.
func (s *supervisor) complain(what string, err error) {
	if !s.told[what] {
		s.told[what] = true
		s.log.Error("supervising the attempt", "trouble", what, "error", err)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// checkStop obeys a request to stop.
func (s *supervisor) checkStop() {
	if _, err := os.Stat(s.dir.Stop()); err == nil {
		s.job.end(outcome{phase: attempt.Stopped, reason: "Stopped", message: "stopped on request"})
	}
}

// checkLease kills everything once the region's lease has passed, and has the
// alarm ring when that must be looked at again.
func (s *supervisor) checkLease() {
	if s.record.Unfenced || s.killed != nil {
		return
	}
	lease, err := attempt.LoadLease(s.dir.Region())
	if err == nil && lease.Allows(s.record.Fences, s.boot, process.Now()) {
		if err = s.alarm.Set(lease.Deadline); err == nil {
			return
		}
	}
	if err != nil {
		s.complain("the lease can't be read; taking it for passed", err)
	}
	message := "the region's lease was not renewed in time"
	if err == nil && lease.Fences != s.record.Fences {
		message = "the region was fenced"
	}
	s.kill(outcome{phase: attempt.Lost, reason: "Fenced", message: message})
}

// kill makes the attempt end at once. The first reason stands.
func (s *supervisor) kill(o outcome) {
	if s.killed == nil {
		s.killed = &o
		s.job.interrupt()
	}
}

// sweep kills everything below this process; true says that nothing is left.
func (s *supervisor) sweep() bool {
	for _, t := range s.tasks {
		s.destroy(t.container)
	}
	s.reap()
	if s.childless && len(s.tasks) == 0 {
		return true
	}
	table, err := process.Table()
	if err != nil {
		s.complain("looking for what is left of the attempt", err)
		return false
	}
	for _, entry := range process.Below(table, s.self.PID) {
		if err := entry.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, process.ErrGone) {
			s.complain("killing what is left of the attempt", err)
		}
	}
	s.reap()
	s.settle()
	return s.childless && len(s.tasks) == 0
}

// status is what is known while the attempt goes on.
func (s *supervisor) status() attempt.Status {
	status := attempt.Status{
		Phase: attempt.Applied, Boot: s.boot, Supervisor: s.self, StartedAt: s.job.startedAt,
	}
	if !s.job.startedAt.IsZero() {
		status.Phase = attempt.Running
	}
	for _, p := range slices.Concat(s.job.ended, s.job.live) {
		status.Pods = append(status.Pods, p.view())
	}
	for _, t := range s.tasks {
		status.Leaders = append(status.Leaders, t.leader)
	}
	return status
}

// save writes the status where it has changed.
func (s *supervisor) save(status attempt.Status) error {
	text, err := json.Marshal(status)
	if err != nil {
		return err
	}
	if bytes.Equal(text, s.saved) {
		return nil
	}
	if err := status.Save(s.dir); err != nil {
		return err
	}
	s.saved = text
	return nil
}

// listen returns a channel that is signalled for whatever comes through the
// FIFO.
func listen(path string) (<-chan struct{}, error) {
	// Opened for writing, too, so that it never ends.
	fifo, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("listening for the agent: %w", err)
	}
	pokes := make(chan struct{}, 1)
	go func() {
		buffer := make([]byte, 64)
		for {
			if _, err := fifo.Read(buffer); err != nil {
				return
			}
			select {
			case pokes <- struct{}{}:
			default:
			}
		}
	}()
	return pokes, nil
}

// now is in UTC: what is written may be read anywhere.
func now() time.Time { return time.Now().UTC() }
