package endpoint

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	// fullFor is how long a region that could not take all of its replicas is
	// not asked to take more.
	fullFor = time.Minute
	// maxRestarts is how often a replica of a revision that is not ready yet may
	// end before the revision has failed.
	maxRestarts = 3
)

// Site is one region as an endpoint sees it.
type Site struct {
	Region string
	// Up: its agent is there.
	Up bool
	// Fresh: the agent has said what it has, in its present session. Until then
	// what was observed before holds, unless the region was lost meanwhile.
	Fresh bool
	// Open: it may take more.
	Open bool
	// Leaving: what it has is to go elsewhere.
	Leaving  bool
	Observed Observed
}

// Situation is what a decision is made of.
type Situation struct {
	Endpoint *Endpoint
	Plan     *Plan
	// Sites are all regions, by name.
	Sites []Site
	// Rank lists regions that could take some replicas of the endpoint, the
	// best first. It is asked only where regions are to be chosen.
	Rank func(replicas int) []string
	// Replicas is how many autoscaling wants; negative where it has no opinion.
	Replicas int
	Now      time.Time
}

// Decision is what follows from a situation.
type Decision struct {
	// Plan is the one to go by from now on; Version is still that of the one
	// before.
	Plan Plan
	// Failure says why the revision on trial, a canary or the one that serves,
	// is to be rolled back; empty if it is not.
	Failure string
	// Gone says that a deletion is complete.
	Gone bool
	// Due is when another decision may follow from the same situation; zero is
	// never.
	Due time.Time
}

// Decide says what each region should have. In order:
//
//  1. the number of replicas is what the spec says, or autoscaling;
//  2. regions are chosen: those of the list, or as many as the spec says, those
//     first that have ready replicas, then those of the plan, then by rank;
//  3. replicas stay where they are, as long as that is possible. What is
//     missing goes to the region that has the fewest, what is too much goes from
//     the one that has the most. They are spread evenly, and so moved, only for a
//     new revision, whose replicas all start anyway, and where the regions of
//     the spec have changed or one of the list is there for the first time;
//  4. nothing that is ready goes before as many are ready elsewhere;
//  5. a revision that does not become ready in time has failed.
func Decide(s Situation) Decision {
	d := &decider{Situation: s, sites: map[string]*Site{}}
	for i := range s.Sites {
		d.sites[s.Sites[i].Region] = &s.Sites[i]
	}
	return d.decide()
}

type decider struct {
	Situation
	sites map[string]*Site
	// next is the plan in the making.
	next Plan
	due  time.Time
}

func (d *decider) decide() Decision {
	e := d.Endpoint
	d.next = *d.Plan
	d.next.Name, d.next.UID, d.next.Edit, d.next.Message = e.Name, e.UID, e.Version, ""
	if e.Deleting || e.Stopped {
		d.next.Replicas, d.next.Targets, d.next.Full = 0, nil, nil
		d.next.Trying, d.next.TryingSince = 0, time.Time{}
		return Decision{Plan: d.next, Gone: e.Deleting && d.empty()}
	}
	d.next.Replicas = d.wanted()
	d.noteFull()
	shares := d.spread(d.chosen())
	d.next.Targets = d.targets(shares)
	failure := d.judge()
	return Decision{Plan: d.next, Failure: failure, Due: d.due}
}

// empty tells whether no region that is there has anything left.
func (d *decider) empty() bool {
	return !slices.ContainsFunc(d.Sites, func(s Site) bool { return s.Up && s.Observed.UID == d.Endpoint.UID && len(s.Observed.Replicas) > 0 })
}

func (d *decider) wanted() int {
	a := d.Endpoint.Spec.Autoscaling
	if a == nil {
		return d.Endpoint.Spec.Replicas
	}
	n := d.Replicas
	if n < 0 {
		n = d.Plan.Replicas
	}
	if d.Plan.Edit == 0 {
		// A first revision shows that it becomes ready before it may rest.
		n = max(n, 1)
	}
	return min(max(n, a.Min), a.Max)
}

