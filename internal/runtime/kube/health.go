package kube

import "fmt"

// reachable returns why the cluster can't be reached or read, if it can't. It
// takes two calls in a row that fail, and some time, to say so, and one that
// succeeds to take it back.
func (r *Runtime) reachable() error {
	ago, failed, err := r.lease.contacted()
	if failed >= 2 && ago >= r.options.LeaseDuration/2 {
		return fmt.Errorf("the cluster's API has not answered for %s: %w", ago.Round(1e8), err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range []string{"jobs", "pods", "nodes"} {
		if state := r.watches[resource]; !state.synced && state.err != nil {
			return state.err
		}
	}
	return nil
}
