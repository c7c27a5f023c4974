package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

type pipelinesChangeOptions struct {
	*Program
	output format
	ids    []string
	// doing is for messages; change makes the call.
	doing  string
	change func(c *client.Client, ctx context.Context, id string) (api.Pipeline, error)
}

func newPipelinesCancel(p *Program, run func(context.Context, *pipelinesChangeOptions) error) *cobra.Command {
	opts := &pipelinesChangeOptions{Program: p, doing: "cancelling", change: (*client.Client).CancelPipeline}
	return opts.command(&cobra.Command{
		Use:   "cancel PIPELINE...",
		Short: "Cancel pipelines",
		Long: `Cancel cancels the jobs of a pipeline that run, and skips the steps that wait.
What has ended stays as it is.`,
		Example:           `  gco pipelines cancel 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f`,
		ValidArgsFunction: p.pipelineIDs("running"),
	}, run)
}

func newPipelinesRetry(p *Program, run func(context.Context, *pipelinesChangeOptions) error) *cobra.Command {
	opts := &pipelinesChangeOptions{Program: p, doing: "retrying", change: (*client.Client).RetryPipeline}
	return opts.command(&cobra.Command{
		Use:   "retry PIPELINE...",
		Short: "Go on from the steps that failed",
		Long: `Retry begins another run of a pipeline that failed or was cancelled: of the steps
that did so, and of those that wait for them. The others keep their results.`,
		Example:           `  gco pipelines retry 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f`,
		ValidArgsFunction: p.pipelineIDs("failed", "cancelled"),
	}, run)
}

func (o *pipelinesChangeOptions) command(cmd *cobra.Command, run func(context.Context, *pipelinesChangeOptions) error) *cobra.Command {
	cmd.Args = some("PIPELINE")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.ids = args
		return run(cmd.Context(), o)
	}
	addOutput(cmd, &o.output)
	return cmd
}

func runPipelinesChange(ctx context.Context, opts *pipelinesChangeOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	changed, refused := onEach(opts.ids, opts.doing+" pipeline", func(id string) (api.Pipeline, error) { return opts.change(c, ctx, id) })
	if len(changed) > 0 {
		err = printList(opts.Program, opts.output, pipelineView(opts.Program), changed, api.PipelineList{Items: changed})
	}
	return errors.Join(refused, err)
}
