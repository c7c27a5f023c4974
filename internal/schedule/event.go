package schedule

import (
	"cmp"
	"slices"
)

// The types of a schedule's events. How a run ends, the events of its job or
// pipeline tell.
const (
	EventCreated = "schedule.created"
	EventUpdated = "schedule.updated"
	EventPaused  = "schedule.paused"
	EventResumed = "schedule.resumed"
	EventDeleted = "schedule.deleted"
	// EventSubmitted: runs were submitted.
	EventSubmitted = "schedule.submitted"
	// EventSkipped: a tick does not run, since it was missed, or since an
	// earlier run has not ended.
	EventSkipped = "schedule.skipped"
	// EventRefused: what a run submits was not accepted.
	EventRefused = "schedule.refused"
)

// tell adds a run to those that the event of the next write tells of. Where
// runs fare differently, the event has the type of the worst.
func (s *Schedule) tell(event string, r Run) {
	order := []string{"", EventSubmitted, EventSkipped, EventRefused}
	s.Event = slices.MaxFunc([]string{s.Event, event}, func(a, b string) int {
		return cmp.Compare(slices.Index(order, a), slices.Index(order, b))
	})
	s.News = append(slices.Clip(s.News), r)
}
