package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

type schedulesChangeOptions struct {
	*Program
	output    format
	names     []string
	namespace string
	// doing is for messages; change makes the call.
	doing  string
	change func(c *client.Client, ctx context.Context, namespace, name string) (api.Schedule, error)
}

func newSchedulesPause(p *Program, run func(context.Context, *schedulesChangeOptions) error) *cobra.Command {
	opts := &schedulesChangeOptions{Program: p, doing: "pausing", change: (*client.Client).PauseSchedule}
	return opts.command(&cobra.Command{
		Use:     "pause SCHEDULE...",
		Short:   "Let no tick run until it is resumed",
		Example: "  gco schedules pause nightly",
	}, run)
}

func newSchedulesResume(p *Program, run func(context.Context, *schedulesChangeOptions) error) *cobra.Command {
	opts := &schedulesChangeOptions{Program: p, doing: "resuming", change: (*client.Client).ResumeSchedule}
	return opts.command(&cobra.Command{
		Use:     "resume SCHEDULE...",
		Short:   "Go on with the next tick",
		Long:    "Resume ends a pause. The ticks in between were not missed, and do not run.",
		Example: "  gco schedules resume nightly",
	}, run)
}

func newSchedulesRun(p *Program, run func(context.Context, *schedulesChangeOptions) error) *cobra.Command {
	opts := &schedulesChangeOptions{Program: p, doing: "running", change: (*client.Client).RunSchedule}
	return opts.command(&cobra.Command{
		Use:   "run SCHEDULE...",
		Short: "Submit now what a tick would",
		Long: `Run submits now what a tick would, also while the schedule is paused. It is
refused while an earlier run has not ended, if the schedule forbids that.`,
		Example: "  gco schedules run nightly\n  gco schedules run nightly -o json | jq -r '.items[0].runs[0].jobId'",
	}, run)
}

func (o *schedulesChangeOptions) command(cmd *cobra.Command, run func(context.Context, *schedulesChangeOptions) error) *cobra.Command {
	cmd.Args = some("SCHEDULE")
	cmd.ValidArgsFunction = o.scheduleNames()
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.names = args
		return run(cmd.Context(), o)
	}
	addNamespace(cmd.Flags(), &o.namespace)
	addOutput(cmd, &o.output)
	return cmd
}

func runSchedulesChange(ctx context.Context, opts *schedulesChangeOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	changed, refused := onEach(opts.names, opts.doing+" schedule", func(text string) (api.Schedule, error) {
		namespace, name := scheduleAt(text, opts.namespace)
		return opts.change(c, ctx, namespace, name)
	})
	if len(changed) > 0 {
		err = printList(opts.Program, opts.output, scheduleView(opts.Program), changed, api.ScheduleList{Items: changed})
	}
	return errors.Join(refused, err)
}
