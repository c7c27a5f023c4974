package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

// held is an attempt that this runtime holds. Runtime.mu guards it.
type held struct {
	id              job.AttemptID
	namespace, name string
	uid             types.UID
	version         uint64 // of the object that was seen last
	incarnation     string
	term            string
	unfenced        bool
	containers      []string
	demand          capacity.PodGroup
	class           capacity.Class
	completions     int32
	// homeless is how many of its pods still need a node.
	homeless int

	status jobStatus
	// gone: there is no such object any more, since goneAt.
	gone   bool
	goneAt time.Time
	// ending is why it is being ended, if it is; tried is when that was last
	// asked of the cluster, and asked that it was taken.
	ending *ending
	tried  time.Time
	asked  bool
	// spool is what was kept of its log when it was stopped.
	spool *spool
	// refused is why its pods can't be created, if they can't.
	refused *trouble

	observation runtime.Observation
}

// jobStatus is what is kept of a Job's status.
type jobStatus struct {
	succeeded int32
	// deletedAt is when somebody asked for its deletion.
	deletedAt time.Time
	// end is Complete or Failed, at endedAt, as this process saw it at seenAt.
	end             batchv1.JobConditionType
	reason, message string
	endedAt, seenAt time.Time
}

// ending is what becomes of an attempt that this runtime ends.
type ending struct {
	phase           runtime.Phase
	reason, message string
	capacity        *runtime.CapacityFailure
	// quick: its pods get no more time than Options.FenceGrace.
	quick bool
}

