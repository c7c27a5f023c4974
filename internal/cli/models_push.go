package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/internal/model"
	"github.com/gco-project/gco/internal/model/transfer"
)

type modelsPushOptions struct {
	*Program
	output format
	name   string
	dir    string
	tags   []string
}

func newModelsPush(p *Program, run func(context.Context, *modelsPushOptions) error) *cobra.Command {
	opts := &modelsPushOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "push NAME DIR",
		Short: "Store the files of a directory as the next version of a model",
		Long: `Push stores all files below a directory as the next version of a model. Files are
cut into chunks where their content says, and only chunks that the registry has
not are sent. A push that was interrupted is repeated as it was, and goes on
where it stopped. If the newest version has the same files, there is no new one.`,
		Example: "  gco models push llama ./llama-3.1-8b\n  gco models push llama ./llama-3.1-8b --tag prod -o name",
		Args:    exactly("NAME", "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.name, opts.dir = args[0], args[1]
			if !model.ValidName(opts.name) {
				return usagef(cmd, "%q is no name of a model: lower-case letters, digits, '.', '_' and '-' expected, at most 100", opts.name)
			}
			for _, tag := range opts.tags {
				if !model.ValidTag(tag) {
					return usagef(cmd, "--tag %q is no tag: a lower-case letter, then letters, digits, '.', '_' and '-' expected", tag)
				}
			}
			return run(cmd.Context(), opts)
		},
	}
	cmd.Flags().StringArrayVar(&opts.tags, "tag", nil, "let this `TAG` name the version; may be repeated")
	addOutput(cmd, &opts.output)
	return cmd
}

func runModelsPush(ctx context.Context, opts *modelsPushOptions) error {
	registry, err := opts.registry()
	if err != nil {
		return err
	}
	began, progress := opts.Clock.Now(), &transfer.Progress{}
	stop := opts.showTransfer("Pushing", progress)
	v, created, err := registry.Push(ctx, opts.name, opts.dir, progress)
	stop()
	if err != nil {
		return fmt.Errorf("pushing %s: %w", opts.name, err)
	}
	for _, tag := range opts.tags {
		if _, err := registry.Client.TagModel(ctx, v.Name, tag, v.Version); err != nil {
			return fmt.Errorf("tagging %s: %w", refOf(v), err)
		}
	}
	opts.transferred(refOf(v), progress, began)
	if !created {
		fmt.Fprintf(opts.Err, "The newest version has the same files: it is still %s\n", refOf(v))
	}
	return printOne(opts.Program, opts.output, v, refOf(v), func() error { _, err := fmt.Fprintln(opts.Out, refOf(v)); return err })
}
