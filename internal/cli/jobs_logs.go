package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/job"
)

type jobsLogsOptions struct {
	*Program
	id         string
	follow     bool
	tail       int
	since      time.Duration
	attempt    int
	container  string
	timestamps bool
}

func newJobsLogs(p *Program, run func(context.Context, *jobsLogsOptions) error) *cobra.Command {
	opts := &jobsLogsOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "logs JOB",
		Short: "Print what a job wrote",
		Long: `Logs prints what the containers of a job wrote: live from its region while the
job runs, from the archive afterwards. It says on standard error when logs were
cut off or are no longer whole.

With --follow they go on until the attempt ends. Where the job then goes on,
as after a drain or a loss, a line on standard error says in which state and
region. A server or a region that goes away meanwhile is waited for, and the
logs go on where they were.`,
		Example: `  gco jobs logs 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f --follow
  gco jobs logs 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f --tail 100 --timestamps
  gco jobs logs 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f --attempt 1 --container main`,
		Args:              one("JOB"),
		ValidArgsFunction: once(p.jobIDs(nil)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if opts.tail < 0 || opts.attempt < 0 || opts.since < 0 {
				return usagef(cmd, "--tail, --attempt and --since can't be negative")
			}
			opts.id = args[0]
			return run(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&opts.follow, "follow", "f", false, "go on until the attempt ends")
	flags.IntVar(&opts.tail, "tail", 0, "only this many last `LINES`")
	flags.DurationVar(&opts.since, "since", 0, "only what was written in this last `DURATION`")
	flags.IntVar(&opts.attempt, "attempt", 0, "the `NUMBER` of an attempt instead of the last one")
	flags.StringVarP(&opts.container, "container", "c", "", "only this `CONTAINER`")
	flags.BoolVar(&opts.timestamps, "timestamps", false, "begin each line with its time")
	return cmd
}

func runJobsLogs(ctx context.Context, opts *jobsLogsOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	options := client.LogOptions{
		Attempt: opts.attempt, Container: opts.container, Follow: opts.follow,
		Tail: opts.tail, Timestamps: opts.timestamps,
	}
	if opts.follow {
		away := outage{addr: c.Addr(), say: func(line string) { fmt.Fprintln(opts.Err, line) }}
		options.Lost, options.Back = away.lose, away.end
	}
	if opts.since > 0 {
		options.Since = opts.Clock.Now().Add(-opts.since)
	}
	logs, err := c.Logs(ctx, opts.id, options)
	if err != nil {
		return fmt.Errorf("reading the logs of job %s: %w", opts.id, err)
	}
	defer logs.Close()
	if logs.Source == "partial" {
		fmt.Fprintf(opts.Err, "These logs are not whole: a part was lost with the region.\n")
	}
	_, err = io.Copy(opts.Out, logs)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the logs of attempt %d were cut off: its region or the server went away; 'gco jobs get %s' shows what became of the job", logs.Attempt, opts.id)
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("reading the logs of job %s: %w", opts.id, err)
	}
	if opts.follow && logs.Source == string(job.LogsLive) && ctx.Err() == nil {
		opts.sayWhereItGoesOn(ctx, c, logs.Attempt)
	}
	return nil
}

// sayWhereItGoesOn adds a line where the end of the attempt is not that of the
// job. The logs may end before the control plane knows that the attempt has.
func (o *jobsLogsOptions) sayWhereItGoesOn(ctx context.Context, c *client.Client, attempt int) {
	ctx, cancel := context.WithTimeout(ctx, lastLogs)
	defer cancel()
	events, err := c.Events(ctx, client.EventFilter{Job: o.id, Oldest: true})
	if err != nil {
		return
	}
	defer events.Close()
	for {
		event, err := events.Next()
		if err != nil {
			return
		}
		step, err := transitionOf(event)
		if err != nil {
			return
		}
		if endsAttempt(step, attempt) {
			break
		}
	}
	j, err := c.Job(ctx, o.id)
	if err == nil && !job.State(j.State).Terminal() {
		fmt.Fprintf(o.Err, "attempt %d has ended, and the job goes on: %s\n", attempt, stepLine(api.Transition{
			To: j.State, Region: j.Region, Attempt: j.Attempt, Reason: j.Reason, Message: j.Message,
		}))
	}
}

// endsAttempt tells whether this attempt is over with the step, or was before.
func endsAttempt(step api.Transition, attempt int) bool {
	if job.State(step.To).Terminal() || step.Attempt > attempt {
		return true
	}
	switch job.EventKind(step.Event) {
	case job.Finished, job.Failure, job.Stopped, job.Released, job.LostEvent:
		return step.Attempt == attempt
	}
	return false
}
