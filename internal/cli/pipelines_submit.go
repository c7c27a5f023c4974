package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

type pipelinesSubmitOptions struct {
	*Program
	output    format
	files     []string
	namespace string
	key       string
	wait      bool
}

func newPipelinesSubmit(p *Program, run func(context.Context, *pipelinesSubmitOptions) error) *cobra.Command {
	opts := &pipelinesSubmitOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "submit FILE|-...",
		Short: "Submit pipelines",
		Long: `Submit hands pipelines (YAML or JSON, several documents a file) to GCO: steps,
each with a manifest or a template, and what each waits for. The server decides
when a step begins, and goes on without this command.

A job hands results on by its result file, which GCO_RESULT names; a later step
refers to them as {{steps.NAME.outputs.KEY}}.`,
		Example: `  gco pipelines submit examples/pipeline.yaml --wait
  gco pipelines submit nightly.yaml --namespace research -o name`,
		Args: some("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.files = args
			return run(cmd.Context(), opts)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&opts.wait, "wait", "w", false, "wait until the pipelines have finished; exit code 6 if one does not succeed")
	flags.StringVarP(&opts.namespace, "namespace", "n", "", "`NAMESPACE` for pipelines that name none")
	flags.StringVar(&opts.key, "idempotency-key", "", "`KEY` that makes a repeated call answer with the same pipelines (default: a new one each call)")
	addOutput(cmd, &opts.output)
	return cmd
}

func runPipelinesSubmit(ctx context.Context, opts *pipelinesSubmitOptions) error {
	files, err := documents(opts.In, opts.files)
	if err != nil {
		return err
	}
	requests := make([]pipelineRequest, len(files))
	for i, file := range files {
		request, err := readDocument[api.NewPipeline](file, "pipeline")
		if err != nil {
			return err
		}
		request.Namespace = cmp.Or(request.Namespace, opts.namespace)
		requests[i] = pipelineRequest{file.name, request}
	}
	c, err := opts.connect()
	if err != nil {
		return err
	}
	return opts.submitPipelines(ctx, c, requests, submitting{key: opts.key, wait: opts.wait, output: opts.output})
}

// pipelineRequest is one pipeline to submit; name says where it comes from.
type pipelineRequest struct {
	name string
	api.NewPipeline
}

// submitting says how pipelines are submitted, and what is shown of them.
type submitting struct {
	key    string
	wait   bool
	output format
}

// submitPipelines submits each by itself: one that is refused does not keep the
// others out.
func (p *Program) submitPipelines(ctx context.Context, c *client.Client, requests []pipelineRequest, how submitting) error {
	var made []api.Pipeline
	var refused []error
	for i, request := range requests {
		l, replayed, err := c.SubmitPipeline(ctx, request.NewPipeline, keyOf(how.key, i, len(requests)))
		if err != nil {
			refused = append(refused, fmt.Errorf("submitting %s: %w", request.name, err))
			continue
		}
		if replayed {
			fmt.Fprintf(p.Err, "%s was submitted before with this key, as pipeline %s\n", request.name, l.ID)
		}
		made = append(made, l)
	}
	if len(made) > 0 && how.wait {
		refused = append(refused, p.awaitPipelines(ctx, c, made, how.output))
	} else if len(made) > 0 {
		refused = append(refused, printList(p, how.output, pipelineView(p), made, api.PipelineList{Items: made}))
	}
	return errors.Join(refused...)
}
