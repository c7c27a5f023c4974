package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// regionVerb changes whether a region takes work.
type regionVerb struct {
	use, short, long string
	do               func(*client.Client, context.Context, string) (api.Region, error)
}

var regionVerbs = []regionVerb{
	{
		use: "cordon", short: "Keep new work out of regions", do: (*client.Client).Cordon,
		long: "Cordon keeps new work out of regions. What runs there goes on.",
	},
	{
		use: "uncordon", short: "Let work into regions again", do: (*client.Client).Uncordon,
		long: "Uncordon lets work into regions again. It ends a cordon and a drain.",
	},
	{
		use: "drain", short: "Keep new work out of regions, and move away what may move", do: (*client.Client).Drain,
		long: "Drain keeps new work out of regions, and places what waits or runs there anew in\nothers: a running job is stopped and begins again elsewhere, from its checkpoint\nif it has one.",
	},
	{
		use: "write-off", short: "Give up regions that do not come back after a restore", do: (*client.Client).WriteOff,
		long: "Write-off gives up regions whose inventory is awaited since the data were\nrestored: until then nothing starts anywhere, because what they run is not known.\nWhat they held is lost, and goes elsewhere. Make sure first that nothing runs\nthere any more.",
	},
}

type regionsVerbOptions struct {
	*Program
	output format
	verb   regionVerb
	names  []string
}

func newRegionsVerb(p *Program, verb regionVerb, run func(context.Context, *regionsVerbOptions) error) *cobra.Command {
	opts := &regionsVerbOptions{Program: p, verb: verb}
	cmd := &cobra.Command{
		Use:               verb.use + " REGION...",
		Short:             verb.short,
		Long:              verb.long,
		Example:           "  gco regions " + verb.use + " us-east-1",
		Args:              some("REGION"),
		ValidArgsFunction: p.regionNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.names = args
			return run(cmd.Context(), opts)
		},
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runRegionsVerb(ctx context.Context, opts *regionsVerbOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	done, failed := onEach(opts.names, opts.verb.use+" of region", func(name string) (api.Region, error) { return opts.verb.do(c, ctx, name) })
	if len(done) > 0 || opts.output != "" {
		if err := printList(opts.Program, opts.output, regionView(opts.Program), done, api.RegionList{Items: done}); err != nil {
			return err
		}
	}
	return failed
}
