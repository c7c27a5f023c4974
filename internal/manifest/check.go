package manifest

import (
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The checks in this file and in pod.go are what the Kubernetes API server
// would refuse in a way that users run into, and what could never run under
// GCO. They are not the whole of Kubernetes' validation: what else it refuses
// shows when a region applies the Job. Source: the validation of batch/v1 and
// core/v1 in Kubernetes 1.36.

func (c *compiler) checkMetadata(j *batchv1.Job) {
	at := root.Child("metadata")
	switch {
	case j.Name == "" && j.GenerateName != "":
		c.add(at.Child("name"), "is required; generateName is not enough, since a submission that is sent again must mean the same job")
	case j.Name == "":
		c.add(at.Child("name"), "is required")
	case !dnsSubdomain(j.Name):
		c.add(at.Child("name"), "is %s, must be a DNS name: lower-case letters, digits, '-' and '.', at most 253", quoted(j.Name))
	}
	if !dnsLabel(j.Namespace) {
		c.add(at.Child("namespace"), "is %s, must be a DNS label: lower-case letters, digits and '-', at most 63", quoted(j.Namespace))
	}
	c.checkLabels(j.Labels, at.Child("labels"))
	c.checkAnnotations(j.Annotations, at.Child("annotations"))
	if j.ResourceVersion != "" {
		c.add(at.Child("resourceVersion"), "belongs to an object that exists already; remove it")
	}
	if len(j.OwnerReferences) > 0 {
		c.add(at.Child("ownerReferences"), "is not accepted: the owner is not there in the region that the job goes to")
	}
	if len(j.Finalizers) > 0 {
		c.add(at.Child("finalizers"), "is not accepted: nothing would remove them in the region that the job goes to")
	}
}

func (c *compiler) checkLabels(labels map[string]string, at *field.Path) {
	c.checkLabelPairs(labels, at)
	defer c.sortFrom(len(c.semantic))
	for key := range labels {
		if strings.HasPrefix(key, ownPrefix) {
			c.add(at.Key(key), "is reserved: labels under %s are GCO's own", ownPrefix)
		}
	}
}

func (c *compiler) checkAnnotations(annotations map[string]string, at *field.Path) {
	defer c.sortFrom(len(c.semantic))
	for key := range annotations {
		if !qualifiedName(strings.ToLower(key)) {
			c.add(at.Key(key), "is no annotation key (a name, with a DNS name and a slash before it or not)")
		}
	}
}

func (c *compiler) checkJob(j *batchv1.Job) {
	spec, at := &j.Spec, specPath
	c.notNegative(spec.ActiveDeadlineSeconds, at, "activeDeadlineSeconds")
	c.notNegative32(spec.BackoffLimit, at, "backoffLimit")
	c.notNegative32(spec.TTLSecondsAfterFinished, at, "ttlSecondsAfterFinished")
	c.checkCounts(spec)
	c.checkIndexed(spec)
	if spec.Suspend != nil && *spec.Suspend {
		c.add(at.Child("suspend"), "is true: such a job holds its place and never starts; submit it when it should run")
	}
	if spec.Selector != nil || spec.ManualSelector != nil && *spec.ManualSelector {
		c.add(at.Child("selector"), "is not accepted: every attempt gets a selector of its own")
	}
	if spec.ManagedBy != nil && *spec.ManagedBy != batchv1.JobControllerName {
		c.add(at.Child("managedBy"), "is %s; only Kubernetes' own controller (%s) runs the job", quoted(*spec.ManagedBy), batchv1.JobControllerName)
	}
	if policy := spec.PodReplacementPolicy; policy != nil {
		c.choice(at.Child("podReplacementPolicy"), string(*policy), string(batchv1.TerminatingOrFailed), string(batchv1.Failed))
	}
	if spec.PodFailurePolicy != nil && c.restarts(spec) {
		c.add(at.Child("podFailurePolicy"), "needs restartPolicy: Never in the pod template")
	}
	c.checkTemplate(j)
}

// checkCounts looks at how many pods there are. A job of no pods is legal in
// Kubernetes, where somebody may scale it up later; nobody can here.
func (c *compiler) checkCounts(spec *batchv1.JobSpec) {
	at := specPath
	switch {
	case spec.Parallelism == nil:
	case *spec.Parallelism < 0:
		c.add(at.Child("parallelism"), "is %d, must not be negative", *spec.Parallelism)
	case *spec.Parallelism == 0:
		c.add(at.Child("parallelism"), "is 0: the job would hold its place and never start")
	}
	switch {
	case spec.Completions == nil:
	case *spec.Completions < 0:
		c.add(at.Child("completions"), "is %d, must not be negative", *spec.Completions)
	case *spec.Completions == 0:
		c.add(at.Child("completions"), "is 0: the job would run nothing")
	}
}

func (c *compiler) checkIndexed(spec *batchv1.JobSpec) {
	at := specPath
	indexed := c.spoils(at.Child("completionMode"))
	if mode := spec.CompletionMode; mode != nil {
		c.choice(at.Child("completionMode"), string(*mode), string(batchv1.NonIndexedCompletion), string(batchv1.IndexedCompletion))
		indexed = *mode == batchv1.IndexedCompletion
	}
	if indexed && spec.Completions == nil {
		c.add(at.Child("completions"), "is required with completionMode: Indexed")
	}
	c.notNegative32(spec.BackoffLimitPerIndex, at, "backoffLimitPerIndex")
	c.notNegative32(spec.MaxFailedIndexes, at, "maxFailedIndexes")
	if spec.BackoffLimitPerIndex != nil {
		if !indexed {
			c.add(at.Child("backoffLimitPerIndex"), "needs completionMode: Indexed")
		}
		if c.restarts(spec) {
			c.add(at.Child("backoffLimitPerIndex"), "needs restartPolicy: Never in the pod template")
		}
	}
	if spec.MaxFailedIndexes != nil && spec.BackoffLimitPerIndex == nil {
		c.add(at.Child("maxFailedIndexes"), "needs backoffLimitPerIndex")
	}
	if spec.SuccessPolicy != nil && !indexed {
		c.add(at.Child("successPolicy"), "needs completionMode: Indexed")
	}
}

// restarts tells whether the kubelet may restart containers that failed.
func (c *compiler) restarts(spec *batchv1.JobSpec) bool {
	return spec.Template.Spec.RestartPolicy != corev1.RestartPolicyNever && !c.spoils(podPath.Child("restartPolicy"))
}

// controllerLabels are those that Kubernetes' job controller gives to pods.
var controllerLabels = []string{
	"controller-uid", "job-name",
	batchv1.ControllerUidLabel, batchv1.JobNameLabel,
}

func (c *compiler) checkTemplate(j *batchv1.Job) {
	template, at := &j.Spec.Template, templatePath.Child("metadata")
	if template.Namespace != "" && template.Namespace != j.Namespace {
		c.add(at.Child("namespace"), "is %s, but the job is in %s; leave it out", quoted(template.Namespace), quoted(j.Namespace))
	}
	if len(template.OwnerReferences) > 0 {
		c.add(at.Child("ownerReferences"), "is not accepted: the job owns its pods")
	}
	if len(template.Finalizers) > 0 {
		c.add(at.Child("finalizers"), "is not accepted: nothing would remove them from the pods")
	}
	c.checkLabels(template.Labels, at.Child("labels"))
	for _, key := range controllerLabels {
		if _, set := template.Labels[key]; set {
			c.add(at.Child("labels").Key(key), "is set by Kubernetes; remove it (it is left over from a job that ran)")
		}
	}
	c.checkAnnotations(template.Annotations, at.Child("annotations"))
	c.checkMisplaced(template.Annotations, at.Child("annotations"))
	c.checkPod(&template.Spec)
}

// checkMisplaced finds options of GCO where nobody would read them.
func (c *compiler) checkMisplaced(annotations map[string]string, at *field.Path) {
	defer c.sortFrom(len(c.semantic))
	for key := range annotations {
		if strings.HasPrefix(key, ownPrefix) {
			c.add(at.Key(key), "has no effect on the pod template; move it to the Job's own metadata")
		}
	}
}

// checkTTL refuses two answers to one question.
func (c *compiler) checkTTL(j *batchv1.Job, out Compiled) {
	annotated := out.Options.TTLAfterFinished
	if annotated != nil && out.TTLAfterFinished != nil && *annotated != *out.TTLAfterFinished {
		c.add(annotationPath(ownPrefix+"ttl-after-finished"), "is %s, but spec.ttlSecondsAfterFinished is %d; give one of them",
			*annotated, *j.Spec.TTLSecondsAfterFinished)
	}
}

func (c *compiler) notNegative(value *int64, at *field.Path, name string) {
	if value != nil && *value < 0 {
		c.add(at.Child(name), "is %d, must not be negative", *value)
	}
}

func (c *compiler) notNegative32(value *int32, at *field.Path, name string) {
	if value != nil && *value < 0 {
		c.add(at.Child(name), "is %d, must not be negative", *value)
	}
}

// choice checks a value of a closed set; each spelling counts.
func (c *compiler) choice(at *field.Path, value string, choices ...string) {
	if !slices.Contains(choices, value) {
		c.add(at, "is %s, must be %s", quoted(value), oneOf(choices...))
	}
}
