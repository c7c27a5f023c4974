package placement

import (
	"encoding/binary"
	"iter"
	"maps"
	"slices"

	"github.com/gco-project/gco/internal/capacity"
)

// layout is the list of resource names that a node can count, sorted. Nodes of
// one layout keep their amounts as plain slices in its order.
type layout struct {
	id    int
	names []string
	// Positions of the names that are treated by themselves; -1 where the
	// layout lacks them.
	pods, cpu, memory int
	extended          []int
}

// catalog interns what many nodes and many jobs have in common, so that
// comparing them again is a look-up by number.
type catalog struct {
	layouts  map[string]*layout
	profiles profiles
	pods     map[string]*pod
	last     *layout
	// maxPods bounds pods; when it is reached they are all forgotten, and
	// generation grows.
	maxPods    int
	generation int
	key        []byte   // scratch
	names      []string // scratch
}

func newCatalog() *catalog {
	return &catalog{
		layouts: map[string]*layout{}, profiles: newProfiles(),
		pods: map[string]*pod{}, maxPods: maxPods,
	}
}

// Bounds on what is remembered: pods in all, and pods times regions.
const (
	maxPods  = 10_000
	maxViews = 1 << 18
)

// layout returns the layout of a node's total.
func (c *catalog) layout(total capacity.Resources) *layout {
	// Most nodes count what the node before them counts.
	if c.last == nil || !c.last.lists(total) {
		c.last = c.findLayout(total)
	}
	return c.last
}

func (c *catalog) findLayout(total capacity.Resources) *layout {
	c.names = c.names[:0]
	for name, amount := range total {
		// A node that names `pods` with 0 takes none; one that does not name
		// them takes any number.
		if amount > 0 || name == capacity.Pods {
			c.names = append(c.names, name)
		}
	}
	slices.Sort(c.names)
	c.key = c.key[:0]
	for _, name := range c.names {
		c.key = appendText(c.key, name)
	}
	if l := c.layouts[string(c.key)]; l != nil {
		return l
	}
	l := &layout{id: len(c.layouts), names: slices.Clone(c.names), pods: -1, cpu: -1, memory: -1}
	for i, name := range l.names {
		switch name {
		case capacity.Pods:
			l.pods = i
		case capacity.CPU:
			l.cpu = i
		case capacity.Memory:
			l.memory = i
		case capacity.EphemeralStorage:
		default:
			l.extended = append(l.extended, i)
		}
	}
	c.layouts[string(c.key)] = l
	return l
}

// lists tells whether the layout is that of a node's total. It may say no in
// doubt.
func (l *layout) lists(total capacity.Resources) bool {
	if len(total) != len(l.names) {
		return false
	}
	for i, name := range l.names {
		if amount, known := total[name]; !known || amount <= 0 && i != l.pods {
			return false
		}
	}
	return true
}

// amounts lists what r counts, in the order of the layout.
func (l *layout) amounts(r capacity.Resources) []int64 {
	out := make([]int64, len(l.names))
	for i, name := range l.names {
		out[i] = r[name]
	}
	return out
}

// group is count pods of one shape.
type group struct {
	*pod
	count int64
}

// groups compiles a demand, largest pods first. Groups of the same shape are
// joined, so that the order of a demand's groups does not matter.
func (c *catalog) groups(demand capacity.Demand) []group {
	if len(c.pods)+len(demand.Pods) > c.maxPods {
		c.pods = map[string]*pod{}
		c.generation++
	}
	out := make([]group, 0, len(demand.Pods))
	for _, g := range demand.Pods {
		if g.Count <= 0 {
			continue
		}
		p := c.pod(g.Pod)
		if i := slices.IndexFunc(out, func(o group) bool { return o.pod == p }); i >= 0 {
			out[i].count = min(out[i].count+int64(g.Count), maxCount)
			continue
		}
		out = append(out, group{p, min(int64(g.Count), maxCount)})
	}
	if len(out) > 1 {
		slices.SortFunc(out, func(a, b group) int { return comparePods(a.pod, b.pod) })
	}
	return out
}

func (c *catalog) pod(spec capacity.Pod) *pod {
	c.key = c.appendPodKey(c.key[:0], spec)
	if p := c.pods[string(c.key)]; p != nil {
		return p
	}
	p := newPod(len(c.pods), string(c.key), spec)
	c.pods[p.key] = p
	return p
}

// appendPodKey writes all that tells pods apart for placement. Every text and
// every list has its length before it, so that no two pods have one key.
func (c *catalog) appendPodKey(key []byte, spec capacity.Pod) []byte {
	key = appendText(key, string(spec.CapacityType))
	key = c.appendSorted(key, len(spec.Requests), maps.Keys(spec.Requests), func(key []byte, name string) []byte {
		return binary.AppendVarint(key, max(0, spec.Requests[name]))
	})
	key = c.appendSorted(key, len(spec.NodeSelector), maps.Keys(spec.NodeSelector), func(key []byte, name string) []byte {
		return appendText(key, spec.NodeSelector[name])
	})
	key = binary.AppendUvarint(key, uint64(len(spec.Affinity)))
	for _, term := range spec.Affinity {
		key = binary.AppendUvarint(key, uint64(len(term)))
		for _, r := range term {
			key = appendText(appendText(key, r.Key), r.Operator)
			key = binary.AppendUvarint(key, uint64(len(r.Values)))
			for _, value := range r.Values {
				key = appendText(key, value)
			}
		}
	}
	for _, t := range spec.Tolerations {
		key = appendText(appendText(appendText(appendText(key, t.Key), t.Operator), t.Value), t.Effect)
	}
	return key
}

// appendSorted writes the names in order, each with what value writes of it.
func (c *catalog) appendSorted(key []byte, count int, names iter.Seq[string], value func([]byte, string) []byte) []byte {
	key = binary.AppendUvarint(key, uint64(count))
	c.names = slices.AppendSeq(c.names[:0], names)
	slices.Sort(c.names)
	for _, name := range c.names {
		key = value(appendText(key, name), name)
	}
	return key
}

func appendText(key []byte, text string) []byte {
	return append(binary.AppendUvarint(key, uint64(len(text))), text...)
}
