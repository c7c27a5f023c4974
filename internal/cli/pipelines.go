package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

func newPipelines(p *Program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "pipelines",
		Aliases: []string{"pipeline"},
		Short:   "Submit jobs that wait for others, and follow them",
		Example: "  gco pipelines submit examples/pipeline.yaml --wait\n  gco pipelines list --state running\n  gco pipelines get PIPELINE",
	}
	cmd.AddCommand(
		newPipelinesSubmit(p, runPipelinesSubmit),
		newPipelinesList(p, runPipelinesList),
		newPipelinesGet(p, runPipelinesGet),
		newPipelinesCancel(p, runPipelinesChange),
		newPipelinesRetry(p, runPipelinesChange),
		newPipelinesWait(p, runPipelinesWait),
	)
	return cmd
}

// pipelineStates are the states of a pipeline.
var pipelineStates = []string{"running", "succeeded", "failed", "cancelled"}

// pipelineView is how pipelines look in a list.
func pipelineView(p *Program) view[api.Pipeline] {
	return view[api.Pipeline]{
		name: func(l api.Pipeline) string { return l.ID },
		columns: []column[api.Pipeline]{
			{header: "ID", cell: func(l api.Pipeline) string { return l.ID }},
			{header: "NAMESPACE", cell: func(l api.Pipeline) string { return l.Namespace }},
			{header: "NAME", cell: func(l api.Pipeline) string { return l.Name }},
			{header: "STATE", cell: func(l api.Pipeline) string { return l.State }},
			{header: "STEPS", cell: stepCounts},
			{header: "RUN", cell: func(l api.Pipeline) string { return strconv.Itoa(l.Run) }},
			{
				header: "SUBMITTED",
				cell:   func(l api.Pipeline) string { return stamp(&l.SubmittedAt) },
				shown:  func(l api.Pipeline) string { return age(p.Clock, l.SubmittedAt) + " ago" },
			},
			{header: "WHY", cell: whyOfPipeline, shown: func(l api.Pipeline) string { return dash(whyOfPipeline(l)) }, wide: true},
		},
	}
}

func whyOfPipeline(l api.Pipeline) string {
	if l.Stopping {
		return "stopping"
	}
	return l.Message
}

// stepCounts says how many steps stand where, in the order of a step's life.
func stepCounts(l api.Pipeline) string {
	counts := map[string]int{}
	for _, s := range l.Steps {
		counts[s.State]++
	}
	var parts []string
	for _, state := range []string{"waiting", "starting", "running", "succeeded", "failed", "cancelled", "skipped"} {
		if n := counts[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return strings.Join(parts, ", ")
}

// readDocument reads one document of YAML or JSON as a request of the API.
func readDocument[T any](file document, kind string) (T, error) {
	var request T
	text, err := yamlToJSON(file.text)
	if err == nil {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		err = decoder.Decode(&request)
	}
	if err != nil {
		return request, fmt.Errorf("reading %s as a %s: %w", file.name, kind, err)
	}
	return request, nil
}

// pipelineIDs completes IDs of recent pipelines in some states.
func (p *Program) pipelineIDs(states ...string) completer {
	return p.ask(func(ctx context.Context, c *client.Client, _ []string) ([]string, error) {
		list, err := c.Pipelines(ctx, client.PipelineFilter{States: states, Limit: 100})
		var ids []string
		for _, l := range list.Items {
			ids = append(ids, cobra.CompletionWithDesc(l.ID, l.Name+", "+l.State))
		}
		return ids, err
	})
}

// stepTable draws the steps of a pipeline: on a terminal as a tree, in which
// each hangs on the last of the steps that it waits for, elsewhere as rows.
func (p *Program) stepTable(l api.Pipeline) table {
	t := table{indent: "  ", rows: [][]string{{"STEP", "STATE", "TOOK", "JOB", "AFTER", "WHY"}}, wide: 6}
	for _, line := range stepTree(l.Steps) {
		s := line.step
		name, after := s.Name, afterOf(s.After, "")
		if p.Terminal {
			name, after = line.branch+s.Name, afterOf(s.After, line.under)
		}
		t.rows = append(t.rows, []string{name, s.State, p.tookStep(s), dash(s.JobID), dash(after), dash(whyOfStep(s))})
	}
	return t
}

func whyOfStep(s api.Step) string {
	switch {
	case s.State == "succeeded":
		return ""
	case s.State == "running" && s.JobState != "" && s.JobState != "running":
		return "its job is " + s.JobState
	default:
		return cmp.Or(s.Message, s.Reason)
	}
}

// tookStep is how long a step went on.
func (p *Program) tookStep(s api.Step) string {
	switch {
	case s.StartedAt == nil:
		return "-"
	case s.FinishedAt != nil:
		return precise(s.FinishedAt.Sub(*s.StartedAt))
	default:
		return span(p.Clock.Since(*s.StartedAt))
	}
}

// afterOf says in words what a step waits for. under is the step that it hangs
// on, which the drawing shows.
func afterOf(after []api.Dependency, under string) string {
	var parts []string
	for _, d := range after {
		text := d.Step
		if d.Job != "" {
			text = "job " + d.Job
		}
		switch {
		case d.Condition != "succeeded" && d.Condition != "":
			text += " " + d.Condition
		case d.Step == under && under != "":
			continue
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// treeLine is a step with what is drawn before it, and the step that it hangs
// on.
type treeLine struct {
	step   api.Step
	branch string
	under  string
}

// stepTree orders steps so that each comes after those that it waits for, and
// hangs it on the one of them that lies deepest.
func stepTree(steps []api.Step) []treeLine {
	depths := stepDepths(steps)
	children := map[string][]api.Step{}
	for _, s := range steps {
		under, deepest := "", -1
		for _, d := range s.After {
			if depth, known := depths[d.Step]; known && depth >= deepest {
				under, deepest = d.Step, depth
			}
		}
		children[under] = append(children[under], s)
	}
	var lines []treeLine
	var draw func(under, margin string)
	draw = func(under, margin string) {
		for i, s := range children[under] {
			branch, below := margin, margin
			if under != "" {
				branch, below = margin+"├─ ", margin+"│  "
				if i == len(children[under])-1 {
					branch, below = margin+"└─ ", margin+"   "
				}
			}
			lines = append(lines, treeLine{s, branch, under})
			draw(s.Name, below)
		}
	}
	draw("", "")
	return lines
}

// stepDepths is how many steps lie before each on the longest way. The server
// has refused circles.
func stepDepths(steps []api.Step) map[string]int {
	depths := map[string]int{}
	for range steps {
		for _, s := range steps {
			depth := 0
			for _, d := range s.After {
				if d.Step != "" {
					depth = max(depth, depths[d.Step]+1)
				}
			}
			depths[s.Name] = depth
		}
	}
	return depths
}

// outputsOf shows outputs as pairs.
func outputsOf(outputs map[string]json.RawMessage) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(outputs)) {
		var text string
		if json.Unmarshal(outputs[key], &text) != nil {
			text = string(outputs[key])
		}
		parts = append(parts, key+"="+text)
	}
	return strings.Join(parts, ", ")
}

// inDefault is the namespace that a command means.
func inDefault(namespace string) string { return cmp.Or(namespace, "default") }
