package api

import (
	"encoding/json"
	"time"

	"github.com/gco-project/gco/internal/capacity"
)

// The shapes of capacity are the same on the wire and in the domain.
type (
	// Demand is what a job asks of a region.
	Demand = capacity.Demand
	// Snapshot is what a region could take.
	Snapshot = capacity.Snapshot
	// NodeShape is a number of nodes that a scheduler could not tell apart.
	NodeShape = capacity.NodeShape
)

// SyncRequest is what an agent says in its one call. Everything in it is a
// level, not an edge: a request or an answer that is lost costs nothing but
// time.
type SyncRequest struct {
	// Cluster identifies what the agent drives.
	Cluster string `json:"cluster"`
	// Session is empty to open one.
	Session string `json:"session,omitempty"`
	Epoch   int64  `json:"epoch,omitempty"`
	// Sequence grows with each request of a session; a lower one than the
	// highest seen is refused.
	Sequence int64 `json:"sequence,omitempty"`

	// Capacity is absent when it has not changed since the last answer.
	Capacity *Snapshot `json:"capacity,omitempty"`
	// CapacityFailures is what the region lately could not provide.
	CapacityFailures []CapacityFailure `json:"capacityFailures,omitempty"`
	// Unreachable says that the agent cannot reach its cluster.
	Unreachable bool `json:"unreachable,omitempty"`

	// Inventory is one page of everything that the runtime holds. A new
	// session sends all pages, in order, before it is given work.
	Inventory *Inventory `json:"inventory,omitempty"`
	// Observations are what the agent has seen and has no answer for yet.
	Observations []Observation `json:"observations,omitempty"`
	// Known lists attempts from earlier answers' Start and Stop that the
	// agent is still busy with; the answer does not wait because of them.
	Known []AttemptRef `json:"known,omitempty"`

	// Endpoints is what the agent goes by, and what it sees of endpoints that
	// changed since the last answer; absent from an agent that serves none.
	Endpoints *EndpointReport `json:"endpoints,omitempty"`

	// Models lists the versions of models that are here, or being fetched, as
	// NAME@VERSION.
	Models []string `json:"models,omitempty"`

	// MaxStart is how many attempts the agent will take now.
	MaxStart int `json:"maxStart"`
	// WaitSeconds bounds how long the server may hold the call back while
	// there is nothing to say.
	WaitSeconds float64 `json:"waitSeconds,omitempty"`
}

// AttemptRef names one attempt of one job.
type AttemptRef struct {
	JobID   string `json:"jobId"`
	Attempt int    `json:"attempt"`
}

// Inventory is one page: everything that the runtime holds whose job ID is
// greater than After and at most Through (empty: without end). An attempt of
// the queue in that range that is not in Items is lost.
type Inventory struct {
	After   string       `json:"after,omitempty"`
	Through string       `json:"through,omitempty"`
	Items   []AttemptRef `json:"items"`
	// Last marks the final page.
	Last bool `json:"last,omitempty"`
}

// Observation is the newest phase of one attempt.
type Observation struct {
	AttemptRef
	// Phase: applied (held, nothing runs yet), running, succeeded, failed,
	// released (given back without running to its end), stopped (as asked),
	// lost (it is gone).
	Phase    string `json:"phase" enum:"applied,running,succeeded,failed,released,stopped,lost"`
	Reason   string `json:"reason,omitempty"`
	Message  string `json:"message,omitempty"`
	ExitCode *int   `json:"exitCode,omitempty"`
	// Result is what the attempt left in the file that GCO_RESULT names, as it
	// is; with a phase in which the attempt has ended. What is longer than
	// 4,096 bytes, or no result, costs the job its outputs, and not its end.
	Result     string     `json:"result,omitempty"`
	StartedAt  *time.Time `json:"startedAt,omitempty"`
	FinishedAt *time.Time `json:"finishedAt,omitempty"`
	// CapacityFailure is set with released when capacity was the reason.
	CapacityFailure *CapacityFailure `json:"capacityFailure,omitempty"`
}

// CapacityFailure says that a region could not provide a resource.
type CapacityFailure struct {
	Resource string `json:"resource"`
	Kind     string `json:"kind" enum:"no-capacity,never-fits,quota"`
	Message  string `json:"message,omitempty"`
}

// SyncResponse is what the control plane answers. That it answers at all says
// that it has processed every observation of the request.
type SyncResponse struct {
	Session     string `json:"session"`
	Epoch       int64  `json:"epoch"`
	Incarnation string `json:"incarnation"`
	// TrustSeconds is how long the agent may act, counted from the moment it
	// began the call.
	TrustSeconds float64 `json:"trustSeconds"`
	// InventoryWanted asks the agent to send its inventory from the start.
	InventoryWanted bool `json:"inventoryWanted,omitempty"`
	// Start lists attempts to apply; each comes again until it is reported.
	Start []Start `json:"start,omitempty"`
	// Stop lists attempts to stop; each comes again until it is reported.
	Stop []Stop `json:"stop,omitempty"`
	// Endpoints lists those whose target is not the one that the agent goes by;
	// each comes again until the agent says that it has it.
	Endpoints []EndpointTarget `json:"endpoints,omitempty"`
	// Models are versions of models that the region will need, and neither has
	// nor fetches.
	Models []string `json:"models,omitempty"`
	// Requests are questions that clients ask of this region.
	Requests []Request `json:"requests,omitempty"`
}