// site is a region that is there, and of which it is known what it has; nil
// for any other.
func (d *decider) site(region string) *Site {
	s := d.sites[region]
	if s == nil || !s.Up {
		return nil
	}
	if target, planned := d.Plan.In(region); !s.Fresh && (!planned || target.Lost) {
		return nil
	}
	return s
}

// ready counts what answers in a region, of any revision.
func (d *decider) ready(region string) int {
	s := d.site(region)
	if s == nil || s.Observed.UID != d.Endpoint.UID {
		return 0
	}
	return s.Observed.Ready(0)
}

// alive counts what a region has and could have ready.
func (d *decider) alive(region string) int {
	s := d.site(region)
	if s == nil || s.Observed.UID != d.Endpoint.UID {
		return 0
	}
	count := 0
	for _, r := range s.Observed.Replicas {
		if r.Phase != Draining && r.Phase != Failed {
			count++
		}
	}
	return count
}

// noteFull keeps regions that could not take what they should from being asked
// again too soon.
func (d *decider) noteFull() {
	full := map[string]time.Time{}
	for region, until := range d.Plan.Full {
		if d.Now.Before(until) {
			full[region] = until
		}
	}
	for _, s := range d.Sites {
		target, planned := d.Plan.In(s.Region)
		if _, known := full[s.Region]; known || !s.Up || !planned || s.Observed.Shortage == nil {
			continue
		}
		if d.alive(s.Region) < target.Replicas() {
			full[s.Region] = d.Now.Add(fullFor)
		}
	}
	d.next.Full = nil
	if len(full) > 0 {
		d.next.Full = full
	}
	for _, until := range full {
		d.dueAt(until)
	}
}

func (d *decider) dueAt(t time.Time) {
	if d.due.IsZero() || t.Before(d.due) {
		d.due = t
	}
}

// room is how many replicas a region may have.
func (d *decider) room(region string) int {
	s := d.site(region)
	if s == nil || s.Leaving {
		return 0
	}
	if _, full := d.next.Full[region]; full {
		return d.alive(region)
	}
	if !s.Open {
		target, _ := d.Plan.In(region)
		return max(target.Replicas(), d.ready(region))
	}
	return MaxReplicas
}

// chosen lists the regions to spread over, in order of preference.
func (d *decider) chosen() []string {
	spec := &d.Endpoint.Spec
	if len(spec.Regions.Names) > 0 {
		return slices.DeleteFunc(slices.Clone(spec.Regions.Names), func(name string) bool { return d.room(name) == 0 })
	}
	if d.next.Replicas == 0 {
		return nil
	}
	chosen := d.present()
	most := min(spec.Regions.Count, d.next.Replicas)
	if len(chosen) > most {
		chosen = chosen[:most]
	}
	var ranked []string
	for asked := false; ; {
		room := 0
		for _, name := range chosen {
			room += min(d.room(name), d.next.Replicas)
		}
		if len(chosen) >= most && room >= d.next.Replicas {
			return chosen
		}
		if !asked {
			asked, ranked = true, d.Rank((d.next.Replicas+most-1)/most)
		}
		ranked = slices.DeleteFunc(ranked, func(name string) bool { return slices.Contains(chosen, name) || d.room(name) == 0 })
		if len(ranked) == 0 {
			return chosen
		}
		chosen = append(chosen, ranked[0])
	}
}