// List returns every attempt that is held, by job ID and attempt.
func (r *Runtime) List(context.Context) (list []runtime.Observation, synced bool, err error) {
	if err := r.reachable(); err != nil {
		return nil, false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	list = make([]runtime.Observation, 0, len(r.held))
	for _, h := range r.held {
		list = append(list, h.observation)
	}
	slices.SortFunc(list, func(a, b runtime.Observation) int { return compareIDs(a.ID, b.ID) })
	return list, r.synced(), nil
}

// find returns an attempt that is held; r.mu must be held.
func (r *Runtime) find(id job.AttemptID) (*held, error) {
	h := r.held[id]
	if h == nil {
		return nil, runtime.ErrNotFound
	}
	return h, nil
}

// takeIn notes what a Job is now, whoever says so; r.mu must be held.
func (r *Runtime) takeIn(j *batchv1.Job) {
	id, ours := attemptOf(j)
	if !ours || r.forgotten[j.UID] {
		return
	}
	version, _ := strconv.ParseUint(j.ResourceVersion, 10, 64)
	h := r.held[id]
	switch {
	case h == nil:
		h = r.adopt(id, j)
	case h.uid != j.UID:
		// It was made again after its end, by a call that had been given up or
		// by hand.
		r.stray(j)
		return
	case version < h.version:
		return
	}
	h.version, h.term = version, j.Annotations[annotationTerm]
	h.status = r.readStatus(j, h.status)
	r.outdate(h)
	r.look(h)
}

// adopt begins to hold a Job.
func (r *Runtime) adopt(id job.AttemptID, j *batchv1.Job) *held {
	h := &held{
		id: id, namespace: j.Namespace, name: j.Name, uid: j.UID,
		incarnation: j.Annotations[annotationIncarnation], term: j.Annotations[annotationTerm],
		unfenced: j.Annotations[annotationUnfenced] == "true", containers: containerNames(&j.Spec.Template.Spec),
		completions: deref(j.Spec.Completions),
	}
	h.observation = runtime.Observation{ID: id, Incarnation: h.incarnation, Phase: runtime.PhaseApplied}
	text, err := json.Marshal(&batchv1.Job{TypeMeta: jobType, ObjectMeta: metav1.ObjectMeta{Name: j.Name, Namespace: j.Namespace}, Spec: j.Spec})
	if err == nil {
		h.demand, err = demandOf(text, j.Namespace)
	}
	if err != nil {
		r.options.Log.Warn("an attempt's demand can't be told; its pods count once they have a node", "job", id.Job, "attempt", id.Attempt, "error", err)
	}
	h.class = capacity.ClassOf(capacity.Demand{Pods: []capacity.PodGroup{h.demand}}, nil)
	r.held[id], r.byUID[j.UID] = h, h
	r.signal()
	return h
}

func (r *Runtime) readStatus(j *batchv1.Job, before jobStatus) jobStatus {
	status := jobStatus{succeeded: j.Status.Succeeded, seenAt: before.seenAt}
	if j.DeletionTimestamp != nil {
		status.deletedAt = j.DeletionTimestamp.Time
	}
	for i := range j.Status.Conditions {
		c := &j.Status.Conditions[i]
		if c.Status != corev1.ConditionTrue || c.Type != batchv1.JobComplete && c.Type != batchv1.JobFailed {
			continue
		}
		status.end, status.reason, status.message, status.endedAt = c.Type, c.Reason, c.Message, c.LastTransitionTime.Time
		if c.Type == batchv1.JobComplete && j.Status.CompletionTime != nil {
			status.endedAt = j.Status.CompletionTime.Time
		}
		if status.seenAt.IsZero() {
			status.seenAt = r.options.Clock.Now()
		}
	}
	return status
}

// vanished notes that a Job is gone; r.mu must be held.
func (r *Runtime) vanished(uid types.UID) {
	delete(r.forgotten, uid)
	delete(r.strays, uid)
	h := r.byUID[uid]
	if h == nil || h.gone {
		return
	}
	h.gone, h.goneAt = true, r.options.Clock.Now()
	r.look(h)
}

// look works out what an attempt has come to; r.mu must be held.
func (r *Runtime) look(h *held) {
	before := h.observation
	if before.Phase.Terminal() {
		return
	}
	pods := r.sortedPods(h)
	h.observation = r.observe(h, pods)
	delete(r.waiting, h.id)
	if !h.observation.Phase.Terminal() && (h.ending != nil || h.gone || h.ended() || troubled(h, pods)) {
		r.waiting[h.id] = h
		r.poke()
	}
	if count := r.countHomeless(h); count != h.homeless {
		h.homeless, r.snapshot = count, nil
		poke(r.changed)
	}
	r.tell()
	if h.observation.Phase != before.Phase {
		poke(r.changed)
	}
}

func troubled(h *held, pods []*pod) bool {
	return h.refused != nil || slices.ContainsFunc(pods, func(p *pod) bool { return p.trouble != nil && p.live() })
}

// settle is for how long the last word of a Job's pods is waited for after
// that of the Job: they come on different streams.
const settle = 3 * time.Second

// observe is what a Job and its pods mean for the attempt.
func (r *Runtime) observe(h *held, pods []*pod) runtime.Observation {
	o := h.observation
	running := false
	for _, p := range pods {
		running = running || p.live()
		if at := p.view.StartedAt; !at.IsZero() && (o.StartedAt.IsZero() || at.Before(o.StartedAt)) {
			o.StartedAt = at
		}
	}
	if !o.StartedAt.IsZero() {
		o.Phase = runtime.PhaseRunning
	}
	switch {
	case h.ended():
		if h.settled(pods, running, r.options.Clock.Since(h.status.seenAt)) {
			h.finish(&o, pods)
		}
	case h.gone && !running && h.ending != nil:
		o.Phase, o.Reason, o.Message, o.Capacity = h.ending.phase, h.ending.reason, h.ending.message, h.ending.capacity
		o.FinishedAt = r.options.Clock.Now()
	case h.gone && !running:
		o.Phase, o.Reason, o.Message = runtime.PhaseLost, "Deleted", "its Job was deleted from the cluster by somebody else"
		o.FinishedAt = r.options.Clock.Now()
	}
	return o
}

// ended tells whether the Job has come to an end of its own. One that fails
// while it is being deleted fails because its pods were.
func (h *held) ended() bool {
	switch h.status.end {
	case batchv1.JobComplete:
		return true
	case batchv1.JobFailed:
		return h.ending == nil && (h.status.deletedAt.IsZero() || h.status.endedAt.Before(h.status.deletedAt))
	}
	return false
}

// settled tells whether all that there is to know of an ended Job's pods has
// come.
func (h *held) settled(pods []*pod, running bool, since time.Duration) bool {
	if since >= settle {
		return true
	}
	if running {
		return false
	}
	if h.status.end == batchv1.JobComplete {
		return slices.ContainsFunc(pods, func(p *pod) bool { return p.succeeded })
	}
	return slices.ContainsFunc(pods, func(p *pod) bool { return !p.succeeded && p.over })
}

// finish reads the end of a Job.
func (h *held) finish(o *runtime.Observation, pods []*pod) {
	o.FinishedAt = h.status.endedAt
	if o.StartedAt.IsZero() || o.FinishedAt.Before(o.StartedAt) {
		o.FinishedAt = latest(pods, o.FinishedAt)
	}
	for _, p := range pods {
		if o.Result == "" && p.over {
			o.Result = p.result
		}
	}
	if h.status.end == batchv1.JobComplete {
		zero := 0
		o.Phase, o.ExitCode = runtime.PhaseSucceeded, &zero
		return
	}
	o.Phase, o.Reason, o.Message = runtime.PhaseFailed, h.status.reason, h.status.message
	last := lastFailed(pods)
	if last == nil {
		return
	}
	if last.disrupted != "" && h.status.reason != batchv1.JobReasonDeadlineExceeded {
		o.Phase, o.Reason = runtime.PhaseLost, last.disrupted
		o.Message = fmt.Sprintf("pod %s was ended from outside (%s) on node %s", last.view.Name, last.disrupted, last.node)
		return
	}
	if last.exit.code != 0 {
		code := last.exit.code
		o.ExitCode = &code
		o.Message = fmt.Sprintf("container %s of pod %s exited with %d (%s); %s", last.exit.container, last.view.Name, code, last.exit.reason, h.status.message)
	}
}

func latest(pods []*pod, at time.Time) time.Time {
	for _, p := range pods {
		if p.view.FinishedAt.After(at) {
			at = p.view.FinishedAt
		}
	}
	return at
}

// lastFailed is the pod that failed last, the one that the Job gave up on.
func lastFailed(pods []*pod) *pod {
	var last *pod
	for _, p := range pods {
		if p.over && !p.succeeded && (last == nil || !p.view.FinishedAt.Before(last.view.FinishedAt)) {
			last = p
		}
	}
	return last
}