// Start is one attempt to apply.
type Start struct {
	AttemptRef
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	Manifest  json.RawMessage `json:"manifest"`
	// Model is the version of a model that the attempt reads, as NAME@VERSION.
	Model string `json:"model,omitempty"`
	// Unfenced attempts run on when the agent loses its lease.
	Unfenced bool `json:"unfenced,omitempty"`
}

// Stop is one attempt to stop.
type Stop struct {
	AttemptRef
	Reason string `json:"reason" enum:"cancel,deadline,move,superseded"`
}

// EndpointReport is what an agent says of endpoints.
type EndpointReport struct {
	// Held has the tag of the target that the agent goes by for each endpoint
	// of which it holds anything, by name; an empty one where it knows none.
	Held map[string]string `json:"held"`
	// Observed is what changed since the last answer. An endpoint of which
	// nothing is left comes once more, with no target and no replicas.
	Observed []EndpointObservation `json:"observed,omitempty"`
	// All says that Observed is everything, as in the first report of a
	// session.
	All bool `json:"all,omitempty"`
}

// EndpointLoad is what a region's gateway measured of an endpoint. Sums grow
// from Began on.
type EndpointLoad struct {
	Began time.Time `json:"began"`
	At    time.Time `json:"at"`
	// Open requests are at replicas, Waiting ones wait for one.
	Open    int `json:"open,omitempty"`
	Waiting int `json:"waiting,omitempty"`
	// Busy sums the time of all requests at replicas, in seconds.
	Busy float64 `json:"busy"`
	// Revisions are those that had requests, by number.
	Revisions map[int]EndpointSample `json:"revisions,omitempty"`
}

// EndpointSample is what the requests of one revision came to.
type EndpointSample struct {
	Requests int64 `json:"requests"`
	// Errors are answers with a status of 500 or more, and none at all.
	Errors int64 `json:"errors"`
	// Latencies count requests by the bucket of the time until their answer
	// began: bucket n ends at 100 µs times 2 to the power of n/8.
	Latencies map[int]int64 `json:"latencies,omitempty"`
}

// EndpointObservation is what a region sees of one endpoint.
type EndpointObservation struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
	// Target is the tag of what the region goes by.
	Target   string            `json:"target,omitempty"`
	Replicas []EndpointReplica `json:"replicas,omitempty"`
	// Shortage says why there are fewer replicas than there should be.
	Shortage *CapacityFailure `json:"shortage,omitempty"`
	// Gateway is where the region takes requests: host:port, or an https:// URL;
	// absent where it has no gateway.
	Gateway string `json:"gateway,omitempty"`
	// Load is what the gateway measured, where the target asks for it.
	Load *EndpointLoad `json:"load,omitempty"`
}

// EndpointTarget is what a region should have of one endpoint.
type EndpointTarget struct {
	Name string `json:"name"`
	UID  string `json:"uid,omitempty"`
	// Tag changes with anything in here.
	Tag string `json:"tag,omitempty"`
	// Sets are the revisions; without any, all of the endpoint is to go.
	Sets         []EndpointSet     `json:"sets,omitempty"`
	DrainSeconds float64           `json:"drainSeconds,omitempty"`
	Limits       *EndpointLimits   `json:"limits,omitempty"`
	ModelNames   map[string]string `json:"modelNames,omitempty"`
	// Measure asks for the endpoint's load.
	Measure bool `json:"measure,omitempty"`
}

// EndpointSet is a number of replicas of one revision.
type EndpointSet struct {
	Revision int `json:"revision"`
	Replicas int `json:"replicas"`
	// Weight is its share of the region's requests, in percent.
	Weight int `json:"weight"`
	// Spec has the fields that make a revision.
	Spec EndpointSpec `json:"spec"`
}

// Request is one question of a client, to be answered by a POST to
// /regions/{region}/requests/{id} on the server that holds the client.
type Request struct {
	ID string `json:"id"`
	// Server is that server's base URL; empty means the one that answers.
	Server string `json:"server,omitempty"`
	Kind   string `json:"kind" enum:"logs,pods,events"`
	AttemptRef
	Logs *LogOptions `json:"logs,omitempty"`
}

// LogOptions selects a part of an attempt's logs.
type LogOptions struct {
	Container string `json:"container,omitempty"`
	Follow    bool   `json:"follow,omitempty"`
	// Tail is the number of last lines; 0 is all.
	Tail       int        `json:"tail,omitempty"`
	Since      *time.Time `json:"since,omitempty"`
	Timestamps bool       `json:"timestamps,omitempty"`
}
