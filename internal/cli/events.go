package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

type eventsOptions struct {
	*Program
	output    format
	follow    bool
	all       bool
	namespace string
	job       string
	types     []string
	after     string
}

func newEvents(p *Program, run func(context.Context, *eventsOptions) error) *cobra.Command {
	opts := &eventsOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happens to jobs and regions",
		Long: `Events shows every transition of a job and of a region, in the order in which
they were written: those that are kept, and with --follow those to come. JSON is
one object a line; its cursor, which the last line on standard error names when
a stream ends early or is interrupted, goes on from there with --after.

With --follow it waits for a server that goes away, says so on standard error,
and goes on where it was.`,
		Example: `  gco events --job 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f
  gco events --follow --type 'job.*' --namespace research
  gco events --follow --all -o json | jq -r .type`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), opts) },
	}
	flags := cmd.Flags()
	flags.BoolVarP(&opts.follow, "follow", "f", false, "wait for further events; without --all or --after it begins now")
	flags.BoolVar(&opts.all, "all", false, "with --follow: begin with the oldest event that is kept")
	flags.StringVarP(&opts.namespace, "namespace", "n", "", "only events of jobs in this `NAMESPACE`")
	flags.StringVar(&opts.job, "job", "", "only events of this `JOB`")
	flags.StringSliceVar(&opts.types, "type", nil, "only events of these `TYPES`, such as job.failed or region.*")
	flags.StringVar(&opts.after, "after", "", "go on after this `CURSOR`")
	completeWith(cmd, "job", p.jobIDs(nil))
	complete(cmd, "type", eventTypes()...)
	addOutput(cmd, &opts.output)
	return cmd
}

// eventTypes are those worth completing.
func eventTypes() []string {
	types := []string{
		"job.*", "region.*", "region.opened", "region.lost", "region.cordoned", "region.draining", "region.uncordoned", "region.written-off",
		"pipeline.*", "pipeline.failed", "schedule.*", "schedule.skipped", "schedule.refused", "webhook.*",
	}
	for _, state := range states() {
		types = append(types, "job."+state)
	}
	return types
}

func runEvents(ctx context.Context, opts *eventsOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	away := outage{addr: c.Addr(), say: func(line string) { fmt.Fprintln(opts.Err, line) }}
	events, err := away.open(ctx, c, client.EventFilter{
		Namespace: opts.namespace, Job: opts.job, Types: opts.types, After: opts.after,
		Oldest: opts.after == "" && (opts.all || !opts.follow), Once: !opts.follow,
	})
	if err != nil {
		return fmt.Errorf("opening the event stream: %w", err)
	}
	defer events.Close()
	if opts.output == "" && !opts.Terminal {
		fmt.Fprintln(opts.Out, strings.Join(eventHeader, "\t"))
	}
	for {
		event, err := events.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && ctx.Err() != nil:
			if at := events.Cursor(); at != "" {
				fmt.Fprintf(opts.Err, "go on with --after %s\n", at)
			}
			return nil
		case client.Is(err, api.ProblemGone):
			return fmt.Errorf("reading events: %w", err)
		case err != nil:
			return fmt.Errorf("reading events: %w; go on with --after %s", err, events.Cursor())
		}
		if err := opts.event(opts.output, event); err != nil {
			return err
		}
	}
}

var eventHeader = []string{"TIME", "TYPE", "SUBJECT", "NAMESPACE", "REGION", "ATTEMPT", "WHY"}

func (p *Program) event(f format, event api.Event) error {
	var err error
	switch f {
	case formatName:
		_, err = fmt.Fprintln(p.Out, event.ID)
	case formatJSON:
		err = json.NewEncoder(p.Out).Encode(event)
	case formatYAML:
		if _, err = fmt.Fprintln(p.Out, "---"); err == nil {
			err = printValue(p.Out, f, event)
		}
	default:
		err = p.eventLine(event)
	}
	return err
}

func (p *Program) eventLine(event api.Event) error {
	// A region's event has the fields region and epoch; the rest stays empty.
	step, err := transitionOf(event)
	if err != nil {
		return err
	}
	why := cmp.Or(newsOf(event), whyOf(step))
	attempt := ""
	if step.Attempt > 0 {
		attempt = strconv.Itoa(step.Attempt)
	}
	if !p.Terminal {
		return p.table(table{rows: [][]string{{
			event.Time.UTC().Format(time.RFC3339Nano), event.Type, event.Subject, event.Namespace, step.Region, attempt, why,
		}}})
	}
	where := step.Region
	if attempt != "" && attempt != "1" {
		where += " attempt " + attempt
	}
	_, err = fmt.Fprintln(p.Out, strings.TrimRight(fmt.Sprintf("%s  %-18s %s  %s  %s",
		event.Time.Local().Format("15:04:05.000"), event.Type, plain(event.Subject), plain(where), plain(why)), " "))
	return err
}

// newsOf is what a pipeline or a schedule is called, and what an event tells of
// it; empty for events of others.
func newsOf(event api.Event) string {
	var pipeline api.PipelineEvent
	var schedule api.ScheduleEvent
	switch kind, _, _ := strings.Cut(event.Type, "."); {
	case kind == "pipeline" && json.Unmarshal(event.Data, &pipeline) == nil:
		return strings.TrimSuffix(pipeline.Name+": "+pipeline.Message, ": ")
	case kind == "schedule" && json.Unmarshal(event.Data, &schedule) == nil:
		parts := []string{schedule.Schedule}
		for _, run := range schedule.Runs {
			parts = append(parts, strings.TrimSuffix(fmt.Sprintf("%s %s: %s", run.ID, run.Outcome, run.Message), ": "))
		}
		return strings.Join(parts, ", ")
	}
	return ""
}
