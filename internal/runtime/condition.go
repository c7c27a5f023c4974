package runtime

import "context"

// Status is how well something is.
type Status string

// The statuses. Only what another region would do better is failed; a region
// that is full is degraded, and serves what it has.
const (
	StatusOK       Status = "ok"
	StatusDegraded Status = "degraded"
	StatusFailed   Status = "failed"
)

// Condition is one thing that decides how well a region runs attempts.
type Condition struct {
	Name    string
	Status  Status
	Message string
}

// Conditioned is a Runtime that can say more of its region than whether it
// answers. What it says does not change with every small change of the region.
type Conditioned interface {
	Conditions(ctx context.Context) []Condition
}
