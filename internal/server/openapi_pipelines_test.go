package server

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/schedule"
	"github.com/gco-project/gco/internal/store"
)

func (b brokenStore) InsertPipeline(ctx context.Context, p store.NewPipeline) (pipeline.Pipeline, bool, error) {
	if b.down.Load() {
		return pipeline.Pipeline{}, false, fmt.Errorf("writing: %w", store.ErrUnavailable)
	}
	return b.Store.InsertPipeline(ctx, p)
}

func (b brokenStore) UpdatePipeline(ctx context.Context, p pipeline.Pipeline) error {
	if b.down.Load() {
		return fmt.Errorf("writing: %w", store.ErrUnavailable)
	}
	return b.Store.UpdatePipeline(ctx, p)
}

func (b brokenStore) PutSchedule(ctx context.Context, s schedule.Schedule, document []byte) error {
	if b.down.Load() {
		return fmt.Errorf("writing: %w", store.ErrUnavailable)
	}
	return b.Store.PutSchedule(ctx, s, document)
}

func (b brokenStore) DeleteSchedule(ctx context.Context, s schedule.Schedule) error {
	if b.down.Load() {
		return fmt.Errorf("writing: %w", store.ErrUnavailable)
	}
	return b.Store.DeleteSchedule(ctx, s)
}

