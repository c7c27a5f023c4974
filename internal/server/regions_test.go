package server

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

func TestJobThroughARegion(t *testing.T) {
	s := start(t)
	a := s.openRegion(testRegion)
	j := s.submit()
	ref := a.claim()
	if ref.JobID != j.ID || ref.Attempt != 1 {
		t.Fatalf("claimed %+v", ref)
	}
	a.report(ref, "applied", "running", "succeeded")
	done, err := s.admin.Job(t.Context(), j.ID)
	if err != nil || done.State != "succeeded" || done.Region != testRegion || done.FinishedAt == nil {
		t.Errorf("job %+v, %v", done, err)
	}
	placed := false
	for _, transition := range done.History {
		placed = placed || transition.Decision != nil && transition.Decision.Region == testRegion
	}
	if !placed {
		t.Error("no transition has the decision")
	}
	if explanation, err := s.admin.ExplainJob(t.Context(), j.ID); err != nil || explanation.Summary == "" {
		t.Errorf("explain %+v, %v", explanation, err)
	}
	retry, err := s.admin.RetryJob(t.Context(), j.ID)
	if err != nil || retry.RetryOf != j.ID || retry.ID == j.ID {
		t.Errorf("retry %+v, %v", retry, err)
	}
	if _, err := s.admin.CancelJob(t.Context(), j.ID); !client.Is(err, api.ProblemNotPossible) {
		t.Errorf("cancelling a finished job: %v", err)
	}
	if _, err := s.admin.RetryJob(t.Context(), retry.ID); !client.Is(err, api.ProblemNotPossible) {
		t.Errorf("retrying an unfinished job: %v", err)
	}
	if err := s.admin.DeleteJob(t.Context(), retry.ID); !client.Is(err, api.ProblemNotPossible) {
		t.Errorf("deleting an unfinished job: %v", err)
	}
	if err := s.admin.DeleteJob(t.Context(), j.ID); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := s.admin.Job(t.Context(), j.ID); client.Status(err) != http.StatusNotFound {
		t.Errorf("deleted and read: %v", err)
	}
	stats, err := s.admin.Stats(t.Context())
	if err != nil || stats.LastHour["queued"] < 2 || stats.LastMinute["queued"] < 1 {
		t.Errorf("stats %+v, %v", stats, err)
	}
}

func TestRegions(t *testing.T) {
	spot := 0.1
	s := start(t, func(o *setUp) {
		o.Prices = func(string) map[string]api.Price { return map[string]api.Price{"cpu": {OnDemand: 0.5, Spot: &spot}} }
	})
	if list, err := s.admin.Regions(t.Context()); err != nil || list.Items == nil || len(list.Items) != 0 {
		t.Errorf("before any: %+v, %v", list, err)
	}
	if _, err := s.admin.Region(t.Context(), testRegion); client.Status(err) != http.StatusNotFound {
		t.Errorf("unknown region: %v", err)
	}
	if _, err := s.admin.Cordon(t.Context(), testRegion); client.Status(err) != http.StatusNotFound {
		t.Errorf("cordon of an unknown region: %v", err)
	}
	a := s.openRegion(testRegion)
	s.submit()
	a.claim()
	region, err := s.admin.Region(t.Context(), testRegion)
	if err != nil {
		t.Fatal(err)
	}
	if region.Lease != "live" || !region.Healthy || !region.Inventoried || region.Jobs["claimed"] != 1 ||
		region.Promised["cpu"] != 100 || region.Free["cpu"] != 4*64_000 || region.Prices["cpu"].OnDemand != 0.5 ||
		region.Capacity == nil || region.Capacity.Nodes[0].Count != 4 {
		t.Errorf("region %+v", region)
	}
	for _, step := range []struct {
		do                 func(context.Context, string) (api.Region, error)
		cordoned, draining bool
	}{{s.admin.Cordon, true, false}, {s.admin.Drain, true, true}, {s.admin.Uncordon, false, false}} {
		region, err := step.do(t.Context(), testRegion)
		if err != nil || region.Cordoned != step.cordoned || region.Draining != step.draining {
			t.Errorf("cordoned %v, draining %v, %v", region.Cordoned, region.Draining, err)
		}
	}
}

func TestSyncRefusals(t *testing.T) {
	s := start(t)
	a := s.openRegion(testRegion)
	old := a.session
	request := api.SyncRequest{Cluster: "cluster-" + testRegion, Session: old.Session, Epoch: old.Epoch, Sequence: 0}
	if _, err := a.Sync(t.Context(), testRegion, request); !client.Is(err, api.ProblemOldSequence) {
		t.Errorf("an old sequence: %v", err)
	}
	if _, err := a.Sync(t.Context(), testRegion, api.SyncRequest{Cluster: "another"}); !client.Is(err, api.ProblemOtherCluster) {
		t.Errorf("another cluster: %v", err)
	}
	a.open()
	request.Sequence = 100
	if _, err := a.Sync(t.Context(), testRegion, request); !client.Is(err, api.ProblemStaleSession) {
		t.Errorf("a stale session: %v", err)
	}
	for name, bad := range map[string]api.SyncRequest{
		"no cluster":     {},
		"negative start": {Cluster: "c", MaxStart: -1},
		"bad phase":      {Cluster: "c", Observations: []api.Observation{{AttemptRef: api.AttemptRef{JobID: "0", Attempt: 0}, Phase: "dead"}}},
		"negative nodes": {Cluster: "c", Capacity: &api.Snapshot{Nodes: []api.NodeShape{{Count: -1}}}},
	} {
		if _, err := a.Sync(t.Context(), testRegion, bad); !client.Is(err, api.ProblemInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLongPollEndsWithTheServer(t *testing.T) {
	s := start(t)
	a := s.openRegion(testRegion)
	polled := make(chan error, 1)
	go func() {
		_, err := a.Sync(context.Background(), testRegion, api.SyncRequest{
			Cluster: "cluster-" + testRegion, Session: a.session.Session, Epoch: a.session.Epoch, Sequence: 9, WaitSeconds: 3,
		})
		polled <- err
	}()
	eventually(t, func() bool { return s.counter("gco_syncs_total") == 3 })
	begin := time.Now()
	s.stop()
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("stopping took %s", took)
	}
	if err := <-polled; !client.Is(err, api.ProblemUnavailable) {
		t.Errorf("the poll ended with %v", err)
	}
}

// eventually waits for what no signal tells.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(10 * time.Second); !done(); <-again.C {
		if time.Now().After(end) {
			t.Fatal("it did not happen within 10 s")
		}
	}
}

// counter sums a metric over its labels.
func (s *system) counter(name string) float64 {
	s.t.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() == name {
			for _, metric := range family.GetMetric() {
				sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			}
		}
	}
	return sum
}
