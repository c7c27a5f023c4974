package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type endpointsHistoryOptions struct {
	*Program
	output format
	name   string
}

func newEndpointsHistory(p *Program, run func(context.Context, *endpointsHistoryOptions) error) *cobra.Command {
	opts := &endpointsHistoryOptions{Program: p}
	cmd := &cobra.Command{
		Use:               "history NAME",
		Short:             "List an endpoint's revisions, newest first",
		Example:           "  gco endpoints history echo\n  gco endpoints rollback echo --to 3",
		Args:              one("NAME"),
		ValidArgsFunction: once(p.endpointNames()),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.name = args[0]
			return run(cmd.Context(), opts)
		},
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runEndpointsHistory(ctx context.Context, opts *endpointsHistoryOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	history, err := c.EndpointRevisions(ctx, opts.name)
	if err != nil {
		return fmt.Errorf("listing the revisions of endpoint %s: %w", opts.name, err)
	}
	return printList(opts.Program, opts.output, endpointRevisionView(opts.Program), history.Items, history)
}

func endpointRevisionView(p *Program) view[api.EndpointRevision] {
	return view[api.EndpointRevision]{
		name: func(r api.EndpointRevision) string { return strconv.Itoa(r.Revision) },
		columns: []column[api.EndpointRevision]{
			{header: "REVISION", cell: func(r api.EndpointRevision) string { return strconv.Itoa(r.Revision) }},
			{header: "USE", cell: func(r api.EndpointRevision) string { return r.Use }, shown: func(r api.EndpointRevision) string { return dash(r.Use) }},
			{header: "IMAGE", cell: func(r api.EndpointRevision) string { return r.Spec.Image }},
			{
				header: "CREATED",
				cell:   func(r api.EndpointRevision) string { return stamp(&r.CreatedAt) },
				shown:  func(r api.EndpointRevision) string { return age(p.Clock, r.CreatedAt) + " ago" },
			},
			{header: "BY", cell: func(r api.EndpointRevision) string { return r.CreatedBy }},
			{header: "FAILURE", cell: func(r api.EndpointRevision) string { return r.Failure }, wide: true},
		},
	}
}
