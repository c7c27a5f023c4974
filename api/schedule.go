package api

import (
	"encoding/json"
	"time"
)

// NewSchedule asks for a clock that submits a job or a pipeline.
type NewSchedule struct {
	// Kind may say Schedule, as a document in a file does.
	Kind string `json:"kind,omitempty" enum:"Schedule"`
	// Name and Namespace stand in the path; if they are here, too, they must
	// be the same.
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	// Cron is five fields (minute, hour, day of the month, number of the
	// month, day of the week), or @hourly, @daily, @weekly, @monthly or @yearly.
	Cron string `json:"cron"`
	// TimeZone is a name of the IANA database; UTC if absent.
	TimeZone string `json:"timeZone,omitempty"`
	// Missed is what becomes of ticks that nobody was there for: once (if
	// absent; the last one runs late), skip, or all (up to the last
	// MissedLimit).
	Missed string `json:"missed,omitempty" enum:"once,skip,all"`
	// MissedLimit is 10 if absent, which is the most.
	MissedLimit int `json:"missedLimit,omitempty"`
	// Concurrency is what a tick does while an earlier run has not ended:
	// forbid (if absent; it is skipped), allow, or replace (the other is
	// cancelled).
	Concurrency string `json:"concurrency,omitempty" enum:"forbid,allow,replace"`
	Paused      bool   `json:"paused,omitempty"`
	// Job or Pipeline is what each run submits.
	Job      *Submission  `json:"job,omitempty"`
	Pipeline *NewPipeline `json:"pipeline,omitempty"`
}

// Schedule is the record of a schedule.
type Schedule struct {
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
	Cron        string `json:"cron"`
	TimeZone    string `json:"timeZone"`
	Missed      string `json:"missed" enum:"once,skip,all"`
	MissedLimit int    `json:"missedLimit,omitempty"`
	Concurrency string `json:"concurrency" enum:"forbid,allow,replace"`
	Paused      bool   `json:"paused"`
	// AppliedBy is who last set it; its jobs are submitted as theirs.
	AppliedBy string `json:"appliedBy,omitempty"`
	Version   int64  `json:"version"`
	// Next is the next tick; absent while paused.
	Next      *time.Time `json:"next,omitempty"`
	CreatedAt time.Time  `json:"createdAt"`
	UpdatedAt time.Time  `json:"updatedAt"`
	// Runs are the last ones, newest first.
	Runs []ScheduleRun `json:"runs"`
	// Definition is a NewSchedule; in the answer for a single schedule only.
	Definition json.RawMessage `json:"definition,omitempty"`
}

// ScheduleRun is what became of one tick, or of one wish to run now.
type ScheduleRun struct {
	ID string `json:"id"`
	// Tick is the time that the clock named; absent for a run by hand, where
	// By is who asked for it.
	Tick *time.Time `json:"tick,omitempty"`
	By   string     `json:"by,omitempty"`
	// Outcome: starting (about to be submitted), submitted (its job or
	// pipeline has not ended), succeeded, failed, cancelled, gone (the record
	// was removed before anybody saw the end), skipped, refused.
	Outcome    string    `json:"outcome" enum:"starting,submitted,succeeded,failed,cancelled,gone,skipped,refused"`
	JobID      string    `json:"jobId,omitempty"`
	PipelineID string    `json:"pipelineId,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Message    string    `json:"message,omitempty"`
	At         time.Time `json:"at"`
}

// ScheduleEvent is the data of a schedule's event. Its subject holds an ID that
// is new for each schedule that is made, also under an old name.
type ScheduleEvent struct {
	Namespace string `json:"namespace"`
	Schedule  string `json:"schedule"`
	Version   int64  `json:"version"`
	// Runs are those that were submitted, skipped or refused.
	Runs []ScheduleRun `json:"runs,omitempty"`
}

// ScheduleList is one page of schedules, by namespace and name.
type ScheduleList struct {
	Items []Schedule `json:"items"`
	// NextCursor continues the list; empty at its end.
	NextCursor string `json:"nextCursor,omitempty"`
}
