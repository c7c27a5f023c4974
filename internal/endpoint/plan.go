package endpoint

import (
	"slices"
	"strings"
	"time"
)

// Plan is what the control plane decided for an endpoint. Only the leader's
// loop in serving writes it, and only when something changes.
type Plan struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
	// Version counts the writes.
	Version int64 `json:"version"`
	// Edit is the Endpoint.Version that it carries out.
	Edit int64 `json:"edit"`
	// Replicas is how many there should be now: what the spec says, or what
	// autoscaling found.
	Replicas int `json:"replicas"`
	// Spread is the Spec.Regions by which the replicas were spread.
	Spread Regions `json:"spread,omitzero"`
	// Missing are regions of the list that were not there at the time: when one
	// comes, its share moves there.
	Missing []string `json:"missing,omitempty"`
	// Targets are the regions that should have replicas, by name.
	Targets []Target `json:"targets,omitempty"`
	// Good is the last revision that served and was ready in all of its
	// targets, Tried the last canary that was; 0 if none ever was.
	Good  int `json:"good,omitempty"`
	Tried int `json:"tried,omitempty"`
	// Trying is the revision that is to become ready, and TryingSince since
	// when; 0 and zero while none is.
	Trying      int       `json:"trying,omitempty"`
	TryingSince time.Time `json:"tryingSince,omitzero"`
	// Full are regions that could not take all that they should, with the time
	// up to which they are not asked to take more.
	Full map[string]time.Time `json:"full,omitempty"`
	// Message says what is missing, for people; empty if all is as it should
	// be.
	Message string `json:"message,omitempty"`
}

// Target is what one region should have of an endpoint.
type Target struct {
	Region string `json:"region"`
	// Lost says that the region is gone, and that the replicas stand elsewhere.
	// It may still have them when it comes back.
	Lost bool `json:"lost,omitempty"`
	// Held says that the replicas are to go as soon as enough others are ready.
	Held bool `json:"held,omitempty"`
	// Sets are at most two: the revision that serves, then a canary.
	Sets []Set `json:"sets"`
}

// Set is a number of replicas of one revision in one region.
type Set struct {
	Revision int `json:"revision"`
	Replicas int `json:"replicas"`
	// Weight is its share of the region's requests, in percent; those of a
	// target sum to 100.
	Weight int `json:"weight"`
}

// Replicas sums the sets of a target.
func (t Target) Replicas() int {
	sum := 0
	for _, set := range t.Sets {
		sum += set.Replicas
	}
	return sum
}

// In returns what a region should have.
func (p *Plan) In(region string) (Target, bool) {
	i, found := slices.BinarySearchFunc(p.Targets, region, func(t Target, name string) int { return strings.Compare(t.Region, name) })
	if !found {
		return Target{}, false
	}
	return p.Targets[i], true
}
