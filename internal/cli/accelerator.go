package cli

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/gco-project/gco/internal/daemon"
)

func newAccelerator(p *Program, run func(context.Context, *daemonOptions) error) *cobra.Command {
	opts := &daemonOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "accelerator",
		Short: "Run a front door before the regions",
		Long: `Accelerator takes TCP connections and passes each one on to a healthy endpoint in
the nearest region, as AWS Global Accelerator does: health checks over HTTP,
traffic dials, weights, client affinity. It looks at nothing that flows through.

Listeners and endpoints stand in the section accelerator of the configuration.`,
		Example: `  gco accelerator --config examples/accelerator/gco.yaml
  gco accelerator --config gco.yaml --log-format json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opts.check(cmd); err != nil {
				return err
			}
			return run(cmd.Context(), opts)
		},
	}
	opts.registerProcess(cmd.Flags())
	opts.completions(cmd)
	return cmd
}

func runAccelerator(ctx context.Context, opts *daemonOptions) error {
	c, err := opts.load()
	if err != nil {
		return err
	}
	if len(c.Accelerator.Listeners) == 0 {
		return errors.New("the front door has no listeners: name them in accelerator.listeners of the configuration, and pass that with --config")
	}
	log := opts.log(c, slog.LevelInfo)
	door, err := daemon.OpenAccelerator(daemon.AcceleratorOptions{Config: c.Accelerator, Clock: opts.Clock, Log: log})
	if err != nil {
		return err
	}
	for _, at := range door.Addresses() {
		log.Info("the front door is open", "address", at.String(), "metrics", c.Accelerator.Metrics)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return door.Run(ctx) })
	if c.Server.Debug != "" {
		group.Go(func() error { return daemon.Debug(ctx, c.Server.Debug) })
	}
	return group.Wait()
}
