package server

import (
	"net/http"
	"reflect"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/model"
)

var (
	modelParam        = pathParam("name", "The name of the model.")
	modelVersionParam = pathParam("version", "A version, a tag, or latest.")
	modelTagParam     = pathParam("tag", "The tag.")
	modelUploadParam  = pathParam("id", "The ID of the upload.")
	modelChunkParam   = pathParam("sha256", "The SHA-256 of the chunk, in hex.")
)

func (s *Server) modelRoutes() []*route {
	if s.models == nil {
		return nil
	}
	routes := append(s.modelRecordRoutes(), s.modelUseRoutes()...)
	return append(routes, s.modelUploadRoutes()...)
}

func (s *Server) modelRecordRoutes() []*route {
	version := []answer{jsonAnswer[api.ModelVersion](http.StatusOK, "The version.")}
	gone := []answer{{status: http.StatusNoContent, text: "It is gone."}}
	missing := []string{api.ProblemNotFound, api.ProblemUnavailable}
	return []*route{
		{
			id: "listModels", method: get, path: "/api/v1/models", tag: "models", summary: "List models",
			text: "Every model, by name, with its newest version and its tags.", roles: readers,
			answers:  []answer{jsonAnswer[api.ModelList](http.StatusOK, "The models.")},
			problems: []string{api.ProblemUnavailable}, serve: (*call).listModels,
		},
		{
			id: "getModel", method: get, path: "/api/v1/models/{name}", tag: "models", summary: "Show a model",
			text: "All its versions, newest first, its tags, and which regions have what.", roles: readers,
			params: []param{modelParam}, answers: []answer{jsonAnswer[api.Model](http.StatusOK, "The model.")},
			problems: missing, serve: (*call).showModel,
		},
		{
			id: "deleteModel", method: remove, path: "/api/v1/models/{name}", tag: "models", summary: "Delete a model",
			text:  "With all its versions and tags. The numbers of its versions are not given again. What only it used is removed by the next collection.",
			roles: writers, params: []param{modelParam}, answers: gone, problems: missing, serve: (*call).deleteModel,
		},
		{
			id: "getModelVersion", method: get, path: "/api/v1/models/{name}/versions/{version}", tag: "models", summary: "Show a version of a model",
			text: "Without its files: see its manifest.", roles: modelReaders,
			params: []param{modelParam, modelVersionParam}, answers: version, problems: missing, serve: (*call).showModelVersion,
		},
		{
			id: "deleteModelVersion", method: remove, path: "/api/v1/models/{name}/versions/{version}", tag: "models", summary: "Delete a version of a model",
			text:  "One that a tag names stays. What only it used is removed by the next collection.",
			roles: writers, params: []param{modelParam, modelVersionParam}, answers: gone,
			problems: []string{api.ProblemNotFound, api.ProblemConflict, api.ProblemUnavailable}, serve: (*call).deleteModelVersion,
		},
		{
			id: "tagModel", method: put, path: "/api/v1/models/{name}/tags/{tag}", tag: "models", summary: "Tag a version of a model",
			text: "The tag names this version from now on, and another one no more.", roles: writers,
			params: []param{modelParam, modelTagParam}, body: jsonBody[api.ModelTag](maxBody), answers: version,
			problems: missing, serve: (*call).tagModel,
		},
		{
			id: "untagModel", method: remove, path: "/api/v1/models/{name}/tags/{tag}", tag: "models", summary: "Remove a tag of a model",
			text: "The version that it names stays.", roles: writers, params: []param{modelParam, modelTagParam}, answers: gone,
			problems: missing, serve: (*call).untagModel,
		},
	}
}

