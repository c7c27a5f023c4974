package api

import "time"

// Region is one cluster and its agent.
type Region struct {
	Name     string `json:"name"`
	Lease    string `json:"lease" enum:"none,live,lost"`
	Healthy  bool   `json:"healthy"`
	Cordoned bool   `json:"cordoned"`
	Draining bool   `json:"draining"`
	Cluster  string `json:"cluster,omitempty"`
	Epoch    int64  `json:"epoch"`
	// Inventoried is false while a new session still lists what it holds.
	Inventoried bool `json:"inventoried"`
	// AwaitedSince is set while nothing starts anywhere because this region has
	// not sent its inventory since the data were restored.
	AwaitedSince *time.Time `json:"awaitedSince,omitempty"`
	// Free, Promised and Total sum over the region's nodes. Promised is what
	// Free does not show yet.
	Free             map[string]int64   `json:"free"`
	Promised         map[string]int64   `json:"promised"`
	Total            map[string]int64   `json:"total"`
	Prices           map[string]Price   `json:"prices,omitempty"`
	Backoffs         map[string]Backoff `json:"backoffs,omitempty"`
	Jobs             map[string]int64   `json:"jobs"`
	OpenedAt         *time.Time         `json:"openedAt,omitempty"`
	RenewedAt        *time.Time         `json:"renewedAt,omitempty"`
	LostAt           *time.Time         `json:"lostAt,omitempty"`
	UnreachableSince *time.Time         `json:"unreachableSince,omitempty"`
	// Capacity is in the answer for a single region only.
	Capacity *Snapshot `json:"capacity,omitempty"`
}

// Price of one piece of a resource (a core, a GiB, a GPU) for one hour.
type Price struct {
	OnDemand float64  `json:"onDemand"`
	Spot     *float64 `json:"spot,omitempty"`
}

// Backoff keeps placements that need a resource out of a region for a while.
type Backoff struct {
	Kind     string    `json:"kind" enum:"no-capacity,never-fits,quota"`
	Failures int       `json:"failures"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"`
	Message  string    `json:"message,omitempty"`
}

// RegionList has every region, by name.
type RegionList struct {
	Items []Region `json:"items"`
}
