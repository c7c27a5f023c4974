package storetest

import (
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/store"
)

func snapshot(cpu int64) *capacity.Snapshot {
	return &capacity.Snapshot{Nodes: []capacity.NodeShape{{
		Count: 3, Free: capacity.Resources{capacity.CPU: cpu}, Total: capacity.Resources{capacity.CPU: 8000},
		Labels: map[string]string{"zone": "a"}, Taints: []capacity.Taint{{Key: "gpu", Effect: "NoSchedule"}},
	}}}
}

// renewal is the next Sync of a region.
func renewal(r capacity.Region) store.Renewal {
	return store.Renewal{Region: r.Name, Session: r.Session, Epoch: r.Epoch, Sequence: r.Sequence + 1}
}

func testOpenSession(t *testing.T, open Opener) {
	c := newClient(t, open)
	r, err := c.OpenSession(c.ctx, "r", "cluster", "session-1", c.now)
	c.must(err)
	want := capacity.Region{
		Name: "r", Version: 1, Cluster: "cluster", Session: "session-1", Epoch: 1, Renewals: r.Renewals,
		Lease: capacity.LeaseLive, OpenedAt: c.now, RenewedAt: c.now,
	}
	c.same("a new region", r, want)
	stored, err := c.Region(c.ctx, "r")
	c.must(err)
	c.same("the region", stored, r)

	renew := renewal(r)
	renew.Snapshot, renew.Inventoried, renew.Unreachable = snapshot(100), true, true
	c.pass(time.Second)
	r, err = c.Renew(c.ctx, renew, c.now)
	c.must(err)
	_, err = c.OpenSession(c.ctx, "r", "another", "session-2", c.now)
	c.want(err, store.ErrOtherCluster)
	stored, err = c.Region(c.ctx, "r")
	c.must(err)
	c.same("the region that is held", stored, r)

	// The same cluster takes over, and begins anew.
	c.pass(time.Second)
	again, err := c.OpenSession(c.ctx, "r", "cluster", "session-3", c.now)
	c.must(err)
	if again.Epoch != 2 || again.Session != "session-3" || again.Inventoried || again.Sequence != 0 ||
		again.Version != 2 || !again.UnreachableSince.IsZero() || again.Renewals < r.Renewals {
		t.Errorf("the session after %s is %s", text(r), text(again))
	}
	_, err = c.Renew(c.ctx, renewal(r), c.now)
	c.want(err, store.ErrStaleSession)

	// When the lease is lost, another cluster may have the name.
	_, err = c.ExpireSession(c.ctx, "r", again.Epoch, again.Renewals, c.now)
	c.must(err)
	other, err := c.OpenSession(c.ctx, "r", "another", "session-4", c.now)
	c.must(err)
	if other.Epoch != 3 || other.Cluster != "another" || other.Lease != capacity.LeaseLive || !other.LostAt.IsZero() {
		t.Errorf("the session of another cluster is %s", text(other))
	}
	if len(other.Snapshot.Nodes) > 0 {
		t.Errorf("another cluster has the nodes of the one before: %s", text(other.Snapshot))
	}
}

func testRenew(t *testing.T, open Opener) {
	c := newClient(t, open)
	_, err := c.Renew(c.ctx, store.Renewal{Region: "r", Session: "s", Epoch: 1, Sequence: 1}, c.now)
	c.want(err, store.ErrStaleSession)
	r := c.open("r")
	events := len(c.events(store.EventQuery{}))

	c.pass(time.Second)
	renew := renewal(r)
	renew.Sequence, renew.Snapshot = 10, snapshot(100)
	got, err := c.Renew(c.ctx, renew, c.now)
	c.must(err)
	want := r
	want.Sequence, want.Renewals, want.RenewedAt = 10, r.Renewals+1, c.now
	want.Snapshot, want.SnapshotAt = *renew.Snapshot, c.now
	c.same("a renewed region", got, want)
	stored, err := c.Region(c.ctx, "r")
	c.must(err)
	c.same("the region", stored, want)

	// Without a snapshot the last one stays; the inventory is never taken
	// back; unreachable counts from the first time.
	at := c.now
	steps := []struct {
		unreachable, inventoried bool
		since                    time.Time
	}{{true, false, at.Add(time.Second)}, {true, true, at.Add(time.Second)}, {false, false, time.Time{}}, {true, false, at.Add(4 * time.Second)}}
	for i, step := range steps {
		c.pass(time.Second)
		next := renewal(got)
		next.Sequence = 10
		next.Unreachable, next.Inventoried = step.unreachable, step.inventoried
		got, err = c.Renew(c.ctx, next, c.now)
		c.must(err)
		want.Renewals, want.RenewedAt = want.Renewals+1, c.now
		want.UnreachableSince, want.Inventoried = step.since, i > 0
		c.same("a renewed region", got, want)
	}
	old := renewal(got)
	old.Sequence = 9
	_, err = c.Renew(c.ctx, old, c.now)
	c.want(err, store.ErrOldSequence)
	for _, stale := range []store.Renewal{
		{Region: "r", Session: "other", Epoch: got.Epoch, Sequence: 11},
		{Region: "r", Session: got.Session, Epoch: got.Epoch + 1, Sequence: 11},
		{Region: "q", Session: got.Session, Epoch: got.Epoch, Sequence: 11},
	} {
		_, err = c.Renew(c.ctx, stale, c.now)
		c.want(err, store.ErrStaleSession)
	}
	stored, err = c.Region(c.ctx, "r")
	c.must(err)
	c.same("the region after refusals", stored, want)

	next := renewal(got)
	next.Snapshot = snapshot(50)
	got, err = c.Renew(c.ctx, next, c.now)
	c.must(err)
	c.same("the next snapshot", got.Snapshot, snapshot(50))
	if after := len(c.events(store.EventQuery{})); after != events {
		t.Errorf("%d events became %d by renewals", events, after)
	}
	got, err = c.ExpireSession(c.ctx, "r", got.Epoch, got.Renewals, c.now)
	c.must(err)
	_, err = c.Renew(c.ctx, renewal(got), c.now)
	c.want(err, store.ErrStaleSession)
}

