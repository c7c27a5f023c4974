package manifest

import (
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gco-project/gco/internal/capacity"
)

// demand derives what the job asks of a region, as the Kubernetes scheduler
// would, and holds it against the policy's caps.
func (c *compiler) demand(spec *batchv1.JobSpec) capacity.Demand {
	pod := &spec.Template.Spec
	requests := containersNeed(pod, requestsOf)
	c.checkPodResources(pod, requests)

	count := max(parallel(spec), 0)
	c.capResources(count, ceilings(pod))
	group := capacity.PodGroup{Count: int(count)}
	group.Requests = requests.ofPod(pod)
	group.NodeSelector = pod.NodeSelector
	group.Affinity = c.affinity(pod)
	for _, t := range pod.Tolerations {
		group.Tolerations = append(group.Tolerations, capacity.Toleration{
			Key: t.Key, Operator: string(t.Operator), Value: t.Value, Effect: string(t.Effect),
		})
	}
	return capacity.Demand{Pods: []capacity.PodGroup{group}}
}

// PodRequests is what the scheduler counts for a pod, whoever made it.
func PodRequests(pod *corev1.PodSpec) capacity.Resources {
	return containersNeed(pod, requestsOf).ofPod(pod)
}

// Resources counts a list, such as what a node can hold. Amounts that are not
// positive are left out.
func Resources(list corev1.ResourceList) capacity.Resources {
	all := amounts{}
	all.addList(list)
	return all.resources()
}

// ofPod makes the sum over a pod's containers that of the pod.
func (a amounts) ofPod(pod *corev1.PodSpec) capacity.Resources {
	a.raisePodLevel(pod)
	a.addList(pod.Overhead)
	requests := a.resources()
	requests[capacity.Pods] = 1
	return requests
}

// requestsOf is what the scheduler counts for a container: its requests, and
// its limits where it requests nothing.
func requestsOf(r *corev1.ResourceRequirements, into amounts) {
	for name, q := range r.Requests {
		into[name] = thousandths(q)
	}
	for name, q := range r.Limits {
		if _, requested := r.Requests[name]; !requested {
			into[name] = thousandths(q)
		}
	}
}

// ceilingOf is what a container may come to use, as far as that is known.
func ceilingOf(r *corev1.ResourceRequirements, into amounts) {
	requestsOf(r, into)
	for name, q := range r.Limits {
		into[name] = max(into[name], thousandths(q))
	}
}

// containersNeed is what all containers of a pod need together, at the
// moment when that is most: init containers run one after the other, each
// beside the sidecars that were started before it; then sidecars and the
// other containers run together. Source: the formula for sidecar containers
// (KEP-753), which the scheduler applies to each resource by itself.
func containersNeed(pod *corev1.PodSpec, of func(*corev1.ResourceRequirements, amounts)) amounts {
	total := amounts{}
	one := amounts{}
	for i := range pod.Containers {
		clear(one)
		of(&pod.Containers[i].Resources, one)
		total.add(one)
	}
	if len(pod.InitContainers) == 0 {
		return total
	}
	sidecars, starting := amounts{}, amounts{}
	for i := range pod.InitContainers {
		clear(one)
		of(&pod.InitContainers[i].Resources, one)
		if sidecar(&pod.InitContainers[i]) {
			total.add(one)
			sidecars.add(one)
			starting.raise(sidecars)
		} else {
			one.add(sidecars)
			starting.raise(one)
		}
	}
	total.raise(starting)
	return total
}

// raisePodLevel replaces the containers' sum by what the pod as a whole
// requests. Where it only has a limit, Kubernetes takes the containers' sum
// for its request if that may be below a limit and is there, else the limit.
func (a amounts) raisePodLevel(pod *corev1.PodSpec) {
	if pod.Resources == nil {
		return
	}
	for name, limit := range pod.Resources.Limits {
		_, summed := a[name]
		if _, requested := pod.Resources.Requests[name]; !requested && podLevel(name) && (!summed || kindOf(name) == hugePages) {
			a[name] = thousandths(limit)
		}
	}
	for name, request := range pod.Resources.Requests {
		if podLevel(name) {
			a[name] = thousandths(request)
		}
	}
}

// ceilings is what one pod may come to use: what the caps of the policy are
// about, since a low request under a high limit would go round them.
func ceilings(pod *corev1.PodSpec) amounts {
	out := containersNeed(pod, ceilingOf)
	if pod.Resources != nil {
		whole := amounts{}
		ceilingOf(pod.Resources, whole)
		out.raise(whole)
	}
	out.addList(pod.Overhead)
	return out
}

// resources rounds up to the units of capacity.Resources.
func (a amounts) resources() capacity.Resources {
	out := make(capacity.Resources, len(a)+1)
	for name, amount := range a {
		if name != corev1.ResourceCPU {
			amount = roundUp(amount)
		}
		if amount > 0 {
			out[string(name)] = amount
		}
	}
	return out
}

// affinity is the required node affinity. What the scheduler merely prefers
// does not decide whether a pod fits.
func (c *compiler) affinity(pod *corev1.PodSpec) []capacity.Term {
	if pod.Affinity == nil || pod.Affinity.NodeAffinity == nil {
		return nil
	}
	required := pod.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if required == nil {
		return nil
	}
	at := podPath.Child("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
	if len(required.NodeSelectorTerms) == 0 {
		c.add(at, "is required: at least one term")
	}
	var terms []capacity.Term
	for i := range required.NodeSelectorTerms {
		terms = append(terms, c.term(&required.NodeSelectorTerms[i], at.Index(i)))
	}
	return terms
}

func (c *compiler) term(t *corev1.NodeSelectorTerm, at *field.Path) capacity.Term {
	if len(t.MatchFields) > 0 {
		c.add(at.Child("matchFields"), "is not accepted: placement does not know nodes by name; match the label kubernetes.io/hostname instead")
	} else if len(t.MatchExpressions) == 0 {
		c.add(at, "is empty, and so matches no node")
	}
	term := make(capacity.Term, 0, len(t.MatchExpressions))
	for i := range t.MatchExpressions {
		r := &t.MatchExpressions[i]
		c.checkRequirement(r, at.Child("matchExpressions").Index(i))
		term = append(term, capacity.Requirement{Key: r.Key, Operator: string(r.Operator), Values: r.Values})
	}
	return term
}

func (c *compiler) checkRequirement(r *corev1.NodeSelectorRequirement, at *field.Path) {
	if !qualifiedName(r.Key) {
		c.add(at.Child("key"), "is %s, which is no label key", quoted(r.Key))
	}
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) == 0 {
			c.add(at.Child("values"), "is required with operator %s", r.Operator)
		}
	case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			c.add(at.Child("values"), "must be empty with operator %s", r.Operator)
		}
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if len(r.Values) != 1 || !integer(r.Values[0]) {
			c.add(at.Child("values"), "must be one whole number with operator %s", r.Operator)
		}
	default:
		c.add(at.Child("operator"), "is %s, must be In, NotIn, Exists, DoesNotExist, Gt or Lt", quoted(r.Operator))
	}
}

func integer(text string) bool {
	_, err := strconv.ParseInt(text, 10, 64)
	return err == nil && !strings.HasPrefix(text, "+")
}
