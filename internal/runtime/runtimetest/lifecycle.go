package runtimetest

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

func (s *suite) success() {
	a := s.apply(Program{Hold: true})
	running := s.awaitPhase(a.ID, runtime.PhaseRunning)
	if running.StartedAt.IsZero() {
		s.Error("it runs, and does not say since when")
	}
	if running.Incarnation != a.Incarnation {
		s.Errorf("incarnation %q, want %q", running.Incarnation, a.Incarnation)
	}
	s.fixture.AwaitRunning(s.T, a.ID, 1)
	s.fixture.Release(s.T, a.ID)
	ended := s.awaitPhase(a.ID, runtime.PhaseSucceeded)
	if !ended.StartedAt.Equal(running.StartedAt) || ended.FinishedAt.Before(ended.StartedAt) {
		s.Errorf("started %s, then %s; finished %s", running.StartedAt, ended.StartedAt, ended.FinishedAt)
	}
	if ended.ExitCode != nil && *ended.ExitCode != 0 {
		s.Errorf("succeeded with exit code %d", *ended.ExitCode)
	}
	s.fixture.AwaitRunning(s.T, a.ID, 0)
}

func (s *suite) failure() {
	a := s.apply(Program{Exit: 42})
	ended := s.awaitPhase(a.ID, runtime.PhaseFailed)
	if ended.ExitCode == nil || *ended.ExitCode != 42 {
		s.Errorf("exit code %v, want 42", ended.ExitCode)
	}
	if ended.Reason == "" || ended.Message == "" {
		s.Errorf("it failed without reason (%q) or message (%q)", ended.Reason, ended.Message)
	}
}

// result looks at what a program leaves, before and after a restart of the
// agent.
func (s *suite) result() {
	left := "loss=0.25\nepoch=3\n"
	good := s.apply(Program{Result: left})
	bad := s.apply(Program{Result: "{}", Exit: 1})
	long := s.apply(Program{Result: strings.Repeat("x", runtime.MaxResult+10)})
	none := s.apply(Program{})
	look := func() {
		for _, want := range []struct {
			id     job.AttemptID
			phase  runtime.Phase
			result string
		}{
			{good.ID, runtime.PhaseSucceeded, left},
			{bad.ID, runtime.PhaseFailed, "{}"},
			{long.ID, runtime.PhaseSucceeded, strings.Repeat("x", runtime.MaxResult+1)},
			{none.ID, runtime.PhaseSucceeded, ""},
		} {
			if got := s.awaitPhase(want.id, want.phase); got.Result != want.result {
				s.Errorf("the result is %.20q (%d bytes), want %.20q (%d bytes)", got.Result, len(got.Result), want.result, len(want.result))
			}
		}
	}
	look()
	s.crash()
	look()
}

// applyTwice applies what is held already, while it runs and after its end.
func (s *suite) applyTwice() {
	a := s.apply(Program{Lines: []string{"once"}, Hold: true})
	s.applyAttempt(a)
	s.awaitPhase(a.ID, runtime.PhaseRunning)
	s.applyAttempt(a)
	s.fixture.AwaitRunning(s.T, a.ID, 1)
	s.fixture.Release(s.T, a.ID)
	s.awaitPhase(a.ID, runtime.PhaseSucceeded)
	s.applyAttempt(a)
	if o, _ := s.find(a.ID); o.Phase != runtime.PhaseSucceeded {
		s.Errorf("applied again after its end, it is %s", o.Phase)
	}
	if got := s.read(a.ID, runtime.LogOptions{}); got != "once\n" {
		s.Errorf("it wrote %q, want one line", got)
	}
}

func (s *suite) applyConcurrently() {
	a := s.apply(Program{Lines: []string{"first"}, Hold: true})
	b := s.attempt(Program{Lines: []string{"once"}, Hold: true})
	s.applied = append(s.applied, b.ID)
	var all sync.WaitGroup
	errs := make(chan error, 20)
	for i := range 20 {
		all.Go(func() { errs <- s.runtime.Apply(s.Context(), []runtime.Attempt{a, b}[i%2]) })
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			s.Errorf("one of 20 calls at once: %v", err)
		}
	}
	if held := s.observations(); len(held) != 2 {
		s.Errorf("%d attempts are held, want 2", len(held))
	}
	s.awaitPhase(b.ID, runtime.PhaseRunning)
	s.fixture.AwaitRunning(s.T, b.ID, 1)
	s.fixture.Release(s.T, b.ID)
	s.awaitPhase(b.ID, runtime.PhaseSucceeded)
	if got := s.read(b.ID, runtime.LogOptions{}); got != "once\n" {
		s.Errorf("it wrote %q, want one line", got)
	}
}

