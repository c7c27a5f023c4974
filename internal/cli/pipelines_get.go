package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type pipelinesGetOptions struct {
	*Program
	output format
	id     string
}

func newPipelinesGet(p *Program, run func(context.Context, *pipelinesGetOptions) error) *cobra.Command {
	opts := &pipelinesGetOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "get PIPELINE",
		Short: "Show one pipeline with its graph",
		Long: `Get shows a pipeline and draws its steps: each hangs on the last of those that it
waits for, and AFTER names the others.`,
		Example: `  gco pipelines get 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f
  gco pipelines get 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f -o yaml`,
		Args:              one("PIPELINE"),
		ValidArgsFunction: once(p.pipelineIDs()),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.id = args[0]
			return run(cmd.Context(), opts)
		},
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runPipelinesGet(ctx context.Context, opts *pipelinesGetOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	l, err := c.Pipeline(ctx, opts.id)
	if err != nil {
		return fmt.Errorf("looking at pipeline %s: %w", opts.id, err)
	}
	return printOne(opts.Program, opts.output, l, l.ID, func() error {
		if err := opts.fields(pipelineFields(opts.Program, l)); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(opts.Out, "\nSteps:"); err != nil {
			return err
		}
		return opts.table(opts.stepTable(l))
	})
}

func pipelineFields(p *Program, l api.Pipeline) []field {
	run := ""
	if l.Run > 1 {
		run = strconv.Itoa(l.Run)
	}
	fields := []field{
		{"Pipeline", l.ID},
		{"Name", l.Namespace + "/" + l.Name},
		{"State", l.State},
		{"Why", whyOfPipeline(l)},
		{"Run", run},
		{"Submitted", p.when(&l.SubmittedAt) + by(l.SubmittedBy)},
		{"Finished", p.when(l.FinishedAt)},
		{"Removed at", p.when(l.ExpiresAt)},
	}
	for _, s := range l.Steps {
		if len(s.Outputs) > 0 {
			fields = append(fields, field{"Outputs of " + s.Name, outputsOf(s.Outputs)})
		}
	}
	return fields
}
