package capacity

import (
	"slices"
	"testing"
)

func TestTypeOf(t *testing.T) {
	for _, test := range []struct {
		key, value string
		want       Type
	}{
		{"karpenter.sh/capacity-type", "spot", Spot},
		{"karpenter.sh/capacity-type", "on-demand", OnDemand},
		{"karpenter.sh/capacity-type", "reserved", OnDemand},
		{"eks.amazonaws.com/capacityType", "SPOT", Spot},
		{"eks.amazonaws.com/capacityType", "ON_DEMAND", OnDemand},
		{"cloud.google.com/gke-spot", "true", Spot},
		{"kubernetes.azure.com/scalesetpriority", "spot", Spot},
		{"gco.dev/capacity-type", "spot", Spot},
		{"gco.dev/capacity-type", "on-demand", OnDemand},
		{"unrelated", "spot", OnDemand},
	} {
		labels := map[string]string{test.key: test.value}
		if got := TypeOf(labels); got != test.want {
			t.Errorf("%s=%s: %s, want %s", test.key, test.value, got, test.want)
		}
		// A scheduler that knows the terms only must see it the same way.
		for _, of := range []Type{OnDemand, Spot} {
			if held := slices.ContainsFunc(of.Terms(), func(term Term) bool { return holds(term, labels) }); held != (of == test.want) {
				t.Errorf("%s=%s: the terms of %s hold: %v", test.key, test.value, of, held)
			}
		}
	}
	if terms := Type("").Terms(); len(terms) != 0 {
		t.Errorf("either type has the terms %v", terms)
	}
}

// holds follows Kubernetes' rules for the two operators.
func holds(term Term, labels map[string]string) bool {
	for _, r := range term {
		if slices.Contains(r.Values, labels[r.Key]) != (r.Operator == "In") {
			return false
		}
	}
	return true
}

func TestDemandOfType(t *testing.T) {
	either := Demand{Pods: []PodGroup{{Count: 2, Pod: Pod{Requests: Resources{CPU: 1}}}}}
	spot := either.OfType(Spot)
	if spot.Pods[0].CapacityType != Spot || spot.Pods[0].Count != 2 || either.Pods[0].CapacityType != "" {
		t.Errorf("%+v of %+v", spot, either)
	}
	if ClassOf(spot, nil) == ClassOf(either, nil) || ClassOf(either.OfType(""), nil) != ClassOf(either, nil) {
		t.Error("the class of a demand does not tell its type")
	}
}
