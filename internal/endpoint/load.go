package endpoint

import (
	"slices"
	"time"

	"github.com/gco-project/gco/internal/canary"
)

// Load is what the gateway of a region measured of an endpoint. Sums grow from
// Began on, when the gateway began to count.
type Load struct {
	Began time.Time `json:"began"`
	At    time.Time `json:"at"`
	// Open requests are at replicas, Waiting ones wait for one.
	Open    int `json:"open,omitempty"`
	Waiting int `json:"waiting,omitempty"`
	// Busy sums the time of all requests at replicas, in seconds.
	Busy float64 `json:"busy"`
	// Revisions are those that had requests.
	Revisions map[int]canary.Sample `json:"revisions,omitempty"`
}

// Requests sums those of all revisions.
func (l Load) Requests() int64 {
	sum := int64(0)
	for _, sample := range l.Revisions {
		sum += sample.Requests
	}
	return sum
}

// Trial is a verdict on a canary that changed something.
type Trial struct {
	At time.Time `json:"at"`
	canary.Verdict
}

// keepTrials is how many a revision keeps.
const keepTrials = 10

// Note keeps a verdict on a revision, with the numbers that it rests on.
func (e *Endpoint) Note(revision int, v canary.Verdict, now time.Time) {
	for i := range e.Revisions {
		if e.Revisions[i].Number != revision {
			continue
		}
		trials := append(slices.Clone(e.Revisions[i].Trials), Trial{now, v})
		e.Revisions[i].Trials = trials[max(0, len(trials)-keepTrials):]
	}
}

// Wake notes that a request waits for a replica.
func (e *Endpoint) Wake(by string, now time.Time) (Endpoint, error) {
	next, err := e.edited(by, "a request woke it", now)
	if err != nil {
		return *e, err
	}
	next.WokenAt = now
	return next, nil
}
