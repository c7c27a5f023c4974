package endpoint

import (
	"time"

	"github.com/gco-project/gco/internal/capacity"
)

// Observed is what a region says of an endpoint. Nothing in it changes while
// nothing happens, so that an idle region writes nothing.
type Observed struct {
	Region string `json:"region"`
	Name   string `json:"name"`
	UID    string `json:"uid"`
	// Target is the tag of what the region goes by; empty if it has not been
	// told yet.
	Target   string    `json:"target,omitempty"`
	Replicas []Replica `json:"replicas,omitempty"`
	// Shortage says why there are not all replicas that there should be.
	Shortage *Shortage `json:"shortage,omitempty"`
	// Gateway is where the region takes requests: host:port, or an https:// URL;
	// empty where it has no gateway.
	Gateway string `json:"gateway,omitempty"`
	// Load is what the gateway measured of an endpoint with a canary or
	// autoscaling.
	Load *Load `json:"load,omitempty"`
}

// Empty tells whether the region has nothing of the endpoint, and nothing to
// say.
func (o Observed) Empty() bool { return len(o.Replicas) == 0 && o.Target == "" && o.Shortage == nil }

// Phase is how far a replica has come.
type Phase string

// The phases.
const (
	// Starting: it has not answered its health path yet.
	Starting Phase = "starting"
	// Ready: it answers.
	Ready Phase = "ready"
	// Unready: it answered once, and does not now.
	Unready Phase = "unready"
	// Draining: it is to go, and ends what it has begun to answer.
	Draining Phase = "draining"
	// Failed: it has ended, and is started again after a while.
	Failed Phase = "failed"
)

// Phases lists all.
var Phases = []Phase{Starting, Ready, Unready, Draining, Failed}

// Replica is one copy of a revision in a region.
type Replica struct {
	// ID is unique in its region.
	ID       string `json:"id"`
	Revision int    `json:"revision"`
	Phase    Phase  `json:"phase"`
	// Address is where the region's gateway finds it, as host:port.
	Address string `json:"address,omitempty"`
	// Restarts counts how often it was started again.
	Restarts int `json:"restarts,omitempty"`
	// Reason is a short code and Message a sentence about the phase.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Since is when it came into this phase.
	Since time.Time `json:"since"`
}

// Shortage says that a region could not provide what a replica needs.
type Shortage struct {
	Resource string               `json:"resource"`
	Kind     capacity.FailureKind `json:"kind"`
	Message  string               `json:"message,omitempty"`
}

// Ready counts the replicas of a revision that are ready; 0 is any revision.
func (o Observed) Ready(revision int) int {
	count := 0
	for _, r := range o.Replicas {
		if r.Phase == Ready && (revision == 0 || r.Revision == revision) {
			count++
		}
	}
	return count
}

// Route is what the gateway of a region goes by for one endpoint. The agent
// hands the gateway all routes whenever one changes; the gateway never changes
// them.
type Route struct {
	Name   string
	UID    string
	Limits Limits
	// ModelNames is that of the spec.
	ModelNames map[string]string
	DrainTime  time.Duration
	// Shares are the revisions among which requests are divided.
	Shares []Share
}

// Share is one revision's part of a route.
type Share struct {
	Revision int
	// Weight is in percent; those of a route sum to 100.
	Weight int
	// Backends are the replicas that are ready or draining. A draining one
	// takes no new requests. In the first share are also those of earlier
	// revisions, until they have gone.
	Backends []Backend
}

// Backend is one replica that answers.
type Backend struct {
	ID       string
	Revision int
	// Address is host:port.
	Address  string
	Draining bool
}
