package runtimetest

import (
	"errors"

	"github.com/gco-project/gco/internal/runtime"
)

// reopen: the next agent holds the same attempts, and nothing runs twice.
func (s *suite) reopen() {
	cluster := s.runtime.Cluster()
	if cluster == "" {
		s.Error("the cluster has no identity")
	}
	running := s.apply(Program{Lines: []string{"once"}, Hold: true})
	failed := s.apply(Program{Exit: 5})
	s.awaitPhase(running.ID, runtime.PhaseRunning)
	before := s.awaitPhase(failed.ID, runtime.PhaseFailed)
	s.crash()
	if got := s.runtime.Cluster(); got != cluster {
		s.Errorf("the cluster's identity went from %s to %s", cluster, got)
	}
	after := s.awaitPhase(failed.ID, runtime.PhaseFailed)
	if after.ExitCode == nil || *after.ExitCode != 5 || !after.FinishedAt.Equal(before.FinishedAt) {
		s.Errorf("before the crash %+v, after it %+v", before, after)
	}
	s.awaitPhase(running.ID, runtime.PhaseRunning)
	s.renew(longTrust)
	s.applyAttempt(running)
	s.fixture.AwaitRunning(s.T, running.ID, 1)
	s.fixture.Release(s.T, running.ID)
	s.awaitPhase(running.ID, runtime.PhaseSucceeded)
	if got := s.read(running.ID, runtime.LogOptions{}); got != "once\n" {
		s.Errorf("it wrote %q, want one line", got)
	}
}

// endedWhileAway: what ended without an agent ended as it did.
func (s *suite) endedWhileAway() {
	good, bad := s.apply(Program{Hold: true}), s.apply(Program{Hold: true, Exit: 9})
	s.awaitPhase(good.ID, runtime.PhaseRunning)
	s.awaitPhase(bad.ID, runtime.PhaseRunning)
	s.fixture.AwaitRunning(s.T, good.ID, 1)
	s.fixture.AwaitRunning(s.T, bad.ID, 1)
	s.fixture.Crash(s.T, s.runtime)
	s.fixture.Release(s.T, good.ID)
	s.fixture.Release(s.T, bad.ID)
	s.fixture.AwaitRunning(s.T, good.ID, 0)
	s.fixture.AwaitRunning(s.T, bad.ID, 0)
	s.open()
	s.awaitPhase(good.ID, runtime.PhaseSucceeded)
	if o := s.awaitPhase(bad.ID, runtime.PhaseFailed); o.ExitCode == nil || *o.ExitCode != 9 {
		s.Errorf("exit code %v, want 9", o.ExitCode)
	}
}

// closed: an agent that ends in good order leaves what runs alone.
func (s *suite) closed() {
	a := s.apply(Program{Hold: true})
	s.awaitPhase(a.ID, runtime.PhaseRunning)
	s.fixture.AwaitRunning(s.T, a.ID, 1)
	for range 2 {
		if err := s.runtime.Close(); err != nil {
			s.Fatalf("closing: %v", err)
		}
	}
	s.fixture.AwaitRunning(s.T, a.ID, 1)
	s.open()
	s.awaitPhase(a.ID, runtime.PhaseRunning)
}

func (s *suite) locked() {
	second, err := s.fixture.Open(s.T)
	if !errors.Is(err, runtime.ErrLocked) {
		s.Errorf("a second agent: %v, want ErrLocked", err)
	}
	if err == nil {
		second.Close()
	}
	a := s.apply(Program{})
	s.awaitPhase(a.ID, runtime.PhaseSucceeded)
}
