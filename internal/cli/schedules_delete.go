package cli

import (
	"context"

	"github.com/spf13/cobra"
)

type schedulesDeleteOptions struct {
	*Program
	names     []string
	namespace string
}

func newSchedulesDelete(p *Program, run func(context.Context, *schedulesDeleteOptions) error) *cobra.Command {
	opts := &schedulesDeleteOptions{Program: p}
	cmd := &cobra.Command{
		Use:               "delete SCHEDULE...",
		Aliases:           []string{"rm"},
		Short:             "Delete schedules; what they have submitted goes on",
		Example:           "  gco schedules delete nightly",
		Args:              some("SCHEDULE"),
		ValidArgsFunction: p.scheduleNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.names = args
			return run(cmd.Context(), opts)
		},
	}
	addNamespace(cmd.Flags(), &opts.namespace)
	return cmd
}

func runSchedulesDelete(ctx context.Context, opts *schedulesDeleteOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	return removeEach(opts.Out, opts.names, "deleting schedule", func(text string) error {
		namespace, name := scheduleAt(text, opts.namespace)
		return c.DeleteSchedule(ctx, namespace, name)
	})
}
