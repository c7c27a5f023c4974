package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type schedulesApplyOptions struct {
	*Program
	output    format
	files     []string
	namespace string
}

func newSchedulesApply(p *Program, run func(context.Context, *schedulesApplyOptions) error) *cobra.Command {
	opts := &schedulesApplyOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "apply FILE|-...",
		Short: "Make schedules, or change them",
		Long: `Apply makes the schedules of files (YAML or JSON, several documents a file), or
changes those of the same name; they keep their runs. From then on their jobs are
submitted as yours.`,
		Example: `  gco schedules apply examples/schedule.yaml
  gco schedules apply nightly.yaml --namespace research`,
		Args: some("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.files = args
			return run(cmd.Context(), opts)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	addNamespace(cmd.Flags(), &opts.namespace)
	addOutput(cmd, &opts.output)
	return cmd
}

func runSchedulesApply(ctx context.Context, opts *schedulesApplyOptions) error {
	files, err := documents(opts.In, opts.files)
	if err != nil {
		return err
	}
	requests := make([]api.NewSchedule, len(files))
	for i, file := range files {
		if requests[i], err = readDocument[api.NewSchedule](file, "schedule"); err != nil {
			return err
		}
		if requests[i].Name == "" {
			return fmt.Errorf("%s has no name; a schedule has a name, cron, and a job or a pipeline", file.name)
		}
		if requests[i].Namespace == "" {
			requests[i].Namespace = inDefault(opts.namespace)
		}
	}
	c, err := opts.connect()
	if err != nil {
		return err
	}
	var made []api.Schedule
	var refused []error
	for i, request := range requests {
		s, _, err := c.ApplySchedule(ctx, request)
		if err != nil {
			refused = append(refused, fmt.Errorf("applying %s: %w", files[i].name, err))
			continue
		}
		made = append(made, s)
	}
	if len(made) > 0 {
		refused = append(refused, printList(opts.Program, opts.output, scheduleView(opts.Program), made, api.ScheduleList{Items: made}))
	}
	return errors.Join(refused...)
}
