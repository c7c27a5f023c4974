package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type jobsGetOptions struct {
	*Program
	output format
	id     string
}

func newJobsGet(p *Program, run func(context.Context, *jobsGetOptions) error) *cobra.Command {
	opts := &jobsGetOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "get JOB",
		Short: "Show one job with its history",
		Example: `  gco jobs get 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f
  gco jobs get 01997e9e-5f7a-7c55-9a3f-5b0d0c8d6e1f -o yaml`,
		Args:              one("JOB"),
		ValidArgsFunction: once(p.jobIDs(nil)),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.id = args[0]
			return run(cmd.Context(), opts)
		},
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runJobsGet(ctx context.Context, opts *jobsGetOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	j, err := c.Job(ctx, opts.id)
	if err != nil {
		return fmt.Errorf("looking at job %s: %w", opts.id, err)
	}
	return printOne(opts.Program, opts.output, j, j.ID, func() error {
		if err := opts.fields(jobFields(opts.Program, j)); err != nil {
			return err
		}
		return opts.timeline(j)
	})
}

// field is one line of a page.
type field struct{ name, value string }

// fields writes the lines of a page that have a value: aligned on a terminal,
// tab-separated in a pipe.
func (p *Program) fields(fields []field) error {
	t := table{headless: true}
	for _, f := range fields {
		if f.value == "" {
			continue
		}
		name := f.name
		if p.Terminal {
			name += ":"
		}
		t.rows = append(t.rows, []string{name, f.value})
	}
	return p.table(t)
}

func jobFields(p *Program, j api.Job) []field {
	exit := ""
	if j.ExitCode != nil {
		exit = strconv.Itoa(*j.ExitCode)
	}
	return []field{
		{"Job", j.ID},
		{"Name", j.Namespace + "/" + j.Name},
		{"State", j.State},
		{"Why", reasonOf(j)},
		{"Exit code", exit},
		{"Region", j.Region},
		{"Attempt", attemptOf(j)},
		{"Priority", strconv.Itoa(j.Priority)},
		{"Labels", pairs(j.Labels)},
		{"Asks for", demandOf(j.Demand)},
		{"Placement", placementOf(j.Placement)},
		{"If its region is lost", strings.TrimSpace(j.OnRegionLost + " " + j.OnRegionLostLimit)},
		{"Outputs", outputsOf(j.Outputs)},
		{"Logs", j.Logs},
		{"Template", templateRefOf(j.Template)},
		{"Retry of", j.RetryOf},
		{"Submitted", p.when(&j.SubmittedAt) + by(j.SubmittedBy)},
		{"Not before", p.when(j.NotBefore)},
		{"Deadline", p.when(j.DeadlineAt)},
		{"Started", p.when(j.StartedAt)},
		{"Finished", p.when(j.FinishedAt)},
		{"Ran for", runtimeOf(p, j)},
		{"Removed at", p.when(j.ExpiresAt)},
	}
}

func templateRefOf(ref *api.TemplateRef) string {
	if ref == nil {
		return ""
	}
	return fmt.Sprintf("%s, version %d", ref.Name, ref.Version)
}

func reasonOf(j api.Job) string {
	text := because(j)
	if text == "-" {
		text = ""
	}
	if j.Message != "" {
		if text != "" {
			text += ": "
		}
		text += j.Message
	}
	return text
}

