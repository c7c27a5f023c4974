package queue

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// stallingStore lets a test do something while a read is under way.
type stallingStore struct {
	store.Store
	regions func()
	lease   func()
	placed  func(region string) error
}

func (s *stallingStore) Regions(ctx context.Context) ([]capacity.Region, error) {
	if s.regions != nil {
		s.regions()
	}
	return s.Store.Regions(ctx)
}

func (s *stallingStore) LeaderLease(ctx context.Context, name string) (store.LeaderLease, error) {
	if s.lease != nil {
		s.lease()
	}
	return s.Store.LeaderLease(ctx, name)
}

func (s *stallingStore) Placed(ctx context.Context, region string, after store.Position, limit int) ([]job.Job, error) {
	if s.placed != nil {
		if err := s.placed(region); err != nil {
			return nil, err
		}
	}
	return s.Store.Placed(ctx, region, after, limit)
}

// TestSlowReadIsNoSilence: a region renews while the rescuer's read of it
// stalls. What counts is when the renewal was seen, not when the read began.
func TestSlowReadIsNoSilence(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	stall := f.Timing.Takeover - time.Second
	stalling := &stallingStore{Store: f.Store}
	f.Store = stalling
	stalling.regions = func() {
		stalling.regions = nil
		f.clock.Step(stall)
		r.mustSync()
	}
	if err := f.rescuer.runOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The agent trusts its session for longer than this.
	f.clock.Step(f.Timing.Trust - time.Millisecond)
	if err := f.rescuer.runOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lease := f.region("east").Lease; lease != capacity.LeaseLive {
		t.Errorf("the region is %s while its agent acts", lease)
	}
}

// TestSlowReadTakesNoLease is the same for the leader's lease.
func TestSlowReadTakesNoLease(t *testing.T) {
	first := newFixture(t, func(o *Options) { o.Holder = "first" })
	stalling := &stallingStore{Store: first.Store}
	second := newFixtureOn(t, stalling, first.clock, func(o *Options) { o.Holder = "second" })
	first.clock.Step(time.Second)
	stalling.lease = func() {
		stalling.lease = nil
		first.clock.Step(first.Timing.Lease - time.Second)
		if err := first.leader.runOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := second.leader.runOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if first.Leading() && second.Leading() {
			t.Fatal("two leaders")
		}
		first.clock.Step(time.Second)
	}
}

// TestTroubleWithOneRegionStopsNoOther: nor the deadlines.
func TestTroubleWithOneRegionStopsNoOther(t *testing.T) {
	f := newFixture(t)
	for _, region := range []string{"east", "west"} {
		f.open(region, 1)
	}
	j := f.submit(func(s *api.Submission) { s.Placement = &api.Placement{Regions: []string{"west"}} })
	f.step()
	f.wantState(j.ID, job.Placed)
	late := f.submit(func(s *api.Submission) { s.Deadline, s.Placement = "1ns", &api.Placement{Regions: []string{"nowhere"}} })
	f.clock.Step(time.Millisecond)
	for _, region := range []string{"east", "west"} {
		if _, err := f.Cordon(t.Context(), region); err != nil {
			t.Fatal(err)
		}
	}
	trouble := errors.New("the records of this region cannot be read")
	f.Store = &stallingStore{Store: f.Store, placed: func(region string) error {
		if region == "east" {
			return trouble
		}
		return nil
	}}
	if err := f.rescuer.runOnce(t.Context()); !errors.Is(err, trouble) {
		t.Errorf("the round says %v", err)
	}
	f.wantState(j.ID, job.Queued)
	f.wantState(late.ID, job.Failed)
}
