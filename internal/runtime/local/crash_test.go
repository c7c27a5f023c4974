package local

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/local/attempt"
	"github.com/gco-project/gco/internal/runtime/local/process"
)

// holding is a script that counts its starts, and runs until it is released.
const holding = `echo started >>"$GCO_CHECKPOINT/starts"; until [ -e "$GCO_CHECKPOINT/release.$GCO_ATTEMPT" ]; do sleep 0.01; done`

// starts counts how often scripts like holding were started for a job.
func starts(t *testing.T, options Options, id job.AttemptID) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(options.CheckpointDir, string(id.Job), "starts"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(text), "started\n")
}

// reopen opens what a killed agent left.
func reopen(t *testing.T, options Options) *Runtime {
	t.Helper()
	r, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endAll(t, r) })
	return r
}

func phaseOf(t *testing.T, r *Runtime, id job.AttemptID) runtime.Phase {
	t.Helper()
	held, _, err := r.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range held {
		if o.ID == id {
			return o.Phase
		}
	}
	return ""
}

func TestKilledAgentReturnsInTime(t *testing.T) {
	options := testOptions(t)
	a := attemptOf(newID(), holding)
	first := startAgent(t, orders{Options: options, Trust: time.Hour, Attempts: []runtime.Attempt{a}})
	first.ready(t)
	f := &fixture{options}
	f.AwaitRunning(t, a.ID, 1)
	first.kill()
	r := reopen(t, options)
	awaitPhase(t, r, a.ID, runtime.PhaseRunning)
	apply(t, r, a)
	f.AwaitRunning(t, a.ID, 1)
	f.Release(t, a.ID)
	awaitPhase(t, r, a.ID, runtime.PhaseSucceeded)
	if n := starts(t, options, a.ID); n != 1 {
		t.Errorf("started %d times", n)
	}
}

// The promise of the lease: with the agent dead, everything is gone a moment
// after the deadline.
func TestKilledAgentStaysAway(t *testing.T) {
	const trust, moment = 300 * time.Millisecond, 2 * time.Second
	options := testOptions(t)
	var attempts []runtime.Attempt
	for range 5 {
		attempts = append(attempts, attemptOf(newID(), `trap "" TERM; setsid sleep 1000 & `+holding))
	}
	first := startAgent(t, orders{Options: options, Trust: trust, Attempts: attempts})
	first.ready(t)
	deadline := time.Now().Add(trust)
	first.kill()
	for _, a := range attempts {
		eventually(t, "the end of everything", func() bool { return len(processes(t, a.ID)) == 0 })
	}
	if late := time.Since(deadline); late > moment {
		t.Errorf("the last process was gone %s after the deadline", late)
	}
	r := reopen(t, options)
	for _, a := range attempts {
		if o := awaitEnd(t, r, a.ID); o.Phase != runtime.PhaseLost || o.Reason != "Fenced" {
			t.Errorf("it ended as %+v", o)
		}
	}
}

// Killed between any two writes of Apply, an attempt is held or not; held, it
// runs once.
func TestKilledInApply(t *testing.T) {
	steps := []string{
		"before checkpoint", "before directory", "before record", "before event", "before sync", "before rename",
		"before hold", "after hold",
	}
	held := 0
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			options := testOptions(t)
			a := attemptOf(newID(), holding)
			first := startAgent(t, orders{Options: options, Trust: time.Hour, Attempts: []runtime.Attempt{a}, DieAt: step})
			if _, err := first.output.ReadString('\n'); err == nil {
				t.Fatalf("the agent outlived %q", step)
			}
			first.kill()
			r := reopen(t, options)
			if phaseOf(t, r, a.ID) != "" {
				held++
			} else if free, _ := r.Capacity(t.Context()); !free.Free().Equal(free.Total()) {
				t.Errorf("not held, and still it holds something: %v of %v", free.Free(), free.Total())
			}
			apply(t, r, a)
			f := &fixture{options}
			f.AwaitRunning(t, a.ID, 1)
			f.Release(t, a.ID)
			awaitPhase(t, r, a.ID, runtime.PhaseSucceeded)
			if n := starts(t, options, a.ID); n != 1 {
				t.Errorf("started %d times", n)
			}
			left, err := filepath.Glob(filepath.Join(r.region.Attempts(), ".*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v (%v)", left, err)
			}
		})
	}
	if held != 2 {
		t.Errorf("held after a crash at %d steps, want the last two", held)
	}
}

