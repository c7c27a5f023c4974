package manifest

import (
	"encoding/json"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gco-project/gco/internal/capacity"
)

// OfType makes one market part of what the manifest asks for: of the demand, and
// of the node affinity that its pods require, so that a region's scheduler
// holds to what was placed. Without a type nothing changes.
func (c Compiled) OfType(t capacity.Type) Compiled {
	terms := t.Terms()
	if len(terms) == 0 || len(c.JSON) == 0 {
		return c
	}
	var j batchv1.Job
	if err := json.Unmarshal(c.JSON, &j); err != nil {
		panic("manifest: a Job in canonical form that cannot be read: " + err.Error())
	}
	requireTerms(&j.Spec.Template.Spec, terms)
	c.JSON, c.Demand = canonical(&j), c.Demand.OfType(t)
	return c
}

// requireTerms lets a pod land only where one of its own terms holds, if it
// has any, and one of these.
func requireTerms(pod *corev1.PodSpec, terms []capacity.Term) {
	if pod.Affinity == nil {
		pod.Affinity = &corev1.Affinity{}
	}
	if pod.Affinity.NodeAffinity == nil {
		pod.Affinity.NodeAffinity = &corev1.NodeAffinity{}
	}
	node := pod.Affinity.NodeAffinity
	own := []corev1.NodeSelectorTerm{{}}
	if required := node.RequiredDuringSchedulingIgnoredDuringExecution; required != nil {
		own = required.NodeSelectorTerms
	}
	both := &corev1.NodeSelector{}
	for i := range own {
		for _, term := range terms {
			one := own[i].DeepCopy()
			for _, r := range term {
				one.MatchExpressions = append(one.MatchExpressions, corev1.NodeSelectorRequirement{
					Key: r.Key, Operator: corev1.NodeSelectorOperator(r.Operator), Values: r.Values,
				})
			}
			both.NodeSelectorTerms = append(both.NodeSelectorTerms, *one)
		}
	}
	node.RequiredDuringSchedulingIgnoredDuringExecution = both
}
