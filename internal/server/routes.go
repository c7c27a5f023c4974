package server

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

var tags = []*huma.Tag{
	{Name: "jobs", Description: "Submit jobs and follow them."},
	{Name: "pipelines", Description: "Jobs that wait for others."},
	{Name: "schedules", Description: "Clocks that submit."},
	{Name: "models", Description: "Weights by name and version, in chunks."},
	{Name: "templates", Description: "Submissions with parameters, kept by name and version."},
	{Name: "events", Description: "What happened, as it happens."},
	{Name: "endpoints", Description: "Inference services, and who may use them."},
	{Name: "regions", Description: "Where jobs run."},
	{Name: "agents", Description: "The protocol between control plane and agents."},
	{Name: "tokens", Description: "Who may do what."},
	{Name: "backups", Description: "Copies of the embedded database."},
	{Name: "webhooks", Description: "Addresses that are told of events."},
	{Name: "system", Description: "Health, metrics and this document."},
}

const (
	get    = http.MethodGet
	post   = http.MethodPost
	put    = http.MethodPut
	patch  = http.MethodPatch
	remove = http.MethodDelete
)

var (
	idParam     = pathParam("id", "The ID of the job, a UUID.")
	regionParam = pathParam("region", "The name of the region.")
	tokenParam  = pathParam("id", "The ID of the token.")
	keyParam    = param{
		in: "header", name: "Idempotency-Key", schema: &huma.Schema{Type: huma.TypeString},
		text: "1 to 255 printable ASCII characters. The same key with the same body gives the same job, however often it is sent. " +
			"It is unique to the token's name and the job's namespace, and is kept until the job is removed and at least 24 h.",
	}
	lastEventParam = param{
		in: "header", name: "Last-Event-ID", schema: &huma.Schema{Type: huma.TypeString},
		text: "The id of the last event seen; the stream goes on after it.",
	}
	location = map[string]string{"Location": "The path of what was made."}
)

// table lists every route.
func (s *Server) table(metricsNeedToken bool) []*route {
	routes := append(s.jobRoutes(), s.aboutJobRoutes()...)
	routes = append(routes, s.templateRoutes()...)
	routes = append(routes, s.pipelineRoutes()...)
	routes = append(routes, s.scheduleRoutes()...)
	routes = append(routes, s.endpointRoutes()...)
	routes = append(routes, s.modelRoutes()...)
	routes = append(routes, s.backupRoutes()...)
	routes = append(routes, s.webhookRoutes()...)
	routes = append(routes, s.accessRoutes()...)
	routes = append(routes, s.regionRoutes()...)
	routes = append(routes, s.agentRoutes()...)
	routes = append(routes, s.tokenRoutes()...)
	return append(routes, s.systemRoutes(metricsNeedToken)...)
}

// submitted are the answers of the routes that submit one job.
func submitted() (created, replayed answer) {
	created = jsonAnswer[api.Job](http.StatusCreated, "The job is stored for good.")
	created.headers = location
	replayed = jsonAnswer[api.Job](http.StatusOK, "The job that this Idempotency-Key made before.")
	replayed.headers = map[string]string{"Idempotent-Replay": "true", "Location": "The path of the job."}
	return created, replayed
}

