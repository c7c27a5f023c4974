package supervise

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gco-project/gco/internal/runtime/local/attempt"
	"github.com/gco-project/gco/internal/runtime/local/process"
)

// task is one run of a container: its first process, what that leaves behind,
// and its output.
type task struct {
	container *container
	leader    process.Process
	marker    string
	exit      process.Exit
	exited    bool
	// alone: nothing that the leader started is left; since when.
	alone      bool
	aloneSince time.Time
	output     *logFile
	drained    bool
}

// settled says that the run is over in every respect.
func (t *task) settled() bool { return t.exited && t.alone && t.drained }

// start runs a container: a process in a session of its own.
func (s *supervisor) start(p *pod, c *container) error {
	environment := s.environment(p, c)
	home := s.dir.Pod(p.name)
	if err := makeScratch(home, p.template.Volumes); err != nil {
		return fmt.Errorf("making the scratch directory: %w", err)
	}
	workingDir := home
	if c.template.WorkingDir != "" {
		workingDir = c.template.WorkingDir
		if !filepath.IsAbs(workingDir) {
			workingDir = filepath.Join(home, workingDir)
			if err := os.MkdirAll(workingDir, 0o700); err != nil {
				return fmt.Errorf("making the working directory: %w", err)
			}
		}
	}
	command := environment.expandAll(c.template.Command)
	path, err := lookPath(command[0], environment.value("PATH"), workingDir)
	if err != nil {
		return err
	}
	output, err := openLog(s.dir.Log(p.name, c.template.Name), s.record.LogLimit)
	if err != nil {
		return err
	}
	pid, err := s.fork(path, command, workingDir, environment.list(), output)
	if err != nil {
		return err
	}
	marker, value := attempt.ContainerMarker(s.record.Token, p.name, c.template.Name)
	t := &task{container: c, marker: marker + "=" + value, output: output}
	t.leader.PID = pid
	if entry, err := process.Look(pid); err == nil {
		t.leader = entry.Process
	}
	s.tasks = append(s.tasks, t)
	s.childless = false
	go func() {
		output.copy()
		s.drained <- t
	}()
	return nil
}

func (s *supervisor) fork(path string, command []string, dir string, env []string, output *logFile) (int, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, errors.Join(err, output.abandon())
	}
	defer null.Close()
	attributes := &syscall.ProcAttr{
		Dir: dir, Env: env, Sys: process.Attributes(),
		Files: []uintptr{null.Fd(), output.writer(), output.writer()},
	}
	pid, err := syscall.ForkExec(path, command, attributes)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("starting %s: %w", path, err), output.abandon())
	}
	return pid, output.closeWriter()
}

func makeScratch(home string, volumes []string) error {
	for _, dir := range append([]string{"tmp"}, volumes...) {
		if dir != "tmp" {
			dir = filepath.Join("volumes", dir)
		}
		if err := os.MkdirAll(filepath.Join(home, dir), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// lookPath finds a command as execvp(3) does, with the container's PATH and
// working directory.
func lookPath(name, path, dir string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, candidate := range filepath.SplitList(path) {
		candidate = filepath.Join(candidate, name)
		if !filepath.IsAbs(candidate) {
			candidate = filepath.Join(dir, candidate)
		}
		if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("command %q is not in PATH (%s); no image is pulled, so it must be installed on this host", name, path)
}

// reap takes notice of children that have ended. What is left of a leader's
// group dies while its number still belongs to it.
func (s *supervisor) reap() {
	for {
		exit, ended, childless, err := process.Reap(func(pid int) {
			if s.leader(pid) == nil {
				return
			}
			if err := process.SignalGroup(pid, syscall.SIGKILL); err != nil {
				s.complain("killing a process group", err)
			}
		})
		if err != nil {
			s.complain("reaping", err)
			return
		}
		s.childless = childless
		if !ended {
			return
		}
		if t := s.leader(exit.PID); t != nil {
			t.exit, t.exited = exit, true
		}
	}
}

// leader returns the run whose first process has the PID and has not ended.
func (s *supervisor) leader(pid int) *task {
	for _, t := range s.tasks {
		if !t.exited && t.leader.PID == pid {
			return t
		}
	}
	return nil
}

// settle tells the controller of the runs that are over.
func (s *supervisor) settle() {
	s.leaveAlone()
	s.tasks = slices.DeleteFunc(s.tasks, func(t *task) bool {
		if !t.settled() {
			return false
		}
		s.job.exited(t.container, t.exit.Code, now())
		return true
	})
}

// settling tells whether runs have ended that are not over in every respect.
func (s *supervisor) settling() bool {
	found := false
	for _, t := range s.tasks {
		if !t.exited {
			continue
		}
		found = true
		if t.alone && time.Since(t.aloneSince) > drainPatience {
			t.output.stop()
		}
	}
	return found
}

// leaveAlone kills what ended leaders left behind: like a container, a run
// ends with its first process.
func (s *supervisor) leaveAlone() {
	var left []*task
	for _, t := range s.tasks {
		if t.exited && !t.alone {
			left = append(left, t)
		}
	}
	if len(left) == 0 {
		return
	}
	var below []process.Entry
	if !s.childless {
		table, err := process.Table()
		if err != nil {
			s.complain("looking for what a container left behind", err)
			return
		}
		below = process.Below(table, s.self.PID)
	}
	nobodyElse := !slices.ContainsFunc(s.tasks, func(t *task) bool { return !t.exited })
	for _, t := range left {
		owns := t.owns
		if nobodyElse { // so it also finds what hides whose it is
			owns = func(process.Entry) bool { return true }
		}
		t.alone, t.aloneSince = s.killLeft(below, owns), now()
	}
}

func (s *supervisor) killLeft(below []process.Entry, owns func(process.Entry) bool) (none bool) {
	none = true
	for _, entry := range below {
		if entry.Zombie || !owns(entry) {
			continue
		}
		none = false
		if err := entry.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, process.ErrGone) {
			s.complain("killing what a container left behind", err)
		}
	}
	return none
}

func (t *task) owns(entry process.Entry) bool {
	return entry.Session == t.leader.PID || entry.Group == t.leader.PID ||
		slices.Contains(process.Environment(entry.PID), t.marker)
}

// terminate asks the processes of a container to end.
func (s *supervisor) terminate(c *container) { s.signal(c, syscall.SIGTERM) }

// destroy ends the processes of a container.
func (s *supervisor) destroy(c *container) { s.signal(c, syscall.SIGKILL) }

func (s *supervisor) signal(c *container, signal syscall.Signal) {
	for _, t := range s.tasks {
		if t.container != c || t.exited {
			continue
		}
		if err := process.SignalGroup(t.leader.PID, signal); err != nil {
			s.complain("signalling a container", err)
		}
	}
}

func (s *supervisor) event(warning bool, reason, object, message string) {
	err := attempt.AppendEvent(s.dir, attempt.Event{
		At: now(), Warning: warning, Reason: reason, Object: object, Message: message,
	})
	if err != nil {
		s.complain("writing an event", err)
	}
}

// randomSuffix is five characters of those that Kubernetes puts into names.
func randomSuffix() string {
	const letters = "bcdfghjklmnpqrstvwxz2456789"
	var random [5]byte
	if _, err := rand.Read(random[:]); err != nil {
		panic("supervise: the system has no randomness: " + err.Error())
	}
	for i, b := range random {
		random[i] = letters[int(b)%len(letters)]
	}
	return string(random[:])
}

// randomUUID is a UUID of version 4 (RFC 9562).
func randomUUID() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("supervise: the system has no randomness: " + err.Error())
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