func (s *suite) applyNonsense() {
	a := s.apply(Program{})
	s.awaitPhase(a.ID, runtime.PhaseSucceeded)
	bad := a
	bad.ID.Attempt = 2
	bad.Manifest = json.RawMessage(`{"spec": 7}`)
	rejected, ok := errors.AsType[*runtime.Rejected](s.runtime.Apply(s.Context(), bad))
	if !ok || rejected.Reason == "" || rejected.Message == "" || rejected.Capacity != nil {
		s.Errorf("applying what is no Job: %v, want *runtime.Rejected without a capacity failure", rejected)
	}
	if _, held := s.find(bad.ID); held {
		s.Error("what was rejected is held")
	}
}

func (s *suite) list() {
	first := s.apply(Program{})
	for attempt := 3; attempt > 1; attempt-- {
		again := first
		again.ID = job.AttemptID{Job: first.ID.Job, Attempt: attempt}
		s.applyAttempt(again)
	}
	other := s.apply(Program{})
	want := []job.AttemptID{first.ID, {Job: first.ID.Job, Attempt: 2}, {Job: first.ID.Job, Attempt: 3}, other.ID}
	slices.SortStableFunc(want, func(a, b job.AttemptID) int { return cmp.Compare(a.Job, b.Job) })
	var got []job.AttemptID
	for _, o := range s.observations() {
		got = append(got, o.ID)
	}
	if !slices.Equal(got, want) {
		s.Errorf("listed %v, want %v", got, want)
	}
	for _, id := range want {
		s.awaitPhase(id, runtime.PhaseSucceeded)
	}
	if _, synced, _ := s.runtime.List(s.Context()); !synced {
		s.Error("everything has ended, and the list is not complete")
	}
}

func (s *suite) stop() {
	a := s.apply(Program{Hold: true})
	s.awaitPhase(a.ID, runtime.PhaseRunning)
	for range 2 {
		if err := s.runtime.Stop(s.Context(), a.ID); err != nil {
			s.Fatalf("stopping: %v", err)
		}
	}
	s.awaitPhase(a.ID, runtime.PhaseStopped)
	s.fixture.AwaitRunning(s.T, a.ID, 0)
}

func (s *suite) stopAtOnce() {
	a := s.apply(Program{Hold: true})
	if err := s.runtime.Stop(s.Context(), a.ID); err != nil {
		s.Fatalf("stopping: %v", err)
	}
	s.awaitPhase(a.ID, runtime.PhaseStopped)
	s.fixture.AwaitRunning(s.T, a.ID, 0)
}

func (s *suite) stopEnded() {
	a := s.apply(Program{Exit: 3})
	s.awaitPhase(a.ID, runtime.PhaseFailed)
	if err := s.runtime.Stop(s.Context(), a.ID); err != nil {
		s.Fatalf("stopping what has ended: %v", err)
	}
	if o, _ := s.find(a.ID); o.Phase != runtime.PhaseFailed {
		s.Errorf("stopped after its end, it is %s", o.Phase)
	}
}

func (s *suite) stopUnknown() {
	if err := s.runtime.Stop(s.Context(), job.AttemptID{Job: job.NewID(), Attempt: 1}); !errors.Is(err, runtime.ErrNotFound) {
		s.Errorf("stopping an unknown attempt: %v, want ErrNotFound", err)
	}
}

func (s *suite) forget() {
	a := s.apply(Program{Lines: []string{"text"}, Hold: true})
	s.awaitPhase(a.ID, runtime.PhaseRunning)
	if err := s.runtime.Forget(s.Context(), a.ID); err == nil {
		s.Error("what runs was forgotten")
	}
	s.fixture.Release(s.T, a.ID)
	s.awaitPhase(a.ID, runtime.PhaseSucceeded)
	for range 2 {
		if err := s.runtime.Forget(s.Context(), a.ID); err != nil {
			s.Fatalf("forgetting: %v", err)
		}
	}
	if _, held := s.find(a.ID); held {
		s.Error("what was forgotten is listed")
	}
	if err := s.runtime.Stop(s.Context(), a.ID); !errors.Is(err, runtime.ErrNotFound) {
		s.Errorf("stopping what was forgotten: %v, want ErrNotFound", err)
	}
	if _, err := s.runtime.Logs(s.Context(), a.ID, runtime.LogOptions{}); !errors.Is(err, runtime.ErrNotFound) {
		s.Errorf("logs of what was forgotten: %v, want ErrNotFound", err)
	}
	s.crash()
	if _, held := s.find(a.ID); held {
		s.Error("what was forgotten is listed by the next agent")
	}
}
