package api

import (
	"encoding/json"
	"time"
)

// Problem is an error answer, as RFC 9457 has it.
type Problem struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail,omitempty"`
	Errors []FieldError `json:"errors,omitempty"`
}

// FieldError is one fault of a request.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// Event is a fact about a job, a region, a pipeline, a schedule or a webhook,
// with the attributes of CloudEvents 1.0.
type Event struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject"`
	Time        time.Time `json:"time"`
	Namespace   string    `json:"gconamespace,omitempty"`
	// Data is a Transition for a job, a PipelineEvent for a pipeline, a
	// ScheduleEvent for a schedule.
	Data json.RawMessage `json:"data"`
}

// Stats counts jobs.
type Stats struct {
	Jobs        map[string]int64            `json:"jobs"`
	ByRegion    map[string]map[string]int64 `json:"byRegion"`
	ByNamespace map[string]map[string]int64 `json:"byNamespace"`
	// OldestQueuedSeconds is the age of the oldest queued job.
	OldestQueuedSeconds float64 `json:"oldestQueuedSeconds"`
	// LastMinute and LastHour count transitions: queued (submissions),
	// succeeded, failed, cancelled.
	LastMinute map[string]int64 `json:"lastMinute"`
	LastHour   map[string]int64 `json:"lastHour"`
}

// Token is a credential without its secret.
type Token struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Role       string     `json:"role" enum:"admin,submitter,viewer,invoker,agent"`
	Namespaces []string   `json:"namespaces,omitempty"`
	Region     string     `json:"region,omitempty"`
	Endpoints  []string   `json:"endpoints,omitempty"`
	CreatedAt  time.Time  `json:"createdAt"`
	ExpiresAt  *time.Time `json:"expiresAt,omitempty"`
}

// NewToken asks for a credential.
type NewToken struct {
	Name       string   `json:"name"`
	Role       string   `json:"role" enum:"admin,submitter,viewer,invoker,agent"`
	Namespaces []string `json:"namespaces,omitempty"`
	Region     string   `json:"region,omitempty"`
	Endpoints  []string `json:"endpoints,omitempty"`
	// ExpiresIn is a duration; empty is for ever.
	ExpiresIn string `json:"expiresIn,omitempty"`
}

// CreatedToken shows the secret, once.
type CreatedToken struct {
	Token
	Secret string `json:"secret"`
}

// TokenList has every token, by name.
type TokenList struct {
	Items []Token `json:"items"`
}

// Health says what works, check by check.
type Health struct {
	Status string        `json:"status" enum:"ok,degraded,failed"`
	Checks []HealthCheck `json:"checks"`
}

// HealthCheck is one check of Health.
type HealthCheck struct {
	Name    string `json:"name"`
	Status  string `json:"status" enum:"ok,degraded,failed"`
	Message string `json:"message,omitempty"`
}

// Version is what a binary says of itself.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

// Pod is one pod (or local process group) of an attempt.
type Pod struct {
	Name       string      `json:"name"`
	Attempt    int         `json:"attempt"`
	Phase      string      `json:"phase"`
	Node       string      `json:"node,omitempty"`
	StartedAt  *time.Time  `json:"startedAt,omitempty"`
	FinishedAt *time.Time  `json:"finishedAt,omitempty"`
	Containers []Container `json:"containers"`
}

// Container is one container of a Pod.
type Container struct {
	Name     string `json:"name"`
	Init     bool   `json:"init,omitempty"`
	State    string `json:"state" enum:"waiting,running,terminated"`
	ExitCode *int   `json:"exitCode,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Restarts int    `json:"restarts"`
}

// PodList is the pods of a job's last attempt.
type PodList struct {
	Items []Pod `json:"items"`
}

// ClusterEvent is what the region's cluster said about an attempt.
type ClusterEvent struct {
	At      time.Time `json:"at"`
	Type    string    `json:"type" enum:"Normal,Warning"`
	Reason  string    `json:"reason"`
	Object  string    `json:"object,omitempty"`
	Message string    `json:"message"`
	Count   int       `json:"count,omitempty"`
}

// ClusterEventList is the events of a job's last attempt, oldest first.
type ClusterEventList struct {
	Items []ClusterEvent `json:"items"`
}
