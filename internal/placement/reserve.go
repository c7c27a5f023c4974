package placement

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Reserve withholds nodes for a request that finds every region too busy, so
// that later Decides on this fleet cannot use them. It takes the region where
// the least has to become free first (then the cheapest, then the first by
// name), and there the nodes that lack least; so whatever becomes free on them
// brings the same choice nearer at the next pass. A region has one reservation
// at a time: more would leave much idle to no one's good. It returns false if a
// region would do now, or if none that is merely busy can take a reservation.
//
// A fleet lasts for one pass of the Placer, and so does what is withheld: the
// pass calls Reserve again, right after Decide found no region, for the jobs
// that have waited longer than Policy.ReserveAfter.
func (f *Fleet) Reserve(request Request, policy Policy, now time.Time) (name string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := f.inquire(request, policy, now)
	var best *reservation
	for i := range q.rulings {
		ruled := &q.rulings[i]
		if ruled.reason == fits {
			return "", false
		}
		if ruled.reason != busy && ruled.reason != reserved || len(ruled.region.held) > 0 {
			continue
		}
		if plan := ruled.region.plan(q.groups); plan != nil {
			plan.ruling = ruled
			if best == nil || compareReservations(plan, best) < 0 {
				best = plan
			}
		}
	}
	if best == nil {
		return "", false
	}
	best.region.hold(best)
	return best.region.record.Name, true
}

// reservation is the nodes of one region that would be withheld.
type reservation struct {
	*ruling
	nodes, spare []int64 // by index in the space's list
	// missing is the share of the demand that has yet to become free, pod by
	// pod.
	missing float64
}

func compareReservations(a, b *reservation) int {
	price := 0
	if a.priced && b.priced {
		price = cmp.Compare(a.price, b.price)
	} else if a.priced != b.priced {
		price = -1
		if b.priced {
			price = 1
		}
	}
	return cmp.Or(cmp.Compare(a.missing, b.missing), price, strings.Compare(a.region.record.Name, b.region.record.Name))
}

// prospect is a shape that could hold pods of a group once it is empty.
type prospect struct {
	shape   *shape
	taken   *int64
	pods    int64 // that one such node holds when it is empty, at most all
	missing float64
}

// plan chooses nodes for all groups; nil if there are not enough of them.
func (s *space) plan(groups []group) *reservation {
	r := &reservation{nodes: make([]int64, len(s.nodes)), spare: make([]int64, len(s.spare))}
	total, missing := 0.0, 0.0
	for _, g := range groups {
		prospects := s.prospects(nil, g, s.nodes, r.nodes)
		prospects = s.prospects(prospects, g, s.spare, r.spare)
		slices.SortStableFunc(prospects, func(a, b prospect) int {
			return cmp.Or(cmp.Compare(a.missing, b.missing), cmp.Compare(b.pods, a.pods))
		})
		left := g.count
		for _, p := range prospects {
			if left == 0 {
				break
			}
			nodes := min(p.shape.count-*p.taken, (left+p.pods-1)/p.pods)
			held := min(nodes*p.pods, left)
			*p.taken += nodes
			left -= held
			missing += p.missing * float64(held)
		}
		// Several groups may have to share nodes: then all that suit are held.
		if left > 0 && len(groups) == 1 {
			return nil
		}
		total += float64(g.count)
	}
	r.missing = missing / max(1, total)
	return r
}

func (s *space) prospects(out []prospect, g group, list []shape, taken []int64) []prospect {
	for i := range list {
		k := &s.kinds[list[i].kind]
		if taken[i] == list[i].count {
			continue
		}
		if pods := s.perNode(g.pod, list[i].kind, k.total); pods > 0 {
			pods = min(pods, g.count)
			out = append(out, prospect{&list[i], &taken[i], pods, g.missing(k.layout, list[i].free, pods)})
		}
	}
	return out
}

// missing is the largest share, over the needs, of what count pods would need
// on one node that is not free there.
func (p *pod) missing(l *layout, free []int64, count int64) float64 {
	most := 0.0
	lack := func(need, have int64) {
		if want := need * count; have < want {
			most = max(most, float64(want-have)/float64(want))
		}
	}
	for i, at := range p.positions(l) {
		lack(p.needs[i].amount, free[at])
	}
	if l.pods >= 0 {
		lack(p.slots, free[l.pods])
	}
	return most
}

// hold moves the planned nodes out of what can be used.
func (s *space) hold(r *reservation) {
	s.nodes = s.holdFrom(s.nodes, r.nodes, false)
	s.spare = s.holdFrom(s.spare, r.spare, true)
}

func (s *space) holdFrom(list []shape, taken []int64, spare bool) []shape {
	for i, nodes := range taken {
		if nodes == 0 {
			continue
		}
		from := &list[i]
		s.record(change{kind: from.kind, spare: spare, nodes: nodes, from: from.free})
		held := *from
		held.count = nodes
		s.held = append(s.held, held)
		from.count -= nodes
	}
	return slices.DeleteFunc(list, func(s shape) bool { return s.count == 0 })
}
