package queue

import (
	"cmp"
	"time"
)

// Timing holds the lengths of leases and waits. The order Trust < Lease <
// Takeover is what makes a take-over safe: an agent that is cut off has
// stopped its work before the queue gives it away.
type Timing struct {
	// Trust is how long an agent may act after the start of the call that
	// last renewed its session.
	Trust time.Duration
	// Lease is after how long without renewal a region gets no new work, and
	// the length of the leader's lease.
	Lease time.Duration
	// Takeover is after how long without renewal a region is lost.
	Takeover time.Duration
	// LongPoll bounds how long a Sync may be held back.
	LongPoll time.Duration
	// Tick is how often the loops look without having been told to.
	Tick time.Duration
	// Patience is how long a region may leave a placed job unclaimed before
	// the job is placed anew.
	Patience time.Duration
	// NeverFitsAfter is how long a job waits that no region could ever hold
	// before it fails.
	NeverFitsAfter time.Duration
	// RecoveryRate bounds how many attempts of lost regions are given back
	// each second.
	RecoveryRate float64
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
