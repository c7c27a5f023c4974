package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

type modelsCollectOptions struct {
	*Program
	output format
}

func newModelsCollect(p *Program, run func(context.Context, *modelsCollectOptions) error) *cobra.Command {
	opts := &modelsCollectOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "collect",
		Short: "Remove chunks that nothing uses",
		Long: `Collect removes the chunks that no version has, such as those of deleted versions
and of pushes that were given up more than a day ago. It takes nothing that is in
use, whatever is pushed at the same time.`,
		Example: "  gco models collect",
		Args:    none,
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), opts) },
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runModelsCollect(ctx context.Context, opts *modelsCollectOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	done, err := c.CollectModels(ctx)
	if err != nil {
		return fmt.Errorf("collecting chunks: %w", err)
	}
	return printOne(opts.Program, opts.output, done, fmt.Sprint(done.Removed), func() error {
		_, err := fmt.Fprintf(opts.Out, "Removed %d chunk(s), %s; %d are in use\n", done.Removed, bytesOf(done.RemovedBytes), done.Kept)
		return err
	})
}
