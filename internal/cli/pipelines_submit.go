package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
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
	requests := make([]api.NewPipeline, len(files))
	for i, file := range files {
		if requests[i], err = readDocument[api.NewPipeline](file, "pipeline"); err != nil {
			return err
		}
		if requests[i].Namespace == "" {
			requests[i].Namespace = opts.namespace
		}
	}
	c, err := opts.connect()
	if err != nil {
		return err
	}
	var made []api.Pipeline
	var refused []error
	for i, request := range requests {
		l, err := opts.submitPipeline(ctx, c, request, opts.keyOf(i, len(requests)))
		if err != nil {
			refused = append(refused, fmt.Errorf("submitting %s: %w", files[i].name, err))
			continue
		}
		made = append(made, l)
	}
	if len(made) > 0 && opts.wait {
		refused = append(refused, opts.awaitPipelines(ctx, c, made, opts.output))
	} else if len(made) > 0 {
		refused = append(refused, printList(opts.Program, opts.output, pipelineView(opts.Program), made, api.PipelineList{Items: made}))
	}
	return errors.Join(refused...)
}

// keyOf is the idempotency key of the n-th pipeline of a call.
func (o *pipelinesSubmitOptions) keyOf(n, of int) string {
	switch {
	case o.key == "":
		return uuid.NewString()
	case of == 1:
		return o.key
	default:
		return fmt.Sprintf("%s-%d", o.key, n+1)
	}
}

func (p *Program) submitPipeline(ctx context.Context, c *client.Client, request api.NewPipeline, key string) (api.Pipeline, error) {
	l, replayed, err := c.SubmitPipeline(ctx, request, key)
	if err == nil && replayed {
		fmt.Fprintf(p.Err, "%s was submitted before with this key, as pipeline %s\n", l.Name, l.ID)
	}
	return l, err
}
