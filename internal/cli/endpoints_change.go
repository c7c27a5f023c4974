package cli

import (
	"context"
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

type endpointsChangeOptions struct {
	*Program
	output format
	names  []string
	wait   bool
	// number is the count of replicas, or the revision.
	number int
	// doing is for messages; change makes the call.
	doing  string
	change func(ctx context.Context, c *client.Client, name string) (api.Endpoint, error)
}

func newEndpointsStop(p *Program, run func(context.Context, *endpointsChangeOptions) error) *cobra.Command {
	opts := &endpointsChangeOptions{Program: p, doing: "stopping"}
	opts.change = func(ctx context.Context, c *client.Client, name string) (api.Endpoint, error) {
		return c.StopEndpoint(ctx, name, "")
	}
	cmd := opts.command(&cobra.Command{
		Use:     "stop NAME...",
		Short:   "Take the replicas of endpoints away, and keep their specs",
		Example: "  gco endpoints stop echo\n  gco endpoints start echo --wait",
	}, run)
	addWaitForReady(cmd, &opts.wait)
	return cmd
}

func newEndpointsStart(p *Program, run func(context.Context, *endpointsChangeOptions) error) *cobra.Command {
	opts := &endpointsChangeOptions{Program: p, doing: "starting"}
	opts.change = func(ctx context.Context, c *client.Client, name string) (api.Endpoint, error) {
		return c.StartEndpoint(ctx, name, "")
	}
	cmd := opts.command(&cobra.Command{
		Use:     "start NAME...",
		Short:   "Start endpoints that were stopped",
		Example: "  gco endpoints start echo --wait",
	}, run)
	addWaitForReady(cmd, &opts.wait)
	return cmd
}

func newEndpointsDelete(p *Program, run func(context.Context, *endpointsChangeOptions) error) *cobra.Command {
	opts := &endpointsChangeOptions{Program: p, doing: "deleting"}
	opts.change = func(ctx context.Context, c *client.Client, name string) (api.Endpoint, error) {
		return c.DeleteEndpoint(ctx, name, "")
	}
	return opts.command(&cobra.Command{
		Use:     "delete NAME...",
		Aliases: []string{"rm"},
		Short:   "End endpoints",
		Long:    "Delete ends endpoints: their replicas drain and go, and then the records.",
		Example: "  gco endpoints delete echo",
	}, run)
}

func newEndpointsScale(p *Program, run func(context.Context, *endpointsChangeOptions) error) *cobra.Command {
	opts := &endpointsChangeOptions{Program: p, doing: "scaling"}
	opts.change = func(ctx context.Context, c *client.Client, name string) (api.Endpoint, error) {
		return c.ScaleEndpoint(ctx, name, opts.number, "")
	}
	cmd := opts.command(&cobra.Command{
		Use:     "scale NAME REPLICAS",
		Short:   "Set how many replicas an endpoint has over all regions",
		Example: "  gco endpoints scale echo 4 --wait",
	}, run)
	cmd.Args = cobra.ExactArgs(2)
	cmd.ValidArgsFunction = once(p.endpointNames())
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if opts.number, err = strconv.Atoi(args[1]); err != nil {
			return usagef(cmd, "REPLICAS: a number expected, found %q", args[1])
		}
		opts.names = args[:1]
		return run(cmd.Context(), opts)
	}
	addWaitForReady(cmd, &opts.wait)
	return cmd
}

func newEndpointsRollback(p *Program, run func(context.Context, *endpointsChangeOptions) error) *cobra.Command {
	opts := &endpointsChangeOptions{Program: p, doing: "rolling back"}
	opts.change = func(ctx context.Context, c *client.Client, name string) (api.Endpoint, error) {
		return c.RollbackEndpoint(ctx, name, opts.number, "")
	}
	cmd := opts.command(&cobra.Command{
		Use:   "rollback NAME...",
		Short: "Go back to an earlier revision",
		Long: `Rollback goes back to a revision by a rolling update: to the one before, or,
while a canary is on trial, to the one that serves.`,
		Example: "  gco endpoints rollback echo\n  gco endpoints rollback echo --to 3 --wait",
	}, run)
	cmd.Flags().IntVar(&opts.number, "to", 0, "go back to this `REVISION`")
	addWaitForReady(cmd, &opts.wait)
	return cmd
}

func (o *endpointsChangeOptions) command(cmd *cobra.Command, run func(context.Context, *endpointsChangeOptions) error) *cobra.Command {
	cmd.Args = some("NAME")
	cmd.ValidArgsFunction = o.endpointNames()
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.names = args
		return run(cmd.Context(), o)
	}
	addOutput(cmd, &o.output)
	return cmd
}

func runEndpointsChange(ctx context.Context, opts *endpointsChangeOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	changed, refused := onEach(opts.names, opts.doing+" endpoint", func(name string) (api.Endpoint, error) {
		e, err := opts.change(ctx, c, name)
		if err == nil && opts.wait {
			e, err = opts.awaitEndpoint(ctx, c, e)
		}
		return e, err
	})
	return errors.Join(refused, printEndpoints(opts.Program, opts.output, changed))
}
