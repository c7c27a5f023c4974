package kube

import (
	"context"
	"fmt"
	"time"

	"github.com/gco-project/gco/internal/runtime"
)

// When the nodes of a region are too few to be a region: less than fewNodes of
// them are ready for as long as nodesPatience; it takes enoughNodes for as long
// to end that.
const (
	fewNodes      = 0.5
	enoughNodes   = 0.6
	nodesPatience = 30 * time.Second
)

// longWait is for how long an attempt may wait for a node before the region
// counts as full.
const longWait = time.Minute

// reachable returns why the cluster can't be reached or read, if it can't. It
// takes two calls in a row that fail, and some time, to say so, and one that
// succeeds to take it back.
func (r *Runtime) reachable() error {
	ago, failed, err := r.lease.contacted()
	if failed >= 2 && ago >= r.options.LeaseDuration/2 {
		return fmt.Errorf("the cluster's API has not answered for %s: %w", ago.Round(100*time.Millisecond), err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range needed {
		if state := r.watches[resource]; !state.synced && state.err != nil {
			return state.err
		}
	}
	return nil
}

// Conditions says how the cluster's nodes are, and whether attempts wait for
// them. Whether it can be reached at all, List and Capacity say.
func (r *Runtime) Conditions(context.Context) []runtime.Condition {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.options.Clock.Now()
	ready, all := r.readyNodes()
	nodes := runtime.Condition{Name: "nodes", Status: runtime.StatusOK, Message: fmt.Sprintf("%d of %d nodes are ready", ready, all)}
	if r.nodesLack.says(now, nodesPatience) {
		nodes.Status = runtime.StatusFailed
	}
	room := runtime.Condition{Name: "room", Status: runtime.StatusOK}
	waiting := 0
	for _, h := range r.waiting {
		for _, p := range r.podsOf[h.uid] {
			if p.live() && p.trouble != nil && p.trouble.kind == unschedulable && now.Sub(p.trouble.since) >= longWait {
				waiting++
				break
			}
		}
	}
	if waiting > 0 {
		room.Status = runtime.StatusDegraded
		room.Message = fmt.Sprintf("%d attempts have waited for a node for more than %s", waiting, longWait)
	}
	return []runtime.Condition{nodes, room}
}

func (r *Runtime) readyNodes() (ready, all int) {
	for _, n := range r.nodes {
		if n.known {
			all++
		}
		if n.known && n.ready {
			ready++
		}
	}
	return ready, all
}

// judgeNodes looks at the share of nodes that are ready; r.mu must be held.
func (r *Runtime) judgeNodes() {
	ready, all := r.readyNodes()
	limit := fewNodes
	if r.nodesLack.bad {
		limit = enoughNodes
	}
	// A cluster without nodes may be waiting for the first pod.
	r.nodesLack.see(float64(ready) < limit*float64(all), r.options.Clock.Now())
}

// hysteresis says what has been so for some time.
type hysteresis struct {
	bad, said bool
	since     time.Time
}

// see notes what is so now.
func (h *hysteresis) see(bad bool, now time.Time) {
	if bad != h.bad {
		h.bad, h.since = bad, now
	}
}

func (h *hysteresis) says(now time.Time, patience time.Duration) bool {
	if h.bad != h.said && now.Sub(h.since) >= patience {
		h.said = h.bad
	}
	return h.said
}
