package local

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/manifest"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

// Kubernetes' defaults.
const (
	defaultBackoffLimit = 6
	defaultGrace        = 30 * time.Second
)

// Reasons of a rejection: what is no Job at all, and what can't be run as
// plain processes.
const (
	reasonInvalid     = "InvalidManifest"
	reasonUnsupported = "Unsupported"
)

// compile reduces a Job to a plan and the demand of one of its pods. It
// returns *runtime.Rejected for what this runtime can't run: that is said at
// once, rather than run as something else.
func compile(a runtime.Attempt, options Options) (attempt.Plan, capacity.Pod, error) {
	var j batchv1.Job
	if err := json.Unmarshal(a.Manifest, &j); err != nil {
		return attempt.Plan{}, capacity.Pod{}, &runtime.Rejected{Reason: reasonInvalid, Message: "the manifest is not a batch/v1 Job: " + err.Error()}
	}
	c := compiler{attempt: a, options: options, job: &j, spec: &j.Spec.Template.Spec}
	plan := c.plan()
	if len(c.faults) > 0 {
		return attempt.Plan{}, capacity.Pod{}, &runtime.Rejected{Reason: reasonUnsupported, Message: strings.Join(c.faults, "; ")}
	}
	// What it demands is decided in one place, which placement relied on, too.
	// Whether its policy admits the manifest was the control plane's matter.
	compiled, faults := manifest.Compile(a.Manifest, a.Namespace, manifest.Policy{})
	if len(compiled.Demand.Pods) != 1 {
		err := &job.Invalid{Faults: faults}
		return attempt.Plan{}, capacity.Pod{}, &runtime.Rejected{Reason: reasonInvalid, Message: err.Error()}
	}
	return plan, compiled.Demand.Pods[0].Pod, nil
}

// compiler gathers what stands in the way of running one Job.
type compiler struct {
	attempt runtime.Attempt
	options Options
	job     *batchv1.Job
	spec    *corev1.PodSpec
	faults  []string
}

// refuse notes a fault unless ok.
func (c *compiler) refuse(found bool, format string, args ...any) {
	if found {
		c.faults = append(c.faults, fmt.Sprintf(format, args...))
	}
}

func (c *compiler) plan() attempt.Plan {
	spec := &c.job.Spec
	c.checkJob(spec)
	plan := attempt.Plan{
		Parallelism:    1,
		Indexed:        deref(spec.CompletionMode) == batchv1.IndexedCompletion,
		BackoffLimit:   defaultBackoffLimit,
		ActiveDeadline: seconds(spec.ActiveDeadlineSeconds),
	}
	if spec.BackoffLimit != nil {
		plan.BackoffLimit = int(*spec.BackoffLimit)
	}
	if spec.Parallelism != nil {
		plan.Parallelism = int(*spec.Parallelism)
	}
	switch {
	case spec.Completions != nil:
		completions := int(*spec.Completions)
		plan.Completions = &completions
		plan.Parallelism = min(plan.Parallelism, completions)
	case spec.Parallelism == nil:
		one := 1
		plan.Completions = &one
	}
	c.refuse(plan.Parallelism < 1, "spec.parallelism and spec.completions must be at least 1, or nothing would ever run")
	c.refuse(plan.Indexed && plan.Completions == nil, "spec.completions is needed with completionMode Indexed")
	plan.FailureRules = c.failureRules(spec.PodFailurePolicy)
	plan.Pod = c.pod()
	return plan
}

func (c *compiler) checkJob(spec *batchv1.JobSpec) {
	c.refuse(deref(spec.Suspend), "spec.suspend: a suspended job would never run")
	c.refuse(spec.BackoffLimitPerIndex != nil, "spec.backoffLimitPerIndex is not supported by the local runtime")
	c.refuse(spec.MaxFailedIndexes != nil, "spec.maxFailedIndexes is not supported by the local runtime")
	c.refuse(spec.SuccessPolicy != nil, "spec.successPolicy is not supported by the local runtime")
	c.refuse(spec.ManagedBy != nil && *spec.ManagedBy != batchv1.JobControllerName, "spec.managedBy is not supported by the local runtime")
}

func (c *compiler) failureRules(policy *batchv1.PodFailurePolicy) []attempt.FailureRule {
	if policy == nil {
		return nil
	}
	var rules []attempt.FailureRule
	for i, rule := range policy.Rules {
		at := fmt.Sprintf("spec.podFailurePolicy.rules[%d]", i)
		c.refuse(rule.Action == batchv1.PodFailurePolicyActionFailIndex, "%s: action FailIndex is not supported by the local runtime", at)
		if rule.OnExitCodes == nil {
			continue // conditions such as an eviction never arise here
		}
		compiled := attempt.FailureRule{
			Action: string(rule.Action), Container: deref(rule.OnExitCodes.ContainerName),
			In: rule.OnExitCodes.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn,
		}
		for _, code := range rule.OnExitCodes.Values {
			compiled.Codes = append(compiled.Codes, int(code))
		}
		rules = append(rules, compiled)
	}
	return rules
}

