package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// dependencies reads the jobs that a new one waits for, JOB or JOB:CONDITION.
func dependencies(texts []string) []api.Dependency {
	var all []api.Dependency
	for _, text := range texts {
		id, condition, _ := strings.Cut(text, ":")
		all = append(all, api.Dependency{Job: id, Condition: condition})
	}
	return all
}

// submitAfter submits each job as a pipeline of one step, which waits.
func (o *submitOptions) submitAfter(ctx context.Context, c *client.Client, requests []submitRequest) error {
	pipelines := make([]pipelineRequest, len(requests))
	for i, request := range requests {
		pipelines[i] = pipelineRequest{request.name, pipelineOfOne(request.Submission, dependencies(o.after))}
	}
	return o.submitPipelines(ctx, c, pipelines, submitting{key: o.key, wait: o.wait, output: o.output})
}

// pipelineOfOne wraps a submission: the pipeline is called as its job, and is
// where that is.
func pipelineOfOne(submission api.Submission, after []api.Dependency) api.NewPipeline {
	var job struct {
		Metadata struct{ Name, Namespace string }
	}
	var text string
	if json.Unmarshal(submission.Manifest, &text) == nil {
		// What cannot be read is the server's to refuse.
		if manifest, err := yamlToJSON([]byte(text)); err == nil {
			_ = json.Unmarshal(manifest, &job)
		}
	}
	name := job.Metadata.Name
	if submission.Template != nil {
		name = submission.Template.Name
	}
	if name == "" || len(name) > 63 || strings.Contains(name, ".") {
		name = "job"
	}
	return api.NewPipeline{
		Name: name, Namespace: cmp.Or(submission.Namespace, job.Metadata.Namespace),
		Steps: []api.NewStep{{Name: name, After: after, Submission: submission}},
	}
}
