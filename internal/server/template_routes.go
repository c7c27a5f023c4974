package server

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gco-project/gco/api"
)

// maxTemplateVersion bounds a version in a query; JSON readers keep it
// exactly.
const maxTemplateVersion = 1<<53 - 1

var (
	templateParam = pathParam("name", "The name of the template.")
	ifMatchParam  = param{
		in: "header", name: "If-Match", schema: &huma.Schema{Type: huma.TypeString},
		text: "The ETag of the version that the change is based on, or *.",
	}
	templateETag = map[string]string{"ETag": "The version, in quotes."}
)

// withETag is an answer with a template.
func withETag(status int, text string) answer {
	out := jsonAnswer[api.Template](status, text)
	out.headers = templateETag
	return out
}

func (s *Server) templateRoutes() []*route {
	return append(s.templateRecordRoutes(), s.templateUseRoutes()...)
}

func (s *Server) templateRecordRoutes() []*route {
	created := withETag(http.StatusCreated, "The template is stored for good.")
	created.headers = map[string]string{"ETag": templateETag["ETag"], "Location": location["Location"]}
	page := []param{
		wholeParam("limit", "The size of a page; 50 if absent.", 1, maxLimit),
		textParam("cursor", "The nextCursor of the page before."),
	}
	list := []answer{jsonAnswer[api.TemplateList](http.StatusOK, "One page, without parameters and jobs.")}
	return []*route{
		{
			id: "listTemplates", method: get, path: "/api/v1/templates", tag: "templates", summary: "List templates",
			text: "By name, a page at a time.", roles: readers, params: page,
			answers: list, problems: []string{api.ProblemBadCursor}, serve: (*call).listTemplates,
		},
		{
			id: "createTemplate", method: post, path: "/api/v1/templates", tag: "templates", summary: "Create a template",
			text: "Templates are shared by all namespaces: only a token without a limit to namespaces may create, update or delete them. " +
				"Everyone who submits may use them.",
			roles: writers, body: jsonBody[api.NewTemplate](maxBody), answers: []answer{created},
			problems: []string{api.ProblemConflict, api.ProblemUnavailable}, serve: (*call).createTemplate,
		},
		{
			id: "getTemplate", method: get, path: "/api/v1/templates/{name}", tag: "templates", summary: "Show a template",
			text: "The newest version.", roles: readers, params: []param{templateParam},
			answers:  []answer{withETag(http.StatusOK, "The template.")},
			problems: []string{api.ProblemNotFound}, serve: (*call).showTemplate,
		},
		{
			id: "updateTemplate", method: put, path: "/api/v1/templates/{name}", tag: "templates", summary: "Update a template",
			text: "Writes the next version. What says the same as the current version makes none, and needs no If-Match. " +
				"Jobs that were submitted before stay what they are.",
			roles: writers, params: []param{templateParam, ifMatchParam}, body: jsonBody[api.NewTemplate](maxBody),
			answers:  []answer{withETag(http.StatusOK, "The template as it is now.")},
			problems: []string{api.ProblemNotFound, api.ProblemPreconditionFailed, api.ProblemPreconditionRequired, api.ProblemUnavailable},
			serve:    (*call).updateTemplate,
		},
		{
			id: "deleteTemplate", method: remove, path: "/api/v1/templates/{name}", tag: "templates", summary: "Delete a template",
			text: "Nothing more can be submitted from it. Its versions can still be read, since jobs name them, " +
				"and a new template of this name goes on with the next version.",
			roles: writers, params: []param{templateParam, ifMatchParam},
			answers:  []answer{{status: http.StatusNoContent, text: "It is gone."}},
			problems: []string{api.ProblemNotFound, api.ProblemPreconditionFailed, api.ProblemUnavailable}, serve: (*call).deleteTemplate,
		},
		{
			id: "listTemplateVersions", method: get, path: "/api/v1/templates/{name}/versions", tag: "templates", summary: "List a template's versions",
			text: "Newest first, a page at a time; those of a deleted template, too.", roles: readers, params: append([]param{templateParam}, page...),
			answers: list, problems: []string{api.ProblemBadCursor, api.ProblemNotFound}, serve: (*call).listTemplateVersions,
		},
		{
			id: "getTemplateVersion", method: get, path: "/api/v1/templates/{name}/versions/{version}", tag: "templates", summary: "Show a template's version",
			text: "One version, that of a deleted template, too.", roles: readers,
			params:   []param{templateParam, pathParam("version", "The number of the version.")},
			answers:  []answer{withETag(http.StatusOK, "That version.")},
			problems: []string{api.ProblemNotFound}, serve: (*call).showTemplateVersion,
		},
	}
}

func (s *Server) templateUseRoutes() []*route {
	version := wholeParam("version", "The version to use; the newest one if absent.", 1, maxTemplateVersion)
	created, replayed := submitted()
	return []*route{
		{
			id: "submitTemplate", method: post, path: "/api/v1/templates/{name}/jobs", tag: "templates", summary: "Submit a job from a template",
			text:  "The same as submitting a job that names this template: the body is a submission with parameters, without template and manifest.",
			roles: writers, params: []param{templateParam, version, keyParam}, body: jsonBody[api.Submission](maxBody),
			answers:  []answer{created, replayed},
			problems: []string{api.ProblemNotFound, api.ProblemKeyReused, api.ProblemLimited, api.ProblemUnavailable, api.ProblemUnknown},
			serve:    (*call).submitTemplate,
		},
		{
			id: "renderTemplate", method: post, path: "/api/v1/templates/{name}/render", tag: "templates", summary: "Render a template",
			text:  "Shows what would be submitted, checked as any submission, and submits nothing.",
			roles: readers, params: []param{templateParam, version}, body: jsonBody[api.Submission](maxBody),
			answers:  []answer{jsonAnswer[api.Rendering](http.StatusOK, "What would be submitted.")},
			problems: []string{api.ProblemNotFound}, serve: (*call).renderTemplate,
		},
	}
}
