package config

import (
	"cmp"
	"time"
)

// Timing holds the times by which regions hold and lose the right to act, and
// how long jobs wait. Zero stands for the default of the role:
// [TimingInProduction] or [TimingOnLaptop].
type Timing struct {
	Lease          time.Duration `json:"lease" doc:"How long a region gets new work without having renewed its session. 0: 120s, in gco up 10s." minimum:"0s" maximum:"1h"`
	Trust          time.Duration `json:"trust" doc:"How long after the start of the call that renewed its session an agent lets work run on. Shorter than lease. 0: 90s, in gco up 6s." minimum:"0s" maximum:"1h"`
	Takeover       time.Duration `json:"takeover" doc:"How long without a renewal until a region's work is given away. Longer than lease. 0: 150s, in gco up 13s." minimum:"0s" maximum:"1h"`
	LongPoll       time.Duration `json:"longPoll" doc:"How long the server holds an agent's call back while there is nothing to say. At most half of trust. 0: 10s, in gco up 3s." minimum:"0s" maximum:"5m"`
	Patience       time.Duration `json:"patience" doc:"How long a region may leave a placed job unclaimed before another one is looked for. 0: 30s, in gco up 10s." minimum:"0s" maximum:"1h"`
	NeverFitsAfter time.Duration `json:"neverFitsAfter" doc:"How long a job waits that no known region could ever hold before it fails. 0: 10m, in gco up 1m." minimum:"0s" maximum:"720h"`
	RecoveryRate   float64       `json:"recoveryRate" doc:"Jobs of lost regions that are given back each second, highest priority first. 0: 50." minimum:"0" maximum:"100000"`
}

// The two sets of times.
var (
	TimingInProduction = Timing{
		Lease: 120 * time.Second, Trust: 90 * time.Second, Takeover: 150 * time.Second, LongPoll: 10 * time.Second,
		Patience: 30 * time.Second, NeverFitsAfter: 10 * time.Minute, RecoveryRate: 50,
	}
	TimingOnLaptop = Timing{
		Lease: 10 * time.Second, Trust: 6 * time.Second, Takeover: 13 * time.Second, LongPoll: 3 * time.Second,
		Patience: 10 * time.Second, NeverFitsAfter: time.Minute, RecoveryRate: 50,
	}
)

// Or fills what is zero from defaults.
func (t Timing) Or(defaults Timing) Timing {
	return Timing{
		Lease:          cmp.Or(t.Lease, defaults.Lease),
		Trust:          cmp.Or(t.Trust, defaults.Trust),
		Takeover:       cmp.Or(t.Takeover, defaults.Takeover),
		LongPoll:       cmp.Or(t.LongPoll, defaults.LongPoll),
		Patience:       cmp.Or(t.Patience, defaults.Patience),
		NeverFitsAfter: cmp.Or(t.NeverFitsAfter, defaults.NeverFitsAfter),
		RecoveryRate:   cmp.Or(t.RecoveryRate, defaults.RecoveryRate),
	}
}

// Poll is how long an agent lets a call be held back. Trust counts from the
// start of a call, so it has to last for the whole of the next one, too: two
// polls, and something for the way.
func (t Timing) Poll() time.Duration { return min(t.LongPoll, t.Trust/3) }

// validate wants the order that makes a fence safe under the defaults of both
// roles: a file that sets only some of the times must be right in either.
func (t Timing) validate(path string) []Fault {
	var faults []Fault
	for _, role := range []struct {
		name     string
		defaults Timing
	}{{"gco server", TimingInProduction}, {"gco up", TimingOnLaptop}} {
		full := t.Or(role.defaults)
		if full.Trust >= full.Lease {
			faults = append(faults, faultf(path+".trust", "must be shorter than lease; in %s they are %s and %s", role.name, full.Trust, full.Lease))
		}
		if full.Takeover <= full.Lease {
			faults = append(faults, faultf(path+".takeover", "must be longer than lease; in %s they are %s and %s", role.name, full.Takeover, full.Lease))
		}
		if 2*full.LongPoll > full.Trust {
			faults = append(faults, faultf(path+".longPoll", "must be at most half of trust; in %s they are %s and %s", role.name, full.LongPoll, full.Trust))
		}
	}
	return faults
}
