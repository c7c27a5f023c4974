package queue

import (
	"context"
	"errors"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// partialStore writes the first change of a call only, and fails with the rest.
type partialStore struct {
	store.Store
	failure error
}

func (s *partialStore) Commit(ctx context.Context, guard *store.Guard, changes []store.Change) ([]error, error) {
	if s.failure == nil {
		return s.Store.Commit(ctx, guard, changes)
	}
	errs, err := s.Store.Commit(ctx, guard, changes[:1])
	for range changes[1:] {
		errs = append(errs, s.failure)
	}
	return errs, err
}

// TestReportThatIsWrittenInPartIsRepeated: an agent may forget what it reported
// only when all of it was written.
func TestReportThatIsWrittenInPartIsRepeated(t *testing.T) {
	for _, failure := range []error{store.ErrThrottled, store.ErrUnavailable, store.ErrUnknown, store.ErrStaleSession} {
		f := newFixture(t)
		r := f.open("east", 2)
		one, two := f.submit(), f.submit()
		f.step()
		r.mustSync()
		var ended []api.Observation
		for _, start := range r.response.Start {
			ended = append(ended, api.Observation{AttemptRef: start.AttemptRef, Phase: "succeeded"})
		}
		if len(ended) != 2 {
			t.Fatalf("%d attempts were started", len(ended))
		}
		partial := &partialStore{Store: f.Store, failure: failure}
		f.Store = partial
		r.request.Observations = ended
		if err := r.sync(); !errors.Is(err, failure) {
			t.Errorf("the answer to a report of which a part was not written is %v instead of %v", err, failure)
		}
		partial.failure = nil
		r.mustSync()
		for _, id := range []job.ID{one.ID, two.ID} {
			f.wantState(id, job.Succeeded)
		}
	}
}
