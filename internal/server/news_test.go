package server

import (
	"encoding/json"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// TestEventsOfPipelinesAndSchedules reads them as a client does: the stream
// has the types of the API, and a token sees those of its namespaces.
func TestEventsOfPipelinesAndSchedules(t *testing.T) {
	s := start(t)
	c := s.admin
	p, _, err := c.SubmitPipeline(t.Context(), api.NewPipeline{
		Name: "nightly", Namespace: "team-a", Steps: []api.NewStep{{Name: "only", Submission: hello()}},
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	work := hello()
	if _, _, err := c.ApplySchedule(t.Context(), api.NewSchedule{Namespace: "team-a", Name: "hourly", Cron: "@hourly", Job: &work}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.RunSchedule(t.Context(), "team-a", "hourly"); err != nil {
		t.Fatal(err)
	}
	filter := client.EventFilter{Types: []string{"pipeline.*", "schedule.*"}, Oldest: true, Once: true}
	got := s.all(c, filter)
	if len(got) != 3 || got[0].Type != "pipeline.submitted" || got[1].Type != "schedule.created" || got[2].Type != "schedule.submitted" {
		t.Fatalf("events %v", types(got))
	}
	var submitted api.PipelineEvent
	if err := json.Unmarshal(got[0].Data, &submitted); err != nil || submitted.Pipeline != p.ID || submitted.Name != "nightly" || submitted.State != "running" {
		t.Errorf("%s, %v", got[0].Data, err)
	}
	var ran api.ScheduleEvent
	if err := json.Unmarshal(got[2].Data, &ran); err != nil || ran.Schedule != "hourly" || len(ran.Runs) != 1 || ran.Runs[0].JobID == "" {
		t.Errorf("%s, %v", got[2].Data, err)
	}
	other := s.as(api.NewToken{Name: "other", Role: "viewer", Namespaces: []string{"team-b"}})
	if got := s.all(other, filter); len(got) != 0 {
		t.Errorf("a token of another namespace sees %v", types(got))
	}
}
