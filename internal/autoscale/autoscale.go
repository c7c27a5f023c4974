// Package autoscale says how many replicas an endpoint should have: as many as
// bring what is measured of each near its target, none while nobody asks. It is
// pure; it knows what it was told before, so that the number does not go up and
// down with every request. serving asks it and acts on it.
package autoscale

import (
	"fmt"
	"math"
	"time"
)

// Policy is the autoscaling of an endpoint's spec.
type Policy struct {
	Min, Max int
	// Target is what is measured of one replica.
	Target float64
	// Window is the time over which readings are averaged, Delay how long fewer
	// replicas must have been enough before there are fewer, and Idle how long
	// there must have been no request before there are none.
	Window, Delay, Idle time.Duration
}

// Reading is what was measured at one moment, over all replicas.
type Reading struct {
	At time.Time
	// Value is the sum of what is measured: open requests, requests a second or
	// another metric.
	Value float64
	// Busy says that there was a request since the reading before, or is one.
	Busy bool
	// Waiting requests have no replica.
	Waiting int
}

const (
	// tolerance is how far a metric may be off before anything changes.
	tolerance = 0.1
	// sudden is the part of the window that counts by itself when twice as much
	// is measured in it.
	sudden = 10
)

// Scaler remembers the readings of one endpoint. The zero value is ready.
type Scaler struct {
	readings []Reading
	// wants are what was right at the time, newest last, as far as the delay
	// goes back.
	wants []wanted
	// since is when the first reading came, busyAt the last one with a request.
	since, busyAt time.Time
}

type wanted struct {
	at       time.Time
	replicas int
}

// Next takes a reading and says how many replicas there should be where now
// there are current, and why.
func (s *Scaler) Next(p Policy, r Reading, current int) (replicas int, reason string) {
	s.remember(p, r)
	if current == 0 && r.Waiting == 0 && !r.Busy && p.Min == 0 {
		return 0, "no request since there are none"
	}
	if p.Min == 0 && r.Waiting == 0 && r.At.Sub(s.busyAt) >= p.Idle {
		s.wants = nil
		return 0, fmt.Sprintf("no request for %s", p.Idle)
	}
	want, why := s.want(p, r, current)
	s.wants = append(s.wants, wanted{r.At, want})
	if want >= current {
		return want, why
	}
	// Fewer only if fewer were enough all the time, and that is known.
	most := want
	for _, before := range s.wants {
		most = max(most, before.replicas)
	}
	if r.At.Sub(s.since) < p.Delay {
		most = max(most, current)
	}
	if most >= current {
		return clamp(current, p), fmt.Sprintf("%d would do, and more were needed within %s", want, p.Delay)
	}
	return most, why
}

// remember keeps a reading, and forgets what is too old.
func (s *Scaler) remember(p Policy, r Reading) {
	if s.since.IsZero() {
		s.since, s.busyAt = r.At, r.At
	}
	if r.Busy || r.Waiting > 0 {
		s.busyAt = r.At
	}
	s.readings = append(s.readings, r)
	for len(s.readings) > 1 && r.At.Sub(s.readings[0].At) > p.Window {
		s.readings = s.readings[1:]
	}
	for len(s.wants) > 0 && r.At.Sub(s.wants[0].at) > p.Delay {
		s.wants = s.wants[1:]
	}
}

// want is what the readings ask for.
func (s *Scaler) want(p Policy, r Reading, current int) (replicas int, reason string) {
	average := s.average(r.At.Add(-p.Window))
	burst := s.average(r.At.Add(-p.Window / sudden))
	value := average
	if burst >= 2*average {
		value = burst
	}
	replicas = int(math.Ceil(value/p.Target - 1e-9))
	off := value/(p.Target*float64(max(current, 1))) - 1
	if current > 0 && math.Abs(off) <= tolerance {
		replicas = current
	}
	if r.Waiting > 0 || r.Busy {
		replicas = max(replicas, 1)
	}
	if p.Min == 0 && current > 0 {
		// The last one goes for being idle, not for having little to do.
		replicas = max(replicas, 1)
	}
	return clamp(replicas, p), fmt.Sprintf("%.4g over all replicas, at a target of %.4g for each", value, p.Target)
}

func clamp(replicas int, p Policy) int { return min(max(replicas, p.Min), p.Max) }

// average is the mean of the readings since a time; the newest always counts.
func (s *Scaler) average(since time.Time) float64 {
	sum, n := 0.0, 0
	for i, r := range s.readings {
		if !r.At.Before(since) || i == len(s.readings)-1 {
			sum += r.Value
			n++
		}
	}
	return sum / float64(n)
}
