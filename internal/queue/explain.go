package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/store"
)

const (
	// maxAhead bounds how far the place in the queue is counted.
	maxAhead = 10_000
	// longestForecast is how far ahead a start is foretold. The rate of a
	// region that has stopped finishing jobs fades without end.
	longestForecast = 7 * 24 * time.Hour
)

// Explain says why a job is where it is. For a job that waits it makes the
// decision that the Placer would make now, without acting on it; for any
// other it shows the decision that placed it.
func (q *Queue) Explain(ctx context.Context, id job.ID) (api.Explanation, error) {
	j, err := q.Store.Job(ctx, id)
	if err != nil {
		return api.Explanation{}, fmt.Errorf("reading job %s: %w", id, err)
	}
	if j.State == job.Queued {
		return q.explainWaiting(ctx, j)
	}
	out := api.Explanation{JobID: string(id), State: string(j.State)}
	out.Decision, err = q.lastDecision(ctx, id)
	switch {
	case err != nil:
		return api.Explanation{}, err
	case j.State.Terminal():
		out.Summary = fmt.Sprintf("%s in %s on attempt %d", j.State, orNone(j.Region), j.Attempt)
		if j.Message != "" {
			out.Summary += ": " + j.Message
		}
	case j.State == job.Placed:
		out.Summary = fmt.Sprintf("placed in %s, which has not claimed it yet", j.Region)
	default:
		out.Summary = fmt.Sprintf("%s in %s on attempt %d", j.State, j.Region, j.Attempt)
	}
	return out, nil
}

func (q *Queue) explainWaiting(ctx context.Context, j job.Job) (api.Explanation, error) {
	now := q.Clock.Now()
	out := api.Explanation{JobID: string(j.ID), State: string(j.State)}
	if now.Before(j.NotBefore) {
		out.Summary = fmt.Sprintf("waits until %s after attempt %d (%s), with %d of %d allowed failures",
			j.NotBefore.UTC().Format(time.RFC3339), j.Attempt, cmp.Or(j.Reason, "given back"), j.Failures, j.Spec.Retries)
		return out, nil
	}
	if missing, err := q.census.awaited(ctx); err != nil || len(missing) > 0 {
		out.Summary = "the data were restored, and nothing starts until these regions have sent their inventory or are written off: " +
			strings.Join(missing, ", ")
		return out, err
	}
	demand, err := q.Store.Demand(ctx, j.Spec.Class)
	if err != nil {
		return api.Explanation{}, fmt.Errorf("reading the demand of job %s: %w", j.ID, err)
	}
	fleet, err := q.fleet(ctx, now)
	if err != nil {
		return api.Explanation{}, err
	}
	ahead, err := q.Store.Ahead(ctx, store.Position{Priority: j.Spec.Priority, ID: j.ID}, maxAhead)
	if err != nil {
		return api.Explanation{}, fmt.Errorf("counting what is ahead of job %s: %w", j.ID, err)
	}
	out.Ahead = &ahead
	if err := q.withhold(ctx, fleet, j, now); err != nil {
		return api.Explanation{}, err
	}
	request := placement.Request{Demand: demand, Constraints: j.Spec.Placement}
	decision := placement.Decide(request, fleet, q.Placement, now)
	if decision.Region == "" && now.Sub(j.SubmittedAt) >= q.Placement.ReserveAfter {
		_, decision.Reserved = fleet.Reserve(request, q.Placement, now)
	}
	text, err := json.Marshal(decision)
	if err != nil {
		return api.Explanation{}, fmt.Errorf("encoding a decision: %w", err)
	}
	if out.Decision, err = decodeDecision(text); err != nil {
		return api.Explanation{}, err
	}
	regions, err := q.Store.Regions(ctx)
	if err != nil {
		return api.Explanation{}, fmt.Errorf("reading regions: %w", err)
	}
	out.Summary = decision.Summary()
	if unknown := unknownRegions(j.Spec.Placement.Regions, regions); len(unknown) > 0 {
		out.Summary += "; no region is known by the name of " + strings.Join(unknown, ", ")
	}
	out.ExpectedStart = q.expectedStart(regions, ahead, decision, now)
	return out, nil
}

// unknownRegions lists those of the names that no agent has ever spoken for.
func unknownRegions(names []string, regions []capacity.Region) []string {
	var unknown []string
	for _, name := range names {
		if !slices.ContainsFunc(regions, func(r capacity.Region) bool { return r.Name == name }) {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

// withhold reserves what the Placer would reserve for jobs ahead of this one,
// so that the explanation shows no candidate that is being kept for another.
func (q *Queue) withhold(ctx context.Context, fleet *placement.Fleet, j job.Job, now time.Time) error {
	classes, err := q.Store.WaitingClasses(ctx, store.Position{}, placeClasses)
	if err != nil {
		return fmt.Errorf("listing waiting classes: %w", err)
	}
	for _, class := range classes {
		ahead := class.Class != j.Spec.Class && before(class.Head, store.Position{Priority: j.Spec.Priority, ID: j.ID})
		if !ahead || now.Sub(class.Since) < q.Placement.ReserveAfter {
			continue
		}
		request := placement.Request{Demand: class.Demand, Constraints: class.Constraints}
		if placement.Decide(request, fleet, q.Placement, now).Region == "" {
			fleet.Reserve(request, q.Placement, now)
		}
	}
	return nil
}

// expectedStart assumes that jobs go on finishing as fast as they lately did,
// and that each makes room for one other. It is nil where that says nothing:
// for a job that waits for something else than room.
func (q *Queue) expectedStart(regions []capacity.Region, ahead int, decision placement.Decision, now time.Time) *time.Time {
	if decision.Region != "" && ahead == 0 {
		return &now
	}
	busy := func(r placement.Rejection) bool { return r.Reason == "busy" }
	if decision.Region == "" && !slices.ContainsFunc(decision.Rejections, busy) {
		return nil
	}
	perSecond := 0.0
	for _, region := range regions {
		perSecond += q.drain.perSecond(region.Name, now)
	}
	if perSecond <= 0 {
		return nil
	}
	seconds := float64(ahead+1) / perSecond
	if seconds > longestForecast.Seconds() {
		return nil
	}
	at := now.Add(time.Duration(seconds * float64(time.Second)))
	return &at
}

func (q *Queue) lastDecision(ctx context.Context, id job.ID) (*api.Decision, error) {
	history, err := q.Store.History(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("reading the history of job %s: %w", id, err)
	}
	for _, h := range slices.Backward(history) {
		if len(h.Decision) > 0 {
			return decodeDecision(h.Decision)
		}
	}
	return nil, nil
}

func decodeDecision(text []byte) (*api.Decision, error) {
	var decision api.Decision
	if err := json.Unmarshal(text, &decision); err != nil {
		return nil, fmt.Errorf("decoding a decision: %w", err)
	}
	return &decision, nil
}

func orNone(region string) string {
	if region == "" {
		return "no region"
	}
	return region
}
