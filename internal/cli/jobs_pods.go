package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type jobsPodsOptions struct {
	*Program
	output format
	id     string
}

func newJobsPods(p *Program, run func(context.Context, *jobsPodsOptions) error) *cobra.Command {
	opts := &jobsPodsOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "pods JOB",
		Short: "Show the pods of a job's last attempt, container by container",
		Long: `Pods shows the pods of a job's last attempt, container by container. They are
known only while the region holds the attempt; what is kept of a finished job is
its history (gco jobs get) and its logs (gco jobs logs).`,
		Example: `  gco jobs pods 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f`,
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

// podContainer is one line of the table.
type podContainer struct {
	pod       api.Pod
	container api.Container
}

func runJobsPods(ctx context.Context, opts *jobsPodsOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	list, err := c.Pods(ctx, opts.id)
	if err != nil {
		return fmt.Errorf("asking for the pods of job %s: %w", opts.id, err)
	}
	if opts.output == formatName {
		return printList(opts.Program, opts.output, view[api.Pod]{name: func(p api.Pod) string { return p.Name }}, list.Items, list)
	}
	var lines []podContainer
	for _, pod := range list.Items {
		for _, container := range pod.Containers {
			lines = append(lines, podContainer{pod, container})
		}
	}
	return printList(opts.Program, opts.output, podView(), lines, list)
}

func podView() view[podContainer] {
	return view[podContainer]{columns: []column[podContainer]{
		{header: "POD", cell: func(l podContainer) string { return l.pod.Name }},
		{header: "PHASE", cell: func(l podContainer) string { return l.pod.Phase }},
		{header: "NODE", cell: func(l podContainer) string { return l.pod.Node }, shown: func(l podContainer) string { return dash(l.pod.Node) }},
		{header: "CONTAINER", cell: func(l podContainer) string { return l.container.Name }},
		{header: "INIT", cell: func(l podContainer) string { return strconv.FormatBool(l.container.Init) }},
		{header: "STATE", cell: func(l podContainer) string { return l.container.State }},
		{header: "EXIT", cell: exitOfContainer, shown: func(l podContainer) string { return dash(exitOfContainer(l)) }},
		{header: "RESTARTS", cell: func(l podContainer) string { return strconv.Itoa(l.container.Restarts) }},
		{header: "REASON", cell: func(l podContainer) string { return l.container.Reason }, shown: func(l podContainer) string { return dash(l.container.Reason) }, wide: true},
	}}
}

func exitOfContainer(l podContainer) string {
	if l.container.ExitCode == nil {
		return ""
	}
	return strconv.Itoa(*l.container.ExitCode)
}
