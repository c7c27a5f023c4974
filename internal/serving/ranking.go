package serving

import (
	"context"
	"fmt"

	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/placement"
)

// ranking is what the regions have left, for one round.
type ranking struct{ fleet *placement.Fleet }

// rank lists the regions that could take so many replicas of an endpoint, the
// best first by capacity and price.
func (t *round) rank(ctx context.Context, e *endpoint.Endpoint, replicas int) ([]string, error) {
	if t.ranking == nil {
		fleet, err := t.fleet(ctx)
		if err != nil {
			return nil, err
		}
		t.ranking = &ranking{fleet}
	}
	request := placement.Request{
		Demand:      e.Spec.Demand(max(replicas, 1)),
		Constraints: job.Constraints{CapacityType: e.Spec.CapacityType},
	}
	var names []string
	// A decision names the best few only.
	for {
		decision := placement.Decide(request, t.ranking.fleet, t.r.s.Placement, t.now)
		if len(decision.Candidates) == 0 {
			break
		}
		for _, candidate := range decision.Candidates {
			names = append(names, candidate.Region)
		}
		request.Avoid = names
	}
	return names, nil
}

// fleet reads what is free, less what jobs were promised.
func (t *round) fleet(ctx context.Context) (*placement.Fleet, error) {
	promises, err := t.r.s.Store.Promises(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading what regions were promised: %w", err)
	}
	promised := map[string][]placement.Promised{}
	for _, p := range promises {
		promised[p.Region] = append(promised[p.Region], placement.Promised{Demand: p.Demand, Count: p.Count})
	}
	inputs := make([]placement.Input, len(t.regions))
	for i, r := range t.regions {
		inputs[i] = placement.Input{Region: r, Prices: t.r.s.Prices[r.Name], Promised: promised[r.Name]}
	}
	return placement.NewFleet(inputs), nil
}

// take counts what a plan adds, so that the endpoints after it see less free.
func (t *round) take(e *endpoint.Endpoint, before, after *endpoint.Plan) {
	if t.ranking == nil {
		return
	}
	for _, target := range after.Targets {
		was, _ := before.In(target.Region)
		if more := target.Replicas() - was.Replicas(); more > 0 && !target.Lost && !target.Held {
			t.ranking.fleet.Take(target.Region, e.Spec.Demand(more))
		}
	}
}