// The same crash, with a lease that passes before the agent is back.
func TestKilledInApplyAndAway(t *testing.T) {
	options := testOptions(t)
	a := attemptOf(newID(), holding)
	first := startAgent(t, orders{Options: options, Trust: time.Millisecond, Attempts: []runtime.Attempt{a}, DieAt: "after hold"})
	_, _ = first.output.ReadString('\n')
	first.kill()
	r := reopen(t, options)
	if phase := phaseOf(t, r, a.ID); phase != runtime.PhaseLost && phase != "" {
		t.Errorf("it is %q", phase)
	}
	if n := starts(t, options, a.ID); n != 0 {
		t.Errorf("started %d times", n)
	}
}

// supervisorOf returns the PID of an attempt's supervisor.
func supervisorOf(t testing.TB, r *Runtime, id job.AttemptID) int {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	pid := r.held[id].status.Supervisor.PID
	if pid <= 1 {
		t.Fatalf("no supervisor of %v is known", id)
	}
	return pid
}

// wild leaves processes in sessions of their own that ignore SIGTERM.
const wild = `trap "" TERM
setsid sh -c 'trap "" TERM; sleep 1000 & exec sleep 1000' &
(setsid sleep 1000 &)
` + holding

func TestKilledSupervisor(t *testing.T) {
	for _, test := range []struct {
		name  string
		agent bool // the agent lives
	}{{"alone", true}, {"with the agent", false}} {
		t.Run(test.name, func(t *testing.T) {
			options := testOptions(t)
			r := openTest(t, options)
			a := attemptOf(newID(), wild)
			apply(t, r, a)
			awaitPhase(t, r, a.ID, runtime.PhaseRunning)
			eventually(t, "a wild tree", func() bool { return len(processes(t, a.ID)) >= 4 && starts(t, options, a.ID) == 1 })
			pid := supervisorOf(t, r, a.ID)
			if !test.agent {
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if !test.agent {
				r = reopen(t, options)
			}
			o := awaitEnd(t, r, a.ID)
			if o.Phase != runtime.PhaseLost || o.Reason != "SupervisorLost" {
				t.Errorf("it ended as %+v", o)
			}
			if left := processes(t, a.ID); len(left) > 0 {
				t.Errorf("left behind: %+v", left)
			}
			pods, err := r.Pods(t.Context(), a.ID)
			if err != nil || len(pods) != 1 || pods[0].Phase != "Failed" || pods[0].Containers[0].State != "terminated" {
				t.Errorf("pods %+v (%v)", pods, err)
			}
			if free, _ := r.Capacity(t.Context()); !free.Free().Equal(free.Total()) {
				t.Errorf("it still holds something: %v of %v", free.Free(), free.Total())
			}
		})
	}
}

// processIn waits for the process whose number is written to a file.
func processIn(t *testing.T, path string) process.Process {
	t.Helper()
	var found process.Process
	eventually(t, "a number in "+path, func() bool {
		text, err := os.ReadFile(path)
		if err != nil {
			return false
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return false
		}
		entry, err := process.Look(pid)
		if err != nil {
			t.Fatalf("process %d: %v", pid, err)
		}
		found = entry.Process
		return true
	})
	return found
}

func TestWildProcessesEnd(t *testing.T) {
	for _, test := range []struct {
		name  string
		end   func(r *Runtime, id job.AttemptID) error
		phase runtime.Phase
	}{
		{"stop", func(r *Runtime, id job.AttemptID) error { return r.Stop(t.Context(), id) }, runtime.PhaseStopped},
		{"fence", func(r *Runtime, _ job.AttemptID) error { return r.Fence(t.Context()) }, runtime.PhaseLost},
		{"success", func(r *Runtime, id job.AttemptID) error {
			(&fixture{r.options}).Release(t, id)
			return nil
		}, runtime.PhaseSucceeded},
	} {
		t.Run(test.name, func(t *testing.T) {
			options := testOptions(t)
			options.MaxGrace = 50 * time.Millisecond
			r := openTest(t, options)
			// The first one also hides what it belongs to.
			hidden := filepath.Join(t.TempDir(), "pid")
			a := attemptOf(newID(), `env -i PATH="$PATH" setsid sh -c 'echo "$$$$" >`+hidden+`; exec sleep 1000' &`+"\n"+wild)
			apply(t, r, a)
			eventually(t, "a wild tree", func() bool { return len(processes(t, a.ID)) >= 4 && starts(t, options, a.ID) == 1 })
			hider := processIn(t, hidden)
			if err := test.end(r, a.ID); err != nil {
				t.Fatal(err)
			}
			awaitPhase(t, r, a.ID, test.phase)
			if now, err := process.Look(hider.PID); err == nil && now.Process == hider {
				t.Errorf("the hidden process is left: %+v", now)
			}
			if left := processes(t, a.ID); len(left) > 0 {
				t.Errorf("left behind: %+v", left)
			}
		})
	}
}

// A supervisor that is asked to end, as at a shutdown, takes everything along.
func TestTerminatedSupervisor(t *testing.T) {
	r := openTest(t, testOptions(t))
	a := attemptOf(newID(), wild)
	apply(t, r, a)
	awaitPhase(t, r, a.ID, runtime.PhaseRunning)
	if err := syscall.Kill(supervisorOf(t, r, a.ID), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if o := awaitEnd(t, r, a.ID); o.Phase != runtime.PhaseLost || o.Reason != "SupervisorTerminated" {
		t.Errorf("it ended as %+v", o)
	}
	if left := processes(t, a.ID); len(left) > 0 {
		t.Errorf("left behind: %+v", left)
	}
}

// Whoever removes a region under its supervisors has nobody left to tell how
// they ended, also where a directory came back in the middle of the removal.
func TestSupervisorOfARemovedRegion(t *testing.T) {
	r := openTest(t, testOptions(t))
	a := attemptOf(newID(), wild)
	apply(t, r, a)
	awaitPhase(t, r, a.ID, runtime.PhaseRunning)
	pid := supervisorOf(t, r, a.ID)
	dir := string(r.region.Dir(idOf(a.ID)))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{r.region.Statuses(), dir} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the supervisor", func() bool {
		_, err := process.Look(pid)
		return errors.Is(err, process.ErrGone)
	})
}