func (s *Server) jobRoutes() []*route {
	created, replayed := submitted()
	states := make([]string, len(job.States))
	for i, state := range job.States {
		states[i] = string(state)
	}
	return []*route{
		{
			id: "submitJob", method: post, path: "/api/v1/jobs", tag: "jobs", summary: "Submit a job",
			text: "The body is a submission, or the manifest itself: a Kubernetes Job (batch/v1) as JSON with apiVersion and kind at its top, " +
				"or as YAML. A submission has a manifest, or names a template and its parameters. A 201 means that the job is stored for good. The answer has the record without manifest, demand and history.",
			roles: writers, params: []param{keyParam},
			body: &body{limit: maxBody, types: map[string]reflect.Type{
				"application/json": reflect.TypeFor[api.Submission](), "application/yaml": nil,
			}},
			answers:  []answer{created, replayed},
			problems: []string{api.ProblemKeyReused, api.ProblemLimited, api.ProblemUnavailable, api.ProblemUnknown},
			serve:    (*call).submit,
		},
		{
			id: "submitJobs", method: post, path: "/api/v1/jobs:batch", tag: "jobs", summary: "Submit many jobs",
			text: "Up to 1,000 submissions and 16 MiB. Each item stands for itself: it has the status that it would have had alone, " +
				"and the job or the problem. Items may have idempotency keys of their own.",
			roles: writers, body: jsonBody[api.Batch](maxBatchBody),
			answers: []answer{jsonAnswer[api.BatchResult](http.StatusOK, "One answer for each item, in their order.")},
			serve:   (*call).submitBatch,
		},
		{
			id: "listJobs", method: get, path: "/api/v1/jobs", tag: "jobs", summary: "List jobs",
			text: "Newest first, a page at a time. A page may be short, or empty, and still have a nextCursor: " +
				"only an answer without one is the end.",
			roles: readers,
			params: []param{
				textParam("namespace", "Only this namespace."),
				choiceParam("state", "Only these states.", states...).repeatable(),
				textParam("region", "Only this region."),
				textParam("label", "Only jobs with this label, as KEY=VALUE.").repeatable(),
				textParam("template", "Only jobs from the template of this name, of any version."),
				wholeParam("limit", "The size of a page; 50 if absent.", 1, maxLimit),
				textParam("cursor", "The nextCursor of the page before, with the same filters."),
			},
			answers:  []answer{jsonAnswer[api.JobList](http.StatusOK, "One page of jobs, without manifest, demand and history.")},
			problems: []string{api.ProblemBadCursor},
			serve:    (*call).listJobs,
		},
		{
			id: "getJob", method: get, path: "/api/v1/jobs/{id}", tag: "jobs", summary: "Show a job",
			text:  "The record with manifest, demand and history.",
			roles: readers, params: []param{idParam},
			answers:  []answer{jsonAnswer[api.Job](http.StatusOK, "The job.")},
			problems: []string{api.ProblemNotFound}, serve: (*call).showJob,
		},
		{
			id: "deleteJob", method: remove, path: "/api/v1/jobs/{id}", tag: "jobs", summary: "Delete a job",
			text:  "Removes a finished job with its history and its logs.",
			roles: writers, params: []param{idParam},
			answers:  []answer{{status: http.StatusNoContent, text: "It is gone."}},
			problems: []string{api.ProblemNotFound, api.ProblemNotPossible, api.ProblemUnavailable}, serve: (*call).deleteJob,
		},
		{
			id: "cancelJob", method: post, path: "/api/v1/jobs/{id}/cancel", tag: "jobs", summary: "Cancel a job",
			text: "Works in every state that is not final. A job that no region has taken is cancelled at once; " +
				"of any other the intent becomes stop, and it is cancelled when its region has stopped it.",
			roles: writers, params: []param{idParam},
			answers:  []answer{jsonAnswer[api.Job](http.StatusOK, "The job as it is now.")},
			problems: []string{api.ProblemMalformed, api.ProblemNotFound, api.ProblemNotPossible, api.ProblemUnavailable}, serve: (*call).cancelJob,
		},
		{
			id: "retryJob", method: post, path: "/api/v1/jobs/{id}/retry", tag: "jobs", summary: "Retry a job",
			text:  "Submits a finished job once more, as a new job that names its origin in retryOf.",
			roles: writers, params: []param{idParam},
			answers:  []answer{{status: http.StatusCreated, contentType: "application/json", of: reflect.TypeFor[api.Job](), text: "The new job.", headers: location}},
			problems: []string{api.ProblemMalformed, api.ProblemNotFound, api.ProblemNotPossible, api.ProblemLimited, api.ProblemUnavailable},
			serve:    (*call).retryJob,
		},
	}
}

