package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	var made []api.Pipeline
	var refused []error
	for i, request := range requests {
		l, err := o.submitPipeline(ctx, c, pipelineOfOne(request.Submission, dependencies(o.after)), o.keyOf(i, len(requests)))
		if err != nil {
			refused = append(refused, fmt.Errorf("submitting %s: %w", request.name, err))
			continue
		}
		made = append(made, l)
	}
	if len(made) > 0 && o.wait {
		refused = append(refused, o.awaitPipelines(ctx, c, made, o.output))
	} else if len(made) > 0 {
		refused = append(refused, printList(o.Program, o.output, pipelineView(o.Program), made, api.PipelineList{Items: made}))
	}
	return errors.Join(refused...)
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
