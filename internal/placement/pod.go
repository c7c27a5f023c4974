package placement

import (
	"cmp"
	"slices"
	"strings"

	"github.com/gco-project/gco/internal/capacity"
)

// Bounds that keep sums within 64 bits, whatever an agent reports or a user
// asks for. No real node and no real job comes near them.
const (
	maxPerNode = 1 << 20 // pods that one node takes
	maxCount   = 1 << 30 // pods of one demand, nodes of one shape
)

// need is a positive amount of one resource.
type need struct {
	name   string
	amount int64
}

// pod is a pod's demand, compiled: it remembers what it has found out about
// layouts and profiles.
type pod struct {
	id     int
	key    string
	spec   capacity.Pod
	needs  []need     // without `pods`; extended resources first
	slots  int64      // how many of a node's `pods` it takes
	where  []position // by layout ID
	admits []answer   // by profile ID
}

// position says where in a layout the needs stand.
type position struct {
	resolved bool
	at       []int // nil: the layout lacks one of them
}

// answer is what is known of a pod on a profile.
type answer byte

const (
	unasked answer = iota
	yes
	no
)

func newPod(id int, key string, spec capacity.Pod) *pod {
	return &pod{
		id: id, key: key, spec: spec,
		needs: needsOf(spec.Requests),
		slots: max(1, spec.Requests[capacity.Pods]),
	}
}

// needsOf lists what is asked for, extended resources first, each part by
// name. A node's `pods` are no need like the others: every pod takes one.
func needsOf(requests capacity.Resources) []need {
	needs := make([]need, 0, len(requests))
	for name, amount := range requests {
		if amount > 0 && name != capacity.Pods {
			needs = append(needs, need{name, amount})
		}
	}
	slices.SortFunc(needs, func(a, b need) int { return compareNames(a.name, b.name) })
	return needs
}

// commonness is 0 for what few nodes have.
func commonness(name string) int {
	switch name {
	case capacity.CPU, capacity.Memory, capacity.EphemeralStorage:
		return 1
	default:
		return 0
	}
}

// positions finds the needs in a layout; nil if one is missing.
func (p *pod) positions(l *layout) []int {
	for len(p.where) <= l.id {
		p.where = append(p.where, position{})
	}
	if found := &p.where[l.id]; !found.resolved {
		found.resolved, found.at = true, make([]int, len(p.needs))
		for i, need := range p.needs {
			at, ok := slices.BinarySearch(l.names, need.name)
			if !ok {
				found.at = nil
				break
			}
			found.at[i] = at
		}
	}
	return p.where[l.id].at
}

// perNode is how many such pods a node of the layout holds with this much
// free; at is where positions found the needs.
func (p *pod) perNode(l *layout, at []int, free []int64) int64 {
	count := int64(maxPerNode)
	for i := range at {
		have, amount := free[at[i]], p.needs[i].amount
		if have < amount {
			return 0
		}
		count = min(count, have/amount)
	}
	if l.pods >= 0 {
		count = min(count, free[l.pods]/p.slots)
	}
	return count
}

// without returns the free amounts of a node that count such pods were put on.
func (p *pod) without(l *layout, free []int64, count int64) []int64 {
	left := slices.Clone(free)
	for i, at := range p.positions(l) {
		left[at] -= p.needs[i].amount * count
	}
	if l.pods >= 0 {
		left[l.pods] -= p.slots * count
	}
	return left
}

// admitted tells whether such a pod may land on nodes of the profile.
func (p *pod) admitted(node *profile) bool {
	for len(p.admits) <= node.id {
		p.admits = append(p.admits, unasked)
	}
	if p.admits[node.id] == unasked {
		p.admits[node.id] = no
		if p.offMarket(node) || mismatch(p.spec, node) != "" {
			return false
		}
		p.admits[node.id] = yes
	}
	return p.admits[node.id] == yes
}

// offMarket tells whether the node was bought on another market than the job
// wants.
func (p *pod) offMarket(node *profile) bool {
	return p.spec.CapacityType != "" && p.spec.CapacityType != node.market
}

// comparePods puts pods first that ask for more of the first resource, in the
// order of needs, in which they differ.
func comparePods(a, b *pod) int {
	for i := range min(len(a.needs), len(b.needs)) {
		if order := compareNames(a.needs[i].name, b.needs[i].name); order != 0 {
			return order
		}
		if order := cmp.Compare(b.needs[i].amount, a.needs[i].amount); order != 0 {
			return order
		}
	}
	return cmp.Or(cmp.Compare(len(b.needs), len(a.needs)), strings.Compare(a.key, b.key))
}

func compareNames(a, b string) int {
	return cmp.Or(cmp.Compare(commonness(a), commonness(b)), strings.Compare(a, b))
}
