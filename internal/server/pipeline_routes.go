package server

import (
	"net/http"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/pipeline"
)

var (
	pipelineParam = pathParam("id", "The ID of the pipeline, a UUID.")
	scheduleParam = []param{pathParam("namespace", "The namespace of the schedule."), pathParam("name", "Its name.")}
)

func (s *Server) pipelineRoutes() []*route {
	created := jsonAnswer[api.Pipeline](http.StatusCreated, "The pipeline is stored for good, and goes on without the client.")
	created.headers = location
	replayed := jsonAnswer[api.Pipeline](http.StatusOK, "The pipeline that this Idempotency-Key made before.")
	replayed.headers = map[string]string{"Idempotent-Replay": "true", "Location": "The path of the pipeline."}
	states := make([]string, len(pipeline.States))
	for i, state := range pipeline.States {
		states[i] = string(state)
	}
	verb := func(id, name, summary, text string, serve func(*call) error) *route {
		return &route{
			id: id, method: post, path: "/api/v1/pipelines/{id}/" + name, tag: "pipelines", summary: summary, text: text,
			roles: writers, params: []param{pipelineParam},
			answers:  []answer{jsonAnswer[api.Pipeline](http.StatusOK, "The pipeline as it is now.")},
			problems: []string{api.ProblemMalformed, api.ProblemNotFound, api.ProblemNotPossible, api.ProblemUnavailable}, serve: serve,
		}
	}
	return []*route{
		{
			id: "submitPipeline", method: post, path: "/api/v1/pipelines", tag: "pipelines", summary: "Submit a pipeline",
			text: "Jobs that wait for others, as one document. The server decides when each begins. Steps with references to outputs " +
				"are checked as submissions only when those are there.",
			roles: writers, params: []param{keyParam}, body: jsonBody[api.NewPipeline](maxBody), answers: []answer{created, replayed},
			problems: []string{api.ProblemKeyReused, api.ProblemUnavailable, api.ProblemUnknown}, serve: (*call).submitPipeline,
		},
		{
			id: "listPipelines", method: get, path: "/api/v1/pipelines", tag: "pipelines", summary: "List pipelines",
			text: "Newest first, a page at a time. A page may be short, or empty, and still have a nextCursor: " +
				"only an answer without one is the end.",
			roles: readers,
			params: []param{
				textParam("namespace", "Only this namespace."),
				choiceParam("state", "Only these states.", states...).repeatable(),
				wholeParam("limit", "The size of a page; 50 if absent.", 1, maxLimit),
				textParam("cursor", "The nextCursor of the page before, with the same filters."),
			},
			answers:  []answer{jsonAnswer[api.PipelineList](http.StatusOK, "One page of pipelines, without definition.")},
			problems: []string{api.ProblemBadCursor}, serve: (*call).listPipelines,
		},
		{
			id: "getPipeline", method: get, path: "/api/v1/pipelines/{id}", tag: "pipelines", summary: "Show a pipeline",
			text: "The record with its steps, and what they submit.", roles: readers, params: []param{pipelineParam},
			answers:  []answer{jsonAnswer[api.Pipeline](http.StatusOK, "The pipeline.")},
			problems: []string{api.ProblemNotFound}, serve: (*call).showPipeline,
		},
		verb("cancelPipeline", "cancel", "Cancel a pipeline", "Cancels the jobs that run, and skips the steps that wait.", (*call).cancelPipeline),
		verb("retryPipeline", "retry", "Retry a pipeline",
			"Begins another run of the steps that failed or were cancelled, and of those that wait for them. The others keep what they have.",
			(*call).retryPipeline),
	}
}

func (s *Server) scheduleRoutes() []*route {
	const path = "/api/v1/schedules/{namespace}/{name}"
	made := jsonAnswer[api.Schedule](http.StatusCreated, "The schedule is stored for good.")
	made.headers = location
	changed := jsonAnswer[api.Schedule](http.StatusOK, "The schedule as it is now.")
	verb := func(id, name, summary, text string, serve func(*call) error) *route {
		return &route{
			id: id, method: post, path: path + "/" + name, tag: "schedules", summary: summary, text: text,
			roles: writers, params: scheduleParam, answers: []answer{changed},
			problems: []string{api.ProblemMalformed, api.ProblemNotFound, api.ProblemUnavailable}, serve: serve,
		}
	}
	run := verb("runSchedule", "run", "Run a schedule now", "Submits what a tick would, as the newest of the runs; also while it is paused.", (*call).runSchedule)
	run.problems = append(run.problems, api.ProblemNotPossible)
	return []*route{
		{
			id: "listSchedules", method: get, path: "/api/v1/schedules", tag: "schedules", summary: "List schedules",
			text: "By namespace and name, a page at a time. Only an answer without a nextCursor is the end.", roles: readers,
			params: []param{
				textParam("namespace", "Only this namespace."),
				wholeParam("limit", "The size of a page; 50 if absent.", 1, maxLimit),
				textParam("cursor", "The nextCursor of the page before, with the same filter."),
			},
			answers:  []answer{jsonAnswer[api.ScheduleList](http.StatusOK, "One page of schedules, without definition.")},
			problems: []string{api.ProblemBadCursor}, serve: (*call).listSchedules,
		},
		{
			id: "applySchedule", method: put, path: path, tag: "schedules", summary: "Apply a schedule",
			text: "Makes the schedule, or changes the one of this name; it keeps its runs. Its jobs are submitted as this token's from then on, " +
				"also when the token has ended.",
			roles: writers, params: scheduleParam, body: jsonBody[api.NewSchedule](maxBody), answers: []answer{made, changed},
			problems: []string{api.ProblemUnavailable}, serve: (*call).applySchedule,
		},
		{
			id: "getSchedule", method: get, path: path, tag: "schedules", summary: "Show a schedule",
			text: "The clock, the next tick, the last runs, and what they submit.", roles: readers, params: scheduleParam,
			answers:  []answer{jsonAnswer[api.Schedule](http.StatusOK, "The schedule.")},
			problems: []string{api.ProblemNotFound}, serve: (*call).showSchedule,
		},
		{
			id: "deleteSchedule", method: remove, path: path, tag: "schedules", summary: "Delete a schedule",
			text: "What it has submitted goes on.", roles: writers, params: scheduleParam,
			answers:  []answer{{status: http.StatusNoContent, text: "It is gone."}},
			problems: []string{api.ProblemNotFound, api.ProblemUnavailable}, serve: (*call).deleteSchedule,
		},
		verb("pauseSchedule", "pause", "Pause a schedule", "No tick runs until it is resumed.", (*call).pauseSchedule),
		verb("resumeSchedule", "resume", "Resume a schedule", "Goes on with the next tick; those in between were not missed.", (*call).resumeSchedule),
		run,
	}
}
