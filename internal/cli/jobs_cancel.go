package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
)

type jobsCancelOptions struct {
	*Program
	output format
	ids    []string
}

func newJobsCancel(p *Program, run func(context.Context, *jobsCancelOptions) error) *cobra.Command {
	opts := &jobsCancelOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "cancel JOB...",
		Short: "Stop jobs, in whatever state they are",
		Long: `Cancel stops jobs for good. One that runs is stopped in its region first, so it
may still be seen as running for a moment; gco jobs wait waits for its end.`,
		Example: `  gco jobs cancel 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f
  gco jobs list --state queued -o name | xargs gco jobs cancel`,
		Args:              some("JOB"),
		ValidArgsFunction: p.jobIDs(func(s job.State) bool { return !s.Terminal() }),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.ids = args
			return run(cmd.Context(), opts)
		},
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runJobsCancel(ctx context.Context, opts *jobsCancelOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	return opts.eachJob(opts.output, opts.ids, "cancelling job", func(id string) (api.Job, error) { return c.CancelJob(ctx, id) })
}

// eachJob does one thing to each job, goes on after an error, and prints the
// jobs for which it worked.
func (p *Program) eachJob(output format, ids []string, about string, do func(id string) (api.Job, error)) error {
	done, failed := onEach(ids, about, do)
	if len(done) > 0 || output != "" {
		if err := printList(p, output, jobView(p), done, api.JobList{Items: done}); err != nil {
			return err
		}
	}
	return failed
}