func (s *Server) aboutJobRoutes() []*route {
	text := answer{
		status: http.StatusOK, contentType: "text/plain", text: "The logs. A stream that is cut off was not whole.",
		headers: map[string]string{"Gco-Logs": "live, archived, or partial (archived, and not all).", "Gco-Attempt": "The attempt that wrote them."},
	}
	fromRegion := []string{api.ProblemNotFound, api.ProblemNotHeld, api.ProblemLimited, api.ProblemUnavailable, api.ProblemRegionSilent}
	return []*route{
		{
			id: "explainJob", method: get, path: "/api/v1/jobs/{id}/explain", tag: "jobs", summary: "Explain a job",
			text:  "Why the job is where it is, or why it waits: the candidates and their scores, the rejections, its place in the queue.",
			roles: readers, params: []param{idParam},
			answers:  []answer{jsonAnswer[api.Explanation](http.StatusOK, "The explanation.")},
			problems: []string{api.ProblemNotFound}, serve: (*call).explainJob,
		},
		{
			id: "getJobLogs", method: get, path: "/api/v1/jobs/{id}/logs", tag: "jobs", summary: "Read a job's logs",
			text: "Live from the region that holds the attempt, from the archive afterwards, in the same form: each line is prefixed with " +
				"[pod/container] where there is more than one.",
			roles: readers,
			params: []param{
				idParam, wholeParam("attempt", "The attempt; the last one if absent.", 1, maxAttempt),
				textParam("container", "Only this container."),
				flagParam("follow", "Wait for more until the attempt ends."),
				wholeParam("tail", "Only so many last lines; 0 is all.", 0, 1_000_000),
				textParam("since", "Only lines since this time (RFC 3339), or this long ago (10m)."),
				flagParam("timestamps", "Begin each line with its time."),
			},
			answers:  []answer{text},
			problems: append([]string{api.ProblemNoLogs, api.ProblemGone}, fromRegion...), serve: (*call).logs,
		},
		{
			id: "getJobPods", method: get, path: "/api/v1/jobs/{id}/pods", tag: "jobs", summary: "List a job's pods",
			text:  "The pods of the last attempt, as its region sees them now; empty if nothing was ever started.",
			roles: readers, params: []param{idParam},
			answers:  []answer{jsonAnswer[api.PodList](http.StatusOK, "The pods.")},
			problems: fromRegion, serve: (*call).pods,
		},
		{
			id: "getJobEvents", method: get, path: "/api/v1/jobs/{id}/events", tag: "jobs", summary: "List a job's cluster events",
			text:  "What the region's cluster says of the last attempt, oldest first. For what GCO says, see the history and /events.",
			roles: readers, params: []param{idParam},
			answers:  []answer{jsonAnswer[api.ClusterEventList](http.StatusOK, "The events.")},
			problems: fromRegion, serve: (*call).clusterEvents,
		},
		{
			id: "streamEvents", method: get, path: "/api/v1/events", tag: "events", summary: "Stream events",
			text: "Server-sent events; the data of each is an Event, its id a cursor for Last-Event-ID. Every event comes once and in the order of " +
				"commits. Comments are heartbeats; the id beside one says how far the stream has come. The last event of a stream that the server ends " +
				"is gco.slow (the client reads too slowly) or gco.bye (the server stops): go on with Last-Event-ID. A 410 says that events after it " +
				"were removed. Events of regions are for tokens without a limit to namespaces.",
			roles: readers,
			params: []param{
				lastEventParam,
				textParam("namespace", "Only this namespace."), textParam("job", "Only this job."),
				textParam("type", "Only these types: exact, such as job.running, or with one *, such as job.* and *.failed.").repeatable(),
				choiceParam("from", "Where to begin without Last-Event-ID; now if absent, and oldest with follow=false.", "now", "oldest"),
				flagParam("follow", "Go on with what happens next; true if absent."),
			},
			answers: []answer{{
				status: http.StatusOK, contentType: "text/event-stream", text: "The stream.",
				headers: map[string]string{"Gco-Cursor": "Where the stream begins, for Last-Event-ID."},
			}},
			problems: []string{api.ProblemBadCursor, api.ProblemGone}, serve: (*call).events,
		},
		{
			id: "getStats", method: get, path: "/api/v1/stats", tag: "system", summary: "Show statistics",
			text: "Jobs by state, region and namespace; the age of the queue; throughput. Counters, never scans. " +
				"A token with a limit to namespaces gets the counts of those, and no age and throughput.",
			roles:   readers,
			answers: []answer{jsonAnswer[api.Stats](http.StatusOK, "The statistics.")}, serve: (*call).stats,
		},
	}
}

