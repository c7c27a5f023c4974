package placement

import (
	"fmt"
	"time"

	"github.com/gco-project/gco/internal/job"
)

// Policy is the `placement:` section of gco.yaml. Durations are written as
// Go writes them, such as "10m".
type Policy struct {
	Weights Weights `json:"weights" yaml:"weights" doc:"How much each term of a region's score counts, relative to the others."`
	// ReserveAfter is how long a job may be too big for what is free before
	// nodes are withheld for it.
	ReserveAfter time.Duration `json:"reserveAfter" yaml:"reserveAfter" doc:"How long a job may find every region too busy before nodes are kept free for it."`
	// ProvisionTime is what a node that has to be added costs in expected
	// wait.
	ProvisionTime time.Duration `json:"provisionTime" yaml:"provisionTime" doc:"How long a region needs to add a node. It counts as expected wait where a job needs nodes that do not exist yet."`
}

// Weights say how much each term of a score counts. Only their ratios matter:
// Decide divides each by their sum.
type Weights struct {
	ExpectedWait   float64 `json:"expectedWait" yaml:"expectedWait" doc:"A job starts soon there."`
	FreeShare      float64 `json:"freeShare" yaml:"freeShare" doc:"Much of what suits the job is free there."`
	Price          float64 `json:"price" yaml:"price" doc:"The job is cheap there."`
	Locality       float64 `json:"locality" yaml:"locality" doc:"The job's model is there already."`
	RecentFailures float64 `json:"recentFailures" yaml:"recentFailures" doc:"What the job needs was lately to be had there."`
}

// The longest durations that a policy may have.
const (
	maxPolicyDuration = 24 * time.Hour
	maxWeight         = 1000.0
)

// DefaultPolicy is what an empty section stands for.
func DefaultPolicy() Policy {
	return Policy{
		Weights:       Weights{ExpectedWait: 3, FreeShare: 2, Price: 3, Locality: 1, RecentFailures: 1},
		ReserveAfter:  10 * time.Minute,
		ProvisionTime: 3 * time.Minute,
	}
}

// Validate returns every fault, with field paths as in gco.yaml, from
// "placement." on.
func (p Policy) Validate() []job.Fault {
	var faults []job.Fault
	sum := 0.0
	for i, weight := range p.Weights.list() {
		// The negated form also refuses NaN.
		if !(weight >= 0 && weight <= maxWeight) {
			faults = append(faults, job.Fault{
				Field:   "placement.weights." + termNames[i],
				Message: fmt.Sprintf("%v is outside 0 to %v", weight, maxWeight),
			})
		}
		sum += weight
	}
	if len(faults) == 0 && sum == 0 {
		faults = append(faults, job.Fault{Field: "placement.weights", Message: "all are 0; at least one must count"})
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"reserveAfter", p.ReserveAfter},
		{"provisionTime", p.ProvisionTime},
	} {
		if d.value < 0 || d.value > maxPolicyDuration {
			faults = append(faults, job.Fault{
				Field:   "placement." + d.field,
				Message: fmt.Sprintf("%s is outside 0s to %s", d.value, maxPolicyDuration),
			})
		}
	}
	return faults
}

// list has the weights in the order of termNames.
func (w Weights) list() [terms]float64 {
	return [terms]float64{w.ExpectedWait, w.FreeShare, w.Price, w.Locality, w.RecentFailures}
}
