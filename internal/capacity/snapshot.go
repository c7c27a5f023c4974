package capacity

// Snapshot is what a region could take at one moment, as its agent saw it.
type Snapshot struct {
	// Nodes that are ready and schedulable, grouped by what is free on them.
	Nodes []NodeShape `json:"nodes"`
	// Provisionable nodes do not exist yet and may still be added; Free
	// equals Total in each.
	Provisionable []NodeShape `json:"provisionable,omitempty"`
	// Models are the versions of models that are here, whole and verified, as
	// NAME@VERSION, sorted.
	Models []string `json:"models,omitempty"`
}

// NodeShape is Count nodes that a scheduler could not tell apart.
type NodeShape struct {
	Count int `json:"count"`
	// Free is what each of these nodes has left; Total what it can hold when
	// it is empty (Kubernetes: allocatable).
	Free         Resources         `json:"free"`
	Total        Resources         `json:"total"`
	Architecture string            `json:"architecture,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Taints       []Taint           `json:"taints,omitempty"`
}

// Taint keeps pods without a matching Toleration off a node. Effects are those
// of Kubernetes: NoSchedule, PreferNoSchedule, NoExecute.
type Taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
}

// Free sums what is free on all nodes that exist.
func (s Snapshot) Free() Resources {
	return s.sum(func(shape NodeShape) Resources { return shape.Free })
}

// Total sums what all nodes that exist can hold.
func (s Snapshot) Total() Resources {
	return s.sum(func(shape NodeShape) Resources { return shape.Total })
}

func (s Snapshot) sum(of func(NodeShape) Resources) Resources {
	total := Resources{}
	for _, shape := range s.Nodes {
		total = total.Add(of(shape).Scale(int64(shape.Count)))
	}
	return total
}
