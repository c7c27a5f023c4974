package local

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

// gpu is the extended resource whose pieces are told apart.
const gpu = "nvidia.com/gpu"

// podsPerNode is how many pods a node takes that does not say so: the kubelet's
// default.
const podsPerNode = 110

// nodes is what the region is said to have, node by node, and what of it is
// held. Runtime.mu guards it.
type nodes struct{ list []*node }

type node struct {
	name  string
	shape capacity.NodeShape // with Count 1; Free is what is free now
	// gpus are the indexes of those that are free, sorted. They differ from
	// node to node, so that no two nodes name the same device.
	gpus []int
}

func newNodes(region string, shapes []capacity.NodeShape) *nodes {
	n := &nodes{}
	firstGPU := 0
	for _, shape := range shapes {
		for range shape.Count {
			one := shape
			one.Count, one.Total = 1, shape.Total.Clone()
			if one.Total[capacity.Pods] == 0 {
				one.Total[capacity.Pods] = podsPerNode
			}
			one.Free = one.Total.Clone()
			added := &node{name: fmt.Sprintf("%s-node-%d", region, len(n.list)), shape: one}
			for range shape.Total[gpu] {
				added.gpus = append(added.gpus, firstGPU)
				firstGPU++
			}
			n.list = append(n.list, added)
		}
	}
	return n
}

// take finds room for count pods at once and holds it, or says which kind of
// failure it is.
func (n *nodes) take(pod capacity.Pod, count int) ([]attempt.Slot, *capacity.FailureKind) {
	free := make([]capacity.Resources, len(n.list))
	for i, node := range n.list {
		free[i] = node.shape.Free
	}
	chosen, ok := n.pack(free, pod, count)
	if !ok {
		kind := capacity.NoCapacity
		for i, node := range n.list {
			free[i] = node.shape.Total
		}
		if _, ever := n.pack(free, pod, count); !ever {
			kind = capacity.NeverFits
		}
		return nil, &kind
	}
	slots := make([]attempt.Slot, 0, count)
	for _, i := range chosen {
		slots = append(slots, n.list[i].hold(i, pod.Requests))
	}
	return slots, nil
}

// pack chooses a node for each of count equal pods, tightest first, as package
// placement does.
func (n *nodes) pack(free []capacity.Resources, pod capacity.Pod, count int) ([]int, bool) {
	order := make([]int, len(free))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return n.tightness(a, free[a]).compare(n.tightness(b, free[b]))
	})
	var chosen []int
	for _, i := range order {
		shape := n.list[i].shape
		for shape.Free = free[i]; len(chosen) < count && fits(shape, pod); shape.Free = shape.Free.Sub(pod.Requests) {
			chosen = append(chosen, i)
		}
	}
	return chosen, len(chosen) == count
}

// fits asks package placement, so that both follow the same rules.
func fits(shape capacity.NodeShape, pod capacity.Pod) bool {
	if !pod.Requests.FitsIn(shape.Free) {
		return false
	}
	one := capacity.Demand{Pods: []capacity.PodGroup{{Count: 1, Pod: pod}}}
	return placement.Fits(one, capacity.Snapshot{Nodes: []capacity.NodeShape{shape}})
}

// tightness orders nodes by what would be left unused: shares of extended
// resources first.
type tightness struct {
	special     float64
	cpu, memory int64
}

func (n *nodes) tightness(i int, free capacity.Resources) tightness {
	t := tightness{cpu: free[capacity.CPU], memory: free[capacity.Memory]}
	for name, total := range n.list[i].shape.Total {
		switch name {
		case capacity.CPU, capacity.Memory, capacity.EphemeralStorage, capacity.Pods:
		default:
			t.special += float64(free[name]) / float64(max(total, 1))
		}
	}
	return t
}

func (t tightness) compare(other tightness) int {
	return cmp.Or(cmp.Compare(t.special, other.special), cmp.Compare(t.cpu, other.cpu), cmp.Compare(t.memory, other.memory))
}

