package runtimetest

import (
	"errors"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/runtime"
)

func (s *suite) free() capacity.Resources {
	s.Helper()
	snapshot, err := s.runtime.Capacity(s.Context())
	if err != nil {
		s.Fatalf("reading the capacity: %v", err)
	}
	return snapshot.Free()
}

// capacity looks right after Apply, and after the end.
func (s *suite) capacity() {
	before := s.free()
	if before[capacity.CPU] <= 0 {
		s.Fatalf("the cluster has no CPU: %v", before)
	}
	a := s.apply(Program{Hold: true})
	if during := s.free(); during[capacity.CPU] >= before[capacity.CPU] {
		s.Errorf("free CPU went from %d to %d when an attempt was applied", before[capacity.CPU], during[capacity.CPU])
	}
	s.awaitPhase(a.ID, runtime.PhaseRunning)
	s.crash()
	if during := s.free(); during[capacity.CPU] >= before[capacity.CPU] {
		s.Errorf("free CPU is %d for the next agent, and was %d before the attempt", during[capacity.CPU], before[capacity.CPU])
	}
	s.fixture.Release(s.T, a.ID)
	s.awaitPhase(a.ID, runtime.PhaseSucceeded)
	if after := s.free(); !after.Equal(before) {
		s.Errorf("free went from %v to %v once the attempt had ended", before, after)
	}
}

// neverFits may show in Apply or, where another scheduler decides, in List.
func (s *suite) neverFits() {
	s.renew(longTrust)
	a := s.attempt(Program{})
	a.Manifest = s.fixture.TooLarge(s.T)
	err := s.runtime.Apply(s.Context(), a)
	var failure *runtime.CapacityFailure
	if rejected, ok := errors.AsType[*runtime.Rejected](err); ok {
		failure = rejected.Capacity
	} else if err == nil {
		s.applied = append(s.applied, a.ID)
		failure = s.awaitPhase(a.ID, runtime.PhaseReleased).Capacity
	}
	if failure == nil || failure.Kind != capacity.NeverFits || failure.Resource == "" || failure.Message == "" {
		s.Errorf("%v with capacity failure %+v, want kind never-fits with resource and message", err, failure)
	}
}
