package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

func newTemplates(p *Program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "templates",
		Aliases: []string{"template"},
		Short:   "Write templates, and look at what they render to",
		Example: "  gco templates apply examples/templates/sweep.yaml\n  gco templates render sweep -p rate=0.01\n  gco submit --template sweep -p rate=0.01",
	}
	cmd.AddCommand(
		newTemplatesList(p, runTemplatesList),
		newTemplatesGet(p, runTemplatesGet),
		newTemplatesVersions(p, runTemplatesVersions),
		newTemplatesApply(p, runTemplatesApply),
		newTemplatesRender(p, runTemplatesRender),
		newTemplatesDelete(p, runTemplatesDelete),
	)
	return cmd
}

// templateView is how templates look in a list.
func templateView(p *Program) view[api.Template] {
	return view[api.Template]{
		name: func(t api.Template) string { return t.Name },
		columns: []column[api.Template]{
			{header: "NAME", cell: func(t api.Template) string { return t.Name }},
			{header: "VERSION", cell: func(t api.Template) string { return strconv.FormatInt(t.Version, 10) }},
			{
				header: "UPDATED",
				cell:   func(t api.Template) string { return stamp(&t.UpdatedAt) },
				shown:  func(t api.Template) string { return age(p.Clock, t.UpdatedAt) + " ago" },
			},
			{header: "BY", cell: func(t api.Template) string { return t.UpdatedBy }},
			{header: "DESCRIPTION", cell: func(t api.Template) string { return t.Description }, wide: true},
		},
	}
}

// templateAt reads one version of a template; 0 is the newest.
func templateAt(ctx context.Context, c *client.Client, name string, version int64) (t api.Template, err error) {
	if version == 0 {
		t, err = c.Template(ctx, name)
	} else {
		t, err = c.TemplateVersion(ctx, name, version)
	}
	if err != nil {
		return t, fmt.Errorf("reading template %s: %w", name, err)
	}
	return t, nil
}

// lastTemplate reads the last version of a template that was deleted. The
// error is the one that said so where there never was any.
func lastTemplate(ctx context.Context, c *client.Client, name string, missing error) (api.Template, error) {
	versions, err := c.TemplateVersions(ctx, name, 1, "")
	if err != nil || len(versions.Items) == 0 {
		return api.Template{}, missing
	}
	return templateAt(ctx, c, name, versions.Items[0].Version)
}
