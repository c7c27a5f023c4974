package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type healthOptions struct {
	*Program
	output format
}

func newHealth(p *Program, run func(context.Context, *healthOptions) error) *cobra.Command {
	opts := &healthOptions{Program: p}
	cmd := &cobra.Command{
		Use:     "health",
		Short:   "Say what works, check by check",
		Long:    "Health shows each check of the server. The exit code is 1 if it has failed.",
		Example: "  gco health",
		Args:    none,
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), opts) },
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runHealth(ctx context.Context, opts *healthOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	health, err := c.Health(ctx)
	if err != nil {
		return fmt.Errorf("asking for the health: %w", err)
	}
	err = printOne(opts.Program, opts.output, health, health.Status, func() error {
		checks := append([]api.HealthCheck{{Name: "all", Status: health.Status}}, health.Checks...)
		return printList(opts.Program, "", view[api.HealthCheck]{columns: []column[api.HealthCheck]{
			{header: "CHECK", cell: func(c api.HealthCheck) string { return c.Name }},
			{header: "STATUS", cell: func(c api.HealthCheck) string { return c.Status }},
			{header: "MESSAGE", cell: func(c api.HealthCheck) string { return c.Message }, wide: true},
		}}, checks, nil)
	})
	if err == nil && health.Status == "failed" {
		err = errors.New("the control plane is not healthy")
	}
	return err
}
