package supervise

import (
	"fmt"
	"slices"
	"time"

	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

// Reason codes as Kubernetes has them.
const (
	reasonBackoffLimit  = "BackoffLimitExceeded"
	reasonDeadline      = "DeadlineExceeded"
	reasonFailurePolicy = "PodFailurePolicy"
	reasonCompleted     = "Completed"
	reasonError         = "Error"
	reasonStartError    = "StartError"
	reasonCrashLoop     = "CrashLoopBackOff"
)

// keptPods is how many pods that are over stay visible.
const keptPods = 100

// startErrorCode is the exit code of a container that could not be started,
// as Kubernetes reports it.
const startErrorCode = 128

// host carries out what the controller decides.
type host interface {
	// start starts a container. Its end is told to controller.exited, unless
	// start returns an error.
	start(p *pod, c *container) error
	// terminate asks a container to end; destroy ends it.
	terminate(c *container)
	destroy(c *container)
	// event tells users what happened.
	event(warning bool, reason, object, message string)
}

// controller has the semantics of a Kubernetes Job: it decides which pods and
// containers run, and how the attempt ends. It is told the time and what
// ended, and acts through host only.
type controller struct {
	record attempt.Record
	plan   attempt.Plan
	host   host
	// names returns a suffix for the next pod's name.
	names func() string

	begunAt   time.Time
	startedAt time.Time
	live      []*pod
	// ended holds the last pods that are over, for display.
	ended     []*pod
	freeSlots []int
	succeeded int
	done      map[int]bool // completion indexes
	failed    int
	// failures counts since the last success, for the back-off.
	failures int
	nextPod  time.Time
	outcome  *outcome

	// changes grows with each change of state; step repeats until it doesn't.
	changes int
	wake    time.Time
}

// outcome is how the attempt ends once nothing of it runs.
type outcome struct {
	phase    attempt.Phase
	reason   string
	message  string
	exitCode *int
}

func newController(record attempt.Record, host host, names func() string, now time.Time) *controller {
	j := &controller{record: record, plan: record.Plan, host: host, names: names, begunAt: now, done: map[int]bool{}}
	for i := range j.plan.Slots {
		j.freeSlots = append(j.freeSlots, i)
	}
	return j
}

// step does everything that can be done now. It returns true once the attempt
// is over, and else when to call it at the latest (zero: only after an exit).
func (j *controller) step(now time.Time) (over bool, wake time.Time) {
	for {
		before := j.changes
		j.wake = time.Time{}
		j.stepPods(now)
		j.decide(now)
		if j.outcome == nil {
			j.addPods(now)
		}
		if j.changes == before {
			break
		}
	}
	return j.outcome != nil && len(j.live) == 0, j.wake
}

func (j *controller) stepPods(now time.Time) {
	for _, p := range slices.Clone(j.live) {
		if j.outcome != nil {
			p.end("")
		}
		p.step(now)
		if p.over() {
			j.podOver(p, now)
		}
	}
}

// end decides how the attempt ends, unless that is decided already; its pods
// get their grace.
func (j *controller) end(o outcome) {
	if j.outcome != nil {
		return
	}
	j.outcome = &o
	j.changes++
}

// interrupt says that everything is being killed: nothing is started again.
func (j *controller) interrupt() {
	for _, p := range j.live {
		p.end("")
	}
}

// abandon ends the pods of which nothing runs any more.
func (j *controller) abandon(now time.Time) {
	for _, p := range j.live {
		p.phase, p.finishedAt = podFailed, now
	}
	j.ended = append(j.ended, j.live...)
	j.live = nil
}

func (j *controller) podOver(p *pod, now time.Time) {
	j.live = slices.DeleteFunc(j.live, func(other *pod) bool { return other == p })
	j.ended = append(j.ended, p)
	j.ended = j.ended[max(0, len(j.ended)-keptPods):]
	j.freeSlots = append(j.freeSlots, p.slot)
	slices.Sort(j.freeSlots)
	j.changes++
	switch {
	case p.phase == podSucceeded:
		j.succeeded++
		j.failures = 0
		if p.index >= 0 {
			j.done[p.index] = true
		}
	case p.interrupted: // it was not the pod that failed
	default:
		j.podFailed(p, now)
	}
}

func (j *controller) podFailed(p *pod, now time.Time) {
	name, exit := p.firstFailure()
	switch rule := matching(j.plan.FailureRules, p); {
	case rule == nil, rule.Action == "Count":
		j.failed++
	case rule.Action == "FailJob":
		j.end(outcome{
			attempt.Failed, reasonFailurePolicy,
			fmt.Sprintf("container %s of pod %s failed with exit code %d, which a FailJob rule names", name, p.name, deref(exit)), exit,
		})
		return
	}
	j.failures++
	j.nextPod = now.Add(j.backoff(j.failures))
	if j.failed > j.plan.BackoffLimit {
		j.failBackoff(p, exit)
	}
}

func (j *controller) failBackoff(p *pod, exit *int) {
	name, _ := p.firstFailure()
	message := fmt.Sprintf("pod %s failed", p.name)
	if exit != nil {
		message = fmt.Sprintf("container %s of pod %s failed with exit code %d", name, p.name, *exit)
	}
	j.end(outcome{
		attempt.Failed, reasonBackoffLimit,
		fmt.Sprintf("%s; the job has reached its backoffLimit of %d", message, j.plan.BackoffLimit), exit,
	})
}

// decide ends the attempt where its pods or its deadline say so.
func (j *controller) decide(now time.Time) {
	if j.outcome != nil {
		return
	}
	if d := j.plan.ActiveDeadline; d > 0 {
		if !now.Before(j.begunAt.Add(d)) {
			j.end(outcome{phase: attempt.Failed, reason: reasonDeadline, message: fmt.Sprintf("the job was active longer than activeDeadlineSeconds (%s)", d)})
			return
		}
		j.wakeAt(j.begunAt.Add(d))
	}
	if p := j.restartedTooOften(); p != nil {
		_, exit := p.firstFailure()
		j.failBackoff(p, exit)
		return
	}
	if j.complete() {
		zero := 0
		j.end(outcome{phase: attempt.Succeeded, reason: reasonCompleted, exitCode: &zero})
	}
}

// restartedTooOften returns a pod with restarts where all pods together are
// past the backoffLimit, by Kubernetes' rule for restarts in place.
func (j *controller) restartedTooOften() *pod {
	var restarted *pod
	total := 0
	for _, p := range j.live {
		if n := p.restarts(); p.template.RestartOnFailure && n > 0 {
			total += n
			restarted = p
		}
	}
	if restarted == nil || total < j.plan.BackoffLimit {
		return nil
	}
	return restarted
}

func (j *controller) complete() bool {
	if j.plan.Completions == nil {
		return j.succeeded > 0 && len(j.live) == 0
	}
	return j.succeeded >= *j.plan.Completions
}

// addPods starts what is missing, as soon as the back-off allows it.
func (j *controller) addPods(now time.Time) {
	active := len(j.live)
	want := j.plan.Parallelism
	switch {
	case j.plan.Completions != nil:
		want = min(want, *j.plan.Completions-j.succeeded)
	case j.succeeded > 0:
		want = active
	}
	for range want - active {
		if now.Before(j.nextPod) {
			j.wakeAt(j.nextPod)
			return
		}
		if len(j.freeSlots) == 0 {
			return
		}
		j.addPod(now)
	}
}

func (j *controller) addPod(now time.Time) {
	index := -1
	if j.plan.Indexed {
		index = j.nextIndex()
	}
	slot := j.freeSlots[0]
	j.freeSlots = j.freeSlots[1:]
	p := newPod(j, index, slot, now)
	j.live = append(j.live, p)
	j.changes++
	j.host.event(false, "SuccessfulCreate", "job/"+j.record.Name, "created pod "+p.name)
}

func (j *controller) nextIndex() int {
	taken := map[int]bool{}
	for _, p := range j.live {
		taken[p.index] = true
	}
	index := 0
	for j.done[index] || taken[index] {
		index++
	}
	return index
}

// exited says that a container which was started has ended.
func (j *controller) exited(c *container, code int, now time.Time) {
	reason := reasonCompleted
	if code != 0 {
		reason = reasonError
	}
	c.ended(code, reason, now)
}

func (j *controller) wakeAt(at time.Time) {
	if j.wake.IsZero() || at.Before(j.wake) {
		j.wake = at
	}
}

// backoff is the pause after that many failures in a row.
func (j *controller) backoff(failures int) time.Duration {
	pause := j.record.Backoff
	for range failures - 1 {
		if pause >= j.record.MaxBackoff {
			break
		}
		pause *= 2
	}
	return min(pause, j.record.MaxBackoff)
}

func (j *controller) terminate(c *container, now time.Time) {
	switch {
	case c.killAt.IsZero():
		c.killAt = now.Add(j.plan.Pod.Grace)
		j.host.event(false, "Killing", c.object(), "stopping container "+c.template.Name)
		j.host.terminate(c)
		j.wakeAt(c.killAt)
	case now.Before(c.killAt):
		j.wakeAt(c.killAt)
	case !c.killed:
		c.killed = true
		j.host.destroy(c)
	}
}

func deref(code *int) int {
	if code == nil {
		return 0
	}
	return *code
}
