package local

import (
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

// What is on disk has types of its own (see package attempt); these are the
// contract's.

func idOf(id job.AttemptID) attempt.ID {
	return attempt.ID{Job: string(id.Job), Attempt: id.Attempt}
}

func attemptID(id attempt.ID) job.AttemptID {
	return job.AttemptID{Job: job.ID(id.Job), Attempt: id.Attempt}
}

func podsOf(statuses []attempt.PodStatus) []runtime.Pod {
	pods := make([]runtime.Pod, len(statuses))
	for i, s := range statuses {
		pods[i] = runtime.Pod{Name: s.Name, Phase: s.Phase, Node: s.Node, StartedAt: s.StartedAt, FinishedAt: s.FinishedAt}
		for _, c := range s.Containers {
			pods[i].Containers = append(pods[i].Containers, runtime.Container{
				Name: c.Name, Init: c.Init, State: c.State, ExitCode: c.ExitCode, Reason: c.Reason, Restarts: c.Restarts,
			})
		}
	}
	return pods
}

func eventsOf(stored []attempt.Event) []runtime.ClusterEvent {
	events := make([]runtime.ClusterEvent, len(stored))
	for i, e := range stored {
		events[i] = runtime.ClusterEvent{At: e.At, Warning: e.Warning, Reason: e.Reason, Object: e.Object, Message: e.Message, Count: e.Count}
	}
	return events
}