func testExpireSession(t *testing.T, open Opener) {
	c := newClient(t, open)
	_, err := c.ExpireSession(c.ctx, "nowhere", 1, 1, c.now)
	c.want(err, store.ErrNotFound)
	seen := c.open("r")
	c.pass(time.Minute)
	renewed, err := c.Renew(c.ctx, renewal(seen), c.now)
	c.must(err)
	for _, stale := range []capacity.Region{
		seen,
		{Epoch: renewed.Epoch + 1, Renewals: renewed.Renewals},
		{Epoch: renewed.Epoch - 1, Renewals: renewed.Renewals},
	} {
		_, err = c.ExpireSession(c.ctx, "r", stale.Epoch, stale.Renewals, c.now)
		c.want(err, store.ErrConflict)
	}
	lost, err := c.ExpireSession(c.ctx, "r", renewed.Epoch, renewed.Renewals, c.now)
	c.must(err)
	want := renewed
	want.Lease, want.LostAt, want.Version = capacity.LeaseLost, c.now, 2
	c.same("a lost region", lost, want)
	_, err = c.ExpireSession(c.ctx, "r", lost.Epoch, lost.Renewals, c.now)
	c.want(err, store.ErrConflict)
}

func testSetSchedulable(t *testing.T, open Opener) {
	c := newClient(t, open)
	_, err := c.SetSchedulable(c.ctx, "nowhere", true, false, c.now)
	c.want(err, store.ErrNotFound)
	c.open("r")
	kinds := []string{"region.opened"}
	for _, step := range []struct {
		cordoned, draining bool
		event              string
	}{
		{false, false, ""},
		{true, false, "region.cordoned"},
		{true, false, ""},
		{true, true, "region.draining"},
		{false, true, "region.draining"},
		{true, false, "region.cordoned"},
		{false, false, "region.uncordoned"},
	} {
		r, err := c.SetSchedulable(c.ctx, "r", step.cordoned, step.draining, c.now)
		c.must(err)
		if step.event != "" {
			kinds = append(kinds, step.event)
		}
		if r.Cordoned != step.cordoned || r.Draining != step.draining || r.Version != int64(len(kinds)) {
			t.Errorf("after %+v the region is %s", step, text(r))
		}
	}
	var got []string
	for i, e := range c.events(store.EventQuery{Subject: store.RegionSubject("r")}) {
		got = append(got, e.Type)
		if e.Number != int64(i+1) {
			t.Errorf("event %d has number %d", i+1, e.Number)
		}
	}
	c.same("the events", got, kinds)
	// The flags outlive a session.
	_, err = c.SetSchedulable(c.ctx, "r", true, true, c.now)
	c.must(err)
	if r := c.open("r"); !r.Cordoned || !r.Draining {
		t.Errorf("a new session changed the operator's flags: %s", text(r))
	}
}

func testSetBackoff(t *testing.T, open Opener) {
	c := newClient(t, open)
	backoff := capacity.Backoff{Kind: capacity.NoCapacity, Failures: 2, Since: c.now, Until: c.now.Add(time.Minute), Message: "no nodes"}
	c.want(c.SetBackoff(c.ctx, "nowhere", capacity.CPU, backoff), store.ErrNotFound)
	c.open("r")
	longer := backoff
	longer.Failures, longer.Until = 3, c.now.Add(time.Hour)
	c.must(c.SetBackoff(c.ctx, "r", "nvidia.com/gpu", backoff))
	c.must(c.SetBackoff(c.ctx, "r", capacity.CPU, backoff))
	c.must(c.SetBackoff(c.ctx, "r", "nvidia.com/gpu", longer))
	r, err := c.Region(c.ctx, "r")
	c.must(err)
	c.same("the back-offs", r.Backoffs, map[string]capacity.Backoff{"nvidia.com/gpu": longer, capacity.CPU: backoff})
	c.must(c.SetBackoff(c.ctx, "r", capacity.CPU, capacity.Backoff{}))
	c.must(c.SetBackoff(c.ctx, "r", "never-set", capacity.Backoff{}))
	r, err = c.Region(c.ctx, "r")
	c.must(err)
	c.same("the back-offs", r.Backoffs, map[string]capacity.Backoff{"nvidia.com/gpu": longer})
	if r.Version != 1 {
		t.Errorf("a back-off is no event, and the region is at version %d", r.Version)
	}
	if again := c.open("r"); len(again.Backoffs) != 1 {
		t.Errorf("a new session forgot the back-offs: %s", text(again))
	}
}

func testRegions(t *testing.T, open Opener) {
	c := newClient(t, open)
	all, err := c.Regions(c.ctx)
	c.must(err)
	if len(all) != 0 {
		t.Errorf("%d regions in an empty store", len(all))
	}
	var want []capacity.Region
	for i, name := range []string{"us-west-2", "ap-south-1", "eu-west-1"} {
		renew := renewal(c.open(name))
		renew.Snapshot = snapshot(int64(i))
		r, err := c.Renew(c.ctx, renew, c.now)
		c.must(err)
		want = append(want, r)
	}
	all, err = c.Regions(c.ctx)
	c.must(err)
	c.same("regions", all, []capacity.Region{want[1], want[2], want[0]})
}
