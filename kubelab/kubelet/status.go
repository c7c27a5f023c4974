package kubelet

import (
	"context"
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// tryAgain is the pause after a call that the API server did not carry out.
const tryAgain = 200 * time.Millisecond

// report tells the API server what the pod is like, if that has changed.
func (p *pod) report(ctx context.Context) {
	status := p.status()
	if p.reported != nil && equality.Semantic.DeepEqual(*p.reported, status) {
		return
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.object.UID}, "status": status})
	if err != nil {
		panic("kubelet: a status that is no JSON: " + err.Error())
	}
	p.persist(ctx, func(ctx context.Context) error {
		_, err := p.kubelet.options.Client.CoreV1().Pods(p.object.Namespace).Patch(
			ctx, p.object.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		return err
	})
	p.reported = &status
}

// persist makes a call once its node may be heard, and again until it is
// carried out or can't be any more.
func (p *pod) persist(ctx context.Context, call func(context.Context) error) {
	for {
		if p.kubelet.audible(ctx, p.object.Spec.NodeName) != nil {
			return
		}
		err := call(ctx)
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsInvalid(err) {
			return
		}
		select {
		case <-p.kubelet.options.Clock.After(tryAgain):
		case <-ctx.Done():
			return
		}
	}
}

func (p *pod) status() corev1.PodStatus {
	started := metav1.NewTime(p.started)
	status := corev1.PodStatus{
		Phase: p.phase(), StartTime: &started, Reason: p.failed, Message: p.message,
		HostIP: "127.0.0.1", PodIP: "127.0.0.1", PodIPs: []corev1.PodIP{{IP: "127.0.0.1"}},
	}
	for _, c := range p.init {
		status.InitContainerStatuses = append(status.InitContainerStatuses, c.status())
	}
	ready := status.Phase == corev1.PodRunning
	for _, c := range p.main {
		ready = ready && c.running()
		status.ContainerStatuses = append(status.ContainerStatuses, c.status())
	}
	for _, kind := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: kind, Status: truth(ready || kind == corev1.PodInitialized && p.initialized())})
	}
	if p.disrupted {
		status.Conditions = append(status.Conditions, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue,
			Reason: corev1.PodReasonTerminationByKubelet, Message: p.message,
		})
	}
	return status
}

func (p *pod) initialized() bool {
	for _, c := range p.init {
		if !c.passed() {
			return false
		}
	}
	return true
}

// phase is as a kubelet derives it: Pending until every init container is
// through, and final once nothing is to run again.
func (p *pod) phase() corev1.PodPhase {
	if p.finished() {
		if p.failed != "" {
			return corev1.PodFailed
		}
		for _, c := range p.main {
			if c.last == nil || c.last.ExitCode != 0 {
				return corev1.PodFailed
			}
		}
		return corev1.PodSucceeded
	}
	for _, c := range p.main {
		if c.running() || c.last != nil {
			return corev1.PodRunning
		}
	}
	return corev1.PodPending
}

func (c *container) status() corev1.ContainerStatus {
	status := corev1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, RestartCount: int32(c.restarts),
		Started: new(c.running()), Ready: c.running() || c.init && c.passed(),
	}
	switch {
	case c.running():
		status.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(c.startedAt)}
		if c.last != nil {
			status.LastTerminationState.Terminated = c.last
		}
	case c.last != nil && (c.over() || c.waiting == nil):
		status.State.Terminated = c.last
		if c.before != nil {
			status.LastTerminationState.Terminated = c.before
		}
	default:
		status.State.Waiting = c.waiting
		if c.last != nil {
			status.LastTerminationState.Terminated = c.last
		}
	}
	return status
}

func truth(is bool) corev1.ConditionStatus {
	if is {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}
