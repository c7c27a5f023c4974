package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

type modelsDeleteOptions struct {
	*Program
	refs    []string
	collect bool
}

func newModelsDelete(p *Program, run func(context.Context, *modelsDeleteOptions) error) *cobra.Command {
	opts := &modelsDeleteOptions{Program: p}
	cmd := &cobra.Command{
		Use:     "delete NAME[@VERSION]...",
		Aliases: []string{"rm"},
		Short:   "Delete versions, or whole models",
		Long: `Delete deletes one version, unless a tag names it, or without a version the whole
model with its tags. Then it collects the chunks that nothing uses any more. Who
has pulled the version keeps it, regions included.`,
		Example:           "  gco models delete llama@2\n  gco models delete llama",
		Args:              some("NAME"),
		ValidArgsFunction: p.modelRefs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				ref, err := modelRef(cmd, arg)
				if err != nil {
					return err
				}
				if strings.Contains(arg, "@") && !ref.Exact() {
					return usagef(cmd, "%s may be another version by now; name it by its number", arg)
				}
			}
			opts.refs = args
			return run(cmd.Context(), opts)
		},
	}
	cmd.Flags().BoolVar(&opts.collect, "collect", true, "remove chunks that nothing uses any more")
	return cmd
}

func runModelsDelete(ctx context.Context, opts *modelsDeleteOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	err = removeEach(opts.Out, opts.refs, "deleting model", func(text string) error {
		name, version, one := strings.Cut(text, "@")
		if one {
			return c.DeleteModelVersion(ctx, name, version)
		}
		return c.DeleteModel(ctx, name)
	})
	if err != nil || !opts.collect {
		return err
	}
	done, err := c.CollectModels(ctx)
	if err != nil {
		return fmt.Errorf("collecting what is not used any more: %w", err)
	}
	fmt.Fprintf(opts.Err, "Removed %d chunk(s), %s\n", done.Removed, bytesOf(done.RemovedBytes))
	return nil
}
