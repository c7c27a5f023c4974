package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
)

type jobsRetryOptions struct {
	*Program
	output format
	ids    []string
}

func newJobsRetry(p *Program, run func(context.Context, *jobsRetryOptions) error) *cobra.Command {
	opts := &jobsRetryOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "retry JOB...",
		Short: "Submit finished jobs once more, as new jobs",
		Long: `Retry submits the manifest and options of a finished job again. The new job has
an ID of its own and names the one that it repeats.`,
		Example:           `  gco jobs retry 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f`,
		Args:              some("JOB"),
		ValidArgsFunction: p.jobIDs(job.State.Terminal),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.ids = args
			return run(cmd.Context(), opts)
		},
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runJobsRetry(ctx context.Context, opts *jobsRetryOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	return opts.eachJob(opts.output, opts.ids, "retrying job", func(id string) (api.Job, error) { return c.RetryJob(ctx, id) })
}
