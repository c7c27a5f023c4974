package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// pipelinePause is the time between two looks at a pipeline.
const pipelinePause = 500 * time.Millisecond

type pipelinesWaitOptions struct {
	*Program
	output  format
	ids     []string
	timeout time.Duration
}

func newPipelinesWait(p *Program, run func(context.Context, *pipelinesWaitOptions) error) *cobra.Command {
	opts := &pipelinesWaitOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "wait PIPELINE...",
		Short: "Wait until pipelines have finished",
		Long: `Wait says what becomes of each step until all of the pipelines have finished. Its
exit code is 0 if every one succeeded and 6 if one did not. It waits for a server
that goes away, too, and says so on standard error.`,
		Example:           `  gco pipelines wait 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f --timeout 1h`,
		Args:              some("PIPELINE"),
		ValidArgsFunction: p.pipelineIDs("running"),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.ids = args
			return run(cmd.Context(), opts)
		},
	}
	cmd.Flags().DurationVar(&opts.timeout, "timeout", 0, "give up after this `DURATION`; the pipelines go on")
	addOutput(cmd, &opts.output)
	return cmd
}

func runPipelinesWait(ctx context.Context, opts *pipelinesWaitOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	var all []api.Pipeline
	for _, id := range opts.ids {
		l, err := c.Pipeline(ctx, id)
		if err != nil {
			return fmt.Errorf("looking at pipeline %s: %w", id, err)
		}
		all = append(all, l)
	}
	if opts.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, opts.timeout, errTimedOut)
		defer cancel()
	}
	return opts.awaitPipelines(ctx, c, all, opts.output)
}

// awaitPipelines says what becomes of pipelines until all have finished, and
// prints them. The error is *jobsFailedError if one did not succeed.
func (p *Program) awaitPipelines(ctx context.Context, c *client.Client, all []api.Pipeline, f format) error {
	w := &pipelineWaiter{Program: p, client: c, away: &outage{addr: c.Addr(), say: func(line string) { fmt.Fprintln(p.Err, line) }}}
	for i, l := range all {
		prefix := ""
		if len(all) > 1 {
			prefix = l.Name + ": "
		}
		fmt.Fprintf(p.Err, "%s is pipeline %s\n", l.Name, l.ID)
		last, err := w.run(ctx, l.ID, prefix)
		if err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		all[i] = last
	}
	if err := printList(p, f, pipelineView(p), all, api.PipelineList{Items: all}); err != nil {
		return err
	}
	var failed jobsFailedError
	for _, l := range all {
		switch l.State {
		case "succeeded":
		case "failed":
			failed.ended = append(failed.ended, fmt.Sprintf("pipeline %s (%s) failed: %s", l.Name, l.ID, l.Message))
		default:
			failed.ended = append(failed.ended, fmt.Sprintf("pipeline %s (%s) was %s", l.Name, l.ID, l.State))
		}
	}
	if len(failed.ended) > 0 {
		return &failed
	}
	return nil
}

// pipelineWaiter follows one pipeline after the other.
type pipelineWaiter struct {
	*Program
	client *client.Client
	away   *outage
}

// run looks at a pipeline until it has finished, and says what changed.
func (w *pipelineWaiter) run(ctx context.Context, id, prefix string) (api.Pipeline, error) {
	ticks := w.Clock.NewTicker(pipelinePause)
	defer ticks.Stop()
	told := map[string]string{}
	gone := false
	for {
		l, err := w.client.Pipeline(ctx, id)
		_, unreachable := errors.AsType[*client.Unreachable](err)
		lost := unreachable || client.Status(err) == http.StatusServiceUnavailable
		switch {
		case err != nil && !lost:
			return l, fmt.Errorf("following pipeline %s: %w", id, err)
		case lost && !gone:
			w.away.lose(err)
		case !lost && gone:
			w.away.end()
		}
		gone = lost
		if err == nil {
			w.tell(l, prefix, told)
			if l.State != "running" {
				return l, nil
			}
		}
		select {
		case <-ticks.C():
		case <-ctx.Done():
			return l, ctx.Err()
		}
	}
}

// tell writes a line for each step that stands elsewhere than before.
func (w *pipelineWaiter) tell(l api.Pipeline, prefix string, told map[string]string) {
	for _, s := range l.Steps {
		if s.State == "waiting" || told[s.Name] == s.State {
			continue
		}
		told[s.Name] = s.State
		line := prefix + s.Name + ": " + s.State
		if s.State == "running" {
			line += " as job " + s.JobID
		} else if why := whyOfStep(s); why != "" {
			line += ": " + why
		}
		fmt.Fprintln(w.Err, plain(line))
	}
}