func (s *Server) regionRoutes() []*route {
	region := []answer{jsonAnswer[api.Region](http.StatusOK, "The region.")}
	verb := func(id, name, summary, text string, do func(q Queue) func(context.Context, string) (capacity.Region, error)) *route {
		return &route{
			id: id, method: post, path: "/api/v1/regions/{region}/" + name, tag: "regions", summary: summary, text: text,
			roles: admins, params: []param{regionParam}, answers: region,
			problems: []string{api.ProblemMalformed, api.ProblemNotFound, api.ProblemUnavailable}, serve: setSchedulable(do),
		}
	}
	writeOff := verb("writeOffRegion", "write-off", "Write off a region",
		"After a restore nothing starts until every region has sent its inventory. This gives up one that will not: what it held is lost and goes "+
			"elsewhere. Only who knows that nothing runs there any more should call it.",
		func(q Queue) func(context.Context, string) (capacity.Region, error) { return q.WriteOff })
	writeOff.problems = append(writeOff.problems, api.ProblemConflict)
	return []*route{
		{
			id: "listRegions", method: get, path: "/api/v1/regions", tag: "regions", summary: "List regions",
			text: "Every region that ever had an agent, by name.", roles: readers,
			answers: []answer{jsonAnswer[api.RegionList](http.StatusOK, "The regions, without their capacity node by node.")},
			serve:   (*call).listRegions,
		},
		{
			id: "getRegion", method: get, path: "/api/v1/regions/{region}", tag: "regions", summary: "Show a region",
			text:  "Health, lease, capacity by resource and by node shape, prices, back-offs and jobs.",
			roles: readers, params: []param{regionParam}, answers: region,
			problems: []string{api.ProblemNotFound}, serve: (*call).showRegion,
		},
		verb("cordonRegion", "cordon", "Cordon a region", "No new work; what runs there goes on.",
			func(q Queue) func(context.Context, string) (capacity.Region, error) { return q.Cordon }),
		verb("uncordonRegion", "uncordon", "Uncordon a region", "Ends a cordon or a drain.",
			func(q Queue) func(context.Context, string) (capacity.Region, error) { return q.Uncordon }),
		verb("drainRegion", "drain", "Drain a region", "Cordons it, and moves its jobs elsewhere, except those with onRegionLost fail or wait.",
			func(q Queue) func(context.Context, string) (capacity.Region, error) { return q.Drain }),
		writeOff,
	}
}

func (s *Server) agentRoutes() []*route {
	return []*route{
		{
			id: "sync", method: post, path: "/api/v1/regions/{region}/sync", tag: "agents", summary: "Sync a region",
			text: "The agent's one call. Without a session it opens one. It is a long poll, and level-triggered: " +
				"an answer that is lost costs nothing but time. A 409 with stale-session means: fence, open a new session, send the inventory.",
			roles: agents, params: []param{regionParam}, body: jsonBody[api.SyncRequest](maxSyncBody),
			answers:  []answer{jsonAnswer[api.SyncResponse](http.StatusOK, "What the agent should do.")},
			problems: []string{api.ProblemStaleSession, api.ProblemOldSequence, api.ProblemOtherCluster, api.ProblemUnavailable},
			serve:    (*call).sync,
		},
		{
			id: "answerRequest", method: post, path: "/api/v1/regions/{region}/requests/{id}", tag: "agents", summary: "Answer a request",
			text: "The agent's answer to a request that Sync carried, streamed: logs as text, pods and events as a JSON list of Pod or ClusterEvent, " +
				"what went wrong as a problem. The answer comes when the client has it all; 404 and 410 say that nobody wants it any more.",
			roles: agents, params: []param{regionParam, pathParam("id", "The ID of the request.")},
			body: &body{types: map[string]reflect.Type{
				"text/plain": nil, "application/json": nil, "application/problem+json": reflect.TypeFor[api.Problem](),
			}},
			answers:  []answer{{status: http.StatusNoContent, text: "The client has read all of it."}},
			problems: []string{api.ProblemNotFound, api.ProblemGone, api.ProblemUnavailable}, serve: (*call).answerRequest,
		},
		{
			id: "archiveLogs", method: put, path: "/api/v1/regions/{region}/attempts/{job}/{attempt}/logs", tag: "agents", summary: "Archive an attempt's logs",
			text: "The agent ships the final logs of an attempt, a line each: TIME POD/CONTAINER TEXT, with the time in RFC 3339 with nanoseconds. " +
				"What is over 64 MiB is dropped, and the job's logs are partial. Sending them again replaces them. " +
				"After a 204 the agent may remove its own.",
			roles: agents,
			params: []param{
				regionParam, pathParam("job", "The ID of the job."), pathParam("attempt", "The number of the attempt."),
				flagParam("partial", "Some of the logs were lost before."),
			},
			body:     &body{types: map[string]reflect.Type{"text/plain": nil}},
			answers:  []answer{{status: http.StatusNoContent, text: "The logs are stored for good."}},
			problems: []string{api.ProblemNotFound, api.ProblemUnavailable}, serve: (*call).archiveLogs,
		},
	}
}

