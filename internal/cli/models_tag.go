package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/internal/model"
)

type modelsTagOptions struct {
	*Program
	output format
	ref    model.Ref
	tag    string
	remove bool
}

func newModelsTag(p *Program, run func(context.Context, *modelsTagOptions) error) *cobra.Command {
	opts := &modelsTagOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "tag NAME[@VERSION|@TAG] TAG",
		Short: "Let a tag name a version, or remove the tag",
		Long: `Tag lets a tag name a version, and another one no more. Jobs keep the version
that their tag named when they were submitted.`,
		Example:           "  gco models tag llama@3 prod\n  gco models tag llama@prod previous\n  gco models tag llama previous --remove",
		Args:              exactly("NAME", "TAG"),
		ValidArgsFunction: once(p.modelRefs()),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if opts.ref, err = modelRef(cmd, args[0]); err != nil {
				return err
			}
			if opts.tag = args[1]; !model.ValidTag(opts.tag) {
				return usagef(cmd, "%q is no tag: a lower-case letter, then letters, digits, '.', '_' and '-' expected", opts.tag)
			}
			if opts.remove && opts.ref != (model.Ref{Name: opts.ref.Name}) {
				return usagef(cmd, "--remove takes the name alone: gco models tag %s %s --remove", opts.ref.Name, opts.tag)
			}
			return run(cmd.Context(), opts)
		},
	}
	cmd.Flags().BoolVar(&opts.remove, "remove", false, "remove the tag; the version stays")
	addOutput(cmd, &opts.output)
	return cmd
}

func runModelsTag(ctx context.Context, opts *modelsTagOptions) error {
	registry, err := opts.registry()
	if err != nil {
		return err
	}
	if opts.remove {
		if err := registry.Client.UntagModel(ctx, opts.ref.Name, opts.tag); err != nil {
			return fmt.Errorf("removing tag %s of %s: %w", opts.tag, opts.ref.Name, err)
		}
		return nil
	}
	v, err := registry.Resolve(ctx, opts.ref)
	if err == nil {
		v, err = registry.Client.TagModel(ctx, v.Name, opts.tag, v.Version)
	}
	if err != nil {
		return fmt.Errorf("tagging %s: %w", opts.ref, err)
	}
	return printOne(opts.Program, opts.output, v, refOf(v), func() error {
		_, err := fmt.Fprintf(opts.Out, "%s@%s is %s\n", v.Name, opts.tag, refOf(v))
		return err
	})
}

func sortedList(texts []string) string {
	slices.Sort(texts)
	return strings.Join(texts, ",")
}
