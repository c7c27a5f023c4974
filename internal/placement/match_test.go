package placement

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/klog/v2"
	"pgregory.net/rapid"

	"github.com/gco-project/gco/internal/capacity"
)

func profileOf(node capacity.NodeShape) *profile {
	ps := newProfiles()
	return ps.intern(node)
}

func TestMismatch(t *testing.T) {
	arm := capacity.NodeShape{Architecture: "arm64", Labels: map[string]string{"zone": "a", "cores": "64"}}
	selector := func(pairs ...string) capacity.Pod {
		return capacity.Pod{NodeSelector: labelled(capacity.NodeShape{}, pairs...).Labels}
	}
	affinity := func(terms ...capacity.Term) capacity.Pod { return capacity.Pod{Affinity: terms} }
	in := func(key string, values ...string) capacity.Requirement {
		return capacity.Requirement{Key: key, Operator: "In", Values: values}
	}
	is := func(operator, key string, values ...string) capacity.Requirement {
		return capacity.Requirement{Key: key, Operator: operator, Values: values}
	}
	tests := []struct {
		name string
		pod  capacity.Pod
		node capacity.NodeShape
		want string
	}{
		{"nothing asked", capacity.Pod{}, arm, ""},
		{"selector", selector("zone", "a"), arm, ""},
		{"selector with another value", selector("zone", "b"), arm, "without label zone=b"},
		{"selector without the label", selector("disk", ""), arm, "without label disk="},
		{"first of several in order", selector("zone", "b", "disk", "ssd"), arm, "without label disk=ssd"},
		{"architecture as a label", selector("kubernetes.io/arch", "arm64"), arm, ""},
		{"architecture by its old label", selector("beta.kubernetes.io/arch", "arm64"), arm, ""},
		{"another architecture", selector("kubernetes.io/arch", "amd64"), arm, "without label kubernetes.io/arch=amd64"},
		{"a label is above the architecture", selector("kubernetes.io/arch", "amd64"), labelled(arm, "kubernetes.io/arch", "amd64"), ""},
		{"no architecture known", selector("kubernetes.io/arch", "amd64"), capacity.NodeShape{}, "without label kubernetes.io/arch=amd64"},
		{"affinity on the architecture", affinity(capacity.Term{in("kubernetes.io/arch", "amd64", "arm64")}), arm, ""},
		{"one of two terms", affinity(capacity.Term{in("zone", "b")}, capacity.Term{in("zone", "a")}), arm, ""},
		{"no term", affinity(capacity.Term{in("zone", "b")}, capacity.Term{in("zone", "c")}), arm, "outside the required node affinity"},
		{"all of a term", affinity(capacity.Term{in("zone", "a"), is("Exists", "disk")}), arm, "outside the required node affinity"},
		{"an empty term matches nothing", affinity(capacity.Term{}), arm, "outside the required node affinity"},
		{"Gt", affinity(capacity.Term{is("Gt", "cores", "63")}), arm, ""},
		{"Gt of equals", affinity(capacity.Term{is("Gt", "cores", "64")}), arm, "outside the required node affinity"},
		{"Lt", affinity(capacity.Term{is("Lt", "cores", "65")}), arm, ""},
		{"Lt of no number", affinity(capacity.Term{is("Lt", "zone", "65")}), arm, "outside the required node affinity"},
		{"an operator that does not exist", affinity(capacity.Term{is("Like", "zone", "a")}), arm, "outside the required node affinity"},
		{"NoSchedule", capacity.Pod{}, tainted(arm, "gpu", "yes", "NoSchedule"), "with taint gpu=yes:NoSchedule, not tolerated"},
		{"NoExecute", capacity.Pod{}, tainted(arm, "gpu", "", "NoExecute"), "with taint gpu:NoExecute, not tolerated"},
		{"PreferNoSchedule is a wish", capacity.Pod{}, tainted(arm, "gpu", "yes", "PreferNoSchedule"), ""},
		{"tolerated", capacity.Pod{Tolerations: []capacity.Toleration{{Key: "gpu", Value: "yes"}}}, tainted(arm, "gpu", "yes", "NoSchedule"), ""},
		{"everything tolerated", capacity.Pod{Tolerations: []capacity.Toleration{{Operator: "Exists"}}}, tainted(tainted(arm, "a", "", "NoSchedule"), "b", "", "NoExecute"), ""},
		{"one of two tolerated", capacity.Pod{Tolerations: []capacity.Toleration{{Key: "a", Operator: "Exists"}}}, tainted(tainted(arm, "a", "", "NoSchedule"), "b", "", "NoExecute"), "with taint b:NoExecute, not tolerated"},
	}
	for _, test := range tests {
		if got := mismatch(test.pod, profileOf(test.node)); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestRequirementsMeanWhatKubernetesMeans holds single requirements against
// the selectors of apimachinery.
func TestRequirementsMeanWhatKubernetesMeans(t *testing.T) {
	operators := map[string]selection.Operator{
		"In": selection.In, "NotIn": selection.NotIn, "Exists": selection.Exists,
		"DoesNotExist": selection.DoesNotExist, "Gt": selection.GreaterThan, "Lt": selection.LessThan,
	}
	words := rapid.SampledFrom([]string{"", "a", "b", "1", "7", "-3", "08", "1.5"})
	keys := rapid.SampledFrom([]string{"zone", "cores"})
	rapid.Check(t, func(t *rapid.T) {
		requirement := capacity.Requirement{
			Key:      keys.Draw(t, "key"),
			Operator: rapid.SampledFrom([]string{"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"}).Draw(t, "operator"),
			Values:   rapid.SliceOfN(words, 0, 2).Draw(t, "values"),
		}
		reference, err := labels.NewRequirement(requirement.Key, operators[requirement.Operator], requirement.Values)
		if err != nil {
			return // the API server refuses it
		}
		node := rapid.MapOfN(keys, words, 0, 2).Draw(t, "labels")
		got := holds(requirement, profileOf(capacity.NodeShape{Labels: node}))
		if want := reference.Matches(labels.Set(node)); got != want {
			t.Fatalf("%v on %v: %v, Kubernetes says %v", requirement, node, got, want)
		}
	})
}

// TestTolerationsMeanWhatKubernetesMeans holds single tolerations against
// those of the core API.
func TestTolerationsMeanWhatKubernetesMeans(t *testing.T) {
	words := rapid.SampledFrom([]string{"", "a", "b"})
	effects := []string{"NoSchedule", "NoExecute"}
	rapid.Check(t, func(t *rapid.T) {
		toleration := capacity.Toleration{
			Key:      words.Draw(t, "key"),
			Operator: rapid.SampledFrom([]string{"", "Equal", "Exists", "Other"}).Draw(t, "operator"),
			Value:    words.Draw(t, "value"),
			Effect:   rapid.SampledFrom(append(effects, "")).Draw(t, "effect"),
		}
		taint := capacity.Taint{Key: words.Draw(t, "taint"), Value: words.Draw(t, "taint value"), Effect: rapid.SampledFrom(effects).Draw(t, "taint effect")}
		reference := corev1.Toleration{
			Key: toleration.Key, Operator: corev1.TolerationOperator(toleration.Operator),
			Value: toleration.Value, Effect: corev1.TaintEffect(toleration.Effect),
		}
		want := reference.ToleratesTaint(klog.Background(), &corev1.Taint{Key: taint.Key, Value: taint.Value, Effect: corev1.TaintEffect(taint.Effect)}, false)
		if got := tolerates(toleration, taint); got != want {
			t.Fatalf("%+v of %+v: %v, Kubernetes says %v", toleration, taint, got, want)
		}
	})
}
