package api

import "time"

// EndpointSpec is what a user wants of an inference endpoint. Image, Command,
// Args, Env, Port, Resources, Model, HealthPath and CapacityType make a
// revision; a change of anything else does not.
type EndpointSpec struct {
	Image   string            `json:"image"`
	Command []string          `json:"command,omitempty"`
	Args    []string          `json:"args,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	// Port is where a replica listens. Where replicas share a network, as with
	// the local runtime, each is given its own in the variable PORT, and
	// $(PORT) in Command and Args stands for it.
	Port int `json:"port"`
	// Resources by name, in Kubernetes quantities, such as cpu: 500m.
	Resources map[string]string `json:"resources,omitempty"`
	// Model is NAME@VERSION or NAME@TAG of the registry.
	Model string `json:"model,omitempty"`
	// HealthPath is answered with a status below 400 by a replica that is
	// ready; /healthz if absent.
	HealthPath string `json:"healthPath,omitempty"`
	// CapacityType is the market of the nodes; absent is any.
	CapacityType string `json:"capacityType,omitempty" enum:"on-demand,spot"`

	// Replicas is how many there are over all regions; 1 if absent.
	Replicas    int                  `json:"replicas,omitempty"`
	Autoscaling *EndpointAutoscaling `json:"autoscaling,omitempty"`
	// Regions is one region, chosen by capacity and price, if absent.
	Regions *EndpointRegions `json:"regions,omitempty"`
	// DrainTime is how long a replica that is to go may take to end what it has
	// begun; 30s if absent.
	DrainTime string `json:"drainTime,omitempty"`
	// ReadyTimeout is how long a revision may take to become ready before it
	// is rolled back; 10m if absent.
	ReadyTimeout string          `json:"readyTimeout,omitempty"`
	Canary       *EndpointCanary `json:"canary,omitempty"`
	Limits       *EndpointLimits `json:"limits,omitempty"`
	// ModelNames maps a model's name in OpenAI-compatible requests to the one
	// that the replicas know.
	ModelNames map[string]string `json:"modelNames,omitempty"`
}

// EndpointRegions is a list of regions, or a number of them that is chosen by
// capacity and price.
type EndpointRegions struct {
	Names []string `json:"names,omitempty"`
	Count int      `json:"count,omitempty"`
}

// EndpointAutoscaling keeps a metric of each replica near its target.
type EndpointAutoscaling struct {
	// Min may be 0: an idle endpoint then has no replicas, and the next request
	// waits for one.
	Min int `json:"min"`
	Max int `json:"max"`
	// Metric is concurrency (if absent), requests (a second), or gauge: a
	// metric that the replicas export under the name in Gauge.
	Metric string  `json:"metric,omitempty" enum:"concurrency,requests,gauge"`
	Target float64 `json:"target"`
	Gauge  string  `json:"gauge,omitempty"`
	// Window is what the metric is averaged over (1m if absent); there are
	// fewer replicas after ScaleDownDelay (5m) in which fewer were enough, and
	// none after IdleTime (5m) without a request.
	Window         string `json:"window,omitempty"`
	ScaleDownDelay string `json:"scaleDownDelay,omitempty"`
	IdleTime       string `json:"idleTime,omitempty"`
}

// EndpointCanary says how a new revision is tried before it takes over.
type EndpointCanary struct {
	// Weight is its share of the requests at first, in percent, from 1 to 99;
	// the first of Steps if absent.
	Weight int `json:"weight,omitempty"`
	// Regions are those of the trial; all of the endpoint's if absent.
	Regions []string `json:"regions,omitempty"`
	// Steps are the shares that Analysis takes it through; 1, 5, 25, 50, 100 if
	// absent. 100 promotes it.
	Steps []int `json:"steps,omitempty"`
	// Analysis compares it with the revision that serves. Without, only users
	// change its weight, promote it or roll it back.
	Analysis *EndpointAnalysis `json:"analysis,omitempty"`
}

// EndpointAnalysis says when a canary is as good as what serves.
type EndpointAnalysis struct {
	// Window is how long each step is watched; 5m if absent.
	Window string `json:"window,omitempty"`
	// MinRequests is how many the canary must have answered in it; 100 if
	// absent.
	MinRequests int `json:"minRequests,omitempty"`
	// MaxErrorRate is how much higher its share of errors may be; 0.01 if
	// absent.
	MaxErrorRate float64 `json:"maxErrorRate,omitempty"`
	// MaxLatencyRatio is how many times as slow each of Percentiles (50 and 99
	// if absent) may be; 1.5 if absent.
	MaxLatencyRatio float64   `json:"maxLatencyRatio,omitempty"`
	Percentiles     []float64 `json:"percentiles,omitempty"`
}

// EndpointLimits bound what each gateway takes for the endpoint; what is
// absent is not bounded, but for BodyBytes, which is 64 MiB then.
type EndpointLimits struct {
	RequestsPerSecond float64 `json:"requestsPerSecond,omitempty"`
	Concurrent        int     `json:"concurrent,omitempty"`
	BodyBytes         int64   `json:"bodyBytes,omitempty"`
	// TokenRequired refuses requests without a token that may invoke the
	// endpoint.
	TokenRequired bool `json:"tokenRequired,omitempty"`
}

// NewEndpoint asks for an endpoint.
type NewEndpoint struct {
	// Kind may say Endpoint, as a document in a file does.
	Kind string `json:"kind,omitempty" enum:"Endpoint"`
	// Name stands in the path of an update; if it is here, too, it must be the
	// same.
	Name string `json:"name,omitempty"`
	EndpointSpec
}

// Endpoint is the record of an endpoint: what is wanted, and what there is.
type Endpoint struct {
	Name string `json:"name"`
	// Version counts the edits; it is the ETag.
	Version int64        `json:"version"`
	Spec    EndpointSpec `json:"spec"`
	Stopped bool         `json:"stopped"`
	// State: starting (nothing is ready yet), ready, updating (to another
	// revision or number), degraded (fewer replicas are ready than should be),
	// idle (scaled to zero), stopped, deleting.
	State string `json:"state" enum:"starting,ready,updating,degraded,idle,stopped,deleting"`
	// Message says what is missing.
	Message string `json:"message,omitempty"`
	// Revision is the one that serves.
	Revision int                  `json:"revision"`
	Canary   *EndpointCanaryState `json:"canary,omitempty"`
	// Replicas is how many there should be now, Ready how many answer.
	Replicas int `json:"replicas"`
	Ready    int `json:"ready"`
	// Regions is what each region should have, and has.
	Regions   []EndpointRegion `json:"regions"`
	CreatedAt time.Time        `json:"createdAt"`
	CreatedBy string           `json:"createdBy,omitempty"`
	UpdatedAt time.Time        `json:"updatedAt"`
	// UpdatedBy is who made the last edit, and Reason why, where that was not
	// a user.
	UpdatedBy string `json:"updatedBy,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

// EndpointCanaryState is a revision on trial.
type EndpointCanaryState struct {
	Revision int `json:"revision"`
	// Weight is its share of the requests, in percent.
	Weight int       `json:"weight"`
	Since  time.Time `json:"since"`
}

// EndpointRegion is one region's part of an endpoint.
type EndpointRegion struct {
	Region string `json:"region"`
	// Replicas is how many it should have, Ready how many answer.
	Replicas int `json:"replicas"`
	Ready    int `json:"ready"`
	// Message says what it could not do.
	Message string `json:"message,omitempty"`
	// Silent regions have lost their lease: what is said of them may be old.
	Silent bool `json:"silent,omitempty"`
	// Copies lists the replicas; in the answer for a single endpoint only.
	Copies []EndpointReplica `json:"copies,omitempty"`
}

// EndpointReplica is one copy of a revision.
type EndpointReplica struct {
	ID       string `json:"id"`
	Revision int    `json:"revision"`
	// Phase: starting (has not answered yet), ready, unready (does not answer
	// any more), draining (is to go), failed (ended, and is started again).
	Phase string `json:"phase" enum:"starting,ready,unready,draining,failed"`
	// Address is where the region's gateway finds it.
	Address  string    `json:"address,omitempty"`
	Restarts int       `json:"restarts,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Message  string    `json:"message,omitempty"`
	Since    time.Time `json:"since"`
}

// EndpointList is one page of endpoints, by name.
type EndpointList struct {
	Items []Endpoint `json:"items"`
	// NextCursor continues the list; empty at its end.
	NextCursor string `json:"nextCursor,omitempty"`
}

// EndpointRevision is one version of what a replica is.
type EndpointRevision struct {
	Revision int `json:"revision"`
	// Use: serving, canary, or nothing for one that is only remembered.
	Use string `json:"use,omitempty" enum:"serving,canary"`
	// Spec has the fields that make a revision.
	Spec      EndpointSpec `json:"spec"`
	CreatedAt time.Time    `json:"createdAt"`
	CreatedBy string       `json:"createdBy,omitempty"`
	// Failure says why it was rolled back.
	Failure string `json:"failure,omitempty"`
	// Trials are the last verdicts on it as a canary, oldest first.
	Trials []EndpointTrial `json:"trials,omitempty"`
}

// EndpointTrial is a verdict on a canary that changed something, with the
// numbers that it rests on.
type EndpointTrial struct {
	At     time.Time `json:"at"`
	Action string    `json:"action" enum:"advance,promote,roll-back"`
	Reason string    `json:"reason"`
	// Weight is the share with which the numbers came about, Seconds in how long.
	Weight  int             `json:"weight"`
	Seconds float64         `json:"seconds"`
	Serving EndpointNumbers `json:"serving"`
	Canary  EndpointNumbers `json:"canary"`
}

// EndpointNumbers are what the requests of one revision came to.
type EndpointNumbers struct {
	Requests  int64   `json:"requests"`
	Errors    int64   `json:"errors"`
	ErrorRate float64 `json:"errorRate"`
	// Latencies are in seconds until an answer began, by percentile: p50.
	Latencies map[string]float64 `json:"latencies,omitempty"`
}

// EndpointHistory is the revisions that are remembered, newest first.
type EndpointHistory struct {
	Items []EndpointRevision `json:"items"`
}

// EndpointScale asks for a number of replicas over all regions.
type EndpointScale struct {
	Replicas int `json:"replicas"`
}

// EndpointWeight asks for another share of the requests for the canary.
type EndpointWeight struct {
	// Weight is in percent, from 1 to 99.
	Weight int `json:"weight"`
}

// EndpointRollback asks for a revision; 0 is the one before.
type EndpointRollback struct {
	Revision int `json:"revision,omitempty"`
}