func (n *node) hold(index int, requests capacity.Resources) attempt.Slot {
	n.shape.Free = n.shape.Free.Sub(requests)
	slot := attempt.Slot{Node: n.name, Index: index}
	count := min(int(requests[gpu]), len(n.gpus))
	slot.GPUs, n.gpus = slices.Clone(n.gpus[:count]), n.gpus[count:]
	return slot
}

// hold takes again what an attempt of an earlier life of the agent was given.
// Where the nodes were configured anew, free may become negative.
func (n *nodes) hold(slots []attempt.Slot, requests capacity.Resources) {
	for _, slot := range slots {
		if node := n.find(slot); node != nil {
			node.shape.Free = node.shape.Free.Sub(requests)
			node.gpus = slices.DeleteFunc(node.gpus, func(g int) bool { return slices.Contains(slot.GPUs, g) })
		}
	}
}

// release gives back what an attempt held.
func (n *nodes) release(slots []attempt.Slot, requests capacity.Resources) {
	for _, slot := range slots {
		if node := n.find(slot); node != nil {
			node.shape.Free = node.shape.Free.Add(requests)
			node.gpus = append(slices.Clone(node.gpus), slot.GPUs...)
			slices.Sort(node.gpus)
		}
	}
}

func (n *nodes) find(slot attempt.Slot) *node {
	if slot.Index < 0 || slot.Index >= len(n.list) || n.list[slot.Index].name != slot.Node {
		return nil
	}
	return n.list[slot.Index]
}

// lacking names the resource that a request failed for, the scarcer kinds
// first: one that no node has enough of (short), or else one of those that
// were asked for.
func (n *nodes) lacking(requests capacity.Resources, kind capacity.FailureKind) (resource string, short bool) {
	names := requests.Names()
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(commonness(a), commonness(b)) })
	for _, name := range names {
		enough := slices.ContainsFunc(n.list, func(node *node) bool {
			have := node.shape.Free
			if kind == capacity.NeverFits {
				have = node.shape.Total
			}
			return have[name] >= requests[name]
		})
		if !enough {
			return name, true
		}
	}
	return names[0], false // there always is one: pods
}

func commonness(name string) int {
	switch name {
	case capacity.CPU:
		return 1
	case capacity.Memory:
		return 2
	case capacity.EphemeralStorage:
		return 3
	case capacity.Pods:
		return 4
	}
	return 0
}

// Capacity is what the configured nodes have left.
func (r *Runtime) Capacity(context.Context) (capacity.Snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.nodes.snapshot(), nil
}

// snapshot joins nodes that can't be told apart, in the order of their names.
func (n *nodes) snapshot() capacity.Snapshot {
	var snapshot capacity.Snapshot
	for _, node := range n.list {
		same := slices.IndexFunc(snapshot.Nodes, func(shape capacity.NodeShape) bool { return alike(shape, node.shape) })
		if same >= 0 {
			snapshot.Nodes[same].Count++
			continue
		}
		snapshot.Nodes = append(snapshot.Nodes, node.shape)
	}
	return snapshot
}

func alike(a, b capacity.NodeShape) bool {
	return a.Architecture == b.Architecture && a.Free.Equal(b.Free) && a.Total.Equal(b.Total) &&
		maps.Equal(a.Labels, b.Labels) && slices.Equal(a.Taints, b.Taints)
}

// noRoom is the rejection of what does not fit.
func (n *nodes) noRoom(requests capacity.Resources, count int, kind capacity.FailureKind) *runtime.Rejected {
	resource, short := n.lacking(requests, kind)
	why := "no node has enough " + resource
	if !short {
		why = "not enough nodes match its node selector, affinity and tolerations and have room at once"
	}
	rejected := &runtime.Rejected{Reason: "NoCapacity", Message: fmt.Sprintf("%d pod(s) do not fit on the region's nodes beside what runs there: %s", count, why)}
	if kind == capacity.NeverFits {
		rejected.Reason = "NeverFits"
		rejected.Message = fmt.Sprintf("%d pod(s) do not fit on the region's nodes even when those are empty: %s", count, why)
	}
	rejected.Capacity = &runtime.CapacityFailure{Resource: resource, Kind: kind, Message: rejected.Message}
	return rejected
}
