package canary

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Analysis says when a canary does as well as what serves; it is that of an
// endpoint's spec.
type Analysis struct {
	// Window is how long each share is watched.
	Window time.Duration
	// MinRequests is how many the canary must have answered by then.
	MinRequests int
	// MaxErrorRate is how much higher its share of errors may be, from 0 to 1.
	MaxErrorRate float64
	// MaxLatencyRatio is how many times as slow each of Percentiles may be.
	MaxLatencyRatio float64
	Percentiles     []float64
}

// Trial is a canary at one moment.
type Trial struct {
	Analysis Analysis
	// Steps are the shares that it goes through, in percent and rising; 100
	// ends the trial.
	Steps []int
	// Weight is its share now, and Age for how long.
	Weight int
	Age    time.Duration
	// Serving and Canary are what the requests of both came to with this share.
	Serving, Canary Sample
	// Earlier is what those of the revision that serves came to with the share
	// before. It stands in where there are too few now.
	Earlier Sample
}

// Action is what becomes of a trial.
type Action string

// The actions.
const (
	// Wait: it is too early to tell.
	Wait Action = "wait"
	// Advance: the canary gets the next share.
	Advance Action = "advance"
	// Promote: it serves from now on.
	Promote Action = "promote"
	// RollBack: it has failed.
	RollBack Action = "roll-back"
)

// Verdict is an action with its reason, and what it rests on.
type Verdict struct {
	Action Action `json:"action"`
	// Weight is the share that it gets next; that of now, if nothing changes.
	Weight int `json:"weight"`
	// Reason is a sentence.
	Reason   string   `json:"reason"`
	Evidence Evidence `json:"evidence"`
}

// Evidence is the numbers of a verdict.
type Evidence struct {
	// Weight is the share with which they came about, Seconds in how long.
	Weight  int     `json:"weight"`
	Seconds float64 `json:"seconds"`
	Serving Numbers `json:"serving"`
	Canary  Numbers `json:"canary"`
}

// Numbers are those of one revision.
type Numbers struct {
	Requests  int64   `json:"requests"`
	Errors    int64   `json:"errors"`
	ErrorRate float64 `json:"errorRate"`
	// Latencies are in seconds, by percentile: p50.
	Latencies map[string]float64 `json:"latencies,omitempty"`
}

// Few requests say little of how often something fails, and less of how slow
// the slowest are.
const (
	// leastToFail is how many requests can end a trial before its window does.
	leastToFail = 10
	// leastBeyond is how many requests must have been slower than a percentile
	// for that to be compared.
	leastBeyond = 5
	// certainty is that of three standard deviations: one in 700 of those that
	// are no worse is taken for worse.
	certainty = 3.0
	// resolution is the part of a latency that buckets do not tell apart.
	resolution = 1.1
	// negligible latencies are not compared: so much is noise.
	negligible = 2 * time.Millisecond
)

// Judge says what becomes of a trial.
func Judge(t Trial) Verdict {
	baseline := t.baseline()
	v := Verdict{Action: Wait, Weight: t.Weight, Evidence: t.evidence(baseline)}
	worst := baseline.ErrorRate() + t.Analysis.MaxErrorRate
	switch {
	case t.Canary.Requests >= leastToFail && atLeast(t.Canary) > worst:
		v.Action, v.Reason = RollBack, tooManyErrors(t.Canary, baseline)
		return v
	case t.Age < t.Analysis.Window:
		v.Reason = fmt.Sprintf("%s of %s have passed with %d %%", t.Age.Round(time.Second), t.Analysis.Window, t.Weight)
		return v
	case t.Canary.Requests < int64(t.Analysis.MinRequests):
		v.Reason = fmt.Sprintf("the canary has answered %d of the %d requests that it takes to judge it", t.Canary.Requests, t.Analysis.MinRequests)
		return v
	case baseline.Requests == 0:
		v.Reason = "the revision that serves has answered nothing to compare with"
		return v
	case t.Canary.ErrorRate() > worst:
		v.Action, v.Reason = RollBack, tooManyErrors(t.Canary, baseline)
		return v
	}
	if slow := t.slow(baseline); slow != "" {
		v.Action, v.Reason = RollBack, slow
		return v
	}
	v.Weight = t.next()
	v.Action, v.Reason = Advance, fmt.Sprintf("it does as well as the revision that serves with %d %%", t.Weight)
	if v.Weight == 100 {
		v.Action = Promote
	}
	return v
}

// next is the share after that of now.
func (t Trial) next() int {
	for _, step := range t.Steps {
		if step > t.Weight {
			return min(step, 100)
		}
	}
	return 100
}

// baseline is what the canary is compared with.
func (t Trial) baseline() Sample {
	if t.Serving.Requests >= int64(t.Analysis.MinRequests) {
		return t.Serving
	}
	return t.Serving.Add(t.Earlier)
}

func tooManyErrors(canary, baseline Sample) string {
	return fmt.Sprintf("%.2f %% of its requests failed (%d of %d), beside %.2f %% of the revision that serves",
		100*canary.ErrorRate(), canary.Errors, canary.Requests, 100*baseline.ErrorRate())
}

// atLeast is the lower bound of the rate of errors (Wilson's score interval):
// the true one is hardly below.
func atLeast(s Sample) float64 {
	n, p, z := float64(s.Requests), s.ErrorRate(), certainty
	centre := p + z*z/(2*n)
	spread := z * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return max(0, (centre-spread)/(1+z*z/n))
}

// slow says at which percentile the canary is too slow; empty is none.
func (t Trial) slow(baseline Sample) string {
	for _, p := range t.Analysis.Percentiles {
		beyond := (100 - p) / 100 * float64(min(t.Canary.Requests, baseline.Requests))
		if beyond < leastBeyond {
			continue
		}
		here, there := t.Canary.Percentile(p), baseline.Percentile(p)
		most := time.Duration(float64(there) * t.Analysis.MaxLatencyRatio * resolution)
		if here > most && here > negligible {
			return fmt.Sprintf("%s of its requests took %s or more, beside %s of the revision that serves",
				strconv.FormatFloat(100-p, 'f', -1, 64)+" %", brief(here), brief(there))
		}
	}
	return ""
}

func brief(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(10 * time.Millisecond)
}

func (t Trial) evidence(baseline Sample) Evidence {
	return Evidence{
		Weight: t.Weight, Seconds: math.Round(t.Age.Seconds()),
		Serving: t.numbers(baseline), Canary: t.numbers(t.Canary),
	}
}

func (t Trial) numbers(s Sample) Numbers {
	n := Numbers{Requests: s.Requests, Errors: s.Errors, ErrorRate: s.ErrorRate(), Latencies: map[string]float64{}}
	for _, p := range t.Analysis.Percentiles {
		if s.Requests > 0 {
			n.Latencies["p"+strconv.FormatFloat(p, 'f', -1, 64)] = s.Percentile(p).Seconds()
		}
	}
	return n
}