func TestSupervisorThatCannotStart(t *testing.T) {
	for name, command := range map[string][]string{
		"missing": {"/no/such/program"}, "failing": {"/bin/sh", "-c", "echo broken >&2; exit 1"},
	} {
		t.Run(name, func(t *testing.T) {
			options := testOptions(t)
			options.Supervisor = command
			r := openTest(t, options)
			a := attemptOf(newID(), "exit 0")
			apply(t, r, a)
			o := awaitEnd(t, r, a.ID)
			if o.Phase != runtime.PhaseReleased || o.Reason != "SupervisorFailed" || o.Message == "" {
				t.Errorf("it ended as %+v", o)
			}
			if name == "failing" && !strings.Contains(o.Message, "broken") {
				t.Errorf("message %q does not say what the supervisor said", o.Message)
			}
		})
	}
}

// A status that can't be written holds up the end, and is written later.
func TestStatusThatCannotBeWritten(t *testing.T) {
	options := testOptions(t)
	r := openTest(t, options)
	a := attemptOf(newID(), holding)
	apply(t, r, a)
	awaitPhase(t, r, a.ID, runtime.PhaseRunning)
	away := r.region.Statuses() + ".away"
	if err := os.Rename(r.region.Statuses(), away); err != nil {
		t.Fatal(err)
	}
	f := &fixture{options}
	f.Release(t, a.ID)
	f.AwaitRunning(t, a.ID, 0)
	if phase := phaseOf(t, r, a.ID); phase != runtime.PhaseRunning {
		t.Errorf("nothing was written, and it is %s", phase)
	}
	if err := os.Rename(away, r.region.Statuses()); err != nil {
		t.Fatal(err)
	}
	awaitPhase(t, r, a.ID, runtime.PhaseSucceeded)
}

