package kube

import (
	"context"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/manifest"
	"github.com/gco-project/gco/internal/placement"
)

// node is what is kept of a node. Its pods may be known before it is.
type node struct {
	known bool
	shape capacity.NodeShape // Total is what it can hold when it is empty
	used  capacity.Resources
	ready bool
	// closed: cordoned, or about to go.
	closed bool
}

// usable tells whether new pods land on it.
func (n *node) usable() bool { return n.known && n.ready && !n.closed }

// ownLabels are different on every node, so with them no two would be alike.
var ownLabels = []string{
	corev1.LabelHostname, "alpha.eksctl.io/instance-id", "csi.volume.kubernetes.io/nodeid", "karpenter.sh/nodeclaim",
	"topology.ebs.csi.aws.com/instance-id", "eks.amazonaws.com/instance-id", "node.kubernetes.io/instance-id",
}

// takeNode notes what a node is now; r.mu must be held.
func (r *Runtime) takeNode(from *corev1.Node) {
	n := r.nodeNamed(from.Name)
	ready := slices.ContainsFunc(from.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
	shape := capacity.NodeShape{
		Count: 1, Total: manifest.Resources(from.Status.Allocatable),
		Architecture: from.Status.NodeInfo.Architecture, Labels: maps.Clone(from.Labels),
	}
	for _, label := range ownLabels {
		delete(shape.Labels, label)
	}
	for _, taint := range from.Spec.Taints {
		shape.Taints = append(shape.Taints, capacity.Taint{Key: taint.Key, Value: taint.Value, Effect: string(taint.Effect)})
	}
	closed := from.Spec.Unschedulable || from.DeletionTimestamp != nil
	// Nodes say every few seconds that nothing has changed.
	if n.known && n.ready == ready && n.closed == closed && sameShape(n.shape, shape) {
		return
	}
	n.known, n.ready, n.closed, n.shape = true, ready, closed, shape
	r.never = map[capacity.Class]bool{}
	r.snapshot = nil
	r.judgeNodes()
	poke(r.changed)
}

func sameShape(a, b capacity.NodeShape) bool {
	return a.Architecture == b.Architecture && a.Total.Equal(b.Total) && maps.Equal(a.Labels, b.Labels) && slices.Equal(a.Taints, b.Taints)
}

func (r *Runtime) nodeNamed(name string) *node {
	if r.nodes[name] == nil {
		r.nodes[name] = &node{used: capacity.Resources{}}
	}
	return r.nodes[name]
}

func (r *Runtime) dropNode(from *corev1.Node) { r.removeNode(from.Name) }

// removeNode keeps what its pods use for as long as there are any.
func (r *Runtime) removeNode(name string) {
	n := r.nodes[name]
	if n == nil || !n.known {
		return
	}
	n.known = false
	r.never = map[capacity.Class]bool{}
	if n.used[capacity.Pods] == 0 {
		delete(r.nodes, name)
	}
	r.judgeNodes()
	r.snapshot = nil
	poke(r.changed)
}

func (r *Runtime) replaceNodes(all []*corev1.Node, _ uint64) {
	here := map[string]bool{}
	for _, n := range all {
		here[n.Name] = true
		r.takeNode(n)
	}
	for name := range r.nodes {
		if !here[name] {
			r.removeNode(name)
		}
	}
}

// account moves what a pod takes from its node; r.mu must be held.
func (r *Runtime) account(before, now *pod) {
	holds := func(p *pod) bool { return p != nil && p.node != "" && !p.over }
	if holds(before) && holds(now) && before.node == now.node && before.requests.Equal(now.requests) {
		return
	}
	if !holds(before) && !holds(now) {
		return
	}
	if holds(before) {
		n := r.nodeNamed(before.node)
		n.used = n.used.Sub(before.requests)
		if !n.known && n.used[capacity.Pods] <= 0 {
			delete(r.nodes, before.node)
		}
	}
	if holds(now) {
		n := r.nodeNamed(now.node)
		n.used = n.used.Add(now.requests)
	}
	r.snapshot = nil
	poke(r.changed)
}

// Capacity is what the cluster's nodes have left beside every pod that has a
// node, and those of attempts that have none yet.
func (r *Runtime) Capacity(context.Context) (capacity.Snapshot, error) {
	if err := r.reachable(); err != nil {
		return capacity.Snapshot{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.snapshot == nil {
		snapshot := r.measure()
		r.snapshot = &snapshot
	}
	return *r.snapshot, nil
}

func (r *Runtime) measure() capacity.Snapshot {
	var snapshot capacity.Snapshot
	for _, n := range r.nodes {
		if n.usable() {
			shape := n.shape
			shape.Free = shape.Total.Sub(n.used)
			snapshot.Nodes = append(snapshot.Nodes, shape)
		}
	}
	var homeless []*held
	for _, h := range r.held {
		if h.homeless > 0 {
			homeless = append(homeless, h)
		}
	}
	slices.SortFunc(homeless, func(a, b *held) int { return compareIDs(a.id, b.id) })
	room := placement.NewRoom(snapshot)
	for _, h := range homeless {
		// One that finds no room takes none.
		room.Take(capacity.Demand{Pods: []capacity.PodGroup{{Count: h.homeless, Pod: h.demand.Pod}}})
	}
	left := room.Left()
	left.Provisionable = r.options.Provisionable
	return left
}

// countHomeless is how many pods of an attempt still need a node.
func (r *Runtime) countHomeless(h *held) int {
	if h.observation.Phase.Terminal() || h.ending != nil || h.gone || !h.status.deletedAt.IsZero() || h.ended() {
		return 0
	}
	want := h.demand.Count
	if h.completions > 0 {
		want = min(want, int(h.completions-h.status.succeeded))
	}
	for _, p := range r.podsOf[h.uid] {
		// One that has succeeded may not be counted by the Job yet.
		if p.node != "" && (!p.over || p.succeeded && h.completions == int32(h.demand.Count)) {
			want--
		}
	}
	return want
}
