package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

type pipelinesListOptions struct {
	*Program
	output    format
	namespace string
	states    []string
	limit     int
	cursor    string
}

func newPipelinesList(p *Program, run func(context.Context, *pipelinesListOptions) error) *cobra.Command {
	opts := &pipelinesListOptions{Program: p}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List pipelines, newest first",
		Example: `  gco pipelines list
  gco pipelines list --state failed --namespace research -o name | xargs -n1 gco pipelines retry`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.limit < 1 {
				return usagef(cmd, "--limit %d: at least 1 expected", opts.limit)
			}
			for _, state := range opts.states {
				if !slices.Contains(pipelineStates, state) {
					return usagef(cmd, "--state %s: one of %s expected", state, strings.Join(pipelineStates, ", "))
				}
			}
			return run(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&opts.namespace, "namespace", "n", "", "only pipelines of this `NAMESPACE`")
	flags.StringSliceVar(&opts.states, "state", nil, "only pipelines in these `STATES`")
	flags.IntVar(&opts.limit, "limit", 50, "at most this many `PIPELINES`")
	flags.StringVar(&opts.cursor, "cursor", "", "continue after an earlier list, by its `CURSOR`")
	complete(cmd, "state", pipelineStates...)
	addOutput(cmd, &opts.output)
	return cmd
}

func runPipelinesList(ctx context.Context, opts *pipelinesListOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	filter := client.PipelineFilter{Namespace: opts.namespace, States: opts.states}
	items, next, err := upTo(opts.limit, func(limit int, cursor string) ([]api.Pipeline, string, error) {
		filter.Limit, filter.Cursor = limit, cursor
		page, err := c.Pipelines(ctx, filter)
		return page.Items, page.NextCursor, err
	}, opts.cursor)
	if err != nil {
		return fmt.Errorf("listing pipelines: %w", err)
	}
	err = printList(opts.Program, opts.output, pipelineView(opts.Program), items, api.PipelineList{Items: items, NextCursor: next})
	if err == nil {
		opts.more(opts.output, next)
	}
	return err
}
