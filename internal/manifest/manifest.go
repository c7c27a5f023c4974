// Package manifest turns what a user sends into what the queue stores: it
// reads a Kubernetes Job (batch/v1) from JSON or YAML, checks it against
// Kubernetes' own rules and the operator's admission policy, and derives what
// the job demands of a region. It finds every fault at once, each with the
// path of its field.
//
// It is pure, and it knows the manifest only: what else a submission says,
// and which of both wins, is queue's matter; whether a region fits is
// placement's. queue calls Compile, config decodes and validates the Policy.
package manifest

import (
	"bytes"
	"encoding/json"
	"math"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

// defaultNamespace is the one of a manifest and a request that name none.
const defaultNamespace = "default"

// root is where every path into a manifest begins, as in an API request.
var root = field.NewPath("manifest")

// Compiled is what a manifest means.
type Compiled struct {
	// Namespace is the effective one: the manifest's, else the request's,
	// else "default".
	Namespace string
	Name      string
	// Labels are the Job's own, not those of its pods.
	Labels map[string]string
	// JSON is the Job in canonical form, as a runtime will get it: with the
	// effective namespace and what the policy sets (see Policy.harden),
	// without ttlSecondsAfterFinished, status and what else only a cluster
	// writes. It is empty where the Job's metadata is at fault, so that Name,
	// Namespace and Labels may not be what was meant.
	JSON []byte
	// TTLAfterFinished is what ttlSecondsAfterFinished said; nil if nothing.
	// A second is the least: in a job.Spec, zero stands for the default.
	TTLAfterFinished *time.Duration
	Demand           capacity.Demand
	Options          Options
}

// Compile decodes, checks and derives. raw is a JSON object, YAML text, or a
// JSON string that holds one of these; namespace is the one that the request
// named, empty if none. The manifest is acceptable when there are no faults;
// otherwise Compiled has what could be told all the same, so that the caller
// can go on looking for faults.
func Compile(raw []byte, namespace string, policy Policy) (Compiled, []job.Fault) {
	c := &compiler{policy: &policy}
	text := c.read(raw)
	if text == nil {
		return Compiled{}, c.list()
	}
	j := c.decode(text)
	if j == nil || !c.checkKind(j) {
		return Compiled{}, c.list()
	}
	out := Compiled{Name: j.Name, Labels: j.Labels, Namespace: c.effectiveNamespace(j, namespace)}
	j.Namespace = out.Namespace
	c.checkMetadata(j)
	identified := len(c.semantic) == 0 && !c.spoils(root.Child("metadata"))

	c.checkJob(j)
	out.Options = c.options(j)
	out.TTLAfterFinished = ttlOf(&j.Spec)
	c.checkTTL(j, out)
	c.admit(j)
	out.Demand = c.demand(&j.Spec)
	if identified {
		policy.harden(&j.Spec.Template.Spec)
		out.JSON = canonical(j)
	}
	return out, c.list()
}

// compiler gathers the faults of one manifest.
type compiler struct {
	policy *Policy
	faults
}

// effectiveNamespace is decided here once; every rule and every caller uses
// the result.
func (c *compiler) effectiveNamespace(j *batchv1.Job, requested string) string {
	if requested != "" && j.Namespace != "" && requested != j.Namespace {
		c.add(root.Child("metadata", "namespace"), "is %s, but the request says namespace %s; name it once, or the same twice",
			quoted(j.Namespace), quoted(requested))
	}
	switch {
	case j.Namespace != "":
		return j.Namespace
	case requested != "":
		return requested
	}
	return defaultNamespace
}

func ttlOf(spec *batchv1.JobSpec) *time.Duration {
	if spec.TTLSecondsAfterFinished == nil {
		return nil
	}
	ttl := max(time.Second, time.Duration(*spec.TTLSecondsAfterFinished)*time.Second)
	return &ttl
}

// canonical is the one JSON form of a Job: only what a user may set, in the
// order of the Go types, maps by key.
func canonical(j *batchv1.Job) []byte {
	meta := metav1.ObjectMeta{Name: j.Name, Namespace: j.Namespace, Labels: j.Labels, Annotations: j.Annotations}
	j.Spec.TTLSecondsAfterFinished = nil
	template := &j.Spec.Template
	template.ObjectMeta = metav1.ObjectMeta{Labels: template.Labels, Annotations: template.Annotations}
	out := bytes.NewBuffer(make([]byte, 0, 2048))
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(struct {
		metav1.TypeMeta
		Metadata *metav1.ObjectMeta `json:"metadata"`
		Spec     *batchv1.JobSpec   `json:"spec"`
	}{j.TypeMeta, &meta, &j.Spec})
	if err != nil {
		panic("manifest: a decoded Job that JSON cannot hold: " + err.Error())
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// containers visits every container of a pod with its path: init containers
// (sidecars among them), then the others. Rules that are for containers go
// through here, so that none is for one kind only. Ephemeral containers are
// refused as such.
func (c *compiler) containers(spec *corev1.PodSpec, visit func(at *field.Path, container *corev1.Container)) {
	for _, list := range [...]struct {
		name  string
		items []corev1.Container
	}{{"initContainers", spec.InitContainers}, {"containers", spec.Containers}} {
		at := podPath.Child(list.name)
		for i := range list.items {
			if c.full() {
				return
			}
			visit(at.Index(i), &list.items[i])
		}
	}
}

// The paths that most rules need, made once.
var (
	specPath     = root.Child("spec")
	templatePath = specPath.Child("template")
	podPath      = templatePath.Child("spec")
)

// parallel is how many pods of the job run at the same time.
func parallel(spec *batchv1.JobSpec) int64 {
	pods := int64(1)
	if spec.Parallelism != nil {
		pods = int64(*spec.Parallelism)
	}
	completions := int64(math.MaxInt64)
	if spec.Completions != nil {
		completions = int64(*spec.Completions)
	}
	return min(pods, completions)
}

// windows tells whether the pod is for Windows nodes; a kubelet on Linux
// refuses such a pod.
func windows(spec *corev1.PodSpec) bool {
	return spec.OS != nil && spec.OS.Name == corev1.Windows
}
