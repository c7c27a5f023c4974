package config_test

import (
	"testing"
	"time"

	"github.com/gco-project/gco/internal/config"
)

func TestTimingKeepsItsOrderInBothRoles(t *testing.T) {
	for _, test := range []struct{ text, fault string }{
		{"timing: {}", ""},
		{"timing: {lease: 60s, trust: 45s, takeover: 80s}", ""},
		{"timing: {lease: 60s}", "timing.trust: must be shorter than lease; in gco server they are 1m30s and 1m0s"},
		{"timing: {trust: 30s}", "in gco up they are 30s and 10s"},
		{"timing: {takeover: 100s}", "timing.takeover: must be longer than lease; in gco server"},
		{"timing: {longPoll: 4s}", "timing.longPoll: must be at most half of trust; in gco up"},
		{"timing: {lease: 2h}", "timing.lease: must be at most 1h"},
		{"timing: {lease: -1s}", "timing.lease: must be at least 0s"},
		{"timing: {recoveryRate: -1}", "timing.recoveryRate: must be at least 0"},
	} {
		wantFault(t, test.text, test.fault)
	}
}

func TestTimingOrKeepsWhatIsSet(t *testing.T) {
	got := config.Timing{Lease: time.Minute, RecoveryRate: 3}.Or(config.TimingOnLaptop)
	want := config.TimingOnLaptop
	want.Lease, want.RecoveryRate = time.Minute, 3
	if got != want {
		t.Errorf("Or = %+v, want %+v", got, want)
	}
}

func TestLimitFaults(t *testing.T) {
	for _, test := range []struct{ text, fault string }{
		{"limits: {queuedPerNamespace: 10}", ""},
		{"limits: {queuedPerNamespace: 0}", "limits.queuedPerNamespace: must be at least 1"},
		{"limits: {submissionsPerSecond: 0}", "limits.submissionsPerSecond: must be at least 0.001"},
		{"limits: {submissionBurst: -1}", "limits.submissionBurst: must be at least 1"},
	} {
		wantFault(t, test.text, test.fault)
	}
}

func TestTrustOutlivesTwoPolls(t *testing.T) {
	for _, timing := range []config.Timing{config.TimingInProduction, config.TimingOnLaptop} {
		if poll := timing.Poll(); poll > timing.LongPoll || timing.Trust-2*poll < timing.Trust/4 {
			t.Errorf("polls of %s leave %s of a trust of %s", poll, timing.Trust-2*poll, timing.Trust)
		}
	}
}
