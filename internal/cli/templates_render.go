package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type templatesRenderOptions struct {
	*Program
	output     format
	name       string
	version    int64
	namespace  string
	parameters parameterFlags
}

func newTemplatesRender(p *Program, run func(context.Context, *templatesRenderOptions) error) *cobra.Command {
	opts := &templatesRenderOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "render NAME",
		Short: "Show what a template makes, without submitting it",
		Long: `Render shows the submission that a template and its parameters make, with every
default and as a region would get it. It is checked as any other submission:
what is refused here would be refused by gco submit, too.`,
		Example: `  gco templates render sweep -p rate=0.01 -p run=first
  gco templates render sweep --parameters first.yaml -o json`,
		Args:              one("NAME"),
		ValidArgsFunction: once(p.templateNames()),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.name = args[0]
			return run(cmd.Context(), opts)
		},
	}
	addVersion(cmd, &opts.version, "version")
	cmd.Flags().StringVarP(&opts.namespace, "namespace", "n", "", "`NAMESPACE` of the job")
	opts.parameters.register(cmd.Flags())
	completeWith(cmd, "param", p.parameterNames(func(args []string) string {
		if len(args) == 0 {
			return ""
		}
		return args[0]
	}))
	addOutput(cmd, &opts.output)
	return cmd
}

func runTemplatesRender(ctx context.Context, opts *templatesRenderOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	of, err := templateAt(ctx, c, opts.name, opts.version)
	if err != nil {
		return err
	}
	submission := api.Submission{Namespace: opts.namespace}
	if submission.Parameters, err = opts.parameters.values(opts.In, of); err != nil {
		return err
	}
	rendering, err := c.RenderTemplate(ctx, of.Name, of.Version, submission)
	if err != nil {
		return fmt.Errorf("rendering template %s: %w", of.Name, err)
	}
	var manifest struct {
		Metadata struct{ Name string } `json:"metadata"`
	}
	if err := json.Unmarshal(rendering.Submission.Manifest, &manifest); err != nil {
		return fmt.Errorf("reading the manifest that template %s made: %w", of.Name, err)
	}
	return printOne(opts.Program, opts.output, rendering, manifest.Metadata.Name, func() error {
		return printValue(opts.Out, formatYAML, rendering.Submission)
	})
}
