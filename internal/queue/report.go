package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/store"
)

// inventoryPage is how many records one comparison reads at a time.
const inventoryPage = 1000

// What is kept of an agent's words, in bytes: they go into records and events.
const (
	maxReason  = 256
	maxMessage = 4096
)

// cut shortens a text to a number of bytes, and shows that it did.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

// report turns the observations of a request into transitions.
func (s *syncCall) report(ctx context.Context) error {
	pending := s.request.Observations
	for _, o := range pending {
		if o.CapacityFailure != nil {
			if err := s.backOff(ctx, *o.CapacityFailure); err != nil {
				return err
			}
		}
	}
	for len(pending) > 0 {
		again, err := s.reportOnce(ctx, pending)
		if err != nil {
			return err
		}
		pending = again
	}
	return nil
}

// reportOnce returns the observations whose job was changed by someone else
// between the read and the write.
func (s *syncCall) reportOnce(ctx context.Context, observations []api.Observation) ([]api.Observation, error) {
	ids := make([]job.ID, len(observations))
	for i, o := range observations {
		ids[i] = job.ID(o.JobID)
	}
	jobs, err := s.q.Store.JobsByID(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("reading the jobs that %s reports on: %w", s.region, err)
	}
	var changes []store.Change
	var sources []api.Observation
	for _, o := range observations {
		id := attemptID(o.AttemptRef)
		j, exists := jobs[id.Job]
		if !exists || !s.answersFor(j, id) {
			if !runtime.Phase(o.Phase).Terminal() {
				s.supersede(id)
			}
			continue
		}
		event, news := eventOf(j, o)
		if !news {
			continue
		}
		next, transition, err := j.Apply(event, s.q.Clock.Now())
		if err != nil {
			return nil, fmt.Errorf("region %s reports %s: %w", s.region, o.Phase, err)
		}
		// A second observation of the same job builds on the first.
		jobs[id.Job] = next
		changes = append(changes, store.Change{Job: next, Transition: transition})
		sources = append(sources, o)
	}
	errs, err := s.q.commit(ctx, s.guard(), changes)
	if err != nil {
		return nil, fmt.Errorf("writing what %s reports: %w", s.region, err)
	}
	var again []api.Observation
	for i, err := range errs {
		if errors.Is(err, store.ErrConflict) {
			again = append(again, sources[i])
		}
	}
	return again, nil
}

// answersFor tells whether this region may speak for the attempt: it must be
// the job's current one.
func (s *syncCall) answersFor(j job.Job, id job.AttemptID) bool {
	return j.Region == s.region && j.Attempt == id.Attempt && j.State.Active()
}

// eventOf is what an observation means for a job; false when it is no news.
func eventOf(j job.Job, o api.Observation) (job.Event, bool) {
	event := job.Event{Reason: cut(o.Reason, maxReason), Message: cut(o.Message, maxMessage), ExitCode: o.ExitCode}
	readResult(&event, o)
	switch runtime.Phase(o.Phase) {
	case runtime.PhaseApplied:
		event.Kind = job.Applied
		return orReturned(j, event, j.State == job.Claimed)
	case runtime.PhaseRunning:
		event.Kind = job.Started
		return orReturned(j, event, j.State != job.Running)
	case runtime.PhaseSucceeded:
		event.Kind = job.Finished
	case runtime.PhaseFailed:
		event.Kind = job.Failure
	case runtime.PhaseReleased:
		event.Kind = job.Released
	case runtime.PhaseStopped:
		event.Kind = job.Stopped
		if j.Intent == job.Run {
			// Nobody asked for it, so something else did away with it.
			event.Kind = job.LostEvent
		}
	case runtime.PhaseLost:
		event.Kind = job.LostEvent
	default:
		return job.Event{}, false
	}
	return event, true
}

// readResult adds the outputs of an attempt that has ended. A result that
// cannot be read costs the job its outputs and not its end; the message says
// so.
func readResult(event *job.Event, o api.Observation) {
	if o.Result == "" || !runtime.Phase(o.Phase).Terminal() {
		return
	}
	outputs, err := job.ParseOutputs(o.Result)
	if err == nil {
		event.Outputs = outputs
		return
	}
	note := "its result file cannot be read: " + err.Error()
	if event.Message != "" {
		note = event.Message + "; " + note
	}
	event.Message = cut(note, maxMessage)
}

// orReturned makes the end of a wait for the region of what is no news
// otherwise.
func orReturned(j job.Job, event job.Event, news bool) (job.Event, bool) {
	if !news && !j.RegionLostAt.IsZero() {
		event.Kind = job.RegionReturned
		return event, true
	}
	return event, news
}

// compareInventory holds one page of what the agent's runtime has against
// what the queue thinks that it has.
func (s *syncCall) compareInventory(ctx context.Context, page api.Inventory) error {
	held := refs(page.Items)
	missing := job.Event{
		Kind: job.LostEvent, Reason: "not-found",
		Message: fmt.Sprintf("region %s came back without it", s.region),
	}
	expected := map[job.AttemptID]bool{}
	for after := job.ID(page.After); ; {
		attempts, err := s.q.Store.Attempts(ctx, s.region, after, inventoryPage)
		if err != nil {
			return fmt.Errorf("listing the attempts of %s: %w", s.region, err)
		}
		full := len(attempts) == inventoryPage
		if n := slices.IndexFunc(attempts, func(j job.Job) bool {
			return page.Through != "" && j.ID > job.ID(page.Through)
		}); n >= 0 {
			attempts, full = attempts[:n], false
		}
		var changes []store.Change
		for _, j := range attempts {
			id := j.AttemptID()
			expected[id] = true
			// A claimed attempt may never have reached the agent: it is
			// started (again), not lost.
			if held[id] || j.State == job.Claimed {
				continue
			}
			next, transition, err := j.Apply(missing, s.q.Clock.Now())
			if err != nil {
				return err
			}
			changes = append(changes, store.Change{Job: next, Transition: transition})
		}
		errs, err := s.q.commit(ctx, s.guard(), changes)
		if err != nil {
			return fmt.Errorf("writing what %s has lost: %w", s.region, err)
		}
		if slices.ContainsFunc(errs, func(err error) bool { return errors.Is(err, store.ErrConflict) }) {
			// Changed in between: the same records once more.
			continue
		}
		if !full {
			break
		}
		after = attempts[len(attempts)-1].ID
	}
	for _, item := range page.Items {
		if id := attemptID(item); !expected[id] {
			s.supersede(id)
		}
	}
	return nil
}

// supersede has the agent stop an attempt that the queue has given up. It
// does so also where the agent is busy with it: what was reported once is not
// reported again.
func (s *syncCall) supersede(id job.AttemptID) {
	if s.strangers[id] {
		return
	}
	s.strangers[id] = true
	s.superseded = append(s.superseded, id)
}
