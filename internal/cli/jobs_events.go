package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type jobsEventsOptions struct {
	*Program
	output format
	id     string
}

func newJobsEvents(p *Program, run func(context.Context, *jobsEventsOptions) error) *cobra.Command {
	opts := &jobsEventsOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "events JOB",
		Short: "Show what the region's cluster says of a job",
		Long: `Events shows what the cluster said of a job's last attempt: scheduling, images,
back-offs. That is known only while the region holds the attempt. What GCO itself did with the job is its history, which is kept: gco jobs get.`,
		Example: `  gco jobs events 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f`,
		Args:    one("JOB"),

		ValidArgsFunction: once(p.jobIDs(nil)),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.id = args[0]
			return run(cmd.Context(), opts)
		},
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runJobsEvents(ctx context.Context, opts *jobsEventsOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	list, err := c.ClusterEvents(ctx, opts.id)
	if err != nil {
		return fmt.Errorf("asking for the cluster's events of job %s: %w", opts.id, err)
	}
	return printList(opts.Program, opts.output, view[api.ClusterEvent]{
		name: func(e api.ClusterEvent) string { return e.Object },
		columns: []column[api.ClusterEvent]{
			{
				header: "TIME",
				cell:   func(e api.ClusterEvent) string { return stamp(&e.At) },
				shown:  func(e api.ClusterEvent) string { return age(opts.Clock, e.At) + " ago" },
			},
			{header: "TYPE", cell: func(e api.ClusterEvent) string { return e.Type }},
			{header: "REASON", cell: func(e api.ClusterEvent) string { return e.Reason }},
			{header: "OBJECT", cell: func(e api.ClusterEvent) string { return e.Object }},
			{header: "COUNT", cell: func(e api.ClusterEvent) string { return strconv.Itoa(max(e.Count, 1)) }},
			{header: "MESSAGE", cell: func(e api.ClusterEvent) string { return e.Message }, wide: true},
		},
	}, list.Items, list)
}
