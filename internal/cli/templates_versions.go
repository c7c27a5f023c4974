package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type templatesVersionsOptions struct {
	*Program
	output format
	name   string
}

func newTemplatesVersions(p *Program, run func(context.Context, *templatesVersionsOptions) error) *cobra.Command {
	opts := &templatesVersionsOptions{Program: p}
	cmd := &cobra.Command{
		Use:               "versions NAME",
		Short:             "List the versions of a template, newest first",
		Long:              "Versions lists every version that a template ever had, newest first. Those of a\ndeleted template are still there.",
		Example:           "  gco templates versions sweep\n  gco templates get sweep --version 2",
		Args:              one("NAME"),
		ValidArgsFunction: once(p.templateNames()),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.name = args[0]
			return run(cmd.Context(), opts)
		},
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runTemplatesVersions(ctx context.Context, opts *templatesVersionsOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	return opts.templates(opts.output, "the versions of template "+opts.name, func(cursor string) (api.TemplateList, error) {
		return c.TemplateVersions(ctx, opts.name, maxPage, cursor)
	})
}
