package local

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/gco-project/gco/internal/capacity"
)

// podDemand is what one pod holds of its node: the larger of what its regular
// containers and its init containers need, sidecars beside both.
func podDemand(spec *corev1.PodSpec) capacity.Pod {
	regular, sidecars, starting := capacity.Resources{}, capacity.Resources{}, capacity.Resources{}
	for _, container := range spec.Containers {
		regular = regular.Add(requests(container.Resources))
	}
	for _, container := range spec.InitContainers {
		needs := requests(container.Resources)
		starting = starting.Max(sidecars.Add(needs))
		if deref(container.RestartPolicy) == corev1.ContainerRestartPolicyAlways {
			sidecars = sidecars.Add(needs)
		}
	}
	pod := capacity.Pod{Requests: regular.Add(sidecars).Max(starting), NodeSelector: spec.NodeSelector}
	pod.Requests[capacity.Pods] = 1
	for _, t := range spec.Tolerations {
		pod.Tolerations = append(pod.Tolerations, capacity.Toleration{
			Key: t.Key, Operator: string(t.Operator), Value: t.Value, Effect: string(t.Effect),
		})
	}
	pod.Affinity = affinity(spec.Affinity)
	return pod
}

// requests are those of one container; what it is limited to it requests,
// unless it says otherwise.
func requests(from corev1.ResourceRequirements) capacity.Resources {
	out := capacity.Resources{}
	for name, amount := range from.Limits {
		out[string(name)] = units(name, amount.MilliValue(), amount.Value())
	}
	for name, amount := range from.Requests {
		out[string(name)] = units(name, amount.MilliValue(), amount.Value())
	}
	return out
}

func units(name corev1.ResourceName, milli, whole int64) int64 {
	if name == corev1.ResourceCPU {
		return milli
	}
	return whole
}

func affinity(from *corev1.Affinity) []capacity.Term {
	if from == nil || from.NodeAffinity == nil || from.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	var terms []capacity.Term
	for _, term := range from.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		var requirements capacity.Term
		for _, r := range term.MatchExpressions {
			requirements = append(requirements, capacity.Requirement{Key: r.Key, Operator: string(r.Operator), Values: r.Values})
		}
		terms = append(terms, requirements)
	}
	return terms
}
