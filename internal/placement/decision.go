package placement

import (
	"fmt"
	"slices"
	"strings"
)

// How much of a decision is kept. A small fleet is listed whole; of a large one,
// what matters most, since every placed job stores its decision.
const (
	maxCandidates = 10
	// maxRejections go with a placement, maxReasons with a job that waits.
	maxRejections = 10
	maxReasons    = 100
)

// Decision is the outcome of one placement, as it is stored with the job and
// shown by explain.
type Decision struct {
	// Region is the chosen one; empty if none would do.
	Region string `json:"region,omitempty"`
	// Candidates would do, best first.
	Candidates []Candidate `json:"candidates"`
	// Rejections would not, the nearest to doing first.
	Rejections []Rejection `json:"rejections"`
	// Reserved says that capacity is being held for this job. It is set by
	// whoever called Reserve.
	Reserved bool `json:"reserved,omitempty"`
	// Omitted counts the regions that are in neither list.
	Omitted int `json:"omitted,omitempty"`

	neverFits string // why, with a region
}

// Candidate is a region that would do, with its score from 0 to 1: the sum of
// value times weight over the terms.
type Candidate struct {
	Region string  `json:"region"`
	Score  float64 `json:"score"`
	Terms  []Term  `json:"terms"`
	// PricePerHour is for the whole demand; nil where it is not known.
	PricePerHour *float64 `json:"pricePerHour,omitempty"`
}

// Term is one part of a score: Value from 0 to 1, times Weight.
type Term struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Weight float64 `json:"weight"`
}

// Rejection is a region that will not do, and why: Reason is one of Reasons,
// Message a sentence with the numbers.
type Rejection struct {
	Region  string `json:"region"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// NeverFits tells whether waiting is in vain: every region that the job allows
// exists, reports, and could not hold it even with all of its nodes empty. A
// region that is cordoned or backs off still counts as one that could; one
// that has lost its lease, has not sent its inventory or shows no node at all
// makes the answer false, and so does a price limit.
func (d Decision) NeverFits() bool { return d.neverFits != "" }

// Summary is the decision in one sentence.
func (d Decision) Summary() string {
	switch {
	case d.Region != "" && len(d.Candidates) == 1:
		return fmt.Sprintf("%s is the only region that will do", d.Region)
	case d.Region != "":
		return fmt.Sprintf("%s has the best score of the regions that will do: %.3f", d.Region, d.Candidates[0].Score)
	case d.neverFits != "":
		return "no region could hold it, even empty; " + d.neverFits
	case len(d.Rejections) == 0:
		return "there are no regions yet"
	default:
		return "no region will do now: " + d.tally()
	}
}

// tally counts the rejections by reason.
func (d Decision) tally() string {
	var parts []string
	for _, code := range codes {
		count := 0
		for _, r := range d.Rejections {
			if r.Reason == code {
				count++
			}
		}
		if count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count, code))
		}
	}
	if d.Omitted > 0 {
		parts = append(parts, fmt.Sprintf("%d more", d.Omitted))
	}
	return strings.Join(parts, ", ")
}

// reason is why a region will not do. The order is that of Rejections: what
// passes soonest comes first.
type reason uint8

const (
	fits reason = iota
	reserved
	busy
	skipped
	backOff
	priceOver
	priceUnknown
	cordoned
	draining
	inventoryIncomplete
	unreachable
	leaseLost
	noSession
	noNodes
	neverFits
	capacityTypeNotOffered
	noMatchingNode
	unknownResource
	avoided
	notAllowed
)

var codes = [...]string{
	reserved:               "reserved",
	busy:                   "busy",
	skipped:                "skipped",
	backOff:                "back-off",
	priceOver:              "price-over-limit",
	priceUnknown:           "price-unknown",
	cordoned:               "cordoned",
	draining:               "draining",
	inventoryIncomplete:    "inventory-incomplete",
	unreachable:            "unreachable",
	leaseLost:              "lease-lost",
	noSession:              "no-session",
	noNodes:                "no-nodes",
	neverFits:              "never-fits",
	capacityTypeNotOffered: "capacity-type-not-offered",
	noMatchingNode:         "no-matching-node",
	unknownResource:        "unknown-resource",
	avoided:                "avoided",
	notAllowed:             "not-allowed",
}

func (r reason) String() string { return codes[r] }

// Reasons lists every code that a Rejection can have.
func Reasons() []string { return slices.Clone(codes[1:]) }
