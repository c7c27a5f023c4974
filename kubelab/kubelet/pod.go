package kubelet

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The pauses before a container is started again: they double.
const (
	firstPause = time.Second
	longPause  = 20 * time.Second
)

// pod runs one pod. Its run goroutine owns everything but mu's fields.
type pod struct {
	kubelet *Kubelet
	object  *corev1.Pod
	dir     string

	init, main []*container
	started    time.Time
	// failed is a reason why nothing more is started.
	failed, message string
	// disrupted: that is nothing of the pod's own.
	disrupted bool
	// stopAt is when what is to end is killed.
	stopAt time.Time
	exits  chan exit
	// reported is the last status that the API server took.
	reported *corev1.PodStatus

	mu       sync.Mutex
	deleting bool
	killAt   time.Time
	wake     chan struct{}
	// gone is closed when the object is no more.
	gone chan struct{}
}

// exit says how a run of a container ended.
type exit struct {
	container *container
	state     corev1.ContainerStateTerminated
}

func newPod(k *Kubelet, object *corev1.Pod) *pod {
	p := &pod{
		kubelet: k, object: object, dir: filepath.Join(k.options.Dir, string(object.UID)),
		exits: make(chan exit), wake: make(chan struct{}, 1), gone: make(chan struct{}),
	}
	for i := range object.Spec.InitContainers {
		p.init = append(p.init, newContainer(p, &object.Spec.InitContainers[i], true))
	}
	for i := range object.Spec.Containers {
		p.main = append(p.main, newContainer(p, &object.Spec.Containers[i], false))
	}
	return p
}

// delete asks for the end of the pod; a later call may shorten the grace.
func (p *pod) delete(grace time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.now().Add(grace)
	if p.deleting && !at.Before(p.killAt) {
		return
	}
	p.deleting, p.killAt = true, at
	p.wakeUp()
}

func (p *pod) deletion() (deleting bool, killAt time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deleting, p.killAt
}

// run takes the pod to its end, and the object with it where that is to be
// deleted. When ctx ends, so does every process.
func (p *pod) run(ctx context.Context) {
	for over := p.begin(); ctx.Err() == nil && !over; {
		next := p.step(ctx)
		if p.report(ctx); p.finished() {
			break
		}
		timer := p.kubelet.options.Clock.NewTimer(next)
		select {
		case ended := <-p.exits:
			ended.container.ended(ended.state)
		case <-p.wake:
		case <-timer.C():
		case <-ctx.Done():
		}
		timer.Stop()
	}
	if ctx.Err() != nil {
		p.abandon()
		return
	}
	p.awaitDeletion(ctx)
}

// begin ends at once what an earlier kubelet left half done, since its
// processes are gone. What that one has brought to its end is over.
func (p *pod) begin() (over bool) {
	p.started = p.now()
	switch p.object.Status.Phase {
	case corev1.PodSucceeded, corev1.PodFailed:
		return true
	case corev1.PodRunning:
		p.failed, p.message = "Terminated", "the kubelet has ended, and the processes of this pod with it"
		p.disrupted = true
	}
	return false
}

// abandon kills what runs, and waits for it.
func (p *pod) abandon() {
	for _, c := range p.all() {
		c.kill()
	}
	for _, c := range p.all() {
		for c.running() {
			ended := <-p.exits
			ended.container.ended(ended.state)
		}
	}
}

// step starts and stops what is due, and returns how long nothing else is.
func (p *pod) step(ctx context.Context) time.Duration {
	now, next := p.now(), time.Hour
	if deleting, killAt := p.deletion(); deleting {
		return p.stop(now, killAt)
	}
	if limit := p.object.Spec.ActiveDeadlineSeconds; limit != nil && p.failed == "" {
		end := p.started.Add(time.Duration(*limit) * time.Second)
		if !now.Before(end) {
			p.failed, p.message = "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
		}
		next = end.Sub(now)
	}
	if p.failed != "" || p.mainOver() {
		return p.stop(now, now.Add(p.grace()))
	}
	for _, c := range p.init {
		next = min(next, c.tend(ctx, now))
		if !c.passed() {
			p.failOn(c)
			return next
		}
	}
	for _, c := range p.main {
		next = min(next, c.tend(ctx, now))
	}
	return max(next, 0)
}

// failOn ends the pod where an init container has failed for good.
func (p *pod) failOn(c *container) {
	if c.over() && c.last.ExitCode != 0 {
		p.failed, p.message = "Error", "init container "+c.spec.Name+" failed"
		p.wakeUp()
	}
}

func (p *pod) wakeUp() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// stop asks what runs to end, and kills it when its grace is over.
func (p *pod) stop(now, killAt time.Time) time.Duration {
	if p.stopAt.IsZero() || killAt.Before(p.stopAt) {
		p.stopAt = killAt
	}
	for _, c := range p.all() {
		c.held = true
		if now.Before(p.stopAt) {
			c.terminate()
		} else {
			c.kill()
		}
	}
	if now.Before(p.stopAt) {
		return p.stopAt.Sub(now)
	}
	return time.Hour
}

func (p *pod) now() time.Time { return p.kubelet.options.Clock.Now() }

func (p *pod) grace() time.Duration {
	if s := p.object.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return corev1.DefaultTerminationGracePeriodSeconds * time.Second
}

func (p *pod) all() []*container { return append(append([]*container(nil), p.init...), p.main...) }

// mainOver tells whether no container of the pod is to run again.
func (p *pod) mainOver() bool {
	for _, c := range p.main {
		if !c.over() {
			return false
		}
	}
	return true
}

// finished tells whether nothing of the pod runs, or will.
func (p *pod) finished() bool {
	deleting, _ := p.deletion()
	if !deleting && p.failed == "" && !p.mainOver() {
		return false
	}
	for _, c := range p.all() {
		if c.running() {
			return false
		}
	}
	return true
}

// awaitDeletion keeps the logs until the object is to go, and lets it go.
func (p *pod) awaitDeletion(ctx context.Context) {
	for {
		if deleting, _ := p.deletion(); deleting {
			break
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
			return
		}
	}
	zero := int64(0)
	p.persist(ctx, func(ctx context.Context) error {
		return p.kubelet.options.Client.CoreV1().Pods(p.object.Namespace).Delete(ctx, p.object.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &p.object.UID},
		})
	})
	// A finalizer may keep the object for a while.
	select {
	case <-p.gone:
		p.kubelet.forget(p)
	case <-ctx.Done():
	}
}
