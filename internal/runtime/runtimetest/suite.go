// Package runtimetest is the conformance suite of the contract in package
// runtime: what an agent may rely on, whatever it drives. Each runtime's own
// tests call Run with a Fixture. The suite acts through the contract and waits
// on its signals; nothing in it sleeps.
package runtimetest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

// patience bounds each wait; only a failing test waits that long.
const patience = time.Minute

// Program is what the one container of an attempt does.
type Program struct {
	// Lines are written first, one write each.
	Lines []string
	// Result is what it leaves in the file that GCO_RESULT names; nothing if
	// empty.
	Result string
	// Hold: it then goes on until Fixture.Release or a signal.
	Hold bool
	// Exit is its exit code.
	Exit int
}

// Fixture is one cluster and what the suite can't do through the contract.
type Fixture interface {
	// Open opens a runtime on the cluster. Errors are the runtime's own.
	Open(t *testing.T) (runtime.Runtime, error)
	// Crash ends the agent that drives r without giving it a chance to clean
	// up. The cluster may be opened again.
	Crash(t *testing.T, r runtime.Runtime)
	// Manifest is a Job with one pod, which runs the program in a container
	// called "main" and asks for some CPU. It has a backoffLimit of 0.
	Manifest(t *testing.T, program Program) json.RawMessage
	// TooLarge is a Job that no node of the cluster could ever hold.
	TooLarge(t *testing.T) json.RawMessage
	// Release lets a program with Hold go on to its end.
	Release(t *testing.T, id job.AttemptID)
	// AwaitRunning returns when n programs of the attempt run, as the host
	// sees it rather than the runtime.
	AwaitRunning(t *testing.T, id job.AttemptID, n int)
	// FencesAlone says that attempts end at the lease's deadline also when no
	// agent lives.
	FencesAlone() bool
}

// Run runs the suite. empty returns an empty cluster each time.
func Run(t *testing.T, empty func(t *testing.T) Fixture) {
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"Success", (*suite).success},
		{"Failure", (*suite).failure},
		{"Result", (*suite).result},
		{"ApplyTwice", (*suite).applyTwice},
		{"ApplyConcurrently", (*suite).applyConcurrently},
		{"ApplyNonsense", (*suite).applyNonsense},
		{"List", (*suite).list},
		{"Stop", (*suite).stop},
		{"StopAtOnce", (*suite).stopAtOnce},
		{"StopEnded", (*suite).stopEnded},
		{"StopUnknown", (*suite).stopUnknown},
		{"Forget", (*suite).forget},
		{"Capacity", (*suite).capacity},
		{"NeverFits", (*suite).neverFits},
		{"FencedBeforeRenew", (*suite).fencedBeforeRenew},
		{"LeasePasses", (*suite).leasePasses},
		{"LeasePassesWithoutAgent", (*suite).leasePassesWithoutAgent},
		{"RenewKeeps", (*suite).renewKeeps},
		{"Fence", (*suite).fence},
		{"FenceTwice", (*suite).fenceTwice},
		{"Reopen", (*suite).reopen},
		{"EndedWhileAway", (*suite).endedWhileAway},
		{"Close", (*suite).closed},
		{"Locked", (*suite).locked},
		{"Logs", (*suite).logs},
		{"LogsOfPart", (*suite).logsOfPart},
		{"LogsFollow", (*suite).logsFollow},
		{"LogsUnknown", (*suite).logsUnknown},
		{"Pods", (*suite).pods},
		{"Events", (*suite).events},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &suite{T: t, fixture: empty(t)}
			s.open()
			test.run(s)
		})
	}
}

// suite is one test with a cluster of its own.
type suite struct {
	*testing.T
	fixture Fixture
	runtime runtime.Runtime
	applied []job.AttemptID
}

// open opens the cluster, and sees to it that nothing runs after the test.
func (s *suite) open() {
	s.Helper()
	r, err := s.fixture.Open(s.T)
	if err != nil {
		s.Fatalf("opening the runtime: %v", err)
	}
	s.runtime = r
	s.Cleanup(func() {
		if s.runtime != r {
			return
		}
		s.endAll()
		if err := r.Close(); err != nil {
			s.Errorf("closing the runtime: %v", err)
		}
	})
}

func (s *suite) endAll() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, id := range s.applied {
		if err := s.runtime.Stop(ctx, id); err != nil && !errors.Is(err, runtime.ErrNotFound) {
			s.Errorf("stopping at the end: %v", err)
		}
	}
	if err := s.runtime.Fence(ctx); err != nil {
		s.Errorf("fencing at the end: %v", err)
	}
	for {
		held, _, err := s.runtime.List(ctx)
		if err != nil {
			s.Errorf("listing at the end: %v", err)
			return
		}
		if !slices.ContainsFunc(held, func(o runtime.Observation) bool { return !o.Phase.Terminal() }) {
			return
		}
		select {
		case <-ctx.Done():
			s.Errorf("still held at the end: %+v", held)
			return
		case <-s.runtime.Changed():
		}
	}
}

// crash ends the agent and opens the cluster again.
func (s *suite) crash() {
	s.Helper()
	s.fixture.Crash(s.T, s.runtime)
	s.open()
}

func (s *suite) renew(trust time.Duration) {
	s.Helper()
	if err := s.runtime.Renew(trust); err != nil {
		s.Fatalf("renewing: %v", err)
	}
}

// apply renews the lease for long, and applies a program as a new job.
func (s *suite) apply(program Program) runtime.Attempt {
	s.Helper()
	s.renew(time.Hour)
	a := s.attempt(program)
	s.applyAttempt(a)
	return a
}

func (s *suite) attempt(program Program) runtime.Attempt {
	return runtime.Attempt{
		ID: job.AttemptID{Job: job.NewID(), Attempt: 1}, Incarnation: "first", Namespace: "default", Name: "conformance",
		Manifest: s.fixture.Manifest(s.T, program),
	}
}

func (s *suite) applyAttempt(a runtime.Attempt) {
	s.Helper()
	s.applied = append(s.applied, a.ID)
	if err := s.runtime.Apply(s.Context(), a); err != nil {
		s.Fatalf("applying: %v", err)
	}
}

func (s *suite) observations() []runtime.Observation {
	s.Helper()
	held, _, err := s.runtime.List(s.Context())
	if err != nil {
		s.Fatalf("listing: %v", err)
	}
	return held
}

// find returns what is listed of an attempt.
func (s *suite) find(id job.AttemptID) (runtime.Observation, bool) {
	s.Helper()
	for _, o := range s.observations() {
		if o.ID == id {
			return o, true
		}
	}
	return runtime.Observation{}, false
}

// await waits until an attempt is as wanted. It looks again when Changed says
// so, and so fails where that is not signalled.
func (s *suite) await(id job.AttemptID, what string, ok func(runtime.Observation) bool) runtime.Observation {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	for {
		o, found := s.find(id)
		if !found {
			s.Fatalf("attempt %v is not listed", id)
		}
		if ok(o) {
			return o
		}
		select {
		case <-ctx.Done():
			s.Fatalf("waited for %s of %v; it is %+v", what, id, o)
		case <-s.runtime.Changed():
		}
	}
}

func (s *suite) awaitPhase(id job.AttemptID, phase runtime.Phase) runtime.Observation {
	s.Helper()
	o := s.await(id, "phase "+string(phase), func(o runtime.Observation) bool { return o.Phase == phase || o.Phase.Terminal() })
	if o.Phase != phase {
		s.Fatalf("attempt %v became %s (%s: %s), want %s", id, o.Phase, o.Reason, o.Message, phase)
	}
	return o
}