// stepManifest is a Job of some name, which runs a command.
func stepManifest(name, command string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":%q},"spec":{"template":{"spec":{
		"restartPolicy":"Never","containers":[{"name":"main","image":"busybox:1.36","command":["sh","-c",%q],
		"resources":{"requests":{"cpu":"1"}}}]}}}}`, name, command))
}

// richPipeline has a step that feeds one, waits for a job, and has one that is
// skipped for it.
func richPipeline(name, after string) api.NewPipeline {
	first := api.NewStep{Name: "first", Submission: rich()}
	first.Manifest = stepManifest("first", "true")
	return api.NewPipeline{Kind: "Pipeline", Name: name, Namespace: "team-a", Steps: []api.NewStep{
		first,
		{
			Name:       "second",
			After:      []api.Dependency{{Step: "first", Condition: "finished"}, {Job: after, Condition: "finished"}},
			Submission: api.Submission{Manifest: stepManifest("second", "echo {{steps.first.outputs.loss}}")},
		},
		{Name: "third", After: []api.Dependency{{Step: "second"}}, Submission: api.Submission{Manifest: stepManifest("third", "true")}},
		{
			Name: "fourth", After: []api.Dependency{{Step: "first", Condition: "failed"}},
			Submission: api.Submission{
				Template: &api.TemplateRef{Name: "other", Version: 1}, Parameters: map[string]json.RawMessage{"run": json.RawMessage(`"x"`)},
			},
		},
	}}
}

// runStep takes the job of a step to its end, and returns its ID.
func (sc *scenario) runStep(name, phase, result string) string {
	sc.t.Helper()
	for range 50 {
		for _, start := range sc.agent.sync(api.SyncRequest{MaxStart: 10, WaitSeconds: 1}).Start {
			if start.Name != name {
				continue
			}
			sc.agent.report(start.AttemptRef, "running")
			sc.agent.sync(api.SyncRequest{Observations: []api.Observation{{AttemptRef: start.AttemptRef, Phase: phase, Result: result}}})
			return start.JobID
		}
	}
	sc.t.Fatalf("the job of step %s was not started", name)
	return ""
}

// pipelineWhen reads a pipeline until it is as wanted.
func (sc *scenario) pipelineWhen(id string, wanted func(api.Pipeline) bool) api.Pipeline {
	sc.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		p, err := sc.admin.Pipeline(sc.t.Context(), id)
		sc.must(err)
		if wanted(p) {
			return p
		}
		if time.Now().After(deadline) {
			sc.t.Fatalf("pipeline %+v", p)
		}
		// Held back by the server for as long as nothing happens.
		sc.agent.sync(api.SyncRequest{WaitSeconds: 0.05})
	}
}

func (sc *scenario) pipelines() {
	ctx := sc.t.Context()
	other := sc.submit()
	_, err := sc.admin.CancelJob(ctx, other.ID)
	sc.must(err)
	p, _, err := sc.admin.SubmitPipeline(ctx, richPipeline("rich", other.ID), "pipeline")
	sc.must(err)
	_, replayed, err := sc.admin.SubmitPipeline(ctx, richPipeline("rich", other.ID), "pipeline")
	sc.must(err)
	if !replayed {
		sc.t.Error("a pipeline with the same key was made again")
	}
	_, _, err = sc.admin.SubmitPipeline(ctx, richPipeline("other", other.ID), "pipeline")
	sc.mustFail(409, err)
	_, _, err = sc.admin.SubmitPipeline(ctx, api.NewPipeline{}, "")
	sc.mustFail(422, err)

	sc.pipelineWhen(p.ID, func(p api.Pipeline) bool { return p.Steps[0].JobState != "" })
	sc.runStep("first", "succeeded", "loss=0.25\n")
	sc.runStep("second", "failed", "")
	failed := sc.pipelineWhen(p.ID, func(p api.Pipeline) bool { return p.State == "failed" })
	if third := failed.Steps[2]; third.State != "skipped" || third.Cause != "second" || failed.Steps[3].State != "skipped" {
		sc.t.Errorf("after the second step: %+v", failed.Steps)
	}
	_, err = sc.admin.CancelPipeline(ctx, p.ID)
	sc.mustFail(409, err)
	_, err = sc.admin.RetryPipeline(ctx, p.ID)
	sc.must(err)
	again := sc.pipelineWhen(p.ID, func(p api.Pipeline) bool { return p.Steps[1].JobID != "" })
	if again.Run != 2 || len(again.Steps[1].EarlierJobs) != 1 || string(again.Steps[0].Outputs["loss"]) != `"0.25"` {
		sc.t.Errorf("after the retry: %+v", again)
	}
	_, err = sc.admin.RetryPipeline(ctx, p.ID)
	sc.mustFail(409, err)
	_, err = sc.admin.CancelPipeline(ctx, p.ID)
	sc.must(err)
	sc.pipelineWhen(p.ID, func(p api.Pipeline) bool { return p.State == "cancelled" })
	sc.pipelineFaults(other.ID)
	sc.pipelineLists()
}

// pipelineFaults breaks the store, and calls with what does not exist.
func (sc *scenario) pipelineFaults(other string) {
	ctx := sc.t.Context()
	p, _, err := sc.admin.SubmitPipeline(ctx, richPipeline("down", other), "")
	sc.must(err)
	sc.down.Store(true)
	_, _, err = sc.admin.SubmitPipeline(ctx, richPipeline("none", other), "")
	sc.mustFail(503, err)
	_, err = sc.admin.CancelPipeline(ctx, p.ID)
	sc.mustFail(503, err)
	sc.down.Store(false)
	_, err = sc.admin.CancelPipeline(ctx, p.ID)
	sc.must(err)
	sc.pipelineWhen(p.ID, func(p api.Pipeline) bool { return p.State == "cancelled" })
	sc.down.Store(true)
	_, err = sc.admin.RetryPipeline(ctx, p.ID)
	sc.mustFail(503, err)
	sc.down.Store(false)
	for _, id := range []string{string(pipeline.NewID()), "none"} {
		_, err = sc.admin.Pipeline(ctx, id)
		sc.mustFail(404, err)
		_, err = sc.admin.CancelPipeline(ctx, id)
		sc.mustFail(404, err)
		_, err = sc.admin.RetryPipeline(ctx, id)
		sc.mustFail(404, err)
	}
	for _, verb := range []string{"cancel", "retry"} {
		response, text := sc.raw("POST", "/api/v1/pipelines/"+p.ID+"/"+verb, map[string]string{"Authorization": "Bearer " + sc.token}, "{}")
		sc.want(400, response, text)
	}
	stranger := sc.as(api.NewToken{Role: "viewer", Namespaces: []string{"team-b"}})
	_, err = stranger.Pipeline(ctx, p.ID)
	sc.mustFail(404, err)
}

func (sc *scenario) pipelineLists() {
	ctx := sc.t.Context()
	response, text := sc.raw("GET", "/api/v1/pipelines?namespace=team-a&state=cancelled&limit=1", map[string]string{"Authorization": "Bearer " + sc.token}, "")
	sc.want(200, response, text)
	var page api.PipelineList
	sc.must(json.Unmarshal([]byte(text), &page))
	if len(page.Items) != 1 || page.NextCursor == "" {
		sc.t.Errorf("a page of cancelled pipelines: %s", text)
	}
	for cursor, status := range map[string]int{page.NextCursor: 200, "bm9uc2Vuc2U": 400} {
		response, text := sc.raw("GET", "/api/v1/pipelines?namespace=team-a&state=cancelled&limit=1&cursor="+cursor, map[string]string{"Authorization": "Bearer " + sc.token}, "")
		sc.want(status, response, text)
	}
	response, text = sc.raw("GET", "/api/v1/pipelines?state=odd", map[string]string{"Authorization": "Bearer " + sc.token}, "")
	sc.want(422, response, text)
	stranger := sc.as(api.NewToken{Role: "viewer", Namespaces: []string{"team-b"}})
	for _, namespace := range []string{"", "team-a"} {
		list, err := stranger.Pipelines(ctx, client.PipelineFilter{Namespace: namespace})
		sc.must(err)
		if len(list.Items) != 0 {
			sc.t.Errorf("a token of another namespace sees %d pipelines of %q", len(list.Items), namespace)
		}
	}
}

// richSchedule uses everything that a schedule can say.
func richSchedule(name string) api.NewSchedule {
	work := richPipeline(name, "")
	work.Steps = work.Steps[:1]
	return api.NewSchedule{
		Kind: "Schedule", Namespace: "team-a", Name: name, Cron: "30 2 * * *", TimeZone: "Europe/Berlin",
		Missed: "all", MissedLimit: 3, Concurrency: "replace", Pipeline: &work,
	}
}

func (sc *scenario) schedules() {
	ctx := sc.t.Context()
	rich := richSchedule("rich")
	_, created, err := sc.admin.ApplySchedule(ctx, rich)
	sc.must(err)
	_, again, err := sc.admin.ApplySchedule(ctx, rich)
	sc.must(err)
	if !created || again {
		sc.t.Errorf("created %t, then %t", created, again)
	}
	other := api.NewSchedule{Namespace: "team-a", Name: "other", Cron: "@daily", Paused: true, Job: &api.Submission{Manifest: stepManifest("tick", "true")}}
	_, _, err = sc.admin.ApplySchedule(ctx, other)
	sc.must(err)
	for _, namespace := range []string{"team-b", "nowhere"} {
		other.Namespace = namespace
		_, _, err = sc.admin.ApplySchedule(ctx, other)
		if namespace == "team-b" {
			sc.must(err)
		} else {
			sc.mustFail(422, err)
		}
	}
	response, text := sc.raw("PUT", "/api/v1/schedules/team-a/one", map[string]string{"Authorization": "Bearer " + sc.token, "Content-Type": "application/json"}, `{"name":"two","namespace":"team-b"}`)
	sc.want(422, response, text)

	for _, name := range []string{"rich", "other", "other"} {
		s, err := sc.admin.RunSchedule(ctx, "team-a", name)
		if name == "other" && len(s.Runs) == 0 {
			sc.mustFail(409, err)
			continue
		}
		sc.must(err)
	}
	shown, err := sc.admin.Schedule(ctx, "team-a", "other")
	sc.must(err)
	run := shown.Runs[0]
	if run.Outcome != "submitted" || run.By != "admin" || run.JobID == "" || len(shown.Definition) == 0 {
		sc.t.Errorf("a run by hand: %+v", shown)
	}
	_, err = sc.admin.CancelJob(ctx, run.JobID)
	sc.must(err)
	if shown, err = sc.admin.Schedule(ctx, "team-a", "other"); err != nil || shown.Runs[0].Outcome != "cancelled" {
		sc.t.Errorf("after its end: %+v, %v", shown.Runs, err)
	}
	_, err = sc.admin.PauseSchedule(ctx, "team-a", "rich")
	sc.must(err)
	_, err = sc.admin.ResumeSchedule(ctx, "team-a", "rich")
	sc.must(err)
	sc.dueSchedule()
	sc.scheduleFaults()
	sc.scheduleLists()
}

// dueSchedule has a tick in the record, which takes a clock that has gone on.
func (sc *scenario) dueSchedule() {
	ctx := sc.t.Context()
	name := store.ScheduleName{Namespace: "team-a", Name: "other"}
	s, err := sc.system.store.Schedule(ctx, name)
	sc.must(err)
	s.Version++
	s.Runs = append([]schedule.Run{{
		ID: "2026-03-01T10:00:00Z", Tick: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC), At: time.Date(2026, 3, 1, 10, 0, 0, 1, time.UTC),
		Outcome: schedule.Skipped, Reason: schedule.ReasonRunning, Message: "the run before had not ended",
	}}, s.Runs...)
	sc.must(sc.system.store.PutSchedule(ctx, s, nil))
	_, err = sc.admin.Schedule(ctx, "team-a", "other")
	sc.must(err)
}

func (sc *scenario) scheduleFaults() {
	ctx := sc.t.Context()
	verbs := []func(context.Context, string, string) (api.Schedule, error){
		sc.admin.PauseSchedule, sc.admin.ResumeSchedule, sc.admin.RunSchedule,
	}
	for _, verb := range append(slices.Clone(verbs), sc.admin.Schedule) {
		_, err := verb(ctx, "team-a", "none")
		sc.mustFail(404, err)
	}
	sc.mustFail(404, sc.admin.DeleteSchedule(ctx, "team-a", "none"))
	_, err := sc.admin.PauseSchedule(ctx, "team-b", "other")
	sc.must(err)
	sc.down.Store(true)
	_, _, err = sc.admin.ApplySchedule(ctx, richSchedule("rich"))
	sc.mustFail(503, err)
	_, err = sc.admin.PauseSchedule(ctx, "team-a", "rich")
	sc.mustFail(503, err)
	_, err = sc.admin.ResumeSchedule(ctx, "team-b", "other")
	sc.mustFail(503, err)
	_, err = sc.admin.RunSchedule(ctx, "team-b", "other")
	sc.mustFail(503, err)
	sc.mustFail(503, sc.admin.DeleteSchedule(ctx, "team-a", "rich"))
	sc.down.Store(false)
	for _, verb := range []string{"pause", "resume", "run"} {
		response, text := sc.raw("POST", "/api/v1/schedules/team-a/rich/"+verb, map[string]string{"Authorization": "Bearer " + sc.token}, "{}")
		sc.want(400, response, text)
	}
	stranger := sc.as(api.NewToken{Role: "submitter", Namespaces: []string{"team-b"}})
	_, err = stranger.Schedule(ctx, "team-a", "rich")
	sc.mustFail(404, err)
	_, _, err = stranger.ApplySchedule(ctx, richSchedule("rich"))
	sc.mustFail(403, err)
	list, err := stranger.Schedules(ctx, "team-a", 0, "")
	sc.must(err)
	if len(list.Items) != 0 {
		sc.t.Errorf("a token of another namespace sees %+v", list.Items)
	}
}

func (sc *scenario) scheduleLists() {
	ctx := sc.t.Context()
	page, err := sc.admin.Schedules(ctx, "", 1, "")
	sc.must(err)
	if len(page.Items) != 1 || page.NextCursor == "" {
		sc.t.Fatalf("a page of one: %+v", page)
	}
	_, err = sc.admin.Schedules(ctx, "", 1, page.NextCursor)
	sc.must(err)
	_, err = sc.admin.Schedules(ctx, "team-a", 1, page.NextCursor)
	sc.mustFail(400, err)
	var names []string
	for s, err := range sc.admin.AllSchedules(ctx, "") {
		sc.must(err)
		names = append(names, s.Namespace+"/"+s.Name)
	}
	if got := strings.Join(names, " "); got != "team-a/other team-a/rich team-b/other" {
		sc.t.Errorf("all schedules: %s", got)
	}
	for _, name := range []string{"rich", "other"} {
		sc.must(sc.admin.DeleteSchedule(ctx, "team-a", name))
	}
	sc.must(sc.admin.DeleteSchedule(ctx, "team-b", "other"))
}
