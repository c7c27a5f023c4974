package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

// answer streams the answer to a client's question, once. Until it is over the
// attempt is not forgotten.
func (a *Agent) answer(question api.Request) {
	id := attemptID(question.AttemptRef)
	a.mu.Lock()
	_, known := a.answering[question.ID]
	gone := a.closing[id] == forgetting
	if !known && !gone {
		a.answering[question.ID] = id
	}
	a.mu.Unlock()
	if known {
		return
	}
	a.Go(func() {
		ctx, cancel := context.WithCancel(a.background)
		defer cancel()
		var body io.ReadCloser
		refused := runtime.ErrNotFound
		if !gone {
			body, refused = a.body(ctx, question)
		}
		if body != nil {
			defer body.Close()
		}
		if err := a.Server.Answer(ctx, a.Region, question, body, refused); err != nil && ctx.Err() == nil {
			a.Log.Debug("answering a request", "region", a.Region, "request", question.ID, "error", err)
		}
		a.mu.Lock()
		delete(a.answering, question.ID)
		a.mu.Unlock()
		a.finishReported(ctx)
	})
}

// answered tells whether a client is being told of the attempt; a.mu must be
// held.
func (a *Agent) answered(id job.AttemptID) bool {
	for _, about := range a.answering {
		if about == id {
			return true
		}
	}
	return false
}

func (a *Agent) body(ctx context.Context, question api.Request) (io.ReadCloser, error) {
	id := attemptID(question.AttemptRef)
	switch question.Kind {
	case "logs":
		var options api.LogOptions
		if question.Logs != nil {
			options = *question.Logs
		}
		return a.Runtime.Logs(ctx, id, logOptions(options))
	case "pods":
		pods, err := a.Runtime.Pods(ctx, id)
		if err != nil {
			return nil, err
		}
		return encoded(wirePods(id.Attempt, pods))
	case "events":
		events, err := a.Runtime.ClusterEvents(ctx, id)
		if err != nil {
			return nil, err
		}
		return encoded(wireEvents(events))
	default:
		return nil, fmt.Errorf("this agent cannot answer requests of kind %q", question.Kind)
	}
}

func logOptions(o api.LogOptions) runtime.LogOptions {
	options := runtime.LogOptions{Container: o.Container, Follow: o.Follow, Tail: o.Tail, Timestamps: o.Timestamps}
	if o.Since != nil {
		options.Since = *o.Since
	}
	return options
}

func encoded(value any) (io.ReadCloser, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encoding an answer: %w", err)
	}
	return io.NopCloser(bytes.NewReader(text)), nil
}

func wirePods(attempt int, pods []runtime.Pod) []api.Pod {
	list := make([]api.Pod, len(pods))
	for i, p := range pods {
		containers := make([]api.Container, len(p.Containers))
		for k, c := range p.Containers {
			containers[k] = api.Container(c)
		}
		list[i] = api.Pod{
			Name: p.Name, Attempt: attempt, Phase: p.Phase, Node: p.Node,
			StartedAt: timePointer(p.StartedAt), FinishedAt: timePointer(p.FinishedAt), Containers: containers,
		}
	}
	return list
}

func wireEvents(events []runtime.ClusterEvent) []api.ClusterEvent {
	list := make([]api.ClusterEvent, len(events))
	for i, e := range events {
		kind := "Normal"
		if e.Warning {
			kind = "Warning"
		}
		list[i] = api.ClusterEvent{
			At: e.At, Type: kind, Reason: e.Reason, Object: e.Object, Message: e.Message, Count: e.Count,
		}
	}
	return list
}
