package storetest

import (
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/store"
)

func testReincarnate(t *testing.T, open Opener) {
	c := newClient(t, open)
	before, err := c.Incarnation(c.ctx)
	c.must(err)
	r := c.open("r")
	renew := renewal(r)
	renew.Snapshot, renew.Inventoried = snapshot(100), true
	r, err = c.Renew(c.ctx, renew, c.now)
	c.must(err)
	lost := c.open("q")
	lost, err = c.ExpireSession(c.ctx, "q", lost.Epoch, lost.Renewals, c.now)
	c.must(err)
	j, old := c.submit(), renewal(r)
	events := len(c.events(store.EventQuery{}))

	c.pass(time.Hour)
	incarnation, err := c.Reincarnate(c.ctx, c.now)
	c.must(err)
	now, err := c.Incarnation(c.ctx)
	c.must(err)
	if incarnation == before || incarnation == "" || now != incarnation {
		t.Errorf("the incarnation was %q, should be %q and is %q", before, incarnation, now)
	}
	for _, want := range []*capacity.Region{&r, &lost} {
		want.Session, want.Sequence, want.Inventoried, want.AwaitedSince = "", 0, false, c.now
		got, err := c.Region(c.ctx, want.Name)
		c.must(err)
		c.same("a region after a restore", got, *want)
	}
	got, err := c.Job(c.ctx, j.ID)
	c.must(err)
	c.same("a job after a restore", got, j)
	if after := len(c.events(store.EventQuery{})); after != events {
		t.Errorf("%d events became %d by a restore", events, after)
	}

	// The session of before is over; a new one is awaited until it has sent
	// its inventory.
	_, err = c.Renew(c.ctx, old, c.now)
	c.want(err, store.ErrStaleSession)
	_, err = c.OpenSession(c.ctx, "r", "another", "session-2", c.now)
	c.want(err, store.ErrOtherCluster)
	r, err = c.OpenSession(c.ctx, "r", r.Cluster, "session-2", c.now)
	c.must(err)
	for i, inventoried := range []bool{false, true, false} {
		renew := renewal(r)
		renew.Inventoried = inventoried
		r, err = c.Renew(c.ctx, renew, c.now)
		c.must(err)
		if awaited := !r.AwaitedSince.IsZero(); awaited != (i == 0) {
			t.Errorf("after Sync %d the region is awaited: %t", i+1, awaited)
		}
	}
	stored, err := c.Region(c.ctx, "r")
	c.must(err)
	c.same("the region", stored, r)
}

func testWriteOff(t *testing.T, open Opener) {
	c := newClient(t, open)
	_, err := c.WriteOff(c.ctx, "nowhere", c.now)
	c.want(err, store.ErrNotFound)
	c.open("r")
	_, err = c.WriteOff(c.ctx, "r", c.now)
	c.want(err, store.ErrConflict)
	_, err = c.Reincarnate(c.ctx, c.now)
	c.must(err)
	c.pass(time.Minute)
	r, err := c.WriteOff(c.ctx, "r", c.now)
	c.must(err)
	if r.Lease != capacity.LeaseLost || !r.LostAt.Equal(c.now) || !r.AwaitedSince.IsZero() || r.Version != 2 {
		t.Errorf("a region that was written off is %s", text(r))
	}
	all := c.events(store.EventQuery{Subject: store.RegionSubject("r")})
	if last := all[len(all)-1]; last.Type != "region.written-off" || last.Number != 2 {
		t.Errorf("the last event is %s", text(last))
	}
	_, err = c.WriteOff(c.ctx, "r", c.now)
	c.want(err, store.ErrConflict)
	_, err = c.OpenSession(c.ctx, "r", "another", "session-2", c.now)
	c.must(err)
}
