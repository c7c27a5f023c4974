package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type schedulesListOptions struct {
	*Program
	output    format
	namespace string
}

func newSchedulesList(p *Program, run func(context.Context, *schedulesListOptions) error) *cobra.Command {
	opts := &schedulesListOptions{Program: p}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List schedules, by namespace and name",
		Example: "  gco schedules list\n  gco schedules list --namespace research -o name",
		Args:    none,
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), opts) },
	}
	cmd.Flags().StringVarP(&opts.namespace, "namespace", "n", "", "only schedules of this `NAMESPACE`")
	addOutput(cmd, &opts.output)
	return cmd
}

func runSchedulesList(ctx context.Context, opts *schedulesListOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	list := api.ScheduleList{Items: []api.Schedule{}}
	for s, err := range c.AllSchedules(ctx, opts.namespace) {
		if err != nil {
			return fmt.Errorf("listing schedules: %w", err)
		}
		list.Items = append(list.Items, s)
	}
	return printList(opts.Program, opts.output, scheduleView(opts.Program), list.Items, list)
}
