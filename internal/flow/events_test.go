package flow

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/schedule"
	"github.com/gco-project/gco/internal/store"
)

func TestPipelineTells(t *testing.T) {
	w := newWorld(t)
	changed, stop := w.queue.Watch()
	defer stop()
	id := w.submit(document("a b<a"))
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the submission")
	}
	w.round()
	w.finish(id, "a:failed")
	if _, err := w.flow.RetryPipeline(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.round()
	if _, err := w.flow.CancelPipeline(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.round()
	w.pass(time.Second)
	done := w.submit(document("c"))
	w.round()
	w.finish(done, "c:succeeded")
	w.want("events", w.told(), "pipeline.submitted pipeline.failed pipeline.retried pipeline.cancelled pipeline.submitted pipeline.succeeded")

	events, _, err := w.data.Events(t.Context(), store.EventQuery{Subject: store.PipelineSubject(id), Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	var data store.PipelineEvent
	if err := json.Unmarshal(events[1].Data, &data); err != nil {
		t.Fatal(err)
	}
	want := store.PipelineEvent{
		Pipeline: id, Name: "nightly", Version: events[1].Number, State: pipeline.Failed, Run: 1, Message: "step a failed: exit code 3",
	}
	if data != want || events[1].Namespace != "default" {
		t.Errorf("%+v in %s", data, events[1].Namespace)
	}
}

// TestPipelineTellsOnce lets the process die at each write: each event is
// there once.
func TestPipelineTellsOnce(t *testing.T) {
	var id pipeline.ID
	eachDeath(t, func(w *world) {
		p, _, err := w.flow.SubmitPipeline(w.Context(), Submission{Identity: "someone", Key: "k", Request: document("a b<a")})
		id = p.ID
		if err == nil {
			w.round()
		}
	}, func(w *world) {
		w.restart()
		p, _, err := w.flow.SubmitPipeline(w.Context(), Submission{Identity: "someone", Key: "k", Request: document("a b<a")})
		if err != nil {
			w.Fatal(err)
		}
		id = p.ID
		w.round()
		w.finish(id, "a:failed")
		w.want("events", w.told(), "pipeline.submitted pipeline.failed")
	})
}

func TestScheduleTells(t *testing.T) {
	w := newWorld(t)
	w.apply(hourly())
	w.pass(time.Hour)
	// The run of the tick before has not ended.
	w.pass(time.Hour)
	for _, change := range []func() error{
		func() error { _, err := w.flow.PauseSchedule(t.Context(), hourlyName); return err },
		func() error { _, err := w.flow.PauseSchedule(t.Context(), hourlyName); return err },
		func() error { _, err := w.flow.ResumeSchedule(t.Context(), hourlyName); return err },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
	}
	w.apply(hourly())
	if err := w.flow.DeleteSchedule(t.Context(), hourlyName); err != nil {
		t.Fatal(err)
	}
	w.want("events", w.told(),
		"schedule.created schedule.submitted schedule.skipped schedule.paused schedule.resumed schedule.updated schedule.deleted")

	events, _, err := w.data.Events(t.Context(), store.EventQuery{Types: []string{schedule.EventSubmitted, schedule.EventSkipped}, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []schedule.Outcome{schedule.Submitted, schedule.Skipped} {
		var data store.ScheduleEvent
		if err := json.Unmarshal(events[i].Data, &data); err != nil {
			t.Fatal(err)
		}
		if data.Schedule != hourlyName.Name || len(data.Runs) != 1 || data.Runs[0].Outcome != want || events[i].Namespace != hourlyName.Namespace {
			t.Errorf("%s: %s", events[i].Type, events[i].Data)
		} else if want == schedule.Submitted && data.Runs[0].Job != w.jobs()[0].ID {
			t.Errorf("%s does not name job %s", events[i].Data, w.jobs()[0].ID)
		}
	}
}
