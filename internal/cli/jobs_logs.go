package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/client"
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
cut off or are no longer whole.`,
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
	return nil
}
