package manifest_test

import (
	"encoding/json"
	"slices"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/manifest"
)

// compiled is smallJob with a required node affinity of so many terms.
func compiled(t *testing.T, terms int) manifest.Compiled {
	t.Helper()
	tree := decoded(t)
	if terms > 0 {
		list := make([]any, terms)
		for i := range list {
			list[i] = map[string]any{"matchExpressions": []any{map[string]any{"key": "zone", "operator": "In", "values": []any{string(rune('a' + i))}}}}
		}
		at(t, tree, "spec", "template", "spec").(map[string]any)["affinity"] = map[string]any{"nodeAffinity": map[string]any{
			"requiredDuringSchedulingIgnoredDuringExecution":  map[string]any{"nodeSelectorTerms": list},
			"preferredDuringSchedulingIgnoredDuringExecution": []any{map[string]any{"weight": 1, "preference": map[string]any{"matchExpressions": []any{map[string]any{"key": "x", "operator": "Exists"}}}}},
		}}
	}
	text, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	out, faults := manifest.Compile(text, "", manifest.DefaultPolicy())
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return out
}

// requiredTerms are those of a stored manifest.
func requiredTerms(t *testing.T, text []byte) []corev1.NodeSelectorTerm {
	t.Helper()
	var j batchv1.Job
	if err := json.Unmarshal(text, &j); err != nil {
		t.Fatal(err)
	}
	affinity := j.Spec.Template.Spec.Affinity
	if affinity == nil || affinity.NodeAffinity == nil || affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	return affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
}

// A node may take the pods if one of the manifest's own terms holds, and it is
// of the type.
func TestOfType(t *testing.T) {
	for _, own := range []int{0, 1, 3} {
		before := compiled(t, own)
		for _, of := range []capacity.Type{capacity.OnDemand, capacity.Spot} {
			after := before.OfType(of)
			terms := requiredTerms(t, after.JSON)
			if want := max(1, own) * len(of.Terms()); len(terms) != want {
				t.Errorf("%d terms of its own and %s: %d terms, want %d", own, of, len(terms), want)
			}
			for i, term := range terms {
				keys := len(of.Terms()[0])
				if own > 0 {
					keys++
					if zone := term.MatchExpressions[0]; zone.Key != "zone" || zone.Values[0] != string(rune('a'+i/len(of.Terms()))) {
						t.Errorf("term %d begins with %v", i, zone)
					}
				}
				if len(term.MatchExpressions) != keys {
					t.Errorf("term %d is %v", i, term)
				}
			}
			if after.Demand.Pods[0].CapacityType != of {
				t.Errorf("the demand is %+v", after.Demand)
			}
			// What is stored is a manifest as any other.
			again, faults := manifest.Compile(after.JSON, "", manifest.DefaultPolicy())
			if len(faults) > 0 || !slices.Equal(again.JSON, after.JSON) {
				t.Errorf("compiled again: %v\n%s\n%s", faults, again.JSON, after.JSON)
			}
		}
		if either := before.OfType(""); !slices.Equal(either.JSON, before.JSON) || either.Demand.Pods[0].CapacityType != "" {
			t.Errorf("without a type: %s", either.JSON)
		}
	}
}
