package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// TestKillWhilePipelinesGoOn kills gco at random moments while pipelines run.
// Nobody submits a step but the server, so every step must have had exactly
// one job in the end, with what the steps before it had left.
func TestKillWhilePipelinesGoOn(t *testing.T) {
	const pipelines, rounds = 10, 8
	dir := t.TempDir()
	s := up(t, dir)
	ids := make([]string, pipelines)
	for i := range ids {
		p, _, err := s.client.SubmitPipeline(t.Context(), diamond(i), fmt.Sprintf("pipeline-%d", i))
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = p.ID
	}
	for range rounds {
		pause(time.Duration(rand.IntN(500)) * time.Millisecond)
		s.kill()
		s = up(t, dir)
	}
	for i, id := range ids {
		p := s.pipelineEnd(id)
		if p.State != "succeeded" {
			t.Errorf("pipeline %d is %s: %s", i, p.State, p.Message)
		}
		again, replayed, err := s.client.SubmitPipeline(t.Context(), diamond(i), fmt.Sprintf("pipeline-%d", i))
		if err != nil || !replayed || again.ID != id {
			t.Errorf("key of pipeline %d: pipeline %s, replayed %t, %v; want %s again", i, again.ID, replayed, err, id)
		}
	}
	jobs := map[string]int{}
	for j, err := range s.client.AllJobs(t.Context(), client.JobFilter{Limit: 100}) {
		if err != nil {
			t.Fatal(err)
		}
		jobs[j.Name]++
		if j.State != "succeeded" {
			t.Errorf("job %s is %s: %s", j.Name, j.State, j.Message)
		}
	}
	for name, n := range jobs {
		if n != 1 {
			t.Errorf("step %s has %d jobs", name, n)
		}
	}
	if len(jobs) != 4*pipelines {
		t.Errorf("%d steps had a job, want %d", len(jobs), 4*pipelines)
	}
}

// diamond is a pipeline of four steps, whose last checks what came through the
// others.
func diamond(i int) api.NewPipeline {
	step := func(name, text string, after ...string) api.NewStep {
		s := api.NewStep{Name: name, Submission: script(fmt.Sprintf("p%d-%s", i, name), text)}
		for _, on := range after {
			s.After = append(s.After, api.Dependency{Step: on})
		}
		return s
	}
	return api.NewPipeline{Name: fmt.Sprintf("p%d", i), Steps: []api.NewStep{
		step("top", fmt.Sprintf(`echo n=%d >"$GCO_RESULT"`, i)),
		step("left", `echo l=left-{{steps.top.outputs.n}} >"$GCO_RESULT"`, "top"),
		step("right", `printf '{"r":{{steps.top.outputs.n}}}' >"$GCO_RESULT"`, "top"),
		step("bottom", fmt.Sprintf(`[ "{{steps.left.outputs.l}}/{{steps.right.outputs.r}}" = left-%d/%d ]`, i, i), "left", "right"),
	}}
}

// pipelineEnd asks for a pipeline over and over until it has ended.
func (s *system) pipelineEnd(id string) api.Pipeline {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for {
		p, err := s.client.Pipeline(ctx, id)
		if err == nil && p.State != "running" {
			return p
		}
		if ctx.Err() != nil {
			s.t.Fatalf("pipeline %s has not ended: %+v, last error %v", id, p.Steps, err)
		}
		pause(10 * time.Millisecond)
	}
}