func TestCorruptFiles(t *testing.T) {
	running := func(t *testing.T) (Options, *Runtime, runtime.Attempt) {
		options := testOptions(t)
		r := openTest(t, options)
		a := attemptOf(newID(), holding)
		apply(t, r, a)
		awaitPhase(t, r, a.ID, runtime.PhaseRunning)
		return options, r, a
	}
	garble := func(t *testing.T, path string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(`{"phase": "gar`), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("status of one that runs", func(t *testing.T) {
		options, r, a := running(t)
		garble(t, r.region.Status(idOf(a.ID)))
		r.Close()
		r = reopen(t, options)
		if phase := phaseOf(t, r, a.ID); phase.Terminal() {
			t.Errorf("it is %s", phase)
		}
		(&fixture{options}).Release(t, a.ID)
		awaitPhase(t, r, a.ID, runtime.PhaseSucceeded)
	})
	t.Run("status of one whose supervisor is dead", func(t *testing.T) {
		options, r, a := running(t)
		pid := supervisorOf(t, r, a.ID)
		r.Close()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		garble(t, r.region.Status(idOf(a.ID)))
		r = reopen(t, options)
		awaitPhase(t, r, a.ID, runtime.PhaseLost)
		if left := processes(t, a.ID); len(left) > 0 {
			t.Errorf("left behind: %+v", left)
		}
	})
	t.Run("record", func(t *testing.T) {
		options, r, a := running(t)
		r.Close()
		garble(t, r.region.Dir(idOf(a.ID)).Record())
		r = reopen(t, options)
		awaitEnd(t, r, a.ID)
		if left := processes(t, a.ID); len(left) > 0 {
			t.Errorf("left behind: %+v", left)
		}
		if err := r.Forget(t.Context(), a.ID); err != nil {
			t.Error(err)
		}
	})
	t.Run("lease", func(t *testing.T) {
		options, r, a := running(t)
		r.Close()
		garble(t, r.region.Lease())
		r = reopen(t, options)
		awaitPhase(t, r, a.ID, runtime.PhaseLost)
		if err := r.Renew(time.Hour); err != nil {
			t.Fatal(err)
		}
		b := attemptOf(newID(), "exit 0")
		apply(t, r, b)
		awaitPhase(t, r, b.ID, runtime.PhaseSucceeded)
	})
	t.Run("identity", func(t *testing.T) {
		options := testOptions(t)
		openTest(t, options).Close()
		garble(t, attempt.Region(options.Dir).Cluster())
		if _, err := Open(options); err == nil || !strings.Contains(err.Error(), "cluster") {
			t.Errorf("opened with a corrupt identity: %v", err)
		}
	})
	t.Run("strays", func(t *testing.T) {
		options, r, a := running(t)
		r.Close()
		for _, path := range []string{
			filepath.Join(r.region.Attempts(), "strange"), r.region.Status(idOf(newID())), filepath.Join(r.region.Statuses(), "strange"),
		} {
			garble(t, path)
		}
		r = reopen(t, options)
		awaitPhase(t, r, a.ID, runtime.PhaseRunning)
	})
}

// A second supervisor, as after a crash while the first was being started,
// waits for the first, and does nothing.
func TestSecondSupervisor(t *testing.T) {
	options := testOptions(t)
	r := openTest(t, options)
	a := attemptOf(newID(), holding)
	apply(t, r, a)
	awaitPhase(t, r, a.ID, runtime.PhaseRunning)
	second := exec.Command(options.Supervisor[0], options.Supervisor[1], string(r.region.Dir(idOf(a.ID))))
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	f := &fixture{options}
	f.AwaitRunning(t, a.ID, 1)
	f.Release(t, a.ID)
	awaitPhase(t, r, a.ID, runtime.PhaseSucceeded)
	if err := second.Wait(); err != nil {
		t.Errorf("the second supervisor: %v", err)
	}
	if n := starts(t, options, a.ID); n != 1 {
		t.Errorf("started %d times", n)
	}
	if o := awaitEnd(t, r, a.ID); o.Phase != runtime.PhaseSucceeded {
		t.Errorf("it is %+v", o)
	}
}

// What was held and never started before the host went down stays unstarted,
// whatever its job says of lost regions.
func TestRebootBeforeTheStart(t *testing.T) {
	options := testOptions(t)
	a := attemptOf(newID(), holding)
	a.Unfenced = true
	first := startAgent(t, orders{Options: options, Trust: time.Hour, Attempts: []runtime.Attempt{a}, DieAt: "after hold"})
	_, _ = first.output.ReadString('\n')
	first.kill()
	boot, err := process.Boot()
	if err != nil {
		t.Fatal(err)
	}
	record := attempt.Region(options.Dir).Dir(idOf(a.ID)).Record()
	text, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(record, []byte(strings.ReplaceAll(string(text), boot, "another-boot")), 0o600); err != nil {
		t.Fatal(err)
	}
	r := reopen(t, options)
	if o := awaitEnd(t, r, a.ID); o.Phase != runtime.PhaseLost || o.Reason != "Rebooted" {
		t.Errorf("it ended as %+v", o)
	}
	if n := starts(t, options, a.ID); n != 0 {
		t.Errorf("started %d times", n)
	}
}

// A lease of another boot is worth nothing, and so is what ran in it.
func TestReboot(t *testing.T) {
	options := testOptions(t)
	r := openTest(t, options)
	a := attemptOf(newID(), holding)
	a.Unfenced = true
	apply(t, r, a)
	awaitPhase(t, r, a.ID, runtime.PhaseRunning)
	pid := supervisorOf(t, r, a.ID)
	r.Close()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the attempt", func() bool { return len(processes(t, a.ID)) == 0 })
	for _, path := range []string{r.region.Dir(idOf(a.ID)).Record(), r.region.Status(idOf(a.ID)), r.region.Lease()} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), r.boot, "another-boot")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r = reopen(t, options)
	if o := awaitEnd(t, r, a.ID); o.Phase != runtime.PhaseLost || o.Reason != "Rebooted" {
		t.Errorf("it ended as %+v", o)
	}
	if err := r.Apply(t.Context(), attemptOf(newID(), "exit 0")); err == nil {
		t.Error("applied with the lease of another boot")
	}
}
