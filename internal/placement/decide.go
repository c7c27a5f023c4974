// Package placement decides which region a job goes to, and says why. It is
// pure and deterministic: the same demand, fleet, policy and clock give the
// same decision. It owns the hard filters, the score, the arithmetic of node
// shapes, and reservations. It stores nothing and moves no job: the queue's
// Placer builds a Fleet from the store, calls Decide for what waits, and writes
// the outcome; the queue asks a Room how much of it a region may claim.
// docs/placement.md describes the rules for people.
package placement

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

// Request is what is to be placed.
type Request struct {
	Demand      capacity.Demand
	Constraints job.Constraints
	// Avoid lists regions to skip this time, such as one that did not claim
	// the job within the policy's patience.
	Avoid []string
}

// Decide chooses the region for a request. It does not change the fleet: that
// is for Take. Ties go to the first region by name.
func Decide(request Request, fleet *Fleet, policy Policy, now time.Time) Decision {
	fleet.mu.Lock()
	defer fleet.mu.Unlock()
	q := fleet.inquire(request, policy, now)
	best := q.rank()
	decision := Decision{Candidates: q.candidates(best)}
	if len(best) > 0 {
		decision.Region = best[0].region.record.Name
	} else {
		decision.neverFits = q.neverFits()
	}
	decision.Rejections = q.rejections(len(best) > 0)
	decision.Omitted = len(fleet.regions) - len(decision.Candidates) - len(decision.Rejections)
	return decision
}

// inquiry is one request put to a fleet.
type inquiry struct {
	request  Request
	fleet    *Fleet
	policy   Policy
	now      time.Time
	groups   []group
	needed   []string // resources, each once
	weights  [terms]int64
	cheapest float64 // price of the cheapest candidate
	// rulings has one for each of the fleet's regions, in their order.
	rulings []ruling
}

// ruling is what was found out about one region.
type ruling struct {
	region *region
	reason reason // fits for a candidate
	fit    fit
	price  float64
	priced bool
	values [terms]int64
	score  int64
}

// flag is what the request says of a region by name.
type flag uint8

const (
	flagAllowed flag = 1 << iota
	flagAvoided
	flagSkipped
)

// inquire rules on every region and scores the candidates. The caller holds
// the fleet's lock until it is done with the answer.
func (f *Fleet) inquire(request Request, policy Policy, now time.Time) *inquiry {
	q := &inquiry{
		request: request, fleet: f, policy: policy, now: now,
		groups:   f.catalog.groups(request.Demand),
		weights:  policy.Weights.normalized(),
		cheapest: math.Inf(1),
	}
	q.needed = resourcesOf(q.groups)
	f.flag(request)
	f.rulings = slices.Grow(f.rulings[:0], len(f.regions))
	for i, r := range f.regions {
		ruled := ruling{region: r}
		ruled.reason = q.rule(&ruled, f.flags[i])
		if ruled.reason == fits && ruled.priced {
			q.cheapest = min(q.cheapest, ruled.price)
		}
		f.rulings = append(f.rulings, ruled)
	}
	q.rulings = f.rulings
	for i := range q.rulings {
		if q.rulings[i].reason == fits {
			q.score(&q.rulings[i])
		}
	}
	return q
}

func (f *Fleet) flag(request Request) {
	f.flags = slices.Grow(f.flags[:0], len(f.regions))[:len(f.regions)]
	clear(f.flags)
	set := func(names []string, bit flag) {
		for _, name := range names {
			if at, known := f.byName[name]; known {
				f.flags[at] |= bit
			}
		}
	}
	set(request.Constraints.Regions, flagAllowed)
	set(request.Constraints.AvoidRegions, flagAvoided)
	set(request.Avoid, flagSkipped)
	if len(request.Constraints.Regions) == 0 {
		for i := range f.flags {
			f.flags[i] |= flagAllowed
		}
	}
}

// rule puts the hard filters to one region, in the order in which a person
// would want to hear of them.
func (q *inquiry) rule(ruled *ruling, flags flag) reason {
	r := ruled.region
	switch {
	case flags&flagAllowed == 0:
		return notAllowed
	case flags&flagAvoided != 0:
		return avoided
	case flags&flagSkipped != 0:
		return skipped
	case r.standing != fits:
		return r.standing
	}
	if resource, _ := q.backoff(r); resource != "" {
		return backOff
	}
	if why := r.never(q.groups); why != fits {
		return why
	}
	ruled.price, ruled.priced = r.price(q.groups)
	if limit := q.request.Constraints.MaxPricePerHour; limit > 0 {
		if !ruled.priced {
			return priceUnknown
		}
		if ruled.price > limit {
			return priceOver
		}
	}
	if ruled.fit = r.space.fit(q.groups); ruled.fit == fitsNot {
		return r.occupied(q.groups)
	}
	return fits
}

