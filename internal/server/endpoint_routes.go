package server

import (
	"net/http"

	"github.com/gco-project/gco/api"
)

var endpointParam = pathParam("name", "The name of the endpoint.")

// endpointAnswer is an answer with an endpoint and its ETag.
func endpointAnswer(status int, text string) answer {
	out := jsonAnswer[api.Endpoint](status, text)
	out.headers = map[string]string{"ETag": "The version, in quotes."}
	return out
}

func (s *Server) endpointRoutes() []*route {
	return append(s.endpointRecordRoutes(), s.endpointVerbRoutes()...)
}

func (s *Server) endpointRecordRoutes() []*route {
	created := endpointAnswer(http.StatusCreated, "The endpoint is stored for good; its replicas start.")
	created.headers["Location"] = location["Location"]
	return []*route{
		{
			id: "listEndpoints", method: get, path: "/api/v1/endpoints", tag: "endpoints", summary: "List endpoints",
			text: "By name, a page at a time.", roles: readers,
			params: []param{
				wholeParam("limit", "The size of a page; 50 if absent.", 1, maxLimit),
				textParam("cursor", "The nextCursor of the page before."),
			},
			answers:  []answer{jsonAnswer[api.EndpointList](http.StatusOK, "One page, without the copies in each region.")},
			problems: []string{api.ProblemBadCursor}, serve: (*call).listEndpoints,
		},
		{
			id: "createEndpoint", method: post, path: "/api/v1/endpoints", tag: "endpoints", summary: "Create an endpoint",
			text: "Names are global: only a token without a limit to namespaces may create or change endpoints.", roles: writers,
			body: jsonBody[api.NewEndpoint](maxBody), answers: []answer{created},
			problems: []string{api.ProblemConflict, api.ProblemUnavailable}, serve: (*call).createEndpoint,
		},
		{
			id: "getEndpoint", method: get, path: "/api/v1/endpoints/{name}", tag: "endpoints", summary: "Show an endpoint",
			text:  "What is wanted, and what each region has of it, replica by replica.",
			roles: readers, params: []param{endpointParam}, answers: []answer{endpointAnswer(http.StatusOK, "The endpoint.")},
			problems: []string{api.ProblemNotFound}, serve: (*call).showEndpoint,
		},
		{
			id: "updateEndpoint", method: put, path: "/api/v1/endpoints/{name}", tag: "endpoints", summary: "Update an endpoint",
			text: "Replaces the spec. A change of what a replica is makes a revision, which takes over by a rolling update, or is tried first where the " +
				"spec has a canary; a revision that does not become ready is rolled back. What says the same as the current spec changes nothing, and " +
				"needs no If-Match.",
			roles: writers, params: []param{endpointParam, ifMatchParam}, body: jsonBody[api.NewEndpoint](maxBody),
			answers: []answer{endpointAnswer(http.StatusOK, "The endpoint as it is wanted now.")},
			problems: []string{
				api.ProblemNotFound, api.ProblemNotPossible, api.ProblemPreconditionFailed, api.ProblemPreconditionRequired, api.ProblemUnavailable,
			},
			serve: (*call).updateEndpoint,
		},
		{
			id: "deleteEndpoint", method: remove, path: "/api/v1/endpoints/{name}", tag: "endpoints", summary: "Delete an endpoint",
			text:  "Its replicas drain and go; the record goes when no region has any. Until then the name is taken.",
			roles: writers, params: []param{endpointParam, ifMatchParam},
			answers:  []answer{endpointAnswer(http.StatusAccepted, "The endpoint is being deleted.")},
			problems: []string{api.ProblemNotFound, api.ProblemPreconditionFailed, api.ProblemUnavailable}, serve: (*call).deleteEndpoint,
		},
		{
			id: "listEndpointRevisions", method: get, path: "/api/v1/endpoints/{name}/revisions", tag: "endpoints", summary: "List an endpoint's revisions",
			text: "Those that are remembered, newest first, with what made them fail.", roles: readers, params: []param{endpointParam},
			answers:  []answer{jsonAnswer[api.EndpointHistory](http.StatusOK, "The revisions.")},
			problems: []string{api.ProblemNotFound}, serve: (*call).listEndpointRevisions,
		},
	}
}

func (s *Server) endpointVerbRoutes() []*route {
	verb := func(id, name, summary, text string) *route {
		return &route{
			id: id, method: post, path: "/api/v1/endpoints/{name}/" + name, tag: "endpoints", summary: summary, text: text,
			roles: writers, params: []param{endpointParam, ifMatchParam},
			answers:  []answer{endpointAnswer(http.StatusOK, "The endpoint as it is wanted now.")},
			problems: []string{api.ProblemNotFound, api.ProblemNotPossible, api.ProblemPreconditionFailed, api.ProblemUnavailable},
		}
	}
	start := verb("startEndpoint", "start", "Start an endpoint", "Ends a stop.")
	start.serve, start.problems = (*call).startEndpoint, append(start.problems, api.ProblemMalformed)
	stop := verb("stopEndpoint", "stop", "Stop an endpoint", "Its replicas drain and go, and its spec stays.")
	stop.serve, stop.problems = (*call).stopEndpoint, append(stop.problems, api.ProblemMalformed)
	scale := verb("scaleEndpoint", "scale", "Scale an endpoint", "Sets the number of replicas over all regions. An endpoint with autoscaling refuses it.")
	scale.serve, scale.body = (*call).scaleEndpoint, jsonBody[api.EndpointScale](maxBody)
	rollback := verb("rollbackEndpoint", "rollback", "Roll an endpoint back",
		"Goes back to a revision by a rolling update; without a number to the one before, or, while a canary is on trial, to the one that serves.")
	rollback.serve, rollback.body = (*call).rollbackEndpoint, jsonBody[api.EndpointRollback](maxBody)
	weigh := verb("weighCanary", "canary", "Give the canary another share", "Sets the share of the requests that the revision on trial gets.")
	weigh.serve, weigh.body = (*call).weighCanary, jsonBody[api.EndpointWeight](maxBody)
	promote := verb("promoteCanary", "promote", "Promote the canary", "The revision on trial serves from now on.")
	promote.serve, promote.problems = (*call).promoteCanary, append(promote.problems, api.ProblemMalformed)
	return []*route{start, stop, scale, rollback, weigh, promote}
}