// present lists the regions that have replicas, or should have, those with the
// most ready ones first.
func (d *decider) present() []string {
	var names []string
	for _, s := range d.Sites {
		target, planned := d.Plan.In(s.Region)
		if d.room(s.Region) > 0 && (planned && target.Replicas() > 0 && !target.Lost && !target.Held || d.ready(s.Region) > 0) {
			names = append(names, s.Region)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int {
		if more := d.ready(b) - d.ready(a); more != 0 {
			return more
		}
		return d.planned(b) - d.planned(a)
	})
	return names
}

// planned is how many replicas of the plan stand in a region.
func (d *decider) planned(region string) int {
	target, found := d.Plan.In(region)
	switch {
	case !found || target.Held:
		return 0
	case target.Lost:
		// It is back, with what it still has.
		return d.ready(region)
	default:
		return target.Sets[0].Replicas
	}
}

// spread divides the replicas among regions.
func (d *decider) spread(regions []string) map[string]int {
	shares := make(map[string]int, len(regions))
	sum := 0
	anew := d.anew(regions)
	for _, name := range regions {
		if !anew {
			shares[name] = min(d.planned(name), d.room(name))
		}
		sum += shares[name]
	}
	for ; sum > d.next.Replicas; sum-- {
		shares[d.most(regions, shares)]--
	}
	for ; sum < d.next.Replicas; sum++ {
		name := d.fewest(regions, shares)
		if name == "" {
			d.next.Message = fmt.Sprintf("no region has room for %d of %d replicas", d.next.Replicas-sum, d.next.Replicas)
			break
		}
		shares[name]++
	}
	return shares
}

// anew tells whether the replicas are to be spread evenly, wherever they are.
func (d *decider) anew(regions []string) bool {
	missing := slices.DeleteFunc(slices.Clone(d.Plan.Missing), func(name string) bool { return d.site(name) != nil })
	anew := !d.Plan.Spread.same(d.Endpoint.Spec.Regions) || d.Endpoint.Canary == nil && d.Endpoint.Revision != d.Plan.serving() ||
		slices.ContainsFunc(d.Plan.Missing, func(name string) bool { return slices.Contains(regions, name) })
	if anew {
		missing = slices.DeleteFunc(slices.Clone(d.Endpoint.Spec.Regions.Names), func(name string) bool { return d.site(name) != nil })
	}
	d.next.Spread, d.next.Missing = d.Endpoint.Spec.Regions, missing
	return anew
}

// most is the region to take a replica from: the one with the most, and among
// equals one with the fewest ready, then the last.
func (d *decider) most(regions []string, shares map[string]int) string {
	best := regions[0]
	for _, name := range regions[1:] {
		if shares[name] > shares[best] || shares[name] == shares[best] && d.ready(name) <= d.ready(best) {
			best = name
		}
	}
	return best
}

// fewest is the region to give a replica to; empty where none has room.
func (d *decider) fewest(regions []string, shares map[string]int) string {
	best := ""
	for _, name := range regions {
		if shares[name] < d.room(name) && (best == "" || shares[name] < shares[best]) {
			best = name
		}
	}
	return best
}

// targets turns shares into what each region should have. Where that takes
// ready replicas away, they stay until as many are ready elsewhere; what a lost
// region had is remembered.
func (d *decider) targets(shares map[string]int) []Target {
	all := map[string]Target{}
	ready := 0
	for region, n := range shares {
		if n > 0 {
			all[region] = Target{Region: region, Sets: d.sets(region, n)}
		}
		ready += min(n, d.ready(region))
	}
	for _, old := range d.Plan.Targets {
		kept := slices.DeleteFunc(slices.Clone(old.Sets), func(s Set) bool { _, known := d.Endpoint.Find(s.Revision); return !known })
		now, stays := all[old.Region]
		switch {
		case len(kept) != len(old.Sets):
		case d.site(old.Region) == nil && !stays:
			all[old.Region] = Target{Region: old.Region, Lost: true, Sets: old.Sets}
		case ready < d.next.Replicas && now.Replicas() < old.Replicas() && d.ready(old.Region) > now.Replicas() && stays:
			sets := slices.Clone(now.Sets)
			sets[0].Replicas = max(sets[0].Replicas, min(old.Sets[0].Replicas, d.ready(old.Region)))
			all[old.Region] = Target{Region: old.Region, Sets: sets}
		case ready < d.next.Replicas && !stays && d.ready(old.Region) > 0:
			all[old.Region] = Target{Region: old.Region, Held: true, Sets: old.Sets}
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Target) int {
		if a.Region < b.Region {
			return -1
		}
		return 1
	})
}

// sets divides a region's replicas among revisions. A canary's come on top:
// when it fails, what served before can still take everything.
func (d *decider) sets(region string, n int) []Set {
	canary, policy := d.Endpoint.Canary, d.Endpoint.Spec.Canary
	if canary == nil || policy != nil && len(policy.Regions) > 0 && !slices.Contains(policy.Regions, region) {
		return []Set{{Revision: d.Endpoint.Revision, Replicas: n, Weight: 100}}
	}
	return []Set{
		{Revision: d.Endpoint.Revision, Replicas: n, Weight: 100 - canary.Weight},
		{Revision: canary.Revision, Replicas: max(1, (n*canary.Weight+99)/100), Weight: canary.Weight},
	}
}

// judge watches a revision that has not been ready yet, and says why it has
// failed; empty if it has not.
func (d *decider) judge() (failure string) {
	e, p := d.Endpoint, &d.next
	number, known := e.Revision, p.Good
	if e.Canary != nil {
		number, known = e.Canary.Revision, p.Tried
	}
	if number == known {
		p.Trying, p.TryingSince = 0, time.Time{}
		return ""
	}
	if p.Trying != number || !slices.Equal(d.Plan.regions(), p.regions()) {
		p.Trying, p.TryingSince = number, d.Now
	}
	if d.complete(number) {
		p.Trying, p.TryingSince = 0, time.Time{}
		if e.Canary != nil {
			p.Tried = number
		} else {
			p.Good = number
		}
		return ""
	}
	if p.Replicas == 0 {
		return ""
	}
	limit := p.TryingSince.Add(e.Spec.ReadyTimeout)
	switch crash := d.crash(number); {
	case crash != "":
		failure = crash
	case d.Now.Before(limit):
		d.dueAt(limit)
		return ""
	default:
		failure = fmt.Sprintf("revision %d was not ready within %s", number, e.Spec.ReadyTimeout)
	}
	p.Message = failure
	if _, remembered := e.Find(p.Good); !remembered {
		// There is nothing to go back to.
		return ""
	}
	return failure
}

// complete tells whether a revision is ready wherever it should be.
func (d *decider) complete(number int) bool {
	targets := 0
	for _, t := range d.next.Targets {
		if t.Lost || t.Held {
			continue
		}
		for _, set := range t.Sets {
			if set.Revision != number {
				continue
			}
			targets++
			if s := d.site(t.Region); s == nil || s.Observed.UID != d.Endpoint.UID || s.Observed.Ready(number) < set.Replicas {
				return false
			}
		}
	}
	return targets > 0
}

// crash says that replicas of a revision that is ready nowhere end again and
// again.
func (d *decider) crash(number int) string {
	found := ""
	for _, s := range d.Sites {
		if !s.Up || s.Observed.UID != d.Endpoint.UID {
			continue
		}
		if s.Observed.Ready(number) > 0 {
			return ""
		}
		for _, r := range s.Observed.Replicas {
			if r.Revision == number && r.Restarts >= maxRestarts && found == "" {
				found = fmt.Sprintf("replicas of revision %d end again and again in %s: %s", number, s.Region, r.Message)
			}
		}
	}
	return found
}

// serving is the revision that the plan's targets serve by; 0 if there is
// none.
func (p *Plan) serving() int {
	for _, t := range p.Targets {
		if !t.Lost && !t.Held {
			return t.Sets[0].Revision
		}
	}
	return 0
}

// regions lists the targets that count.
func (p *Plan) regions() []string {
	var names []string
	for _, t := range p.Targets {
		if !t.Lost && !t.Held {
			names = append(names, t.Region)
		}
	}
	return names
}

// Same tells whether two plans say the same, whatever their versions.
func (p *Plan) Same(other *Plan) bool {
	return p.Name == other.Name && p.UID == other.UID && p.Edit == other.Edit && p.Replicas == other.Replicas &&
		p.Good == other.Good && p.Tried == other.Tried && p.Trying == other.Trying && p.TryingSince.Equal(other.TryingSince) &&
		p.Message == other.Message && p.Spread.same(other.Spread) && slices.Equal(p.Missing, other.Missing) && maps.EqualFunc(p.Full, other.Full, time.Time.Equal) &&
		slices.EqualFunc(p.Targets, other.Targets, Target.same)
}

func (t Target) same(other Target) bool {
	return t.Region == other.Region && t.Lost == other.Lost && t.Held == other.Held && slices.Equal(t.Sets, other.Sets)
}
