package cli

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

func newEndpointsCanary(p *Program, run func(context.Context, *endpointsChangeOptions) error) *cobra.Command {
	opts := &endpointsChangeOptions{Program: p, doing: "weighing the canary of"}
	opts.change = func(ctx context.Context, c *client.Client, name string) (api.Endpoint, error) {
		return c.WeighCanary(ctx, name, opts.number, "")
	}
	cmd := opts.command(&cobra.Command{
		Use:   "canary NAME PERCENT",
		Short: "Give the revision on trial another share of the requests",
		Long: `Canary sets the share of the requests that the revision on trial gets, from 1 to
99 percent. A trial begins with an update of an endpoint whose spec has a canary;
where that has an analysis, the share goes up by itself.`,
		Example: "  gco endpoints canary echo 25\n  gco endpoints history echo -o yaml    # with the numbers of each step",
	}, run)
	cmd.Args = cobra.ExactArgs(2)
	cmd.ValidArgsFunction = once(p.endpointNames())
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if opts.number, err = strconv.Atoi(args[1]); err != nil {
			return usagef(cmd, "PERCENT: a number expected, found %q", args[1])
		}
		opts.names = args[:1]
		return run(cmd.Context(), opts)
	}
	return cmd
}

func newEndpointsPromote(p *Program, run func(context.Context, *endpointsChangeOptions) error) *cobra.Command {
	opts := &endpointsChangeOptions{Program: p, doing: "promoting the canary of"}
	opts.change = func(ctx context.Context, c *client.Client, name string) (api.Endpoint, error) {
		return c.PromoteCanary(ctx, name, "")
	}
	cmd := opts.command(&cobra.Command{
		Use:     "promote NAME...",
		Short:   "Let the revision on trial serve",
		Example: "  gco endpoints promote echo --wait",
	}, run)
	addWaitForReady(cmd, &opts.wait)
	return cmd
}
