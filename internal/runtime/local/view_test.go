package local

import (
	"testing"
	"time"

	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

// What is on disk speaks the contract's language.
func TestPhasesAreTheContracts(t *testing.T) {
	for stored, phase := range map[attempt.Phase]runtime.Phase{
		attempt.Applied: runtime.PhaseApplied, attempt.Running: runtime.PhaseRunning, attempt.Succeeded: runtime.PhaseSucceeded,
		attempt.Failed: runtime.PhaseFailed, attempt.Released: runtime.PhaseReleased, attempt.Stopped: runtime.PhaseStopped,
		attempt.Lost: runtime.PhaseLost,
	} {
		if string(stored) != string(phase) || stored.Terminal() != phase.Terminal() {
			t.Errorf("%q (terminal: %v) stands for %q (terminal: %v)", stored, stored.Terminal(), phase, phase.Terminal())
		}
	}
}

func TestViewsKeepEverything(t *testing.T) {
	code, at := 3, time.Now()
	pods := podsOf([]attempt.PodStatus{{
		Name: "a", Phase: "Failed", Node: "n", StartedAt: at, FinishedAt: at.Add(1),
		Containers: []attempt.ContainerStatus{{Name: "c", Init: true, State: "terminated", ExitCode: &code, Reason: "Error", Restarts: 2}},
	}})
	want := runtime.Container{Name: "c", Init: true, State: "terminated", ExitCode: &code, Reason: "Error", Restarts: 2}
	if p := pods[0]; p.Name != "a" || p.Phase != "Failed" || p.Node != "n" || !p.StartedAt.Equal(at) || !p.FinishedAt.Equal(at.Add(1)) || p.Containers[0] != want {
		t.Errorf("%+v", pods)
	}
	events := eventsOf([]attempt.Event{{At: at, Warning: true, Reason: "r", Object: "o", Message: "m", Count: 4}})
	if events[0] != (runtime.ClusterEvent{At: at, Warning: true, Reason: "r", Object: "o", Message: "m", Count: 4}) {
		t.Errorf("%+v", events)
	}
}
