package storetest

import (
	"testing"
	"time"

	"github.com/gco-project/gco/internal/store"
)

func testTokens(t *testing.T, open Opener) {
	c := newClient(t, open)
	ci := store.Token{ID: "2", Name: "ci", Hash: "aa", Role: "submitter", Namespaces: []string{"team-a"}, CreatedAt: c.now, ExpiresAt: c.now.Add(time.Hour)}
	agent := store.Token{ID: "1", Name: "agent", Hash: "bb", Role: "agent", Region: "r", Endpoints: []string{"e"}, CreatedAt: c.now}
	c.must(c.CreateToken(c.ctx, ci))
	c.must(c.CreateToken(c.ctx, agent))
	c.want(c.CreateToken(c.ctx, store.Token{ID: "3", Name: "ci", Hash: "cc"}), store.ErrConflict)
	_, err := c.TokenByHash(c.ctx, "cc")
	c.want(err, store.ErrNotFound)

	got, err := c.TokenByHash(c.ctx, "aa")
	c.must(err)
	c.same("a token", got, ci)
	all, err := c.Tokens(c.ctx)
	c.must(err)
	c.same("tokens", all, []store.Token{agent, ci})

	c.must(c.DeleteToken(c.ctx, "2"))
	c.want(c.DeleteToken(c.ctx, "2"), store.ErrNotFound)
	_, err = c.TokenByHash(c.ctx, "aa")
	c.want(err, store.ErrNotFound)
	ci.Hash = "dd"
	c.must(c.CreateToken(c.ctx, ci))
	got, err = c.TokenByHash(c.ctx, "dd")
	c.must(err)
	c.same("a token whose name came free", got, ci)
}

func testLeaderLease(t *testing.T, open Opener) {
	c := newClient(t, open)
	free, err := c.LeaderLease(c.ctx, "leader")
	c.must(err)
	if free.Holder != "" {
		t.Errorf("%s holds a lease that nobody took", free.Holder)
	}
	first, err := c.TakeLease(c.ctx, "leader", "a", free.Renewals)
	c.must(err)
	if first.Name != "leader" || first.Holder != "a" || first.Renewals <= free.Renewals {
		t.Errorf("the lease that was taken is %s", text(first))
	}
	_, err = c.TakeLease(c.ctx, "leader", "b", free.Renewals)
	c.want(err, store.ErrConflict)
	renewed, err := c.TakeLease(c.ctx, "leader", "a", first.Renewals)
	c.must(err)
	for _, seen := range []int64{first.Renewals, renewed.Renewals + 1} {
		_, err = c.TakeLease(c.ctx, "leader", "b", seen)
		c.want(err, store.ErrConflict)
	}
	taken, err := c.TakeLease(c.ctx, "leader", "b", renewed.Renewals)
	c.must(err)
	if taken.Holder != "b" || taken.Renewals <= renewed.Renewals || renewed.Renewals <= first.Renewals {
		t.Errorf("a lease went from %s to %s", text(renewed), text(taken))
	}
	stored, err := c.LeaderLease(c.ctx, "leader")
	c.must(err)
	c.same("the lease", stored, taken)
	other, err := c.LeaderLease(c.ctx, "other")
	c.must(err)
	if other.Holder != "" {
		t.Errorf("%s holds another lease", other.Holder)
	}
}

func testIncarnation(t *testing.T, open Opener) {
	c := newClient(t, open)
	first, err := c.Incarnation(c.ctx)
	c.must(err)
	again, err := c.Incarnation(c.ctx)
	c.must(err)
	other, err := open(t).Incarnation(c.ctx)
	c.must(err)
	if first == "" || again != first || other == first {
		t.Errorf("the incarnation is %q, then %q, and %q in another store", first, again, other)
	}
	c.must(c.Ping(c.ctx))
}
