package pipeline

// The types of a pipeline's events. What becomes of its steps, the events of
// their jobs tell.
const (
	EventSubmitted = "pipeline.submitted"
	// EventRetried: a user began another run.
	EventRetried   = "pipeline.retried"
	EventSucceeded = "pipeline.succeeded"
	EventFailed    = "pipeline.failed"
	EventCancelled = "pipeline.cancelled"
)

// endings are the events of the final states.
var endings = map[State]string{Succeeded: EventSucceeded, Failed: EventFailed, Cancelled: EventCancelled}
