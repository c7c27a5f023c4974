package store

import (
	"encoding/json"
	"fmt"

	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/schedule"
)

// PipelineEvent is the data of a pipeline's event.
type PipelineEvent struct {
	Pipeline pipeline.ID    `json:"pipeline"`
	Name     string         `json:"name"`
	Version  int64          `json:"version"`
	State    pipeline.State `json:"state"`
	// Run counts from 1; each retry begins another one.
	Run int `json:"run"`
	// Message says why it failed.
	Message string `json:"message,omitempty"`
}

// ScheduleEvent is the data of a schedule's event.
type ScheduleEvent struct {
	Schedule  string `json:"schedule"`
	Namespace string `json:"namespace"`
	Version   int64  `json:"version"`
	// Runs are those that the event tells of.
	Runs []schedule.Run `json:"runs,omitempty"`
}

// PipelineSubject is the Subject of a pipeline's events.
func PipelineSubject(id pipeline.ID) string { return "pipeline/" + string(id) }

// ScheduleSubject is the Subject of a schedule's events. It is the UID: a name
// may be used again, and its versions begin anew then.
func ScheduleSubject(uid string) string { return "schedule/" + uid }

// OfPipeline is the event that goes with a write of the record, without its
// Cursor; nil if none does.
func OfPipeline(p *pipeline.Pipeline) *Event {
	if p.Event == "" {
		return nil
	}
	e := &Event{Type: p.Event, Subject: PipelineSubject(p.ID), Number: p.Version, Namespace: p.Namespace, At: p.UpdatedAt}
	return e.with(PipelineEvent{Pipeline: p.ID, Name: p.Name, Version: p.Version, State: p.State, Run: p.Run, Message: p.Message})
}

// OfSchedule is the event that goes with a write of the record, without its
// Cursor; nil if none does.
func OfSchedule(s *schedule.Schedule) *Event {
	if s.Event == "" {
		return nil
	}
	e := &Event{Type: s.Event, Subject: ScheduleSubject(s.UID), Number: s.Version, Namespace: s.Namespace, At: s.UpdatedAt}
	return e.with(ScheduleEvent{Schedule: s.Name, Namespace: s.Namespace, Version: s.Version, Runs: s.News})
}

func (e *Event) with(data any) *Event {
	text, err := json.Marshal(data)
	if err != nil {
		panic("store: the data of an event that JSON cannot hold: " + err.Error())
	}
	e.ID, e.Data = fmt.Sprintf("%s/%d", e.Subject, e.Number), text
	return e
}