func (c *compiler) pod() attempt.Pod {
	spec := c.spec
	pod := attempt.Pod{
		RestartOnFailure: spec.RestartPolicy == corev1.RestartPolicyOnFailure,
		ActiveDeadline:   seconds(spec.ActiveDeadlineSeconds),
		Grace:            defaultGrace,
	}
	if spec.TerminationGracePeriodSeconds != nil {
		pod.Grace = seconds(spec.TerminationGracePeriodSeconds)
	}
	pod.Grace = min(pod.Grace, c.options.MaxGrace)
	c.refuse(spec.RestartPolicy != corev1.RestartPolicyNever && spec.RestartPolicy != corev1.RestartPolicyOnFailure,
		"spec.template.spec.restartPolicy must be Never or OnFailure")
	c.refuse(len(spec.EphemeralContainers) > 0, "spec.template.spec.ephemeralContainers can't be part of a job")
	c.refuse(len(spec.ResourceClaims) > 0, "spec.template.spec.resourceClaims are not supported by the local runtime")
	c.refuse(len(spec.SchedulingGates) > 0, "spec.template.spec.schedulingGates: nothing would ever lift them")
	c.refuse(spec.OS != nil && string(spec.OS.Name) == "windows", "spec.template.spec.os: this host does not run windows containers")
	for i, volume := range spec.Volumes {
		c.refuse(volume.EmptyDir == nil, "spec.template.spec.volumes[%d] (%s): the local runtime has emptyDir volumes only", i, volume.Name)
		pod.Volumes = append(pod.Volumes, volume.Name)
	}
	for i := range spec.InitContainers {
		pod.Init = append(pod.Init, c.container(fmt.Sprintf("spec.template.spec.initContainers[%d]", i), &spec.InitContainers[i], true))
	}
	for i := range spec.Containers {
		pod.Containers = append(pod.Containers, c.container(fmt.Sprintf("spec.template.spec.containers[%d]", i), &spec.Containers[i], false))
	}
	c.refuse(len(pod.Containers) == 0, "spec.template.spec.containers: there are none")
	c.checkNames(slices.Concat(pod.Init, pod.Containers), pod.Volumes)
	return pod
}

// checkNames keeps what becomes a file name a file name, whoever let it
// through before.
func (c *compiler) checkNames(containers []attempt.Container, volumes []string) {
	names := append([]string{c.attempt.Name}, volumes...)
	seen := map[string]bool{}
	for _, container := range containers {
		names = append(names, container.Name)
		c.refuse(seen[container.Name], "two containers are called %q", container.Name)
		seen[container.Name] = true
	}
	for _, name := range names {
		c.refuse(name == "" || strings.ContainsAny(name, "/_\x00") || name[0] == '.', "%q can't name a file", name)
	}
}

func (c *compiler) container(at string, from *corev1.Container, init bool) attempt.Container {
	c.checkContainer(at, from, init)
	gpus := from.Resources.Limits[gpu]
	if gpus.IsZero() {
		gpus = from.Resources.Requests[gpu]
	}
	out := attempt.Container{
		Name: from.Name, Command: slices.Concat(from.Command, from.Args), WorkingDir: c.workingDir(at, from.WorkingDir),
		Env: c.env(at, from), GPUs: int(gpus.Value()),
		Sidecar: init && deref(from.RestartPolicy) == corev1.ContainerRestartPolicyAlways,
	}
	for _, mount := range from.VolumeMounts {
		out.Volumes = append(out.Volumes, mount.Name)
	}
	return out
}

func (c *compiler) checkContainer(at string, from *corev1.Container, init bool) {
	c.refuse(len(from.Command) == 0,
		"%s.command is missing: the local runtime pulls no image, so it can't know what %s would run; name the command", at, cmp.Or(from.Image, "the image"))
	c.refuse(len(from.EnvFrom) > 0, "%s.envFrom: the local runtime has no secrets and config maps", at)
	c.refuse(len(from.VolumeDevices) > 0, "%s.volumeDevices are not supported by the local runtime", at)
	c.refuse(from.Lifecycle != nil, "%s.lifecycle hooks are not supported by the local runtime", at)
	c.refuse(len(from.RestartPolicyRules) > 0, "%s.restartPolicyRules are not supported by the local runtime", at)
	c.refuse(!init && from.RestartPolicy != nil, "%s.restartPolicy is supported on init containers only", at)
	c.refuse(init && from.RestartPolicy != nil && *from.RestartPolicy != corev1.ContainerRestartPolicyAlways,
		"%s.restartPolicy must be Always, or be left out", at)
}

// workingDir allows directories below the pod's own, and absolute ones that
// exist on this host.
func (c *compiler) workingDir(at, dir string) string {
	switch {
	case dir == "":
	case filepath.IsAbs(dir):
		c.refuse(!isDir(dir), "%s.workingDir: %s does not exist on this host; a relative one is made in the pod's scratch directory", at, dir)
	default:
		c.refuse(!filepath.IsLocal(dir), "%s.workingDir: %s leads out of the pod's scratch directory", at, dir)
	}
	return dir
}

func seconds(n *int64) time.Duration {
	if n == nil {
		return 0
	}
	return time.Duration(min(max(*n, 0), math.MaxInt64/int64(time.Second))) * time.Second
}

func deref[T any](pointer *T) T {
	if pointer == nil {
		var zero T
		return zero
	}
	return *pointer
}
