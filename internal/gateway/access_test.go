package gateway

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"
)

// guard lets in whoever says "yes".
type guard struct {
	asked int
	down  error
}

func (g *guard) Allow(_ context.Context, authorization, _ string) error {
	g.asked++
	switch {
	case g.down != nil:
		return g.down
	case authorization != "yes":
		return &Refusal{Problem: refuse(http.StatusUnauthorized, "about:blank", "No", "no").Problem, Challenge: "Bearer"}
	}
	return nil
}

func TestAccessIsAskedForUnlessOpen(t *testing.T) {
	r := newReplica(t, says("ok"))
	e := at(r.address())
	e.Open = false
	url := open(t, newGateway(t, Options{Access: &guard{}}, e)) + "/inference/e/"
	if got := send(t, http.MethodGet, url, "", "Authorization", "no"); got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("%d %v", got.status, got.header)
	}
	if got := send(t, http.MethodGet, url, "", "Authorization", "yes"); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	if n := r.served.Load(); n != 1 {
		t.Errorf("the replica saw %d requests", n)
	}
}

func TestAnswersOfAccessAreRemembered(t *testing.T) {
	clock := testclock.NewFakePassiveClock(time.Now())
	g := &guard{}
	c := NewCachedAccess(g, clock)
	ask := func(authorization, endpoint string) error { return c.Allow(t.Context(), authorization, endpoint) }
	for range 3 {
		if err := ask("yes", "e"); err != nil {
			t.Fatal(err)
		}
		if _, refused := errors.AsType[*Refusal](ask("no", "e")); !refused {
			t.Fatal("let in")
		}
	}
	if g.asked != 2 {
		t.Errorf("asked %d times", g.asked)
	}
	if err := ask("yes", "other"); err != nil || g.asked != 3 {
		t.Errorf("another endpoint: %v, asked %d times", err, g.asked)
	}
	clock.SetTime(clock.Now().Add(allowedFor))
	if err := ask("yes", "e"); err != nil || g.asked != 4 {
		t.Errorf("later: %v, asked %d times", err, g.asked)
	}
	g.down = errors.New("down")
	clock.SetTime(clock.Now().Add(allowedFor))
	if err := ask("yes", "e"); err != nil {
		t.Errorf("nobody can be asked, and a token that was good is refused: %v", err)
	}
	if err := ask("no", "e"); !errors.Is(err, g.down) {
		t.Errorf("nobody can be asked about a token that was not good: %v", err)
	}
	clock.SetTime(clock.Now().Add(allowedLast))
	if err := ask("yes", "e"); !errors.Is(err, g.down) {
		t.Errorf("an hour later: %v", err)
	}
}
