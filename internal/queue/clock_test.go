package queue

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/manifest"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/store/sqlite"
)

// jumpingClock is the real clock on a host whose time of day is set back and
// forth, as a bad time server does; its monotonic clock goes on.
type jumpingClock struct {
	clock.RealClock
	days atomic.Int64
}

// Now shifts the wall reading and keeps the monotonic one. time.Time holds
// the seconds of a wall reading that has a monotonic one beside it in the
// bits from 30 up of its first word.
func (c *jumpingClock) Now() time.Time {
	now := time.Now()
	wall := (*uint64)(unsafe.Pointer(&now))
	*wall += uint64(c.days.Load()*24*60*60) << 30
	return now
}

func TestClockOfTheTestJumpsAsItShould(t *testing.T) {
	c := &jumpingClock{}
	before := c.Now()
	c.days.Store(-3)
	after := c.Now()
	if elapsed := after.Sub(before); elapsed < 0 || elapsed > time.Hour {
		t.Errorf("%s passed on the monotonic clock", elapsed)
	}
	if shift := after.Round(0).Sub(before.Round(0)); shift > -71*time.Hour || shift < -73*time.Hour {
		t.Errorf("the time of day moved by %s, want -72h", shift)
	}
}

// TestClockJumpsEndNoLease sets the time of day back and forth by days while
// a region runs a job: nobody may lose a lease, nothing may be given away.
func TestClockJumpsEndNoLease(t *testing.T) {
	backing, err := sqlite.OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer backing.Close()
	jumping := &jumpingClock{}
	rounds := make(chan struct{})
	// Each round of the rescuer reads the regions, and waits until the test
	// has seen it.
	watched := &stallingStore{Store: backing}
	q := New(Options{
		Store: watched, Clock: jumping, Holder: "test",
		Timing:    Timing{Trust: 20 * time.Second, Lease: 30 * time.Second, Takeover: time.Minute, Tick: 2 * time.Millisecond},
		Admission: manifest.DefaultPolicy(), Placement: placement.DefaultPolicy(),
	})
	f := &fixture{Queue: q, t: t}
	f.step()
	r := f.open("east", 1)
	j := f.submit()
	attempt := r.run(j.ID, job.Running)

	ctx, cancel := context.WithCancel(t.Context())
	watched.regions = func() {
		select {
		case rounds <- struct{}{}:
		case <-ctx.Done():
		}
	}
	stopped := make(chan error)
	go func() { stopped <- q.Run(ctx) }()
	for range 50 {
		jumping.days.Store(rand.Int64N(100) - 50)
		r.observe(attempt, "running")
		// A round that had begun before may not have seen the jump.
		<-rounds
		<-rounds
		if !q.Leading() {
			t.Fatal("the leader lost its lease")
		}
		if lease := f.region("east").Lease; lease != capacity.LeaseLive {
			t.Fatalf("the region's lease is %s", lease)
		}
		f.wantState(j.ID, job.Running)
	}
	cancel()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	r.observe(attempt, "succeeded")
	f.wantState(j.ID, job.Succeeded)
}
