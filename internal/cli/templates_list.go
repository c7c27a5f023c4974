package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

type templatesListOptions struct {
	*Program
	output format
}

func newTemplatesList(p *Program, run func(context.Context, *templatesListOptions) error) *cobra.Command {
	opts := &templatesListOptions{Program: p}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List templates by name",
		Example: "  gco templates list\n  gco templates list -o name",
		Args:    none,
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), opts) },
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runTemplatesList(ctx context.Context, opts *templatesListOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	return opts.templates(opts.output, "templates", func(cursor string) (api.TemplateList, error) {
		return c.Templates(ctx, maxPage, cursor)
	})
}

// templates prints all pages of a list of templates.
func (p *Program) templates(f format, what string, read func(cursor string) (api.TemplateList, error)) error {
	list := api.TemplateList{Items: []api.Template{}}
	for template, err := range client.AllTemplates(read) {
		if err != nil {
			return fmt.Errorf("listing %s: %w", what, err)
		}
		list.Items = append(list.Items, template)
	}
	return printList(p, f, templateView(p), list.Items, list)
}
