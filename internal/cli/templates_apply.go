package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

type templatesApplyOptions struct {
	*Program
	output format
	files  []string
}

func newTemplatesApply(p *Program, run func(context.Context, *templatesApplyOptions) error) *cobra.Command {
	opts := &templatesApplyOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "apply FILE|-...",
		Short: "Create templates, or write their next version",
		Long: `Apply writes the templates of files (YAML or JSON, several documents a file): a
new one is created, one that says something else gets its next version, and one
that says the same stays as it is.

A file with a version, such as gco templates get prints it, is applied on top of
that version only, and refused if somebody else was faster.`,
		Example: `  gco templates apply examples/templates/sweep.yaml
  gco templates get sweep -o yaml > sweep.yaml && $EDITOR sweep.yaml && gco templates apply sweep.yaml`,
		Args: some("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.files = args
			return run(cmd.Context(), opts)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	addOutput(cmd, &opts.output)
	return cmd
}

// applied is what became of one template of a file.
type applied struct {
	api.Template
	result string
}

var appliedView = view[applied]{
	name: func(a applied) string { return a.Name },
	columns: []column[applied]{
		{header: "NAME", cell: func(a applied) string { return a.Name }},
		{header: "VERSION", cell: func(a applied) string { return fmt.Sprint(a.Version) }},
		{header: "RESULT", cell: func(a applied) string { return a.result }},
	},
}

func runTemplatesApply(ctx context.Context, opts *templatesApplyOptions) error {
	files, err := documents(opts.In, opts.files)
	if err != nil {
		return err
	}
	templates := make([]api.Template, len(files))
	for i, file := range files {
		if templates[i], err = readTemplate(file); err != nil {
			return err
		}
	}
	c, err := opts.connect()
	if err != nil {
		return err
	}
	var done []applied
	var refused []error
	list := api.TemplateList{Items: []api.Template{}}
	for i, template := range templates {
		one, err := applyTemplate(ctx, c, template)
		if err != nil {
			refused = append(refused, fmt.Errorf("applying %s: %w", files[i].name, err))
			continue
		}
		done = append(done, one)
		list.Items = append(list.Items, one.Template)
	}
	if len(done) > 0 {
		refused = append(refused, printList(opts.Program, opts.output, appliedView, done, list))
	}
	return errors.Join(refused...)
}

// applyTemplate creates a template or writes its next version: on top of the
// version that the file names, else of the one that it finds.
func applyTemplate(ctx context.Context, c *client.Client, t api.Template) (applied, error) {
	next := api.NewTemplate{Name: t.Name, Description: t.Description, Parameters: t.Parameters, Job: t.Job}
	base, result := t.Version, "updated"
	current, err := c.Template(ctx, t.Name)
	switch {
	case client.Is(err, api.ProblemNotFound):
		created, err := c.CreateTemplate(ctx, next)
		return applied{created, "created"}, err
	case err != nil:
		return applied{}, err
	case base == 0:
		base = current.Version
	}
	updated, err := c.UpdateTemplate(ctx, next, client.IfVersion(base))
	if updated.Version == current.Version {
		result = "unchanged"
	}
	return applied{updated, result}, err
}

// readTemplate reads a template as the API answers it; only the server can say
// whether it is a good one.
func readTemplate(file document) (api.Template, error) {
	var t api.Template
	text, err := yamlToJSON(file.text)
	if err == nil {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		err = decoder.Decode(&t)
	}
	switch {
	case err != nil:
		return t, fmt.Errorf("reading %s: %w", file.name, err)
	case t.Name == "":
		return t, fmt.Errorf("%s has no name; a template has a name, parameters and a job", file.name)
	}
	return t, nil
}

// yamlToJSON turns one document of YAML, or of JSON, into JSON. What YAML
// takes for a date is text, as in manifests.
func yamlToJSON(text []byte) ([]byte, error) {
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	datesAsText(&node)
	var value any
	if err := node.Decode(&value); err != nil {
		if bytes.Contains(text, []byte("{{")) {
			return nil, fmt.Errorf("%w; is a placeholder without quotes? Write \"{{name}}\"", err)
		}
		return nil, err
	}
	return json.Marshal(value)
}

func datesAsText(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!timestamp" {
		node.Tag = "!!str"
	}
	for _, part := range node.Content {
		datesAsText(part)
	}
}
