package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
)

type jobsWaitOptions struct {
	*Program
	output  format
	ids     []string
	logs    bool
	timeout time.Duration
}

func newJobsWait(p *Program, run func(context.Context, *jobsWaitOptions) error) *cobra.Command {
	opts := &jobsWaitOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "wait JOB...",
		Short: "Wait until jobs have finished",
		Long: `Wait shows the progress of jobs until all of them have finished. Its exit code
is 0 if every one succeeded and 6 if one did not. It waits for a server that
goes away, too, and says so on standard error.`,
		Example: `  gco jobs wait 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f --logs
  gco jobs list --state running -o name | xargs gco jobs wait --timeout 1h`,
		Args:              some("JOB"),
		ValidArgsFunction: p.jobIDs(func(s job.State) bool { return !s.Terminal() }),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.ids = args
			return run(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&opts.logs, "logs", false, "print what the jobs write")
	flags.DurationVar(&opts.timeout, "timeout", 0, "give up after this `DURATION`; the jobs go on")
	addOutput(cmd, &opts.output)
	return cmd
}

func runJobsWait(ctx context.Context, opts *jobsWaitOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	var jobs []api.Job
	for _, id := range opts.ids {
		j, err := c.Job(ctx, id)
		if err != nil {
			return fmt.Errorf("looking at job %s: %w", id, err)
		}
		jobs = append(jobs, j)
	}
	if opts.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, opts.timeout, errTimedOut)
		defer cancel()
	}
	return opts.await(ctx, c, jobs, awaiting{output: opts.output, logs: opts.logs})
}

// errTimedOut ends a wait that has a limit.
var errTimedOut = errors.New("timed out; the jobs go on")
