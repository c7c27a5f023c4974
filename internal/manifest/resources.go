package manifest

import (
	"math"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxAmount bounds a quantity in a manifest or a policy, and a job's total of
// one resource. In thousandths it is still far from the end of an int64.
const maxAmount = 1e15

var maxQuantity = resource.MustParse("1P")

// amounts counts resources in thousandths of their unit (a core, a byte, a
// piece), the precision to which Kubernetes rounds quantities up.
type amounts map[corev1.ResourceName]int64

// thousandths is for a quantity that checkQuantity has accepted; any other
// counts as nothing or as the most there can be.
func thousandths(q resource.Quantity) int64 {
	switch {
	case q.Sign() <= 0:
		return 0
	case q.Cmp(maxQuantity) > 0:
		return math.MaxInt64
	}
	return q.MilliValue()
}

func (a amounts) add(other amounts) {
	for name, amount := range other {
		a[name] = addSaturated(a[name], amount)
	}
}

func (a amounts) raise(other amounts) {
	for name, amount := range other {
		a[name] = max(a[name], amount)
	}
}

func (a amounts) addList(list corev1.ResourceList) {
	for name, q := range list {
		a[name] = addSaturated(a[name], thousandths(q))
	}
}

func addSaturated(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func mulSaturated(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64/b {
		return math.MaxInt64
	}
	return a * b
}

// roundUp turns thousandths into whole units.
func roundUp(amount int64) int64 {
	if amount > math.MaxInt64-999 {
		return math.MaxInt64 / 1000
	}
	return (amount + 999) / 1000
}

// kind groups resource names by the rules that hold for them.
type kind int

const (
	unknownResource kind = iota
	// plainResource may be requested below its limit, and in fractions.
	plainResource
	// hugePages are memory of their own, and as rigid as extended resources.
	hugePages
	// extendedResource comes in pieces: devices, mostly.
	extendedResource
)

// kindOf follows Kubernetes' rule for container resources: an extended
// resource has a domain, which is not Kubernetes' own.
func kindOf(name corev1.ResourceName) kind {
	switch name {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
		return plainResource
	}
	text := string(name)
	if size, huge := strings.CutPrefix(text, corev1.ResourceHugePagesPrefix); huge {
		if _, err := resource.ParseQuantity(size); err == nil {
			return hugePages
		}
		return unknownResource
	}
	domain, _, found := strings.Cut(text, "/")
	if !found || !qualifiedName(text) || domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io") ||
		strings.HasPrefix(text, corev1.DefaultResourceRequestsPrefix) {
		return unknownResource
	}
	return extendedResource
}

// checkResources checks what one container, or a pod as a whole, asks for.
func (c *compiler) checkResources(r *corev1.ResourceRequirements, at *field.Path) {
	defer c.sortFrom(len(c.semantic))
	for name, limit := range r.Limits {
		c.checkQuantity(name, limit, at, "limits")
		if request, both := r.Requests[name]; both && request.Cmp(limit) > 0 {
			c.add(at.Child("requests").Key(string(name)), "is %s, above the limit of %s", request.String(), limit.String())
		} else if both && request.Cmp(limit) < 0 && kindOf(name) != plainResource {
			c.add(at.Child("requests").Key(string(name)), "is %s, must equal the limit of %s", request.String(), limit.String())
		}
	}
	for name, request := range r.Requests {
		c.checkQuantity(name, request, at, "requests")
		if _, limited := r.Limits[name]; !limited && kindOf(name) != plainResource {
			c.add(at.Child("limits").Key(string(name)), "is required where %s is requested", quoted(name))
		}
	}
}

func (c *compiler) checkQuantity(name corev1.ResourceName, q resource.Quantity, at *field.Path, list string) {
	switch kind := kindOf(name); {
	case kind == unknownResource:
		c.add(at.Child(list).Key(string(name)), "is no resource of a container: cpu, memory, ephemeral-storage, hugepages-SIZE, or a name with a domain such as nvidia.com/gpu")
	case q.Sign() < 0:
		c.add(at.Child(list).Key(string(name)), "is %s, must not be negative", q.String())
	case q.Cmp(maxQuantity) > 0:
		c.add(at.Child(list).Key(string(name)), "is %s, more than there can be (at most %s)", q.String(), maxQuantity.String())
	case kind != plainResource && q.MilliValue()%1000 != 0:
		c.add(at.Child(list).Key(string(name)), "is %s, must be a whole number", q.String())
	}
}

// checkPodResources checks requests and limits of the pod as a whole against
// what its containers come to.
func (c *compiler) checkPodResources(spec *corev1.PodSpec, containersNeed amounts) {
	if spec.Resources == nil {
		return
	}
	at := podPath.Child("resources")
	if len(spec.Resources.Claims) > 0 {
		c.add(at.Child("claims"), "is not accepted at pod level")
	}
	c.checkResources(spec.Resources, at)
	defer c.sortFrom(len(c.semantic))
	for name := range spec.Resources.Limits {
		c.checkPodResource(name, at.Child("limits"))
	}
	for name, request := range spec.Resources.Requests {
		c.checkPodResource(name, at.Child("requests"))
		if need := containersNeed[name]; need > thousandths(request) {
			c.add(at.Child("requests").Key(string(name)), "is %s, less than the containers request together", request.String())
		}
	}
}

func (c *compiler) checkPodResource(name corev1.ResourceName, at *field.Path) {
	if !podLevel(name) {
		c.add(at.Key(string(name)), "cannot be given for the pod as a whole, only cpu, memory and huge pages can")
	}
}

// podLevel tells whether a pod as a whole may have the resource.
func podLevel(name corev1.ResourceName) bool {
	return name == corev1.ResourceCPU || name == corev1.ResourceMemory || strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}
