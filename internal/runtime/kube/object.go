package kube

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/manifest"
	"github.com/gco-project/gco/internal/runtime"
)

// What a Job and its pods say of the attempt that they are.
const (
	labelManagedBy        = "app.kubernetes.io/managed-by"
	labelJob              = "gco.dev/job"
	labelAttempt          = "gco.dev/attempt"
	labelRegion           = "gco.dev/region"
	annotationIncarnation = "gco.dev/incarnation"
	annotationName        = "gco.dev/name"
	annotationUnfenced    = "gco.dev/unfenced"
)

// ownSelector finds what this runtime made.
const ownSelector = labelManagedBy + "=" + fieldManager + "," + labelJob

// labelJobUID is the label with which the Job controller marks a Job's pods;
// it stays where the reference to an owner is removed.
const labelJobUID = batchv1.ControllerUidLabel

// objectName is the name of an attempt's Job: readable, and the same for the
// same attempt only. It leaves room for what pods append to it.
func objectName(name, incarnation string, id job.AttemptID) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", incarnation, id.Job, id.Attempt))
	readable := strings.ReplaceAll(name, ".", "-")
	readable = strings.TrimRight(readable[:min(len(readable), 36)], "-")
	return readable + "-" + hex.EncodeToString(sum[:5])
}

// spec is an attempt as it will be applied.
type spec struct {
	name       string
	containers []string
	demand     capacity.PodGroup
	job        *batchv1.Job
}

// compile makes the Job of an attempt; *runtime.Rejected for what is none.
func (r *Runtime) compile(a runtime.Attempt) (*spec, error) {
	var j batchv1.Job
	if err := json.Unmarshal(a.Manifest, &j); err != nil {
		return nil, &runtime.Rejected{Reason: "InvalidManifest", Message: "the manifest is not a batch/v1 Job: " + err.Error()}
	}
	demand, err := demandOf(a.Manifest, a.Namespace)
	if err != nil {
		return nil, &runtime.Rejected{Reason: "InvalidManifest", Message: err.Error()}
	}
	labels := map[string]string{
		labelManagedBy: fieldManager, labelJob: string(a.ID.Job), labelAttempt: strconv.Itoa(a.ID.Attempt), labelRegion: r.options.Region,
	}
	annotations := map[string]string{annotationIncarnation: a.Incarnation, annotationName: a.Name}
	if a.Unfenced {
		annotations[annotationUnfenced] = "true"
	}
	name := objectName(a.Name, a.Incarnation, a.ID)
	j.ObjectMeta = metav1.ObjectMeta{
		Name: name, Namespace: a.Namespace, Labels: merged(j.Labels, labels), Annotations: merged(j.Annotations, annotations),
	}
	template := &j.Spec.Template
	template.Labels = merged(template.Labels, labels)
	// The queue decides when it goes.
	j.Spec.TTLSecondsAfterFinished = nil
	for _, list := range [][]corev1.Container{template.Spec.InitContainers, template.Spec.Containers} {
		for i := range list {
			list[i].Env = r.environment(a, &list[i])
		}
	}
	return &spec{name: name, containers: containerNames(&template.Spec), demand: demand, job: &j}, nil
}

// demandOf is what placement relied on, too.
func demandOf(text []byte, namespace string) (capacity.PodGroup, error) {
	compiled, faults := manifest.Compile(text, namespace, manifest.Policy{})
	if len(compiled.Demand.Pods) != 1 {
		return capacity.PodGroup{}, &job.Invalid{Faults: faults}
	}
	return compiled.Demand.Pods[0], nil
}

func merged(own, ours map[string]string) map[string]string {
	out := maps.Clone(own)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, ours)
	return out
}

func containerNames(pod *corev1.PodSpec) []string {
	var names []string
	for _, list := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for i := range list {
			names = append(names, list[i].Name)
		}
	}
	return names
}

// environment puts what every attempt is told before what the manifest says,
// which may refer to it and may not replace it.
func (r *Runtime) environment(a runtime.Attempt, c *corev1.Container) []corev1.EnvVar {
	ours := []corev1.EnvVar{
		{Name: "GCO_JOB_ID", Value: string(a.ID.Job)},
		{Name: "GCO_JOB_NAME", Value: a.Name},
		{Name: "GCO_ATTEMPT", Value: strconv.Itoa(a.ID.Attempt)},
		{Name: "GCO_REGION", Value: r.options.Region},
		{Name: "GCO_NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
		// What the kubelet reads when the container has ended.
		{Name: "GCO_RESULT", Value: cmp.Or(c.TerminationMessagePath, corev1.TerminationMessagePathDefault)},
	}
	if r.options.Checkpoints != "" {
		ours = append(ours, corev1.EnvVar{Name: "GCO_CHECKPOINT", Value: strings.TrimSuffix(r.options.Checkpoints, "/") + "/" + string(a.ID.Job)})
	}
	for _, variable := range c.Env {
		if !slices.ContainsFunc(ours, func(o corev1.EnvVar) bool { return o.Name == variable.Name }) {
			ours = append(ours, variable)
		}
	}
	return ours
}

// encode is the object as it is applied: only what is meant.
func (s *spec) encode(term string) ([]byte, error) {
	s.job.Annotations[annotationTerm] = term
	text, err := json.Marshal(struct {
		metav1.TypeMeta
		Metadata metav1.ObjectMeta `json:"metadata"`
		Spec     *batchv1.JobSpec  `json:"spec"`
	}{metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"}, s.job.ObjectMeta, &s.job.Spec})
	if err != nil {
		return nil, fmt.Errorf("encoding the Job of an attempt: %w", err)
	}
	return text, nil
}

// attemptOf reads which attempt a Job is. It is false for one that was copied
// from an attempt's, or that somebody labelled by hand.
func attemptOf(j *batchv1.Job) (job.AttemptID, bool) {
	number, err := strconv.Atoi(j.Labels[labelAttempt])
	if err != nil || j.Labels[labelManagedBy] != fieldManager {
		return job.AttemptID{}, false
	}
	id := job.AttemptID{Job: job.ID(j.Labels[labelJob]), Attempt: number}
	return id, j.Name == objectName(j.Annotations[annotationName], j.Annotations[annotationIncarnation], id)
}
