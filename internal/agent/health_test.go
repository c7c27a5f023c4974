package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/runtime"
)

// TestHealthIsWhatAnotherRegionWouldDoBetter goes through the life of a
// session.
func TestHealthIsWhatAnotherRegionWouldDoBetter(t *testing.T) {
	driven, clock := newFakeRuntime(), clocktesting.NewFakeClock(time.Now())
	a := New(Options{Region: "east", Runtime: driven, Server: newFakeServer(), Clock: clock})
	expect := func(when, status, failing string) {
		t.Helper()
		health := a.Health(t.Context())
		if health.Status != status {
			t.Errorf("%s: %+v", when, health)
		}
		for _, check := range health.Checks {
			if (check.Status != "ok") != (check.Name == failing) || (check.Status != "ok") != (check.Message != "") {
				t.Errorf("%s: %+v", when, check)
			}
		}
	}
	expect("before a session", "failed", "agent")
	begun := clock.Now()
	a.Absorb(context.Background(), api.SyncRequest{}, good, begun)
	expect("with a session", "ok", "")
	driven.mu.Lock()
	driven.capacityErr = errors.New("connection refused")
	driven.mu.Unlock()
	expect("without its cluster", "failed", "cluster")
	driven.mu.Lock()
	driven.capacityErr = nil
	driven.mu.Unlock()
	clock.Step(90 * time.Second)
	expect("after a long silence", "failed", "agent")
}

// crowded is a runtime that says more of its region.
type crowded struct {
	*fakeRuntime
	conditions []runtime.Condition
}

func (c crowded) Conditions(context.Context) []runtime.Condition { return c.conditions }

func TestHealthTellsWhatTheRuntimeSaysOfItsRegion(t *testing.T) {
	room := runtime.Condition{Name: "room", Status: runtime.StatusDegraded, Message: "it is full"}
	nodes := runtime.Condition{Name: "nodes", Status: runtime.StatusFailed}
	for _, test := range []struct {
		conditions []runtime.Condition
		want       string
	}{
		{nil, "ok"},
		{[]runtime.Condition{room}, "degraded"},
		{[]runtime.Condition{room, nodes}, "failed"},
		{[]runtime.Condition{nodes, room}, "failed"},
	} {
		a := New(Options{Runtime: crowded{newFakeRuntime(), test.conditions}})
		a.id, a.trustUntil = "session", a.Clock.Now().Add(time.Hour)
		health := a.Health(t.Context())
		if health.Status != test.want || len(health.Checks) != 2+len(test.conditions) {
			t.Errorf("with %v: %+v, want %s", test.conditions, health, test.want)
		}
	}
}
