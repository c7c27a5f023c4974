package placement

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/gco-project/gco/internal/capacity"
)

// maxNodes bounds the nodes of one shape; see maxPerNode.
const maxNodes = 1 << 24

// space is what is free in one region, node shape by node shape. Pods go where
// they leave the least behind: shapes are sorted tightest first, and a pod
// lands on the first that holds it (best fit). For identical pods the count
// that fits is exact. Different pods are packed largest first, which may miss
// a packing that exists and never invents one.
//
// Amounts are never changed in place, so that a copy of the lists is a copy of
// the space.
type space struct {
	catalog *catalog
	kinds   []kind
	nodes   []shape // that exist, tightest first
	spare   []shape // that may still be added, likewise
	held    []shape // withheld by reservations

	views      []view // by pod ID
	generation int    // of the catalog that views belong to
	log        []change
	logStart   int // changes that were dropped from the front of log
}

// kind is nodes that differ only in what is free on them.
type kind struct {
	*layout
	profile *profile
	total   []int64
	nodes   int64 // that exist
	spare   int64 // that may still be added
}

// shape is count nodes of one kind with the same amounts free.
type shape struct {
	kind  int
	count int64
	free  []int64
	// What order is by: the shares of extended resources that are free,
	// summed, in thousandths; then cpu; then memory.
	special, cpu, memory int64
}

// change is a number of nodes of which less is free than before.
type change struct {
	kind  int
	spare bool
	nodes int64
	from  []int64
	to    []int64 // nil: they can no longer be used
}

// maxLog is how many changes a space remembers. A view that missed more is
// measured again.
const maxLog = 1024

func newSpace(c *catalog, snapshot capacity.Snapshot) *space {
	s := &space{catalog: c, generation: c.generation}
	index := map[string]int{}
	s.nodes = s.read(snapshot.Nodes, index, false)
	s.spare = s.read(snapshot.Provisionable, index, true)
	s.sortKinds()
	s.nodes = sortShapes(s.nodes)
	s.spare = sortShapes(s.spare)
	return s
}

func (s *space) read(nodes []capacity.NodeShape, index map[string]int, spare bool) []shape {
	shapes := make([]shape, 0, len(nodes))
	for _, node := range nodes {
		if node.Count <= 0 {
			continue
		}
		count := min(int64(node.Count), maxNodes)
		at := s.kindOf(node, index)
		k := &s.kinds[at]
		free := k.total
		if spare {
			k.spare += count
		} else {
			k.nodes += count
			free = k.amounts(node.Free)
			for i := range free {
				free[i] = min(max(0, free[i]), k.total[i])
			}
		}
		shapes = append(shapes, s.shape(at, count, free))
	}
	return shapes
}

// kindOf finds or makes the kind of a node.
func (s *space) kindOf(node capacity.NodeShape, index map[string]int) int {
	l := s.catalog.layout(node.Total)
	p := s.catalog.profiles.intern(node)
	total := l.amounts(node.Total)
	key := binary.AppendUvarint(binary.AppendUvarint(s.catalog.key[:0], uint64(l.id)), uint64(p.id))
	for i, amount := range total {
		total[i] = max(0, amount)
		key = binary.AppendVarint(key, total[i])
	}
	s.catalog.key = key
	at, known := index[string(key)]
	if !known {
		at = len(s.kinds)
		index[string(key)] = at
		s.kinds = append(s.kinds, kind{layout: l, profile: p, total: total})
	}
	return at
}

// sortKinds numbers the kinds in an order that does not depend on the
// snapshot's.
func (s *space) sortKinds() {
	order := make([]int, len(s.kinds))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return compareKinds(&s.kinds[i], &s.kinds[j]) })
	sorted, renamed := make([]kind, len(order)), make([]int, len(order))
	for to, from := range order {
		sorted[to], renamed[from] = s.kinds[from], to
	}
	s.kinds = sorted
	for _, list := range [][]shape{s.nodes, s.spare} {
		for i := range list {
			list[i].kind = renamed[list[i].kind]
		}
	}
}

func compareKinds(a, b *kind) int {
	if order := cmp.Or(slices.Compare(a.names, b.names), slices.Compare(a.total, b.total)); order != 0 {
		return order
	}
	return cmp.Compare(a.profile.canonical(), b.profile.canonical())
}

func (s *space) shape(at int, count int64, free []int64) shape {
	k := &s.kinds[at]
	out := shape{kind: at, count: count, free: free}
	for _, i := range k.extended {
		out.special += int64(1000 * (float64(free[i]) / float64(k.total[i])))
	}
	if k.cpu >= 0 {
		out.cpu = free[k.cpu]
	}
	if k.memory >= 0 {
		out.memory = free[k.memory]
	}
	return out
}

func compareShapes(a, b shape) int {
	switch {
	case a.special != b.special:
		return cmp.Compare(a.special, b.special)
	case a.cpu != b.cpu:
		return cmp.Compare(a.cpu, b.cpu)
	case a.memory != b.memory:
		return cmp.Compare(a.memory, b.memory)
	case a.kind != b.kind:
		return cmp.Compare(a.kind, b.kind)
	default:
		return slices.Compare(a.free, b.free)
	}
}

// sortShapes sorts and joins equal shapes.
func sortShapes(list []shape) []shape {
	slices.SortFunc(list, compareShapes)
	out := list[:0]
	for _, s := range list {
		if last := len(out) - 1; last >= 0 && compareShapes(out[last], s) == 0 {
			out[last].count += s.count
		} else {
			out = append(out, s)
		}
	}
	return out
}

// insert adds a shape to a sorted list.
func insert(list []shape, s shape) []shape {
	at, found := slices.BinarySearchFunc(list, s, compareShapes)
	if found {
		list[at].count += s.count
		return list
	}
	return slices.Insert(list, at, s)
}
