package queue

import (
	"cmp"
	"fmt"
	"time"

	"github.com/gco-project/gco/internal/job"
)

// Timing holds the lengths of leases and waits. The order Trust < Lease <
// Takeover is what makes a take-over safe: an agent that is cut off has
// stopped its work before the queue gives it away.
type Timing struct {
	// Trust is how long an agent may act after the start of the call that
	// last renewed its session.
	Trust time.Duration `json:"trust,omitempty"`
	// Lease is after how long without renewal a region gets no new work, and
	// the length of the leader's lease.
	Lease time.Duration `json:"lease,omitempty"`
	// Takeover is after how long without renewal a region is lost.
	Takeover time.Duration `json:"takeover,omitempty"`
	// LongPoll bounds how long a Sync may be held back.
	LongPoll time.Duration `json:"longPoll,omitempty"`
	// Tick is how often the loops look without having been told to.
	Tick time.Duration `json:"tick,omitempty"`
	// Patience is how long a region may leave a placed job unclaimed before
	// the job is placed anew.
	Patience time.Duration `json:"patience,omitempty"`
	// NeverFitsAfter is how long a job waits that no region could ever hold
	// before it fails.
	NeverFitsAfter time.Duration `json:"neverFitsAfter,omitempty"`
	// RecoveryRate bounds how many attempts of lost regions are given back
	// each second.
	RecoveryRate float64 `json:"recoveryRate,omitempty"`
}

// DefaultTiming is for production: a control plane that is away for less
// than Trust disturbs nothing.
var DefaultTiming = Timing{
	Trust: 90 * time.Second, Lease: 120 * time.Second, Takeover: 150 * time.Second,
	LongPoll: 10 * time.Second, Tick: time.Second,
	Patience: 30 * time.Second, NeverFitsAfter: 10 * time.Minute, RecoveryRate: 50,
}

// LocalTiming is for a whole system in one place, where a lost region should
// show within seconds.
var LocalTiming = Timing{
	Trust: 6 * time.Second, Lease: 10 * time.Second, Takeover: 13 * time.Second,
	LongPoll: 3 * time.Second, Tick: time.Second,
	Patience: 10 * time.Second, NeverFitsAfter: time.Minute, RecoveryRate: 50,
}

func (t Timing) withDefaults() Timing {
	d := DefaultTiming
	return Timing{
		Trust:          cmp.Or(t.Trust, d.Trust),
		Lease:          cmp.Or(t.Lease, d.Lease),
		Takeover:       cmp.Or(t.Takeover, d.Takeover),
		LongPoll:       cmp.Or(t.LongPoll, d.LongPoll),
		Tick:           cmp.Or(t.Tick, d.Tick),
		Patience:       cmp.Or(t.Patience, d.Patience),
		NeverFitsAfter: cmp.Or(t.NeverFitsAfter, d.NeverFitsAfter),
		RecoveryRate:   cmp.Or(t.RecoveryRate, d.RecoveryRate),
	}
}

// Validate returns every fault, taking a zero as its default.
func (t Timing) Validate() []job.Fault {
	t = t.withDefaults()
	var faults []job.Fault
	add := func(ok bool, field, format string, args ...any) {
		if !ok {
			faults = append(faults, job.Fault{Field: field, Message: fmt.Sprintf(format, args...)})
		}
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"trust", t.Trust},
		{"lease", t.Lease},
		{"takeover", t.Takeover},
		{"longPoll", t.LongPoll},
		{"tick", t.Tick},
		{"patience", t.Patience},
		{"neverFitsAfter", t.NeverFitsAfter},
	} {
		add(d.value > 0, d.field, "%s is not positive", d.value)
	}
	add(t.Trust < t.Lease, "trust", "%s must be shorter than the lease of %s", t.Trust, t.Lease)
	add(t.Lease < t.Takeover, "takeover", "%s must be longer than the lease of %s", t.Takeover, t.Lease)
	add(2*t.LongPoll <= t.Trust, "longPoll", "%s must be at most half of the trust of %s", t.LongPoll, t.Trust)
	add(t.RecoveryRate > 0, "recoveryRate", "%v is not positive", t.RecoveryRate)
	return faults
}
