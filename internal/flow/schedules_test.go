package flow

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/schedule"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/template"
)

var hourlyName = store.ScheduleName{Namespace: "default", Name: "hourly"}

func hourly(alter ...func(*api.NewSchedule)) api.NewSchedule {
	request := api.NewSchedule{
		Name: "hourly", Namespace: "default", Cron: "0 * * * *", Job: &api.Submission{Manifest: runs("tick", "true")},
	}
	for _, change := range alter {
		change(&request)
	}
	return request
}

// apply applies a schedule, which must be accepted.
func (w *world) apply(request api.NewSchedule) schedule.Schedule {
	w.Helper()
	s, _, err := w.flow.ApplySchedule(w.Context(), Application{Identity: "someone", Request: request})
	if err != nil {
		w.Fatal(err)
	}
	return s
}

func (w *world) schedule() schedule.Schedule {
	w.Helper()
	s, err := w.data.Schedule(w.Context(), hourlyName)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// runs is what the schedule remembers, oldest first.
func (w *world) runs() string {
	w.Helper()
	var all []string
	for _, r := range slices.Backward(w.schedule().Runs) {
		name := "by hand"
		if !r.Tick.IsZero() {
			name = r.Tick.Format("15:04")
		}
		all = append(all, strings.TrimSpace(name+" "+string(r.Outcome)+" "+r.Reason))
	}
	return strings.Join(all, ", ")
}

// until lets time go by up to a time of the day.
func (w *world) until(text string) {
	w.Helper()
	at, err := time.Parse("15:04:05", text)
	if err != nil {
		w.Fatal(err)
	}
	now := w.clock.Now()
	w.clock.SetTime(time.Date(now.Year(), now.Month(), now.Day(), at.Hour(), at.Minute(), at.Second(), 0, time.UTC))
	w.round()
}

func TestScheduleSubmits(t *testing.T) {
	w := newWorld(t)
	s := w.apply(hourly())
	if !s.Next.Equal(begin.Truncate(time.Hour).Add(time.Hour)) || s.Spec.TimeZone != "UTC" || s.Spec.Concurrency != schedule.Forbid {
		t.Errorf("%+v", s)
	}
	w.until("03:59:59")
	w.want("before the tick", w.names()+w.runs(), "")
	w.until("04:00:00")
	w.round()
	w.want("at the tick", w.names()+", "+w.runs(), "tick, 04:00 submitted")
	j := w.jobs()[0]
	if j.Spec.SubmittedBy != "someone" || w.schedule().Runs[0].Job != j.ID {
		t.Errorf("submitted by %s, run %+v", j.Spec.SubmittedBy, w.schedule().Runs[0])
	}
	w.until("05:00:01")
	w.want("while it runs", w.names()+", "+w.runs(), "tick, 04:00 submitted, 05:00 skipped running")
	w.end(j.ID, job.Event{Kind: job.Failure})
	w.until("06:00:00")
	w.want("after its end", w.names()+", "+w.runs(), "tick tick, 04:00 failed, 05:00 skipped running, 06:00 submitted")
}

// TestEveryTickMakesOneJob kills the process at every write around two ticks.
func TestEveryTickMakesOneJob(t *testing.T) {
	for name, work := range map[string]func(*api.NewSchedule){
		"job": func(r *api.NewSchedule) { r.Concurrency = "allow" },
		"pipeline": func(r *api.NewSchedule) {
			steps := document("a")
			r.Concurrency, r.Job, r.Pipeline = "allow", nil, &steps
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachDeath(t, func(w *world) {
				writes := w.store.writes
				w.store.writes = -1
				w.apply(hourly(work))
				w.store.writes = writes
				for _, at := range []string{"04:00:00", "04:00:01", "05:00:30", "05:00:31"} {
					w.until(at)
				}
			}, func(w *world) {
				w.restart()
				w.until("05:00:50")
				w.pass(duePause)
				for _, r := range w.schedule().Runs {
					if r.Outcome != schedule.Submitted || r.Job == "" && r.Pipeline == "" {
						w.Errorf("%+v", r)
					}
				}
				// A process that died before the first tick was written left
				// it to the second.
				runs, jobs := len(w.schedule().Runs), len(w.jobs())
				if jobs != runs || runs < 1 {
					w.Errorf("%d jobs for %s", jobs, w.runs())
				}
			})
		})
	}
}

func TestTwoLeadersMakeOneJob(t *testing.T) {
	w := newWorld(t)
	w.apply(hourly())
	other := New(Options{Store: w.data, Queue: w.queue, Clock: w.clock})
	w.clock.SetTime(begin.Truncate(time.Hour).Add(time.Hour))
	s := w.schedule()
	c, err := schedule.ParseCron(s.Spec.Cron, s.Spec.TimeZone)
	if err != nil {
		t.Fatal(err)
	}
	decided, _ := s.Tick(c, w.clock.Now())
	decided = decided.Revised(c, w.clock.Now())
	if err := w.data.PutSchedule(t.Context(), decided, nil); err != nil {
		t.Fatal(err)
	}
	// Both find it decided, and both submit.
	if _, err := other.ticker.start(t.Context(), decided); err != nil {
		t.Fatal(err)
	}
	if _, err := w.flow.ticker.start(t.Context(), decided); !errors.Is(err, store.ErrConflict) {
		t.Errorf("the second one: %v", err)
	}
	w.round()
	w.want("the jobs", w.names(), "tick")
}

