package capacity

// Type is the market on which capacity is bought.
type Type string

// The types; empty means either.
const (
	OnDemand Type = "on-demand"
	Spot     Type = "spot"
)

// spotLabels mark nodes that may be interrupted, by the label and the value
// that each provisioner sets; the last is for nodes that somebody labels by
// hand. A node without any of them is on-demand.
var spotLabels = []struct{ key, value string }{
	{"karpenter.sh/capacity-type", "spot"},
	{"eks.amazonaws.com/capacityType", "SPOT"},
	{"cloud.google.com/gke-spot", "true"},
	{"kubernetes.azure.com/scalesetpriority", "spot"},
	{"gco.dev/capacity-type", "spot"},
}

// TypeOf tells on which market a node was bought.
func TypeOf(labels map[string]string) Type {
	for _, label := range spotLabels {
		if labels[label.key] == label.value {
			return Spot
		}
	}
	return OnDemand
}

// Terms say it as required node affinity: one of them must hold of a node.
// There are none for either.
func (t Type) Terms() []Term {
	var spot []Term
	var onDemand Term
	for _, label := range spotLabels {
		spot = append(spot, Term{{Key: label.key, Operator: "In", Values: []string{label.value}}})
		onDemand = append(onDemand, Requirement{Key: label.key, Operator: "NotIn", Values: []string{label.value}})
	}
	switch t {
	case Spot:
		return spot
	case OnDemand:
		return []Term{onDemand}
	default:
		return nil
	}
}
