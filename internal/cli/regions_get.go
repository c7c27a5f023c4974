package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type regionsGetOptions struct {
	*Program
	output format
	name   string
}

func newRegionsGet(p *Program, run func(context.Context, *regionsGetOptions) error) *cobra.Command {
	opts := &regionsGetOptions{Program: p}
	cmd := &cobra.Command{
		Use:               "get REGION",
		Short:             "Show one region: lease, capacity, prices, back-offs",
		Example:           "  gco regions get us-east-1",
		Args:              one("REGION"),
		ValidArgsFunction: once(p.regionNames()),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.name = args[0]
			return run(cmd.Context(), opts)
		},
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runRegionsGet(ctx context.Context, opts *regionsGetOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	r, err := c.Region(ctx, opts.name)
	if err != nil {
		return fmt.Errorf("looking at region %s: %w", opts.name, err)
	}
	return printOne(opts.Program, opts.output, r, r.Name, func() error { return opts.regionPage(r) })
}

func (p *Program) regionPage(r api.Region) error {
	err := p.fields([]field{
		{"Region", r.Name},
		{"Lease", r.Lease},
		{"Work", workOf(r)},
		{"Cluster", r.Cluster},
		{"Session", fmt.Sprintf("epoch %d", r.Epoch)},
		{"Opened", p.when(r.OpenedAt)},
		{"Renewed", p.when(r.RenewedAt)},
		{"Lost", p.when(r.LostAt)},
		{"Unreachable since", p.when(r.UnreachableSince)},
		{"Awaited since", p.when(r.AwaitedSince)},
		{"Jobs", jobCounts(r.Jobs)},
	})
	if err != nil {
		return err
	}
	if err := p.capacityTable(r); err != nil {
		return err
	}
	if err := p.nodeTable(r); err != nil {
		return err
	}
	return p.backoffTable(r)
}

func jobCounts(counts map[string]int64) string {
	var parts []string
	for _, state := range states() {
		if n := counts[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return strings.Join(parts, ", ")
}

func (p *Program) capacityTable(r api.Region) error {
	if len(r.Total) == 0 {
		return nil
	}
	fmt.Fprintln(p.Out, "\nCapacity:")
	t := table{indent: "  ", rows: [][]string{{"RESOURCE", "FREE", "PROMISED", "TOTAL", "PRICE/H", "SPOT/H"}}}
	for _, name := range slices.SortedFunc(maps.Keys(r.Total), byImportance) {
		onDemand, spot := "-", "-"
		if price, known := r.Prices[name]; known {
			onDemand = money(price.OnDemand)
			if price.Spot != nil {
				spot = money(*price.Spot)
			}
		}
		t.rows = append(t.rows, []string{
			name, amount(name, r.Free[name]), amount(name, r.Promised[name]), amount(name, r.Total[name]), onDemand, spot,
		})
	}
	return p.table(t)
}

func (p *Program) nodeTable(r api.Region) error {
	if r.Capacity == nil || len(r.Capacity.Nodes) == 0 {
		return nil
	}
	fmt.Fprintln(p.Out, "\nNodes:")
	t := table{indent: "  ", rows: [][]string{{"COUNT", "FREE ON EACH", "OF"}}}
	for _, shape := range r.Capacity.Nodes {
		t.rows = append(t.rows, []string{strconv.Itoa(shape.Count), dash(telling(shape.Free)), telling(shape.Total)})
	}
	return p.table(t)
}

func (p *Program) backoffTable(r api.Region) error {
	if len(r.Backoffs) == 0 {
		return nil
	}
	fmt.Fprintln(p.Out, "\nBack-offs:")
	t := table{indent: "  ", rows: [][]string{{"RESOURCE", "KIND", "FAILURES", "UNTIL", "MESSAGE"}}}
	for _, name := range slices.Sorted(maps.Keys(r.Backoffs)) {
		b := r.Backoffs[name]
		t.rows = append(t.rows, []string{name, b.Kind, strconv.Itoa(b.Failures), p.when(&b.Until), b.Message})
	}
	return p.table(t)
}

// money shows a price as it was configured.
func money(amount float64) string { return strconv.FormatFloat(amount, 'f', -1, 64) }
