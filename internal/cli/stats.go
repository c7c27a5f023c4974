package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type statsOptions struct {
	*Program
	output format
}

func newStats(p *Program, run func(context.Context, *statsOptions) error) *cobra.Command {
	opts := &statsOptions{Program: p}
	cmd := &cobra.Command{
		Use:     "stats",
		Short:   "Count jobs by state, region and namespace",
		Example: "  gco stats\n  gco stats -o json",
		Args:    none,
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), opts) },
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runStats(ctx context.Context, opts *statsOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	s, err := c.Stats(ctx)
	if err != nil {
		return fmt.Errorf("asking for the counts: %w", err)
	}
	return printOne(opts.Program, opts.output, s, "stats", func() error {
		if err := opts.table(statsTable(s)); err != nil {
			return err
		}
		if opts.Terminal {
			fmt.Fprintf(opts.Out, "\n%s\n", rates(s))
		}
		return nil
	})
}

// statsTable counts jobs by state: all, then each region, then each namespace.
func statsTable(s api.Stats) table {
	t := table{rows: [][]string{{"OF"}}}
	for _, state := range states() {
		t.rows[0] = append(t.rows[0], strings.ToUpper(state))
	}
	row := func(of string, counts map[string]int64) {
		cells := []string{of}
		for _, state := range states() {
			cells = append(cells, strconv.FormatInt(counts[state], 10))
		}
		t.rows = append(t.rows, cells)
	}
	row("all", s.Jobs)
	for _, name := range slices.Sorted(maps.Keys(s.ByRegion)) {
		row("region "+name, s.ByRegion[name])
	}
	for _, name := range slices.Sorted(maps.Keys(s.ByNamespace)) {
		row("namespace "+name, s.ByNamespace[name])
	}
	return t
}

// rates says how fast jobs come and go.
func rates(s api.Stats) string {
	counts := func(c map[string]int64) string {
		return fmt.Sprintf("%d submitted, %d succeeded, %d failed, %d cancelled",
			c["queued"], c["succeeded"], c["failed"], c["cancelled"])
	}
	text := "last minute: " + counts(s.LastMinute) + "\nlast hour:   " + counts(s.LastHour)
	if s.OldestQueuedSeconds > 0 {
		text += "\noldest waiting job: " + span(time.Duration(s.OldestQueuedSeconds*float64(time.Second)))
	}
	return text
}
