package traffic

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gco-project/gco/internal/canary"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/serving"
)

// trial is a canary with one share, as this leader saw it.
type trial struct {
	// since names the share: it is the canary's Since.
	since time.Time
	// begun is when this leader first saw it; what was before counts for
	// nothing.
	begun time.Time
	// before is what each region had counted then, by region and revision.
	before map[string]map[int]canary.Sample
	// serving is what the revision that serves came to with this share, and
	// earlier with the one before.
	serving, earlier canary.Sample
}

// judge looks at every canary that is analysed.
func (t *Traffic) judge(ctx context.Context, now time.Time) {
	seen := map[string]bool{}
	for name, s := range t.standings {
		e := &s.Endpoint
		if e.Canary == nil || e.Spec.Canary == nil || e.Spec.Canary.Analysis == nil || e.Stopped {
			continue
		}
		seen[e.UID] = true
		verdict, since := t.verdict(&s, now)
		if verdict.Action == canary.Wait {
			continue
		}
		if err := t.act(ctx, name, since, verdict); err != nil && ctx.Err() == nil {
			t.Log.Warn("acting on a canary; it will be tried again", "endpoint", name, "action", verdict.Action, "error", err)
		}
	}
	for uid := range t.trials {
		if !seen[uid] {
			delete(t.trials, uid)
		}
	}
}

// verdict judges one canary by what its regions measured since it has its
// share.
func (t *Traffic) verdict(s *serving.Standing, now time.Time) (v canary.Verdict, since time.Time) {
	e := &s.Endpoint
	known := t.trials[e.UID]
	if known == nil || !known.since.Equal(e.Canary.Since) {
		next := &trial{since: e.Canary.Since, begun: now, before: map[string]map[int]canary.Sample{}}
		if known != nil {
			next.earlier = known.serving
		}
		for _, site := range t.sites(s) {
			next.before[site.Region] = site.Observed.Load.Revisions
		}
		known = next
		t.trials[e.UID] = known
	}
	var onTrial canary.Sample
	known.serving = canary.Sample{}
	for _, site := range t.sites(s) {
		for revision, counted := range site.Observed.Load.Revisions {
			after := counted.Since(known.before[site.Region][revision])
			if revision == e.Canary.Revision {
				onTrial = onTrial.Add(after)
			} else {
				known.serving = known.serving.Add(after)
			}
		}
	}
	return canary.Judge(canary.Trial{
		Analysis: canary.Analysis(*e.Spec.Canary.Analysis), Steps: e.Spec.Canary.Steps,
		Weight: e.Canary.Weight, Age: now.Sub(known.begun),
		Serving: known.serving, Canary: onTrial, Earlier: known.earlier,
	}), known.since
}

// sites are the regions of a trial that measured something.
func (t *Traffic) sites(s *serving.Standing) []endpoint.Site {
	return slices.DeleteFunc(slices.Clone(s.Sites), func(site endpoint.Site) bool {
		regions := s.Endpoint.Spec.Canary.Regions
		return site.Observed.Load == nil || len(regions) > 0 && !slices.Contains(regions, site.Region)
	})
}

var (
	// errMoved: the trial is not where it was judged.
	errMoved = errors.New("the canary has another share by now")
	errAwake = errors.New("the endpoint was woken just now")
)

func isAwake(err error) bool { return errors.Is(err, errAwake) }

// act carries a verdict out, and keeps its numbers.
func (t *Traffic) act(ctx context.Context, name string, since time.Time, v canary.Verdict) error {
	_, err := t.Serving.Edit(ctx, name, 0, func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) {
		if e.Canary == nil || !e.Canary.Since.Equal(since) {
			return *e, errMoved
		}
		revision := e.Canary.Revision
		var next endpoint.Endpoint
		var err error
		switch v.Action {
		case canary.Promote:
			next, err = e.Promote(system, v.Reason, now)
		case canary.RollBack:
			next, err = e.Rollback(0, system, v.Reason, now)
		default:
			next, err = e.SetWeight(v.Weight, system, v.Reason, now)
		}
		if err == nil {
			next.Note(revision, v, now)
		}
		return next, err
	})
	if errors.Is(err, errMoved) {
		return nil
	}
	if err == nil {
		t.Log.Info("a canary was judged", "endpoint", name, "action", v.Action, "weight", v.Weight, "reason", v.Reason)
	}
	return err
}