func attemptOf(j api.Job) string {
	if j.Attempt == 0 {
		return ""
	}
	var counts []string
	for _, c := range []struct {
		n    int
		what string
	}{{j.Failures, "failed"}, {j.Losses, "lost"}, {j.Releases, "released"}, {j.Moves, "moved"}} {
		if c.n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	text := strconv.Itoa(j.Attempt)
	if len(counts) > 0 {
		text += " (" + strings.Join(counts, ", ") + ")"
	}
	if j.Retries > 0 {
		text += fmt.Sprintf(", %d retries allowed", j.Retries)
	}
	return text
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

func runtimeOf(p *Program, j api.Job) string {
	if j.StartedAt == nil {
		return ""
	}
	return span(p.took(j))
}

// when shows a time: for a person with how long ago that is.
func (p *Program) when(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	if !p.Terminal {
		return stamp(t)
	}
	local := t.Local().Format("2006-01-02 15:04:05")
	if since := p.Clock.Since(*t); since >= 0 {
		return local + " (" + span(since) + " ago)"
	}
	return local + " (in " + span(t.Sub(p.Clock.Now())) + ")"
}

func pairs(m map[string]string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, key+"="+m[key])
	}
	return strings.Join(parts, ", ")
}

func placementOf(c *api.Placement) string {
	if c == nil {
		return ""
	}
	var parts []string
	if len(c.Regions) > 0 {
		parts = append(parts, "only "+strings.Join(c.Regions, ", "))
	}
	if len(c.AvoidRegions) > 0 {
		parts = append(parts, "not "+strings.Join(c.AvoidRegions, ", "))
	}
	if c.CapacityType != "" {
		parts = append(parts, c.CapacityType)
	}
	if c.MaxPricePerHour > 0 {
		parts = append(parts, fmt.Sprintf("at most %g an hour", c.MaxPricePerHour))
	}
	return strings.Join(parts, "; ")
}

func demandOf(d *api.Demand) string {
	if d == nil {
		return ""
	}
	var groups []string
	for _, group := range d.Pods {
		times := ""
		if group.Count != 1 {
			times = fmt.Sprintf("%d pods of ", group.Count)
		}
		text := telling(group.Requests)
		if text == "" {
			text = "nothing in particular"
		}
		groups = append(groups, times+text)
	}
	return strings.Join(groups, "; ")
}

// timeline shows the history of a job, a line for each transition.
func (p *Program) timeline(j api.Job) error {
	if len(j.History) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(p.Out, "\nHistory:"); err != nil {
		return err
	}
	start := j.History[0].At
	t := table{indent: "  ", rows: [][]string{{"AFTER", "EVENT", "STATE", "REGION", "ATTEMPT", "WHY"}}}
	for _, step := range j.History {
		attempt := ""
		if step.Attempt > 0 {
			attempt = strconv.Itoa(step.Attempt)
		}
		state := step.To
		t.rows = append(t.rows, []string{
			"+" + precise(step.At.Sub(start)), step.Event, state, dash(step.Region), dash(attempt), whyOf(step),
		})
	}
	return p.table(t)
}

// precise shows a duration so that quick steps can be told apart.
func precise(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.2fs", d.Seconds())
	}
	return span(d)
}

func whyOf(step api.Transition) string {
	var parts []string
	if step.Reason != "" {
		parts = append(parts, step.Reason)
	}
	if step.Message != "" {
		parts = append(parts, step.Message)
	}
	if step.ExitCode != nil && !strings.Contains(step.Message, "exit code") {
		parts = append(parts, fmt.Sprintf("exit code %d", *step.ExitCode))
	}
	if d := step.Decision; d != nil && len(parts) == 0 {
		parts = append(parts, chosen(*d))
	}
	return strings.Join(parts, ": ")
}

// chosen says in a few words why a region won.
func chosen(d api.Decision) string {
	for _, candidate := range d.Candidates {
		if candidate.Region == d.Region {
			if len(d.Candidates) == 1 {
				return "the only region that would do"
			}
			return fmt.Sprintf("best of %d regions, with a score of %.2f", len(d.Candidates), candidate.Score)
		}
	}
	return ""
}

// transitionOf decodes the data of a job's event.
func transitionOf(event api.Event) (api.Transition, error) {
	var t api.Transition
	if err := json.Unmarshal(event.Data, &t); err != nil {
		return t, fmt.Errorf("reading event %s: %w", event.ID, err)
	}
	return t, nil
}
