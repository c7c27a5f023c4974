package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type jobsExplainOptions struct {
	*Program
	output format
	id     string
}

func newJobsExplain(p *Program, run func(context.Context, *jobsExplainOptions) error) *cobra.Command {
	opts := &jobsExplainOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "explain JOB",
		Short: "Say why a job is where it is, or why it waits",
		Long: `Explain shows the decision that placed a job: the regions that would do, with
each term of their score, and the regions that would not, with the reason. For
a job that waits it is what would be decided now, how many jobs are ahead, and
when it may start.`,
		Example: `  gco jobs explain 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f`,
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

func runJobsExplain(ctx context.Context, opts *jobsExplainOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	e, err := c.ExplainJob(ctx, opts.id)
	if err != nil {
		return fmt.Errorf("explaining job %s: %w", opts.id, err)
	}
	return printOne(opts.Program, opts.output, e, e.JobID, func() error { return opts.explanation(e) })
}

func (p *Program) explanation(e api.Explanation) error {
	ahead := ""
	if e.Ahead != nil {
		ahead = strconv.Itoa(*e.Ahead)
	}
	err := p.fields([]field{
		{"Job", e.JobID},
		{"State", e.State},
		{"Summary", e.Summary},
		{"Jobs ahead", ahead},
		{"Expected start", p.when(e.ExpectedStart)},
	})
	if err != nil || e.Decision == nil {
		return err
	}
	if e.Decision.Reserved {
		if _, err := fmt.Fprintln(p.Out, "\nCapacity is being held for this job."); err != nil {
			return err
		}
	}
	if err := p.candidates(*e.Decision); err != nil {
		return err
	}
	return p.rejections(*e.Decision)
}

func (p *Program) candidates(d api.Decision) error {
	if len(d.Candidates) == 0 {
		_, err := fmt.Fprintln(p.Out, "\nNo region would do now.")
		return err
	}
	if _, err := fmt.Fprintln(p.Out, "\nRegions that would do:"); err != nil {
		return err
	}
	t := table{indent: "  "}
	header, terms := []string{"REGION", "SCORE"}, d.Candidates[0].Terms
	for _, term := range terms {
		header = append(header, fmt.Sprintf("%s x%g", strings.ToUpper(term.Name), term.Weight))
	}
	t.rows = append(t.rows, append(header, "PRICE/H", ""))
	for _, candidate := range d.Candidates {
		row := []string{candidate.Region, fmt.Sprintf("%.3f", candidate.Score)}
		for _, term := range terms {
			row = append(row, valueOf(candidate, term.Name))
		}
		price, mark := "unknown", ""
		if candidate.PricePerHour != nil {
			price = fmt.Sprintf("%.4g", *candidate.PricePerHour)
		}
		if candidate.Region == d.Region {
			mark = "chosen"
		}
		t.rows = append(t.rows, append(row, price, mark))
	}
	return p.table(t)
}

func valueOf(candidate api.Candidate, name string) string {
	for _, term := range candidate.Terms {
		if term.Name == name {
			return fmt.Sprintf("%.3f", term.Value)
		}
	}
	return "-"
}

func (p *Program) rejections(d api.Decision) error {
	if len(d.Rejections) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(p.Out, "\nRegions that would not:"); err != nil {
		return err
	}
	t := table{indent: "  ", rows: [][]string{{"REGION", "REASON", "MESSAGE"}}}
	for _, rejection := range d.Rejections {
		t.rows = append(t.rows, []string{rejection.Region, rejection.Reason, rejection.Message})
	}
	return p.table(t)
}
