package runtimetest

import (
	"context"
	"errors"
	"time"

	"github.com/gco-project/gco/internal/runtime"
)

const (
	// longTrust outlasts every test.
	longTrust = time.Hour
	// shortTrust is meant to pass.
	shortTrust = 200 * time.Millisecond
)

// pair applies a fenced and an unfenced attempt, and returns when both run.
func (s *suite) pair() (fenced, unfenced runtime.Attempt) {
	s.Helper()
	s.renew(longTrust)
	fenced, unfenced = s.attempt(Program{Hold: true}), s.attempt(Program{Hold: true})
	unfenced.Unfenced = true
	for _, a := range []runtime.Attempt{fenced, unfenced} {
		s.applyAttempt(a)
		s.awaitPhase(a.ID, runtime.PhaseRunning)
		s.fixture.AwaitRunning(s.T, a.ID, 1)
	}
	return fenced, unfenced
}

// ended checks that a fence ended the one and not the other.
func (s *suite) ended(fenced, unfenced runtime.Attempt) {
	s.Helper()
	s.awaitPhase(fenced.ID, runtime.PhaseLost)
	s.fixture.AwaitRunning(s.T, fenced.ID, 0)
	if o, _ := s.find(unfenced.ID); o.Phase != runtime.PhaseRunning {
		s.Errorf("the unfenced attempt is %s", o.Phase)
	}
	s.fixture.AwaitRunning(s.T, unfenced.ID, 1)
	s.fixture.Release(s.T, unfenced.ID)
	s.awaitPhase(unfenced.ID, runtime.PhaseSucceeded)
}

func (s *suite) fencedBeforeRenew() {
	a := s.attempt(Program{})
	if err := s.runtime.Apply(s.Context(), a); !errors.Is(err, runtime.ErrFenced) {
		s.Errorf("applying before the first Renew: %v, want ErrFenced", err)
	}
	if _, held := s.find(a.ID); held {
		s.Error("what was refused is held")
	}
	s.renew(longTrust)
	s.applyAttempt(a)
	s.awaitPhase(a.ID, runtime.PhaseSucceeded)
}

func (s *suite) leasePasses() {
	fenced, unfenced := s.pair()
	s.renew(shortTrust)
	s.ended(fenced, unfenced)
	if err := s.runtime.Apply(s.Context(), s.attempt(Program{})); !errors.Is(err, runtime.ErrFenced) {
		s.Errorf("applying after the lease has passed: %v, want ErrFenced", err)
	}
}

func (s *suite) leasePassesWithoutAgent() {
	if !s.fixture.FencesAlone() {
		s.Log("this runtime fences with the help of a second agent; nothing to check")
		return
	}
	fenced, unfenced := s.pair()
	s.renew(shortTrust)
	s.fixture.Crash(s.T, s.runtime)
	s.fixture.AwaitRunning(s.T, fenced.ID, 0)
	s.fixture.AwaitRunning(s.T, unfenced.ID, 1)
	s.open()
	s.ended(fenced, unfenced)
}

// renewKeeps renews in time, by this agent and by the next.
func (s *suite) renewKeeps() {
	fenced, _ := s.pair()
	s.crash()
	s.renew(shortTrust)
	s.renew(longTrust)
	// The earlier deadlines must have passed before there is something to see.
	passed, cancel := context.WithTimeout(s.Context(), 2*shortTrust)
	defer cancel()
	<-passed.Done()
	if o, _ := s.find(fenced.ID); o.Phase != runtime.PhaseRunning {
		s.Errorf("renewed in time, the attempt is %s", o.Phase)
	}
	s.fixture.AwaitRunning(s.T, fenced.ID, 1)
	s.fixture.Release(s.T, fenced.ID)
	s.awaitPhase(fenced.ID, runtime.PhaseSucceeded)
}

func (s *suite) fence() {
	fenced, unfenced := s.pair()
	if err := s.runtime.Fence(s.Context()); err != nil {
		s.Fatalf("fencing: %v", err)
	}
	// No waiting here: Fence returns when none runs.
	if o, _ := s.find(fenced.ID); o.Phase != runtime.PhaseLost {
		s.Errorf("after Fence the attempt is %s", o.Phase)
	}
	if err := s.runtime.Apply(s.Context(), s.attempt(Program{})); !errors.Is(err, runtime.ErrFenced) {
		s.Errorf("applying after Fence: %v, want ErrFenced", err)
	}
	s.renew(longTrust)
	s.ended(fenced, unfenced)
	after := s.attempt(Program{})
	s.applyAttempt(after)
	s.awaitPhase(after.ID, runtime.PhaseSucceeded)
}

// fenceTwice fences what was only just applied, and nothing.
func (s *suite) fenceTwice() {
	a := s.apply(Program{Hold: true})
	for range 2 {
		if err := s.runtime.Fence(s.Context()); err != nil {
			s.Fatalf("fencing: %v", err)
		}
	}
	if o, _ := s.find(a.ID); o.Phase != runtime.PhaseLost {
		s.Errorf("after Fence the attempt is %s", o.Phase)
	}
	s.renew(longTrust)
	s.fixture.AwaitRunning(s.T, a.ID, 0)
}
