package dynamodb_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/dynamodb/dynamotest"
)

var nowhere store.Position

// TestNothingScans goes through all that requests and loops ask for: none is a
// Scan.
func TestNothingScans(t *testing.T) {
	e := dynamotest.Start(t, dynamotest.Dynoxide)
	w := newWire(e)
	s := opened(t, e, w)
	var batch []store.Submission
	for range 60 {
		batch = append(batch, submission(""))
	}
	var changes []store.Change
	for i, made := range insert(t, s, batch...) {
		if i%2 == 0 {
			changes = append(changes, change(t, made.Job, job.Event{Kind: job.Place, Region: "r"}))
		}
	}
	commit(t, s, changes...)
	ctx, now := t.Context(), time.Now()
	class := batch[0].Job.Spec.Class
	_, err := s.OpenSession(ctx, "r", "cluster", "session", now)
	for _, do := range []func() error{
		func() error { _, err := s.Wake(ctx, now); return err },
		func() error { _, err := s.WaitingClasses(ctx, nowhere, 1000); return err },
		func() error { _, err := s.Waiting(ctx, class, nowhere, 100); return err },
		func() error { _, err := s.Promises(ctx); return err },
		func() error {
			_, err := s.Ahead(ctx, store.Position{ID: batch[50].Job.ID}, 1000)
			return err
		},
		func() error { _, err := s.Placed(ctx, "r", nowhere, 100); return err },
		func() error { _, err := s.PlacedSince(ctx, now, 100); return err },
		func() error { _, err := s.Attempts(ctx, "r", "", 100); return err },
		func() error { _, err := s.AttemptsByPriority(ctx, "r", 100); return err },
		func() error { _, err := s.Claimed(ctx, "r", "", 100); return err },
		func() error { _, err := s.Unwanted(ctx, "r", "", 100); return err },
		func() error { _, err := s.Suspended(ctx, now, 100); return err },
		func() error { _, err := s.Overdue(ctx, now, 100); return err },
		func() error { _, err := s.Expired(ctx, now, 100); return err },
		func() error { _, err := s.Regions(ctx); return err },
		func() error { _, err := s.OldestEvent(ctx); return err },
		func() error { _, err := s.Throughput(ctx, now); return err },
		func() error { _, err := s.OldestWaiting(ctx); return err },
		func() error { _, err := s.Tokens(ctx); return err },
		func() error { _, err := s.Templates(ctx, "", 100); return err },
		func() error { _, err := s.Webhooks(ctx); return err },
		func() error { _, err := s.Backlogs(ctx); return err },
		func() error { _, err := s.Pipelines(ctx, store.PipelineQuery{Limit: 10}); return err },
		func() error { _, err := s.Schedules(ctx, store.ScheduleQuery{Limit: 10}); return err },
		func() error { _, err := s.PruneRegionEvents(ctx, now, 10); return err },
		func() error { _, err := s.PruneDeliveries(ctx, now, 10); return err },
		func() error { _, err := s.History(ctx, batch[0].Job.ID); return err },
		func() error { _, _, err := s.Events(ctx, store.EventQuery{Limit: 10}); return err },
		func() error { _, err := s.List(ctx, store.ListQuery{Limit: 10}); return err },
	} {
		err = errors.Join(err, do())
	}
	if err != nil {
		t.Error(err)
	}
	if n := w.counted()["Scan"]; n != 0 {
		t.Errorf("%d scans", n)
	}
}

// TestIdleWritesLittle counts what three regions write that have nothing to do,
// in as many rounds of Sync and of the loops as two minutes have.
func TestIdleWritesLittle(t *testing.T) {
	const minutes, regions = 2, 3
	e := dynamotest.Start(t, dynamotest.Dynoxide)
	w := newWire(e)
	s := opened(t, e, w)
	ctx, now := t.Context(), time.Now()
	var sessions []capacity.Region
	for n := range regions {
		r, err := s.OpenSession(ctx, fmt.Sprint("r", n), "cluster", fmt.Sprint("session", n), now)
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, r)
	}
	if _, err := s.Counts(ctx); err != nil {
		t.Fatal(err)
	}
	writes := func() int {
		calls := w.counted()
		return calls["PutItem"] + calls["UpdateItem"] + calls["DeleteItem"] + 1000*(calls["TransactWriteItems"]+calls["BatchWriteItem"])
	}
	before, lease := writes(), int64(0)
	for second := range minutes * 60 {
		var err error
		if second%10 == 0 {
			for i, r := range sessions {
				if sessions[i], err = s.Renew(ctx, store.Renewal{Region: r.Name, Session: r.Session, Epoch: r.Epoch, Sequence: r.Sequence + 1}, now); err != nil {
					t.Fatal(err)
				}
			}
			err = s.Ping(ctx)
		}
		if second%30 == 0 {
			taken, failed := s.TakeLease(ctx, "queue", "me", lease)
			lease, err = taken.Renewals, errors.Join(err, failed)
		}
		_, waking := s.Wake(ctx, now)
		_, classes := s.WaitingClasses(ctx, nowhere, 1000)
		_, overdue := s.Overdue(ctx, now, 100)
		_, counts := s.Counts(ctx)
		_, _, watched := s.Events(ctx, store.EventQuery{Limit: 10})
		_, pruned := s.PruneRegionEvents(ctx, now.Add(-time.Hour), 10)
		if err = errors.Join(err, waking, classes, overdue, counts, watched, pruned); err != nil {
			t.Fatal(err)
		}
	}
	perSecond := float64(writes()-before) / (minutes * 60) / regions
	t.Logf("%.2f items of less than 1 KB written a second and region", perSecond)
	if perSecond >= 1 {
		t.Errorf("%.2f writes a second and region", perSecond)
	}
}
