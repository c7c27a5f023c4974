package config

// Limits bound what one user can do to the others. What is over a limit is
// answered with 429 and the time after which to try again.
type Limits struct {
	QueuedPerNamespace   int64   `json:"queuedPerNamespace" doc:"Jobs of one namespace that may wait at a time." minimum:"1"`
	SubmissionsPerSecond float64 `json:"submissionsPerSecond" doc:"Jobs that one token may submit a second, on average; each server counts for itself." minimum:"0.001"`
	SubmissionBurst      int     `json:"submissionBurst" doc:"Jobs that one token may submit at once. A batch takes as many as it has items." minimum:"1"`
}

// defaultLimits leave room for a big batch and stop a runaway loop.
func defaultLimits() Limits {
	return Limits{QueuedPerNamespace: 2_000_000, SubmissionsPerSecond: 20_000, SubmissionBurst: 40_000}
}
