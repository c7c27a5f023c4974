package kube

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/runtime"
)

// overdue decides what becomes of an attempt that does not start: whether it
// has waited for long enough, and whose fault it is. It returns nil and after
// which time to ask again while there is hope. r.mu must be held.
//
//	no node could ever take it    released, capacity failure never-fits
//	no node takes it              released, capacity failure no-capacity
//	a quota forbids its pods      released, capacity failure quota
//	admission fails or denies it  failed, in the words of the cluster
//	its image can't be pulled, or
//	what it refers to is missing  failed, in the words of the cluster
//
// An attempt with a pod that runs is waited for: it has capacity, and its
// other pods may follow.
func (r *Runtime) overdue(h *held, now time.Time) (*ending, time.Duration) {
	var worst *trouble
	for _, p := range r.podsOf[h.uid] {
		switch {
		case p.live() && p.node != "" && p.trouble == nil:
			return nil, 0
		case p.live() && p.trouble != nil && (worst == nil || p.trouble.since.Before(worst.since)):
			worst = p.trouble
		}
	}
	if len(r.podsOf[h.uid]) == 0 {
		worst = h.refused
	}
	if worst == nil || h.gone || !h.status.deletedAt.IsZero() {
		return nil, 0
	}
	patience := r.options.Unstartable
	switch {
	case worst.kind == unschedulable && r.neverFits(h):
		return r.unplaceable(h, capacity.NeverFits, worst), 0
	case worst.kind == unschedulable && missingClaim.MatchString(worst.message):
		// Nothing that is provisioned would help.
	case worst.kind == unschedulable:
		patience = r.options.Unschedulable
	case worst.reason == "InvalidImageName":
		patience = 0
	case worst.kind == refused && exceeded.MatchString(worst.message):
		patience = min(patience, quotaPatience)
	}
	if left := patience - now.Sub(worst.since); left > 0 {
		return nil, left
	}
	switch {
	case worst.kind == unschedulable && !missingClaim.MatchString(worst.message):
		return r.unplaceable(h, capacity.NoCapacity, worst), 0
	case worst.kind == refused:
		if kind, resource := refusal(worst.message); kind != "" {
			return released(worst.reason, kind, resource, worst.message), 0
		}
	}
	return &ending{phase: runtime.PhaseFailed, reason: worst.reason, message: worst.message}, 0
}

// quotaPatience is for how long a quota may keep a Job's pods out: others of
// its own may free it meanwhile.
const quotaPatience = 10 * time.Second

var (
	// exceeded is how the API server says that a ResourceQuota is used up.
	exceeded      = regexp.MustCompile(`exceeded quota: [^,]+, requested: (\S+?)=`)
	failedWebhook = regexp.MustCompile(`failed calling webhook`)
	missingClaim  = regexp.MustCompile(`persistentvolumeclaim "[^"]+" not found`)
)

// refusal tells whether the cluster refused something for a reason that is not
// the job's own, and which resource another region would have to offer. All
// pods need is a place; without one, that is what is short.
func refusal(message string) (kind capacity.FailureKind, resource string) {
	if match := exceeded.FindStringSubmatch(message); match != nil {
		name := strings.TrimPrefix(strings.TrimPrefix(match[1], "requests."), "limits.")
		if strings.HasPrefix(name, "count/") {
			name = capacity.Pods
		}
		return capacity.Quota, name
	}
	if failedWebhook.MatchString(message) {
		return capacity.NoCapacity, capacity.Pods
	}
	return "", ""
}

func released(reason string, kind capacity.FailureKind, resource, message string) *ending {
	return &ending{
		phase: runtime.PhaseReleased, reason: reason, message: message,
		capacity: &runtime.CapacityFailure{Resource: resource, Kind: kind, Message: message},
	}
}

// unplaceable releases an attempt that no node takes.
func (r *Runtime) unplaceable(h *held, kind capacity.FailureKind, t *trouble) *ending {
	resource := r.scarce(h.demand.Requests, kind)
	message := t.message
	if kind == capacity.NeverFits {
		message = "no node of the region could hold it, even an empty one: " + message
	} else {
		message = fmt.Sprintf("no node took it for %s: %s", r.options.Unschedulable, message)
	}
	return released(t.reason, kind, resource, message)
}

// neverFits tells whether no node of the cluster could take the attempt's pods,
// even if it were empty, nor one that may be added; r.mu must be held.
func (r *Runtime) neverFits(h *held) bool {
	if len(h.demand.Requests) == 0 || !r.synced() || len(r.nodes) == 0 {
		return false
	}
	never, known := r.never[h.class]
	if known {
		return never
	}
	empty := capacity.Snapshot{Provisionable: r.options.Provisionable}
	for _, n := range r.nodes {
		if n.known {
			shape := n.shape
			shape.Free = shape.Total
			empty.Nodes = append(empty.Nodes, shape)
		}
	}
	never = !placement.Fits(capacity.Demand{Pods: []capacity.PodGroup{{Count: 1, Pod: h.demand.Pod}}}, empty)
	r.never[h.class] = never
	return never
}

// scarce names the resource that a request fails for, the rarer kinds first:
// one that no node has enough of, or else the rarest that was asked for.
func (r *Runtime) scarce(requests capacity.Resources, kind capacity.FailureKind) string {
	common := []string{capacity.CPU, capacity.Memory, capacity.EphemeralStorage, capacity.Pods}
	names := requests.Names()
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(slices.Index(common, a), slices.Index(common, b))
	})
	for _, name := range names {
		enough := false
		for _, n := range r.nodes {
			have := n.shape.Total[name]
			if kind == capacity.NoCapacity {
				have -= n.used[name]
			}
			enough = enough || n.usable() && have >= requests[name]
		}
		if !enough {
			return name
		}
	}
	return names[0]
}