// standingOf says why nothing at all may be placed in a region now.
func standingOf(r capacity.Region) reason {
	switch {
	case r.Lease == capacity.LeaseLost:
		return leaseLost
	case r.Lease != capacity.LeaseLive:
		return noSession
	case !r.Inventoried:
		return inventoryIncomplete
	case !r.UnreachableSince.IsZero():
		return unreachable
	case r.Draining:
		return draining
	case r.Cordoned:
		return cordoned
	default:
		return fits
	}
}

// backoff returns the first resource that the request needs and that the
// region backs off for.
func (q *inquiry) backoff(r *region) (resource string, until capacity.Backoff) {
	if len(r.record.Backoffs) == 0 {
		return "", capacity.Backoff{}
	}
	for _, name := range q.needed {
		if b, ok := r.record.Backoffs[name]; ok && q.now.Before(b.Until) {
			return name, b
		}
	}
	return "", capacity.Backoff{}
}

// resourcesOf names what the groups need, each once; every pod needs a place
// among a node's `pods`.
func resourcesOf(groups []group) []string {
	var names []string
	for _, g := range groups {
		for _, need := range g.needs {
			if !slices.Contains(names, need.name) {
				names = append(names, need.name)
			}
		}
	}
	if len(groups) > 0 {
		names = append(names, capacity.Pods)
	}
	return names
}

// never says why the groups could not even be in the empty region; fits if
// they could, or if nobody can tell.
func (r *region) never(groups []group) reason {
	for _, g := range groups {
		switch v := r.view(g.pod); {
		case v.hopeless != fits:
			return v.hopeless
		case v.empty+v.emptySpare < g.count:
			return neverFits
		}
	}
	if len(groups) > 1 && r.exceeded(groups) != "" {
		return neverFits
	}
	return fits
}

// exceeded returns a resource of which the groups together need more than all
// nodes have.
func (r *region) exceeded(groups []group) string {
	needed := map[string]float64{}
	for _, g := range groups {
		for _, need := range g.needs {
			needed[need.name] += float64(g.count) * float64(need.amount)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(needed)) {
		if needed[name] > r.total(name) {
			return name
		}
	}
	return ""
}

// price of all groups for an hour.
func (r *region) price(groups []group) (price float64, known bool) {
	for _, g := range groups {
		v := r.view(g.pod)
		if v.priced == unasked {
			var missing string
			if v.price, missing = r.prices.perPod(g.needs, g.spec.CapacityType); missing == "" {
				v.priced = yes
			} else {
				v.priced = no
			}
		}
		if v.priced == no {
			return 0, false
		}
		price += float64(v.price * float64(g.count))
	}
	return price, true
}

// occupied tells a region that is full from one whose room is being kept.
func (r *region) occupied(groups []group) reason {
	if len(r.held) == 0 {
		return busy
	}
	for _, g := range groups {
		v := r.view(g.pod)
		if v.now+v.nowSpare+r.count(g.pod, r.held) < g.count {
			return busy
		}
	}
	return reserved
}

// neverFits says why no region that the job allows could ever hold it, with
// the region that comes nearest; it is empty if one could, or if nobody can
// tell.
func (q *inquiry) neverFits() string {
	for _, name := range q.request.Constraints.Regions {
		if _, known := q.fleet.byName[name]; !known {
			return ""
		}
	}
	var nearest *region
	nearestWhy := fits
	for i, r := range q.fleet.regions {
		if flags := q.fleet.flags[i]; flags&flagAllowed == 0 || flags&flagAvoided != 0 {
			continue
		}
		reports := r.standing == fits || r.standing == cordoned || r.standing == draining
		why := r.never(q.groups)
		if !reports || why == fits || why == noNodes {
			return ""
		}
		if nearest == nil || why < nearestWhy {
			nearest, nearestWhy = r, why
		}
	}
	if nearest == nil {
		return ""
	}
	return nearest.record.Name + ": " + nearest.roomMessage(nearestWhy, q.groups)
}
