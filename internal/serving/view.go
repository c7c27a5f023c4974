package serving

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/store"
)

// pageSize is how many records are read at a time.
const pageSize = 500

// seen is all records of endpoints at one moment. Nobody changes it.
type seen struct {
	marks     store.EndpointMarks
	endpoints map[string]*endpoint.Endpoint
	plans     map[string]*endpoint.Plan
	// observed is by region.
	observed map[string]regionSaid
	// targets are by region and endpoint.
	targets map[string]map[string]*api.EndpointTarget
}

// regionSaid is what one region says, by endpoint.
type regionSaid struct {
	of map[string]*endpoint.Observed
}

// view keeps the records in memory, and reads those again whose mark has
// changed.
type view struct {
	store store.Store
	mu    sync.Mutex
	last  *seen
}

func newView(s store.Store) *view { return &view{store: s} }

// refresh returns the records as they are now. Callers that come while one of
// them reads wait for it, and then seldom have to read themselves.
func (v *view) refresh(ctx context.Context) (*seen, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	// Before the records, so that what is written meanwhile is read next time.
	marks, err := v.store.EndpointMarks(ctx)
	if err != nil {
		return nil, err
	}
	if v.last != nil && v.last.marks.Wanted == marks.Wanted && maps.Equal(v.last.marks.Observed, marks.Observed) {
		return v.last, nil
	}
	next := &seen{marks: marks, observed: map[string]regionSaid{}}
	if v.last != nil && v.last.marks.Wanted == marks.Wanted {
		next.endpoints, next.plans, next.targets = v.last.endpoints, v.last.plans, v.last.targets
	} else if err := v.readWanted(ctx, next); err != nil {
		return nil, err
	}
	for region, mark := range marks.Observed {
		if v.last != nil && v.last.marks.Observed[region] == mark {
			next.observed[region] = v.last.observed[region]
			continue
		}
		observed, err := v.store.Observed(ctx, region)
		if err != nil {
			return nil, err
		}
		said := regionSaid{of: make(map[string]*endpoint.Observed, len(observed))}
		for i := range observed {
			said.of[observed[i].Name] = &observed[i]
		}
		next.observed[region] = said
	}
	v.last = next
	return next, nil
}

// forget makes the next refresh read everything.
func (v *view) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last = nil
}

// readWanted reads endpoints and plans, and makes the targets of them.
func (v *view) readWanted(ctx context.Context, into *seen) error {
	into.endpoints, into.plans = map[string]*endpoint.Endpoint{}, map[string]*endpoint.Plan{}
	into.targets = map[string]map[string]*api.EndpointTarget{}
	for after := ""; ; {
		page, err := v.store.Endpoints(ctx, after, pageSize)
		if err != nil {
			return err
		}
		for i := range page {
			into.endpoints[page[i].Name] = &page[i]
			after = page[i].Name
		}
		if len(page) < pageSize {
			break
		}
	}
	for after := ""; ; {
		page, err := v.store.EndpointPlans(ctx, after, pageSize)
		if err != nil {
			return err
		}
		for i := range page {
			into.plans[page[i].Name] = &page[i]
			after = page[i].Name
		}
		if len(page) < pageSize {
			break
		}
	}
	for name, plan := range into.plans {
		e := into.endpoints[name]
		if e == nil || e.UID != plan.UID {
			continue
		}
		for _, t := range plan.Targets {
			target := undecided
			if !t.Lost {
				var err error
				if target, err = targetOnWire(e, t); err != nil {
					return fmt.Errorf("the target of endpoint %s in %s: %w", name, t.Region, err)
				}
			}
			if into.targets[t.Region] == nil {
				into.targets[t.Region] = map[string]*api.EndpointTarget{}
			}
			into.targets[t.Region][name] = target
		}
	}
	return nil
}
