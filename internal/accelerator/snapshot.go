package accelerator

import (
	"cmp"
	"slices"
)

// failoverGroups is how many of the nearest groups are looked at for a healthy
// endpoint before connections go to the nearest group regardless, as AWS
// documents it for Global Accelerator.
const failoverGroups = 3

// snapshot is what routing needs to know, at one moment. It does not change.
type snapshot struct {
	// groups are in the order of their distance.
	groups []regional
	// known says that every endpoint has been checked at least once.
	known bool
}

// regional is one group of a snapshot.
type regional struct {
	region string
	// dial is between 0 and 1.
	dial float64
	// weighted are the targets that have a weight, healthy those of them that
	// are healthy.
	weighted []*target
	healthy  []*target
}

func (g *regional) ready() bool { return len(g.healthy) > 0 }

// point is where a connection falls, in two dimensions between 0 (included)
// and 1. Points that spread evenly give every group and endpoint its share.
type point struct{ group, endpoint float64 }

func newSnapshot(groups []Group, targets []*target) *snapshot {
	s := &snapshot{known: true}
	for _, g := range byDistance(groups) {
		r := regional{region: g.Region, dial: g.Dial / 100}
		for _, t := range targets {
			if t.region != g.Region || t.Weight == 0 {
				continue
			}
			r.weighted = append(r.weighted, t)
			known, healthy := t.health()
			s.known = s.known && known
			if healthy {
				r.healthy = append(r.healthy, t)
			}
		}
		s.groups = append(s.groups, r)
	}
	return s
}

// byDistance sorts groups, the nearest first, equally near ones by name.
func byDistance(groups []Group) []Group {
	return slices.SortedFunc(slices.Values(groups), func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.Latency, b.Latency), cmp.Compare(a.Region, b.Region))
	})
}

// first is the target that a connection is for; nil if none has a weight.
//
//  1. The groups take their dial's share of what comes to them, the nearest
//     first. What none takes is for the nearest that takes anything.
//  2. If that group has healthy endpoints, one of them, by weight.
//  3. Else one in the nearest of the three nearest groups that has, whatever
//     its dial.
//  4. Else any endpoint with a weight of the nearest group that has one.
func (s *snapshot) first(at point) *target {
	if len(s.groups) == 0 {
		return nil
	}
	if chosen := &s.groups[s.dialled(at.group)]; chosen.ready() {
		return chosen.pick(at.endpoint)
	}
	if g := s.failover(); g != nil {
		return g.pick(at.endpoint)
	}
	for i := range s.groups {
		if all := s.groups[i].weighted; len(all) > 0 {
			return all[int(at.endpoint*float64(len(all)))]
		}
	}
	return nil
}

// dialled is the index of the group that takes a connection by the dials
// alone. A group's part of the line from 0 to 1 depends on nothing but dials,
// so health moves no client that it need not move.
func (s *snapshot) dialled(at float64) int {
	taken, otherwise := 0.0, -1
	for i := range s.groups {
		dial := s.groups[i].dial
		if dial > 0 && otherwise < 0 {
			otherwise = i
		}
		if taken += (1 - taken) * dial; at < taken {
			return i
		}
	}
	return max(otherwise, 0)
}

// failover is the group that takes over for one without healthy endpoints.
func (s *snapshot) failover() *regional {
	for i := range min(len(s.groups), failoverGroups) {
		if s.groups[i].ready() {
			return &s.groups[i]
		}
	}
	return nil
}

// failingOpen says that connections without a healthy group of their own go to
// endpoints that are not healthy.
func (s *snapshot) failingOpen() bool { return s.failover() == nil }

// pick chooses among the healthy targets by weight. The line is cut by the
// weights of all; what falls on one that is not healthy falls, at the same
// place within its part, on the line of those that are: so the clients of the
// others stay where they are.
func (g *regional) pick(at float64) *target {
	chosen, within := cut(g.weighted, at)
	if !slices.Contains(g.healthy, chosen) {
		chosen, _ = cut(g.healthy, within)
	}
	return chosen
}

// cut divides the line from 0 to 1 by weight, and returns whose part a place
// is in, and where within that, between 0 and 1 again.
func cut(targets []*target, at float64) (t *target, within float64) {
	total := 0
	for _, t := range targets {
		total += t.Weight
	}
	place := at * float64(total)
	for _, t := range targets {
		weight := float64(t.Weight)
		if place < weight {
			return t, place / weight
		}
		place -= weight
	}
	// Rounding alone leads here.
	return targets[len(targets)-1], 0
}

// next is the target to try after those that could not be connected to: the
// nearest group with healthy endpoints that was not tried, then other healthy
// endpoints, then any with a weight; nil if all were tried.
func (s *snapshot) next(tried []*target, at point) *target {
	untried := func(all []*target) *target {
		for _, t := range all {
			if !slices.Contains(tried, t) {
				return t
			}
		}
		return nil
	}
	for i := range s.groups {
		g := &s.groups[i]
		fresh := !slices.ContainsFunc(tried, func(t *target) bool { return t.region == g.region })
		if fresh && g.ready() {
			return g.pick(at.endpoint)
		}
	}
	for i := range s.groups {
		if t := untried(s.groups[i].healthy); t != nil {
			return t
		}
	}
	for i := range s.groups {
		if t := untried(s.groups[i].weighted); t != nil {
			return t
		}
	}
	return nil
}
