package serving

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/store"
)

const (
	// readAgain is how often everything is read, whatever the marks say.
	readAgain = 5 * time.Minute
	// plansAtOnce is how many plans one write has.
	plansAtOnce = 250
)

// reconciler is the leader's loop. Each round:
//
//  1. it reads what has changed of endpoints, plans and observations, and how
//     the regions stand;
//  2. where anything of that changed, or a decision is due, it decides for every
//     endpoint;
//  3. it writes the plans that differ, and wakes the regions that they concern;
//  4. it rolls back what failed, and removes what is gone.
type reconciler struct {
	s *Serving

	// what the last round decided by
	seen    *seen
	regions []standingOf
	// due is when a decision may differ though nothing changed; zero is never.
	due time.Time
	// wholeAt is when everything was last read.
	wholeAt time.Time
}

// standingOf is what decisions look at of a region.
type standingOf struct {
	name                    string
	up, fresh, open, leaves bool
}

// run looks on every tick, and as soon as there is news.
func (r *reconciler) run(ctx context.Context) error {
	ticker := r.s.Clock.NewTicker(r.s.Tick)
	defer ticker.Stop()
	for {
		if err := r.runOnce(ctx); err != nil && ctx.Err() == nil {
			r.s.Log.Warn("reconciling endpoints; it will be tried again", "error", err)
			r.seen = nil
		}
		select {
		case <-ticker.C():
		case <-r.s.news:
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *reconciler) runOnce(ctx context.Context) error {
	if !r.s.Leading() {
		r.seen = nil
		return nil
	}
	now := r.s.Clock.Now().UTC()
	if now.Sub(r.wholeAt) >= readAgain {
		r.s.view.forget()
		r.wholeAt = now
	}
	seen, err := r.s.view.refresh(ctx)
	if err != nil {
		return err
	}
	if len(seen.endpoints) == 0 {
		r.seen = seen
		return nil
	}
	regions, err := r.s.Store.Regions(ctx)
	if err != nil {
		return fmt.Errorf("reading the regions: %w", err)
	}
	standings := standingsOf(regions, now)
	scaled := r.scaled(seen)
	if seen == r.seen && slices.Equal(standings, r.regions) && (r.due.IsZero() || now.Before(r.due)) && !scaled {
		return nil
	}
	round := &round{r: r, seen: seen, regions: regions, now: now}
	if err := round.decide(ctx); err != nil {
		return err
	}
	r.seen, r.regions, r.due = seen, standings, round.due
	return nil
}

// scaled tells whether autoscaling wants another number than is planned.
func (r *reconciler) scaled(seen *seen) bool {
	for name, e := range seen.endpoints {
		if p := seen.plans[name]; e.Spec.Autoscaling != nil && p != nil {
			if n := r.s.Replicas(e); n >= 0 && n != p.Replicas {
				return true
			}
		}
	}
	return false
}

func standingsOf(regions []capacity.Region, now time.Time) []standingOf {
	all := make([]standingOf, len(regions))
	for i, site := range sites(&seen{}, regions, &endpoint.Endpoint{}, now) {
		all[i] = standingOf{site.Region, site.Up, site.Fresh, site.Open, site.Leaving}
	}
	return all
}

// round is one pass over all endpoints.
type round struct {
	r       *reconciler
	seen    *seen
	regions []capacity.Region
	now     time.Time
	ranking *ranking
	due     time.Time

	plans []endpoint.Plan
	// before are the plans that those replace.
	before   []*endpoint.Plan
	failures map[string]string
	gone     []*endpoint.Endpoint
}

func (t *round) decide(ctx context.Context) error {
	t.failures = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(t.seen.endpoints)) {
		if err := t.decideOne(ctx, t.seen.endpoints[name]); err != nil {
			return err
		}
	}
	if err := t.write(ctx); err != nil {
		return err
	}
	return t.edit(ctx)
}

func (t *round) decideOne(ctx context.Context, e *endpoint.Endpoint) error {
	plan := t.seen.plans[e.Name]
	if plan == nil || plan.UID != e.UID {
		plan = &endpoint.Plan{}
	}
	var failed error
	situation := endpoint.Situation{
		Endpoint: e, Plan: plan, Sites: sites(t.seen, t.regions, e, t.now), Replicas: t.r.s.Replicas(e), Now: t.now,
		Rank: func(replicas int) []string {
			var names []string
			names, failed = t.rank(ctx, e, replicas)
			return names
		},
	}
	decision := endpoint.Decide(situation)
	if failed != nil {
		return failed
	}
	if !decision.Due.IsZero() && (t.due.IsZero() || decision.Due.Before(t.due)) {
		t.due = decision.Due
	}
	if decision.Gone {
		t.gone = append(t.gone, e)
		return nil
	}
	if decision.Failure != "" {
		t.failures[e.Name] = decision.Failure
	}
	if next := decision.Plan; plan.Version == 0 || !next.Same(plan) {
		next.Version++
		t.plans, t.before = append(t.plans, next), append(t.before, plan)
		t.take(e, plan, &next)
	}
	return nil
}

// write stores the plans that differ. One that somebody else wrote meanwhile is
// decided anew in the next round.
func (t *round) write(ctx context.Context) error {
	woken := map[string]bool{}
	for begin := 0; begin < len(t.plans); begin += plansAtOnce {
		end := min(begin+plansAtOnce, len(t.plans))
		errs, err := t.r.s.Store.PutPlans(ctx, t.plans[begin:end])
		if err != nil {
			return err
		}
		for i, err := range errs {
			switch {
			case errors.Is(err, store.ErrConflict):
				t.r.s.Log.Debug("a plan was written by someone else", "endpoint", t.plans[begin+i].Name)
				t.r.s.Look()
			case err != nil:
				return err
			default:
				t.concerned(woken, t.before[begin+i], &t.plans[begin+i])
			}
		}
	}
	for region := range woken {
		t.r.s.Wake(region)
	}
	return nil
}

// concerned adds the regions that a change of plan says something to. An edit
// may change what is the same for all.
func (t *round) concerned(woken map[string]bool, before, after *endpoint.Plan) {
	for _, p := range []*endpoint.Plan{before, after} {
		for _, target := range p.Targets {
			if before.Edit == after.Edit {
				was, _ := before.In(target.Region)
				is, _ := after.In(target.Region)
				if slices.Equal(was.Sets, is.Sets) {
					continue
				}
			}
			woken[target.Region] = true
		}
	}
}

// edit rolls back what failed and removes what is gone. A user who is faster
// wins; the next round looks at what he wants.
func (t *round) edit(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(t.failures)) {
		e, reason := t.seen.endpoints[name], t.failures[name]
		to := 0
		if p := t.seen.plans[name]; e.Canary == nil && p != nil {
			to = p.Good
		}
		next, err := e.Rollback(to, system, reason, t.now)
		if err != nil {
			return fmt.Errorf("rolling back endpoint %s: %w", name, err)
		}
		if err := t.put(ctx, next); err != nil {
			return err
		}
		t.r.s.Log.Warn("endpoint rolled back", "endpoint", name, "to", cmp.Or(to, e.Revision), "reason", reason)
	}
	for _, e := range t.gone {
		err := t.r.s.Store.DeleteEndpoint(ctx, e.Name, e.Version)
		if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		t.r.s.Log.Info("endpoint deleted", "endpoint", e.Name)
		t.r.s.Look()
	}
	return nil
}

func (t *round) put(ctx context.Context, e endpoint.Endpoint) error {
	err := t.r.s.Store.PutEndpoint(ctx, e)
	t.r.s.Look()
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
