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

// maxPage is the most that the server gives in one answer.
const maxPage = 1000

type jobsListOptions struct {
	*Program
	output    format
	namespace string
	states    []string
	region    string
	labels    []string
	template  string
	limit     int
	cursor    string
}

func newJobsList(p *Program, run func(context.Context, *jobsListOptions) error) *cobra.Command {
	opts := &jobsListOptions{Program: p}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List jobs, newest first",
		Example: `  gco jobs list
  gco jobs list --state queued,placed --namespace research
  gco jobs list --region us-east-1 --label team=vision --limit 200
  gco jobs list --template sweep
  gco jobs list --state failed -o name | xargs -n1 gco jobs retry`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.limit < 1 {
				return usagef(cmd, "--limit %d: at least 1 expected", opts.limit)
			}
			for _, state := range opts.states {
				if !slices.Contains(states(), state) {
					return usagef(cmd, "--state %s: one of %s expected", state, strings.Join(states(), ", "))
				}
			}
			return run(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&opts.namespace, "namespace", "n", "", "only jobs of this `NAMESPACE`")
	flags.StringSliceVar(&opts.states, "state", nil, "only jobs in these `STATES`")
	flags.StringVar(&opts.region, "region", "", "only jobs that this `REGION` answers for")
	flags.StringSliceVarP(&opts.labels, "label", "l", nil, "only jobs with all of these labels, `KEY=VALUE`")
	flags.StringVar(&opts.template, "template", "", "only jobs from the template of this `NAME`")
	flags.IntVar(&opts.limit, "limit", 50, "at most this many `JOBS`")
	flags.StringVar(&opts.cursor, "cursor", "", "continue after an earlier list, by its `CURSOR`")
	complete(cmd, "state", states()...)
	completeWith(cmd, "region", p.regionNames())
	completeWith(cmd, "template", p.templateNames())
	addOutput(cmd, &opts.output)
	return cmd
}

func runJobsList(ctx context.Context, opts *jobsListOptions) error {
	labels, err := keyValues("label", opts.labels)
	if err != nil {
		return err
	}
	c, err := opts.connect()
	if err != nil {
		return err
	}
	filter := client.JobFilter{
		Namespace: opts.namespace, States: opts.states, Region: opts.region, Labels: labels, Template: opts.template,
	}
	items, next, err := upTo(opts.limit, func(limit int, cursor string) ([]api.Job, string, error) {
		filter.Limit, filter.Cursor = limit, cursor
		page, err := c.Jobs(ctx, filter)
		return page.Items, page.NextCursor, err
	}, opts.cursor)
	if err != nil {
		return fmt.Errorf("listing jobs: %w", err)
	}
	err = printList(opts.Program, opts.output, jobView(opts.Program), items, api.JobList{Items: items, NextCursor: next})
	if err == nil {
		opts.more(opts.output, next)
	}
	return err
}

// keyValues splits KEY=VALUE pairs.
func keyValues(flag string, pairs []string) (map[string]string, error) {
	values := map[string]string{}
	for _, pair := range pairs {
		key, value, found := strings.Cut(pair, "=")
		if !found || key == "" {
			return nil, &usageError{"gco", fmt.Errorf("--%s %s: KEY=VALUE expected", flag, pair)}
		}
		values[key] = value
	}
	return values, nil
}
