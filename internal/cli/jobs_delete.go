package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/internal/job"
)

type jobsDeleteOptions struct {
	*Program
	ids []string
}

func newJobsDelete(p *Program, run func(context.Context, *jobsDeleteOptions) error) *cobra.Command {
	opts := &jobsDeleteOptions{Program: p}
	return &cobra.Command{
		Use:     "delete JOB...",
		Aliases: []string{"rm"},
		Short:   "Remove finished jobs with their history and logs",
		Long: `Delete removes the record of finished jobs, with history and logs, at once. One
that has not finished is refused: cancel it first. Records go by themselves when
their time (--ttl of gco submit) is over.`,
		Example:           `  gco jobs delete 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f`,
		Args:              some("JOB"),
		ValidArgsFunction: p.jobIDs(job.State.Terminal),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.ids = args
			return run(cmd.Context(), opts)
		},
	}
}

func runJobsDelete(ctx context.Context, opts *jobsDeleteOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	return removeEach(opts.Out, opts.ids, "deleting job", func(id string) error { return c.DeleteJob(ctx, id) })
}
