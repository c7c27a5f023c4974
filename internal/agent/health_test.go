package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/api"
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
