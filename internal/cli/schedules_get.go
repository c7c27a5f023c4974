package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type schedulesGetOptions struct {
	*Program
	output    format
	name      string
	namespace string
}

func newSchedulesGet(p *Program, run func(context.Context, *schedulesGetOptions) error) *cobra.Command {
	opts := &schedulesGetOptions{Program: p}
	cmd := &cobra.Command{
		Use:               "get SCHEDULE",
		Short:             "Show one schedule with its next tick and its last runs",
		Example:           "  gco schedules get nightly\n  gco schedules get research/nightly -o yaml",
		Args:              one("SCHEDULE"),
		ValidArgsFunction: once(p.scheduleNames()),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.name = args[0]
			return run(cmd.Context(), opts)
		},
	}
	addNamespace(cmd.Flags(), &opts.namespace)
	addOutput(cmd, &opts.output)
	return cmd
}

func runSchedulesGet(ctx context.Context, opts *schedulesGetOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	namespace, name := scheduleAt(opts.name, opts.namespace)
	s, err := c.Schedule(ctx, namespace, name)
	if err != nil {
		return fmt.Errorf("looking at schedule %s: %w", opts.name, err)
	}
	return printOne(opts.Program, opts.output, s, nameOfSchedule(s), func() error {
		if err := opts.fields(scheduleFields(opts.Program, s)); err != nil {
			return err
		}
		return opts.runs(s)
	})
}

func scheduleFields(p *Program, s api.Schedule) []field {
	next := p.when(s.Next)
	if s.Paused {
		next = "paused"
	}
	missed := s.Missed
	if s.MissedLimit > 0 {
		missed += fmt.Sprintf(", at most %d", s.MissedLimit)
	}
	return []field{
		{"Schedule", nameOfSchedule(s)},
		{"Cron", s.Cron},
		{"Time zone", s.TimeZone},
		{"Next", next},
		{"Missed ticks", missed},
		{"If one still runs", s.Concurrency},
		{"Changed", p.when(&s.UpdatedAt)},
		{"Applied by", s.AppliedBy},
	}
}

// runs shows the last runs of a schedule, newest first.
func (p *Program) runs(s api.Schedule) error {
	if len(s.Runs) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(p.Out, "\nRuns:"); err != nil {
		return err
	}
	t := table{indent: "  ", rows: [][]string{{"TICK", "OUTCOME", "SUBMITTED", "WHY"}}, wide: 4}
	for _, r := range s.Runs {
		tick, made, why := stamp(r.Tick), "", r.Message
		if r.Tick == nil {
			tick = "by hand" + by(r.By)
		}
		switch {
		case r.JobID != "":
			made = "job " + r.JobID
		case r.PipelineID != "":
			made = "pipeline " + r.PipelineID
		}
		if why == "" {
			why = r.Reason
		}
		t.rows = append(t.rows, []string{tick, r.Outcome, dash(made), dash(why)})
	}
	return p.table(t)
}
