package queue

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

func TestCancelAtEveryState(t *testing.T) {
	for _, state := range []job.State{job.Queued, job.Placed, job.Claimed, job.Pending, job.Running} {
		t.Run(string(state), func(t *testing.T) {
			f := newFixture(t)
			r := f.open("east", 1)
			j := f.submit()
			attempt := r.run(j.ID, state)
			if _, err := f.Cancel(t.Context(), j.ID); err != nil {
				t.Fatal(err)
			}
			if state.Active() {
				f.wantState(j.ID, state)
				stops := r.mustSync().Stop
				if len(stops) != 1 || attemptID(stops[0].AttemptRef) != attempt || stops[0].Reason != "cancel" {
					t.Fatalf("answer stops %+v, want %v", stops, attempt)
				}
				// A report from before the stop does not take the cancel back.
				r.observe(attempt, "running")
				r.observe(attempt, "stopped")
			}
			f.wantState(j.ID, job.Cancelled)
			if _, err := f.Cancel(t.Context(), j.ID); !isNotAllowed(err) {
				t.Errorf("cancelling again: %v, want NotAllowed", err)
			}
			f.step()
			if answer := r.mustSync(); len(answer.Start)+len(answer.Stop) > 0 {
				t.Errorf("after the end the answer still has work: %+v", answer)
			}
		})
	}
}

func TestCancelTwiceWhileStopping(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	j := f.submit()
	r.run(j.ID, job.Running)
	for range 2 {
		if _, err := f.Cancel(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.job(j.ID); got.Intent != job.Stop || got.Version != 6 {
		t.Errorf("intent %s at version %d, want one change to stop", got.Intent, got.Version)
	}
}

func TestSuccessBeatsAStopThatCameTooLate(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	j := f.submit()
	attempt := r.run(j.ID, job.Running)
	if _, err := f.Cancel(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	r.observe(attempt, "succeeded")
	f.wantState(j.ID, job.Succeeded)
}

func TestRetryMakesANewJobThatNamesItsOrigin(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	j := f.submit(func(s *api.Submission) { s.Labels = map[string]string{"team": "vision"} })
	if _, err := f.Retry(t.Context(), "bob", j.ID); !isNotAllowed(err) {
		t.Errorf("retrying a queued job: %v, want NotAllowed", err)
	}
	r.run(j.ID, job.Failed)
	again, err := f.Retry(t.Context(), "bob", j.ID)
	if err != nil {
		t.Fatal(err)
	}
	if again.ID == j.ID || again.Spec.RetryOf != j.ID || again.Spec.Labels["team"] != "vision" || again.Spec.SubmittedBy != "bob" {
		t.Errorf("retry made %+v", again)
	}
	r.run(again.ID, job.Succeeded)
	f.wantState(j.ID, job.Failed)
}

func TestDeleteOnlyWhenTerminal(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	j := f.submit()
	if err := f.Delete(t.Context(), j.ID); !isNotAllowed(err) {
		t.Errorf("deleting a queued job: %v, want NotAllowed", err)
	}
	r.run(j.ID, job.Succeeded)
	if err := f.Delete(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Store.Job(t.Context(), j.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after the delete: %v", err)
	}
	if err := f.Delete(t.Context(), j.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleting again: %v", err)
	}
}

func TestOneKeyFromAHundredClientsIsOneJob(t *testing.T) {
	f := newFixture(t)
	submission := Submission{Identity: "ann", Key: "once", Request: api.Submission{Manifest: manifestOf("work", "1")}}
	results := make([]Submitted, 100)
	var clients sync.WaitGroup
	for i := range results {
		clients.Go(func() { results[i] = f.Submit(t.Context(), []Submission{submission})[0] })
	}
	clients.Wait()
	created := 0
	for _, r := range results {
		if r.Err != nil || r.Job.ID != results[0].Job.ID {
			t.Fatalf("got job %s, %v; want %s", r.Job.ID, r.Err, results[0].Job.ID)
		}
		if r.Created {
			created++
		}
	}
	if created != 1 {
		t.Errorf("%d clients were told that they made the job", created)
	}
	other := submission
	other.Request.Manifest = manifestOf("other", "1")
	if r := f.Submit(t.Context(), []Submission{other})[0]; !errors.Is(r.Err, store.ErrKeyReused) {
		t.Errorf("the key with another body: %v", r.Err)
	}
	// The same body in other words is the same body.
	same := submission
	same.Request.Manifest = fmt.Appendf(nil, "%q", "# in YAML\n"+string(manifestOf("work", "1000m")))
	same.Request.Priority = new(int)
	if r := f.Submit(t.Context(), []Submission{same})[0]; r.Err != nil && !errors.Is(r.Err, store.ErrKeyReused) {
		t.Errorf("the key with another spelling: %v", r.Err)
	}
}

func TestSubmissionLimits(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Limits = Limits{QueuedPerNamespace: 3, SubmissionsPerSecond: 1, SubmissionBurst: 5}
	})
	submission := Submission{Identity: "ann", Request: api.Submission{Manifest: manifestOf("work", "1")}}
	var full, fast *Limited
	for range 3 {
		f.submit()
	}
	if r := f.Submit(t.Context(), []Submission{submission})[0]; !errors.As(r.Err, &full) || full.RetryAfter <= 0 {
		t.Errorf("a fourth job in a namespace of three: %v", r.Err)
	}
	f.Submit(t.Context(), []Submission{submission})
	if r := f.Submit(t.Context(), []Submission{submission})[0]; !errors.As(r.Err, &fast) || fast.RetryAfter < time.Second {
		t.Errorf("a sixth submission at once: %v", r.Err)
	}
	submission.Identity = "bob"
	if r := f.Submit(t.Context(), []Submission{submission})[0]; errors.As(r.Err, &fast) && fast.Message != full.Message {
		t.Errorf("another identity: %v", r.Err)
	}
}

func TestInvalidSubmissionsNameEveryFault(t *testing.T) {
	f := newFixture(t)
	priority := -1
	result := f.Submit(t.Context(), []Submission{{Identity: "ann", Request: api.Submission{
		Manifest: manifestOf("work", "1"), Priority: &priority, Deadline: "soon", OnRegionLost: "panic",
		Placement: &api.Placement{Regions: []string{"Nowhere!"}},
	}}})[0]
	var invalid *job.Invalid
	if !errors.As(result.Err, &invalid) {
		t.Fatalf("got %v, want Invalid", result.Err)
	}
	for _, field := range []string{"priority", "deadline", "onRegionLost", "placement.regions[0]"} {
		found := false
		for _, fault := range invalid.Faults {
			found = found || fault.Field == field
		}
		if !found {
			t.Errorf("no fault for %s in %+v", field, invalid.Faults)
		}
	}
	page, err := f.Store.List(t.Context(), store.ListQuery{Limit: 10})
	if err != nil || len(page.Jobs) > 0 {
		t.Errorf("stored %d jobs, %v", len(page.Jobs), err)
	}
}

func isNotAllowed(err error) bool {
	_, ok := errors.AsType[*job.NotAllowed](err)
	return ok
}