func (s *Server) tokenRoutes() []*route {
	created := jsonAnswer[api.CreatedToken](http.StatusCreated, "The token with its secret, which is shown this once.")
	created.headers = location
	return []*route{
		{
			id: "listTokens", method: get, path: "/api/v1/tokens", tag: "tokens", summary: "List tokens",
			text: "Every token, by name, without the secrets.", roles: admins,
			answers: []answer{jsonAnswer[api.TokenList](http.StatusOK, "The tokens.")}, serve: (*call).listTokens,
		},
		{
			id: "createToken", method: post, path: "/api/v1/tokens", tag: "tokens", summary: "Create a token",
			text: "Roles: admin (everything but to speak for a region), submitter and viewer (of some namespaces, or all), " +
				"agent (speaks for one region), invoker (uses endpoints). A token never changes: make another and delete this one.",
			roles: admins, body: jsonBody[api.NewToken](maxBody), answers: []answer{created},
			problems: []string{api.ProblemConflict, api.ProblemUnavailable}, serve: (*call).createToken,
		},
		{
			id: "getToken", method: get, path: "/api/v1/tokens/{id}", tag: "tokens", summary: "Show a token",
			text: "One token, without the secret.", roles: admins, params: []param{tokenParam},
			answers:  []answer{jsonAnswer[api.Token](http.StatusOK, "The token.")},
			problems: []string{api.ProblemNotFound}, serve: (*call).showToken,
		},
		{
			id: "deleteToken", method: remove, path: "/api/v1/tokens/{id}", tag: "tokens", summary: "Delete a token",
			text:  "It ends at once on this server, and within 5 s on others. The last admin's token that does not expire stays.",
			roles: admins, params: []param{tokenParam},
			answers:  []answer{{status: http.StatusNoContent, text: "It is gone."}},
			problems: []string{api.ProblemNotFound, api.ProblemConflict, api.ProblemUnavailable}, serve: (*call).deleteToken,
		},
	}
}

func (s *Server) systemRoutes(metricsNeedToken bool) []*route {
	scrape := &route{
		id: "getMetrics", method: get, path: "/metrics", tag: "system", summary: "Show metrics",
		text:    "In the text format of Prometheus.",
		answers: []answer{{status: http.StatusOK, contentType: "text/plain", text: "The metrics."}}, serve: (*call).scrape,
	}
	if metricsNeedToken {
		scrape.roles = []Role{Admin, Viewer}
	}
	health := jsonAnswer[api.Health](http.StatusOK, "The checks.")
	return []*route{
		scrape,
		{
			id: "getHealth", method: get, path: "/api/v1/health", tag: "system", summary: "Show health",
			text: "Each check by name. The status is 200 even where a check fails that would fail in every region; a region's gateway " +
				"answers 503 at this path where another region would do better.",
			answers: []answer{health}, serve: (*call).health,
		},
		{
			id: "getLiveness", method: get, path: "/healthz", tag: "system", summary: "Show liveness",
			text: "200 as long as the process serves.", answers: []answer{health}, serve: (*call).alive,
		},
		{
			id: "getReadiness", method: get, path: "/readyz", tag: "system", summary: "Show readiness",
			text: "200 while requests can be served; 503 when the store takes no writes, or the server is stopping.", answers: []answer{health},
			problems: []string{api.ProblemUnavailable}, serve: (*call).ready,
		},
		{
			id: "getOpenAPI", method: get, path: "/openapi.json", tag: "system", summary: "Show this document",
			text:    "The API as OpenAPI 3.1, made from the table that serves it.",
			answers: []answer{{status: http.StatusOK, contentType: "application/json", of: reflect.TypeFor[map[string]any](), text: "The document."}},
			serve:   (*call).openAPI,
		},
		{
			id: "getDocs", method: get, path: "/docs", tag: "system", summary: "Read the documentation",
			text:    "The same for people, on one page that loads nothing from elsewhere.",
			answers: []answer{{status: http.StatusOK, contentType: "text/html", text: "The page."}}, serve: (*call).docs,
		},
	}
}