func TestReplaceCancels(t *testing.T) {
	w := newWorld(t)
	steps := document("a b<a")
	w.apply(hourly(func(r *api.NewSchedule) { r.Concurrency, r.Job, r.Pipeline = "replace", nil, &steps }))
	w.until("04:00:00")
	w.round()
	w.until("05:00:00")
	w.round()
	w.want("the runs", w.runs(), "04:00 submitted replaced, 05:00 submitted")
	first := w.schedule().Runs[1].Pipeline
	w.want("what was replaced", string(w.pipeline(first).State), "cancelled")
	w.apply(hourly(func(r *api.NewSchedule) { r.Concurrency = "replace" }))
	s, err := w.flow.RunSchedule(t.Context(), hourlyName, "operator")
	if err != nil {
		t.Fatal(err)
	}
	w.round()
	w.round()
	second := s.Runs[1].Pipeline
	w.want("what was replaced by hand", string(w.pipeline(second).State), "cancelled")
	w.until("06:00:00")
	w.want("the runs", w.runs(), "04:00 cancelled replaced, 05:00 cancelled replaced, by hand submitted replaced, 06:00 submitted")
	w.want("the first job", string(w.jobs()[2].State), "cancelled")
}

func TestRunByHand(t *testing.T) {
	w := newWorld(t)
	w.apply(hourly(func(r *api.NewSchedule) { r.Paused = true }))
	s, err := w.flow.RunSchedule(t.Context(), hourlyName, "operator")
	if err != nil || s.Runs[0].Outcome != schedule.Submitted || s.Runs[0].By != "operator" || w.names() != "tick" {
		t.Fatalf("%+v, %v", s.Runs, err)
	}
	_, err = w.flow.RunSchedule(t.Context(), hourlyName, "operator")
	if _, busy := errors.AsType[*schedule.Busy](err); !busy {
		t.Errorf("beside the first: %v", err)
	}
	w.end(s.Runs[0].Job, job.Event{Kind: job.Finished})
	if _, err = w.flow.RunSchedule(t.Context(), hourlyName, "operator"); err != nil {
		t.Error(err)
	}
	w.want("the runs", w.runs(), "by hand succeeded, by hand submitted")
	if _, err := w.flow.RunSchedule(t.Context(), store.ScheduleName{Namespace: "default", Name: "none"}, "x"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

func TestPauseAndResume(t *testing.T) {
	w := newWorld(t)
	w.apply(hourly(func(r *api.NewSchedule) { r.Missed = "all" }))
	for range 2 {
		if s, err := w.flow.PauseSchedule(t.Context(), hourlyName); err != nil || !s.Spec.Paused || !s.DueAt.IsZero() {
			t.Fatalf("%+v, %v", s, err)
		}
	}
	w.until("05:30:00")
	w.want("while paused", w.runs(), "")
	s, err := w.flow.ResumeSchedule(t.Context(), hourlyName)
	if err != nil || s.Next.Hour() != 6 {
		t.Fatalf("%+v, %v", s, err)
	}
	w.until("06:00:00")
	w.want("after the pause", w.runs(), "06:00 submitted")
}

func TestApplyAgain(t *testing.T) {
	w := newWorld(t)
	first := w.apply(hourly())
	w.until("04:00:00")
	same := w.apply(hourly(func(r *api.NewSchedule) { r.Job = &api.Submission{Manifest: runs("tock", "true")} }))
	if same.UID != first.UID || len(same.Runs) != 1 || !same.Since.Equal(w.clock.Now()) {
		t.Errorf("%+v", same)
	}
	w.end(w.jobs()[0].ID, job.Event{Kind: job.Finished})
	w.until("05:00:00")
	w.want("the jobs", w.names(), "tick tock")
	changed := w.apply(hourly(func(r *api.NewSchedule) { r.Cron = "30 * * * *" }))
	if changed.Next.Minute() != 30 || len(changed.Runs) != 2 {
		t.Errorf("%+v", changed)
	}
}

// TestChangeDoesNotReachADecidedRun: a run that was decided submits what was
// to be submitted then, and is not lost with the schedule.
func TestChangeDoesNotReachADecidedRun(t *testing.T) {
	for name, change := range map[string]func(w *world) error{
		"apply": func(w *world) error {
			w.apply(hourly(func(r *api.NewSchedule) { r.Job = &api.Submission{Manifest: runs("tock", "true")} }))
			return nil
		},
		"delete": func(w *world) error { return w.flow.DeleteSchedule(w.Context(), hourlyName) },
	} {
		w := newWorld(t)
		w.apply(hourly())
		w.store.writes, w.store.after = 0, true
		w.until("04:00:00")
		w.want(name+", decided", w.names()+w.runs(), "04:00 starting")
		w.restart()
		if err := change(w); err != nil {
			t.Fatal(err)
		}
		w.round()
		w.want(name, w.names(), "tick")
	}
}

func TestScheduleOfTemplate(t *testing.T) {
	w := newWorld(t)
	put := func(version int64, name string) {
		text := encode(map[string]any{"manifest": runs(name, "true")})
		if err := w.data.PutTemplate(t.Context(), template.Template{Name: "t", Version: version, Job: text, CreatedAt: begin, UpdatedAt: begin}); err != nil {
			t.Fatal(err)
		}
	}
	put(1, "one")
	w.apply(hourly(func(r *api.NewSchedule) { r.Job = &api.Submission{Template: &api.TemplateRef{Name: "t"}} }))
	// It dies between decision and submission, and the template changes.
	w.store.writes, w.store.after = 0, true
	w.until("04:00:00")
	put(2, "two")
	w.restart()
	w.pass(time.Second)
	w.want("the decided one", w.names(), "one")
	w.end(w.jobs()[0].ID, job.Event{Kind: job.Finished})
	w.until("05:00:00")
	w.want("the next one", w.names(), "one two")
	if v := w.schedule().Runs[0].TemplateVersion; v != 2 {
		t.Errorf("version %d", v)
	}
	if err := w.data.DeleteTemplate(t.Context(), "t", 2); err != nil {
		t.Fatal(err)
	}
	w.end(w.jobs()[1].ID, job.Event{Kind: job.Finished})
	w.until("06:00:00")
	w.want("without the template", w.runs(), "04:00 succeeded, 05:00 succeeded, 06:00 refused invalid")
}

func TestApplyFindsEveryFault(t *testing.T) {
	w := newWorld(t)
	steps := document("a b<c")
	for name, test := range map[string]struct {
		alter func(*api.NewSchedule)
		want  string
	}{
		"names and clock": {func(r *api.NewSchedule) { r.Name, r.Cron, r.TimeZone = "No", "x", "Mars" }, "name timeZone cron"},
		"nothing to do":   {func(r *api.NewSchedule) { r.Job = nil }, "job"},
		"too much to do":  {func(r *api.NewSchedule) { r.Pipeline = &steps }, "pipeline"},
		"a bad job": {func(r *api.NewSchedule) {
			r.Missed, r.Job = "never", &api.Submission{Manifest: runs("No", "true"), Deadline: "x"}
		}, "missed job.manifest.metadata.name job.deadline"},
		"a bad pipeline":    {func(r *api.NewSchedule) { r.Job, r.Pipeline = nil, &steps }, "pipeline.steps[1].after[0].step"},
		"another namespace": {func(r *api.NewSchedule) { r.Job.Namespace = "other" }, "job"},
	} {
		_, _, err := w.flow.ApplySchedule(t.Context(), Application{Identity: "someone", Request: hourly(test.alter)})
		invalid, ok := errors.AsType[*job.Invalid](err)
		if !ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var fields []string
		for _, fault := range invalid.Faults {
			fields = append(fields, fault.Field)
		}
		slices.Sort(fields)
		want := strings.Fields(test.want)
		slices.Sort(want)
		for _, field := range want {
			if !slices.Contains(fields, field) {
				t.Errorf("%s: no fault for %s in %q", name, field, fields)
			}
		}
	}
	_, _, err := w.flow.ApplySchedule(t.Context(), Application{Request: hourly(), Namespaces: []string{"research"}})
	if _, ok := errors.AsType[*queue.NotYourNamespace](err); !ok {
		t.Errorf("a token of another namespace: %v", err)
	}
}

func TestOutcomeOf(t *testing.T) {
	jobs := map[job.ID]job.Job{"j": {State: job.Running}, "k": {State: job.Cancelled}}
	pipelines := map[pipeline.ID]pipeline.Pipeline{"p": {State: pipeline.Failed}}
	for want, r := range map[schedule.Outcome]schedule.Run{
		schedule.Submitted: {Outcome: schedule.Submitted, Job: "j"},
		schedule.Cancelled: {Outcome: schedule.Submitted, Job: "k"},
		schedule.Failed:    {Outcome: schedule.Submitted, Pipeline: "p"},
		schedule.Gone:      {Outcome: schedule.Submitted, Job: "none"},
		schedule.Skipped:   {Outcome: schedule.Skipped, Job: "j"},
	} {
		if got := OutcomeOf(r, jobs, pipelines); got != want {
			t.Errorf("%+v is %s instead of %s", r, got, want)
		}
	}
}
