package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/job"
)

type topOptions struct {
	*Program
	every time.Duration
	jobs  int
}

func newTop(p *Program, run func(context.Context, *topOptions) error) *cobra.Command {
	opts := &topOptions{Program: p}
	cmd := &cobra.Command{
		Use:     "top",
		Short:   "Watch regions and jobs on a terminal",
		Example: "  gco top\n  gco top --every 5s --jobs 40",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.every < 100*time.Millisecond {
				return usagef(cmd, "--every %s: at least 100ms expected", opts.every)
			}
			if opts.jobs < 1 || opts.jobs > maxPage {
				return usagef(cmd, "--jobs %d: 1 to %d expected", opts.jobs, maxPage)
			}
			return run(cmd.Context(), opts)
		},
	}
	cmd.Flags().DurationVar(&opts.every, "every", 2*time.Second, "`PAUSE` between two looks")
	cmd.Flags().IntVar(&opts.jobs, "jobs", 15, "show this many unfinished `JOBS`")
	return cmd
}

func runTop(ctx context.Context, opts *topOptions) error {
	if !opts.Terminal {
		return errors.New("top draws on a terminal, and this is none: use gco stats, gco regions list and gco jobs list")
	}
	c, err := opts.connect()
	if err != nil {
		return err
	}
	ticker := opts.Clock.NewTicker(opts.every)
	defer ticker.Stop()
	// The alternate screen keeps what was there before.
	fmt.Fprint(opts.Out, "\x1b[?1049h\x1b[?25l")
	defer fmt.Fprint(opts.Out, "\x1b[?25h\x1b[?1049l")
	for {
		screen, err := opts.screen(ctx, c)
		if ctx.Err() != nil {
			return nil
		}
		if _, ok := errors.AsType[*client.Unreachable](err); ok {
			// It may come back.
			screen, err = frame([]byte(plain(err.Error())+"\n")), nil
		}
		if err != nil {
			return err
		}
		if _, err := opts.Out.Write(screen); err != nil {
			return err
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return nil
		}
	}
}

// screen is one look: written in one piece, so that it does not flicker.
func (o *topOptions) screen(ctx context.Context, c *client.Client) ([]byte, error) {
	stats, err := c.Stats(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking for the counts: %w", err)
	}
	regions, err := c.Regions(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing regions: %w", err)
	}
	filter := client.JobFilter{Limit: o.jobs}
	for _, state := range job.States {
		if !state.Terminal() {
			filter.States = append(filter.States, string(state))
		}
	}
	jobs, err := c.Jobs(ctx, filter)
	if err != nil {
		return nil, fmt.Errorf("listing jobs: %w", err)
	}

	var b bytes.Buffer
	page := *o.Program
	page.Out = &b
	fmt.Fprintf(&b, "gco top  %s  %s\n\n", c.Addr(), o.Clock.Now().Format(time.TimeOnly))
	fmt.Fprintf(&b, "%s\n%s\n\n", dash(jobCounts(stats.Jobs)), rates(stats))
	if err := page.table(regionView(&page).rows(regions.Items, true)); err != nil {
		return nil, err
	}
	fmt.Fprintln(&b)
	if err := page.table(jobView(&page).rows(jobs.Items, true)); err != nil {
		return nil, err
	}
	return frame(b.Bytes()), nil
}

// frame makes each line replace what stood there, and clears the rest.
func frame(text []byte) []byte {
	text = bytes.ReplaceAll(text, []byte("\n"), []byte("\x1b[K\r\n"))
	return append(append([]byte("\x1b[H"), text...), []byte("\x1b[J")...)
}
