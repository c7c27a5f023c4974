package store

import (
	"context"
	"time"

	"github.com/gco-project/gco/internal/schedule"
)

// ScheduleName names a schedule: names are unique within their namespace.
type ScheduleName struct {
	Namespace string
	Name      string
}

// ScheduleQuery selects schedules. Zero fields do not filter. Order is by
// namespace, then name.
type ScheduleQuery struct {
	Namespaces []string
	// After continues a list after the last name of the page before.
	After ScheduleName
	Limit int
}

// SchedulePage is one page of a list. More says that Next continues it; a page
// may be short, or empty, and still have more, since a query reads at most
// 1,000 records.
type SchedulePage struct {
	Schedules []schedule.Schedule
	Next      ScheduleName
	More      bool
}

// Schedules is the record of every schedule, for flow and the server. A record
// is at most 32 KB as JSON, a document 1 MiB.
type Schedules interface {
	// PutSchedule writes a record, and with it the document unless that is
	// nil and the event that the record names, in one atomic write. Version 1
	// must be new, any other must follow the stored one; else ErrConflict, or
	// ErrNotFound where there is none. A new one needs a document.
	PutSchedule(ctx context.Context, s schedule.Schedule, document []byte) error
	// DeleteSchedule removes record and document if Version-1 is stored, else
	// ErrConflict; ErrNotFound. It writes the event that the record names.
	DeleteSchedule(ctx context.Context, s schedule.Schedule) error

	Schedule(ctx context.Context, name ScheduleName) (schedule.Schedule, error)
	// ScheduleDocument is what the schedule submits, as JSON.
	ScheduleDocument(ctx context.Context, name ScheduleName) ([]byte, error)
	Schedules(ctx context.Context, query ScheduleQuery) (SchedulePage, error)
	// DueSchedules lists those whose DueAt is before a time, earliest first;
	// among equal times in no order. One without DueAt is never due.
	DueSchedules(ctx context.Context, before time.Time, limit int) ([]schedule.Schedule, error)
}