func (s *Server) modelUseRoutes() []*route {
	missing := []string{api.ProblemNotFound, api.ProblemUnavailable}
	return []*route{
		{
			id: "getModelManifest", method: get, path: "/api/v1/models/{name}/versions/{version}/manifest", tag: "models", summary: "Show the files of a version",
			text: "The manifest as it is stored: its SHA-256 is the version's digest.", roles: modelReaders,
			params: []param{modelParam, modelVersionParam}, answers: []answer{jsonAnswer[api.ModelManifest](http.StatusOK, "The manifest.")},
			problems: missing, serve: (*call).modelManifest,
		},
		{
			id: "getModelChunk", method: get, path: "/api/v1/model-chunks/{sha256}", tag: "models", summary: "Read a chunk",
			text: "Who reads it checks its SHA-256: the server does not.", roles: modelReaders, params: []param{modelChunkParam},
			answers:  []answer{{status: http.StatusOK, contentType: "application/octet-stream", text: "The chunk."}},
			problems: missing, serve: (*call).modelChunk,
		},
		{
			id: "verifyModel", method: post, path: "/api/v1/models/{name}/versions/{version}/verify", tag: "models", summary: "Verify a version",
			text: "Reads every byte, which takes as long as that takes. Chunks that are not what their name says are removed, so that the next push of " +
				"the same files mends the version.",
			roles: writers, params: []param{modelParam, modelVersionParam},
			answers:  []answer{jsonAnswer[api.ModelVerification](http.StatusOK, "What was found.")},
			problems: []string{api.ProblemMalformed, api.ProblemNotFound, api.ProblemUnavailable}, serve: (*call).verifyModel,
		},
		{
			id: "collectModelChunks", method: post, path: "/api/v1/models:collect", tag: "models", summary: "Collect chunks",
			text:  "Removes the chunks that no version has and no upload relies on, and forgets uploads that nothing was heard of for a day.",
			roles: writers, answers: []answer{jsonAnswer[api.ModelCollection](http.StatusOK, "What was removed.")},
			problems: []string{api.ProblemMalformed, api.ProblemConflict, api.ProblemUnavailable}, serve: (*call).collectModels,
		},
	}
}

func (s *Server) modelUploadRoutes() []*route {
	begun := jsonAnswer[api.ModelUpload](http.StatusCreated, "The upload.")
	begun.headers = location
	made := jsonAnswer[api.ModelVersion](http.StatusCreated, "The version is stored for good.")
	made.headers = location
	there := jsonAnswer[api.ModelVersion](http.StatusOK, "The newest version, which has the same files.")
	there.headers = location
	missing := []string{api.ProblemNotFound, api.ProblemUnavailable}
	return []*route{
		{
			id: "beginModelUpload", method: post, path: "/api/v1/model-uploads", tag: "models", summary: "Begin to upload a version",
			text: "Then ask which chunks are missing, send those, and commit. Nothing of it is to be seen before. Models are shared by all " +
				"namespaces: only a token without a limit to namespaces may change them.",
			roles: writers, body: jsonBody[api.NewModelUpload](maxBody), answers: []answer{begun},
			problems: []string{api.ProblemUnavailable}, serve: (*call).beginUpload,
		},
		{
			id: "findMissingChunks", method: post, path: "/api/v1/model-uploads/{id}/missing", tag: "models", summary: "Ask which chunks are missing",
			text:  "Up to 1,000 at a time. The others are there, and stay until the upload ends.",
			roles: writers, params: []param{modelUploadParam}, body: jsonBody[api.ModelChunks](maxBody),
			answers:  []answer{jsonAnswer[api.MissingChunks](http.StatusOK, "Those that are to be sent.")},
			problems: missing, serve: (*call).missingChunks,
		},
		{
			id: "putModelChunk", method: put, path: "/api/v1/model-uploads/{id}/chunks/{sha256}", tag: "models", summary: "Send a chunk",
			text: "Up to 8 MiB. Sending one again does nothing.", roles: writers, params: []param{modelUploadParam, modelChunkParam},
			body:     &body{limit: model.MaxChunk, types: map[string]reflect.Type{"application/octet-stream": nil}},
			answers:  []answer{{status: http.StatusNoContent, text: "The chunk is stored for good."}},
			problems: missing, serve: (*call).putChunk,
		},
		{
			id: "commitModelUpload", method: post, path: "/api/v1/model-uploads/{id}/commit", tag: "models", summary: "Commit an upload",
			text:  "The body is the manifest. The version gets the next number, unless the newest one has the same files.",
			roles: writers, params: []param{modelUploadParam}, body: jsonBody[api.ModelManifest](model.MaxManifest),
			answers: []answer{made, there}, problems: []string{api.ProblemNotFound, api.ProblemConflict, api.ProblemUnavailable}, serve: (*call).commitUpload,
		},
		{
			id: "abortModelUpload", method: remove, path: "/api/v1/model-uploads/{id}", tag: "models", summary: "Abort an upload",
			text: "What it brought is removed by the next collection.", roles: writers, params: []param{modelUploadParam},
			answers:  []answer{{status: http.StatusNoContent, text: "It is forgotten."}},
			problems: missing, serve: (*call).abortUpload,
		},
	}
}
