package supervise

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

// Phases of a pod, as Kubernetes names them.
const (
	podPending   = "Pending"
	podRunning   = "Running"
	podSucceeded = "Succeeded"
	podFailed    = "Failed"
)

// pod is one pod of the attempt: init containers in order, then the others at
// once; sidecars start among the first and end after the last.
type pod struct {
	job      *controller
	template attempt.Pod
	name     string
	uid      string
	index    int // -1: the job is not indexed
	slot     int

	phase      string
	createdAt  time.Time
	startedAt  time.Time
	finishedAt time.Time
	init       []*container
	regular    []*container

	// ending: its containers are to end. reason says why, and is empty where
	// they ended by themselves.
	ending      bool
	interrupted bool
	reason      string
}

// container is one container of a pod, over all its restarts.
type container struct {
	pod      *pod
	template attempt.Container
	init     bool

	state      string
	reason     string
	exitCode   *int
	startedAt  time.Time
	finishedAt time.Time
	begun      bool // it was started once
	restarts   int
	notBefore  time.Time
	killAt     time.Time
	killed     bool
}

// States of a container.
const (
	waiting    = "waiting"
	running    = "running"
	terminated = "terminated"
)

func newPod(j *controller, index, slot int, now time.Time) *pod {
	p := &pod{job: j, template: j.plan.Pod, uid: randomUUID(), index: index, slot: slot, phase: podPending, createdAt: now}
	p.name = j.record.Name + "-"
	if index >= 0 {
		p.name += strconv.Itoa(index) + "-"
	}
	p.name += j.names()
	for _, c := range p.template.Init {
		p.init = append(p.init, &container{pod: p, template: c, init: true, state: waiting})
	}
	for _, c := range p.template.Containers {
		p.regular = append(p.regular, &container{pod: p, template: c, state: waiting})
	}
	return p
}

func (p *pod) over() bool { return p.phase == podSucceeded || p.phase == podFailed }

func (p *pod) containers() []*container { return slices.Concat(p.init, p.regular) }

// end makes the pod end for a reason that does not lie in its containers.
func (p *pod) end(reason string) {
	if p.ending {
		return
	}
	p.ending, p.interrupted, p.reason = true, reason == "", reason
	p.job.changes++
}

func (p *pod) step(now time.Time) {
	if d := p.template.ActiveDeadline; d > 0 && !p.ending {
		if deadline := p.createdAt.Add(d); now.Before(deadline) {
			p.job.wakeAt(deadline)
		} else {
			p.end(reasonDeadline)
		}
	}
	if !p.ending && p.stepInit(now) {
		p.stepRegular(now)
	}
	if p.ending {
		p.stepEnding(now)
	}
}

// stepInit returns true once the regular containers may start.
func (p *pod) stepInit(now time.Time) bool {
	for _, c := range p.init {
		if c.state == waiting {
			p.start(c, now)
		}
		switch {
		case c.template.Sidecar && c.begun:
			continue
		case c.template.Sidecar, c.state != terminated:
			return false
		case *c.exitCode != 0:
			p.finish()
			return false
		}
	}
	return true
}

func (p *pod) stepRegular(now time.Time) {
	done := true
	for _, c := range p.regular {
		if c.state == waiting {
			p.start(c, now)
		}
		done = done && c.state == terminated
	}
	if p.phase == podPending && slices.ContainsFunc(p.regular, func(c *container) bool { return c.begun }) {
		p.phase = podRunning
		p.job.changes++
	}
	if done {
		p.finish()
	}
}

// finish ends the pod because its containers did.
func (p *pod) finish() {
	p.ending = true
	p.job.changes++
}

// stepEnding ends the regular containers together, then the sidecars, last
// one first.
func (p *pod) stepEnding(now time.Time) {
	left := false
	for _, c := range p.containers() {
		if !c.template.Sidecar && c.state == running {
			p.job.terminate(c, now)
			left = true
		}
	}
	for _, c := range slices.Backward(p.init) {
		if !left && c.template.Sidecar && c.state == running {
			p.job.terminate(c, now)
			left = true
		}
	}
	if left {
		return
	}
	p.phase, p.finishedAt = podFailed, now
	if p.succeeded() {
		p.phase = podSucceeded
	}
	p.job.changes++
}

func (p *pod) succeeded() bool {
	return p.reason == "" && !slices.ContainsFunc(p.regular, func(c *container) bool {
		return c.state != terminated || *c.exitCode != 0
	})
}

func (p *pod) start(c *container, now time.Time) {
	if now.Before(c.notBefore) {
		p.job.wakeAt(c.notBefore)
		return
	}
	p.job.changes++
	if p.startedAt.IsZero() {
		p.startedAt = now
	}
	if p.job.startedAt.IsZero() {
		p.job.startedAt = now
	}
	c.startedAt = now
	if err := p.job.host.start(p, c); err != nil {
		p.job.host.event(true, "Failed", c.object(), err.Error())
		c.ended(startErrorCode, reasonStartError, now)
		return
	}
	c.state, c.reason, c.begun = running, "", true
	p.job.host.event(false, "Started", c.object(), "started container "+c.template.Name)
}

// ended notes the end of a container, and puts it back to waiting where it is
// to be started again.
func (c *container) ended(code int, reason string, now time.Time) {
	j := c.pod.job
	j.changes++
	c.state, c.reason, c.exitCode, c.finishedAt = terminated, reason, &code, now
	c.killAt, c.killed = time.Time{}, false
	if reason == reasonError {
		j.host.event(true, reason, c.object(), fmt.Sprintf("container %s ended with exit code %d", c.template.Name, code))
	} else if reason == reasonCompleted {
		j.host.event(false, reason, c.object(), "container "+c.template.Name+" completed")
	}
	again := c.template.Sidecar || (c.pod.template.RestartOnFailure && code != 0)
	if c.pod.ending || !again {
		return
	}
	c.restarts++
	pause := j.backoff(c.restarts)
	c.state, c.reason, c.notBefore = waiting, reasonCrashLoop, now.Add(pause)
	j.host.event(true, "BackOff", c.object(), "restarting container "+c.template.Name+" after a pause")
}

func (c *container) object() string { return "pod/" + c.pod.name }

// firstFailure returns the container that failed first, sidecars aside.
func (p *pod) firstFailure() (name string, exitCode *int) {
	var first *container
	for _, c := range p.containers() {
		if c.template.Sidecar || c.exitCode == nil || *c.exitCode == 0 {
			continue
		}
		if first == nil || c.finishedAt.Before(first.finishedAt) {
			first = c
		}
	}
	if first == nil {
		return "", nil
	}
	return first.template.Name, first.exitCode
}

func (p *pod) restarts() int {
	total := 0
	for _, c := range p.containers() {
		total += c.restarts
	}
	return total
}

func (p *pod) view() attempt.PodStatus {
	view := attempt.PodStatus{
		Name: p.name, Phase: p.phase, Node: p.job.plan.Slots[p.slot].Node,
		StartedAt: p.startedAt, FinishedAt: p.finishedAt,
	}
	for _, c := range p.containers() {
		view.Containers = append(view.Containers, attempt.ContainerStatus{
			Name: c.template.Name, Init: c.init, State: c.state, ExitCode: c.exitCode, Reason: c.reason, Restarts: c.restarts,
		})
	}
	return view
}
