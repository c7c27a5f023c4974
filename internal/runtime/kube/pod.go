package kube

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/manifest"
	"github.com/gco-project/gco/internal/runtime"
)

// pod is what is kept of one pod of the cluster; of one that belongs to no
// attempt, only what it takes from its node.
type pod struct {
	uid      types.UID
	node     string
	requests capacity.Resources
	// over: none of its containers runs, or ever will.
	over bool

	// of is the UID of its Job, if that is an attempt.
	of        types.UID
	namespace string
	jobName   string
	created   time.Time
	scheduled time.Time
	deleting  bool
	succeeded bool
	view      runtime.Pod
	// exit is the end of a container that says most of the pod's.
	exit exit
	// result is what a container left in its termination message.
	result string
	// disrupted is why it was ended from outside, if it was.
	disrupted string
	// trouble is why it does not start.
	trouble *trouble
	killed  bool
}

// exit is how a container ended.
type exit struct {
	at        time.Time
	code      int
	container string
	reason    string
	message   string
}

// trouble is what keeps a pod from starting.
type trouble struct {
	kind    troubleKind
	since   time.Time
	reason  string
	message string
}

type troubleKind int

const (
	// unschedulable: no node takes it.
	unschedulable troubleKind = iota + 1
	// unstartable: it has a node, and its containers can't be made.
	unstartable
	// refused: it could not be created.
	refused
)

// readPod reduces a pod.
func readPod(p *corev1.Pod) *pod {
	out := &pod{
		uid: p.UID, node: p.Spec.NodeName, requests: manifest.PodRequests(&p.Spec),
		over: p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed,
	}
	if p.Labels[labelManagedBy] != fieldManager || p.Labels[labelJob] == "" {
		return out
	}
	out.of, out.namespace, out.jobName = types.UID(p.Labels[labelJobUID]), p.Namespace, p.Labels["batch.kubernetes.io/job-name"]
	out.created, out.deleting = p.CreationTimestamp.Time, p.DeletionTimestamp != nil
	out.succeeded = p.Status.Phase == corev1.PodSucceeded
	out.view = runtime.Pod{Name: p.Name, Phase: string(p.Status.Phase), Node: p.Spec.NodeName}
	out.readConditions(p)
	out.readContainers(p)
	if !out.over {
		out.view.FinishedAt = time.Time{}
	}
	return out
}

func (p *pod) readContainers(from *corev1.Pod) {
	for _, list := range []struct {
		init     bool
		specs    []corev1.Container
		statuses []corev1.ContainerStatus
	}{
		{true, from.Spec.InitContainers, from.Status.InitContainerStatuses},
		{false, from.Spec.Containers, from.Status.ContainerStatuses},
	} {
		for i := range list.specs {
			name := list.specs[i].Name
			at := slices.IndexFunc(list.statuses, func(s corev1.ContainerStatus) bool { return s.Name == name })
			if at < 0 {
				p.view.Containers = append(p.view.Containers, runtime.Container{Name: name, Init: list.init, State: "waiting"})
				continue
			}
			p.readContainer(&list.specs[i], &list.statuses[at], list.init)
		}
	}
}

func (p *pod) readContainer(spec *corev1.Container, s *corev1.ContainerStatus, init bool) {
	view := runtime.Container{Name: s.Name, Init: init, State: "waiting", Restarts: int(s.RestartCount)}
	switch {
	case s.State.Running != nil:
		view.State = "running"
		p.started(s.State.Running.StartedAt.Time)
	case s.State.Terminated != nil:
		view.State, view.Reason = "terminated", s.State.Terminated.Reason
		code := int(s.State.Terminated.ExitCode)
		view.ExitCode = &code
		p.terminated(spec, s.State.Terminated)
	case s.State.Waiting != nil:
		view.Reason = s.State.Waiting.Reason
		if unstartableReasons[view.Reason] {
			p.trouble = &trouble{unstartable, p.scheduled, view.Reason, fmt.Sprintf("container %s of pod %s: %s", s.Name, p.view.Name, s.State.Waiting.Message)}
		}
	}
	if last := s.LastTerminationState.Terminated; last != nil {
		p.started(last.StartedAt.Time)
	}
	p.view.Containers = append(p.view.Containers, view)
}

// unstartableReasons are the kubelet's for containers that it can't make.
// Those that may pass by themselves are waited for, too.
var unstartableReasons = map[string]bool{
	"ErrImagePull": true, "ImagePullBackOff": true, "InvalidImageName": true, "ErrImageNeverPull": true,
	"ImageInspectError": true, "RegistryUnavailable": true, "SignatureValidationFailed": true,
	"CreateContainerConfigError": true, "CreateContainerError": true, "RunContainerError": true,
}

func (p *pod) started(at time.Time) {
	if !at.IsZero() && (p.view.StartedAt.IsZero() || at.Before(p.view.StartedAt)) {
		p.view.StartedAt = at
	}
}

func (p *pod) terminated(spec *corev1.Container, s *corev1.ContainerStateTerminated) {
	p.started(s.StartedAt.Time)
	if s.FinishedAt.After(p.view.FinishedAt) {
		p.view.FinishedAt = s.FinishedAt.Time
	}
	// A message that the kubelet took from the log is no result.
	if spec.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError || s.ExitCode == 0 {
		p.result = cmp.Or(p.result, resultOf(s.Message))
	}
	if s.ExitCode != 0 && (p.exit.code == 0 || s.FinishedAt.Time.Before(p.exit.at)) {
		p.exit = exit{s.FinishedAt.Time, int(s.ExitCode), spec.Name, s.Reason, s.Message}
	}
}

// resultOf makes a termination message a result. The kubelet keeps MaxResult
// bytes of it and does not say whether there were more; then what is left is
// no result any more, so that many count as too many.
func resultOf(message string) string {
	if len(message) >= runtime.MaxResult {
		return message[:runtime.MaxResult] + message[runtime.MaxResult-1:runtime.MaxResult]
	}
	return message
}

func (p *pod) readConditions(from *corev1.Pod) {
	for i := range from.Status.Conditions {
		switch c := &from.Status.Conditions[i]; {
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionTrue:
			p.scheduled = c.LastTransitionTime.Time
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable:
			p.trouble = &trouble{unschedulable, c.LastTransitionTime.Time, c.Reason, c.Message}
		case c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue:
			p.disrupted = cmp.Or(c.Reason, "Disrupted")
		}
	}
}

// live tells whether something of it may run.
func (p *pod) live() bool { return !p.over }

func comparePods(a, b *pod) int {
	return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.view.Name, b.view.Name))
}

// sortedPods are the pods of an attempt, oldest first; r.mu must be held.
func (r *Runtime) sortedPods(h *held) []*pod {
	var pods []*pod
	for _, p := range r.podsOf[h.uid] {
		pods = append(pods, p)
	}
	slices.SortFunc(pods, comparePods)
	return pods
}

func compareIDs(a, b job.AttemptID) int {
	return cmp.Or(cmp.Compare(a.Job, b.Job), cmp.Compare(a.Attempt, b.Attempt))
}
