package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/gco-project/gco/api"
)

type templatesGetOptions struct {
	*Program
	output  format
	name    string
	version int64
}

func newTemplatesGet(p *Program, run func(context.Context, *templatesGetOptions) error) *cobra.Command {
	opts := &templatesGetOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Show a template with its parameters",
		Long: `Get shows a template. With -o yaml it prints what can be edited and applied
again; apply then refuses if somebody else was faster.`,
		Example: `  gco templates get sweep
  gco templates get sweep --version 2
  gco templates get sweep -o yaml > sweep.yaml`,
		Args:              one("NAME"),
		ValidArgsFunction: once(p.templateNames()),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.name = args[0]
			return run(cmd.Context(), opts)
		},
	}
	addVersion(cmd, &opts.version, "version")
	addOutput(cmd, &opts.output)
	return cmd
}

func runTemplatesGet(ctx context.Context, opts *templatesGetOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	t, err := templateAt(ctx, c, opts.name, opts.version)
	if err != nil {
		return err
	}
	return printOne(opts.Program, opts.output, t, t.Name, func() error { return opts.templatePage(t) })
}

func (p *Program) templatePage(t api.Template) error {
	err := p.fields([]field{
		{"Template", t.Name},
		{"Version", strconv.FormatInt(t.Version, 10)},
		{"Description", t.Description},
		{"Created", p.when(&t.CreatedAt)},
		{"Updated", p.when(&t.UpdatedAt) + by(t.UpdatedBy)},
	})
	if err != nil {
		return err
	}
	if len(t.Parameters) > 0 {
		fmt.Fprintln(p.Out)
		if err := p.table(parameterView.rows(t.Parameters, p.Terminal)); err != nil {
			return err
		}
	}
	text, err := yaml.JSONToYAML(t.Job)
	if err != nil {
		return fmt.Errorf("writing YAML: %w", err)
	}
	_, err = fmt.Fprintf(p.Out, "\n%s", text)
	return err
}

var parameterView = view[api.Parameter]{columns: []column[api.Parameter]{
	{header: "PARAMETER", cell: func(q api.Parameter) string { return q.Name }},
	{header: "TYPE", cell: typeOf},
	{header: "DEFAULT", cell: defaultOf},
	{header: "ALLOWED", cell: allowedOf, shown: func(q api.Parameter) string { return dash(allowedOf(q)) }},
	{header: "DESCRIPTION", cell: func(q api.Parameter) string { return q.Description }, wide: true},
}}

func typeOf(q api.Parameter) string {
	if q.Type != "list" {
		return q.Type
	}
	items := q.Items
	if items == "" {
		items = "string"
	}
	return "list of " + items
}

// defaultOf is the default, or what becomes of a parameter that has none.
func defaultOf(q api.Parameter) string {
	switch {
	case len(q.Default) > 0:
		return string(q.Default)
	case q.Required:
		return "(required)"
	default:
		return "(left out)"
	}
}

// allowedOf says in a few words which values are taken.
func allowedOf(q api.Parameter) string {
	var parts []string
	if len(q.Choices) > 0 {
		parts = append(parts, strings.Join(q.Choices, "|"))
	}
	if q.Pattern != "" {
		parts = append(parts, "/"+q.Pattern+"/")
	}
	span := func(least, most, what string) {
		if least != "" || most != "" {
			parts = append(parts, strings.TrimSpace(least+".."+most+" "+what))
		}
	}
	span(number(q.Minimum), number(q.Maximum), "")
	span(count(q.MinLength), count(q.MaxLength), "characters")
	span(count(q.MinItems), count(q.MaxItems), "items")
	return strings.Join(parts, ", ")
}

func number(n *float64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatFloat(*n, 'f', -1, 64)
}

func count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
