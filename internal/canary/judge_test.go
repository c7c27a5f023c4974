package canary

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var analysis = Analysis{Window: time.Minute, MinRequests: 100, MaxErrorRate: 0.01, MaxLatencyRatio: 1.5, Percentiles: []float64{50, 99}}

var steps = []int{1, 5, 25, 50, 100}

// sample is some requests of one latency.
func sample(requests, errors int64, latency time.Duration) Sample {
	return Sample{Requests: requests, Errors: errors, Latencies: map[int]int64{Bucket(latency): requests}}
}

func TestJudge(t *testing.T) {
	good := sample(10_000, 10, 20*time.Millisecond)
	for name, c := range map[string]struct {
		trial  Trial
		action Action
		weight int
		reason string
	}{
		"too early":             {Trial{Weight: 5, Age: 59 * time.Second, Serving: good, Canary: sample(500, 0, 20*time.Millisecond)}, Wait, 5, "59s of 1m0s"},
		"too little traffic":    {Trial{Weight: 5, Age: time.Hour, Serving: good, Canary: sample(99, 0, 20*time.Millisecond)}, Wait, 5, "99 of the 100"},
		"nothing beside":        {Trial{Weight: 5, Age: time.Hour, Canary: sample(500, 0, 20*time.Millisecond)}, Wait, 5, "nothing to compare"},
		"as good":               {Trial{Weight: 5, Age: time.Minute, Serving: good, Canary: sample(500, 1, 21*time.Millisecond)}, Advance, 25, "as well"},
		"between two steps":     {Trial{Weight: 30, Age: time.Minute, Serving: good, Canary: sample(500, 1, 21*time.Millisecond)}, Advance, 50, "as well"},
		"at the last step":      {Trial{Weight: 50, Age: time.Minute, Serving: good, Canary: sample(500, 1, 21*time.Millisecond)}, Promote, 100, "as well"},
		"more errors":           {Trial{Weight: 5, Age: time.Minute, Serving: good, Canary: sample(500, 12, 20*time.Millisecond)}, RollBack, 5, "2.40 %"},
		"many errors, at once":  {Trial{Weight: 1, Age: time.Second, Serving: good, Canary: sample(10, 8, 20*time.Millisecond)}, RollBack, 1, "8 of 10"},
		"errors of both":        {Trial{Weight: 5, Age: time.Minute, Serving: sample(1000, 300, time.Millisecond), Canary: sample(500, 152, time.Millisecond)}, Advance, 25, "as well"},
		"slow":                  {Trial{Weight: 5, Age: time.Minute, Serving: good, Canary: sample(500, 0, 40*time.Millisecond)}, RollBack, 5, "50 %"},
		"slow, but negligible":  {Trial{Weight: 5, Age: time.Minute, Serving: sample(1000, 0, 200*time.Microsecond), Canary: sample(500, 0, time.Millisecond)}, Advance, 25, "as well"},
		"slow at its slowest":   {Trial{Weight: 5, Age: time.Minute, Serving: good, Canary: sample(980, 0, 20*time.Millisecond).Add(sample(20, 0, time.Second))}, RollBack, 5, "1 %"},
		"one slow one of a few": {Trial{Weight: 5, Age: time.Minute, Serving: good, Canary: sample(120, 0, 20*time.Millisecond).Add(sample(3, 0, time.Second))}, Advance, 25, "as well"},
		"earlier stands in":     {Trial{Weight: 99, Age: time.Minute, Serving: sample(3, 0, 20*time.Millisecond), Earlier: good, Canary: sample(500, 0, 50*time.Millisecond)}, RollBack, 99, "50 %"},
	} {
		t.Run(name, func(t *testing.T) {
			c.trial.Analysis, c.trial.Steps = analysis, steps
			v := Judge(c.trial)
			if v.Action != c.action || v.Weight != c.weight || !strings.Contains(v.Reason, c.reason) {
				t.Errorf("%s to %d: %s", v.Action, v.Weight, v.Reason)
			}
			if v.Evidence.Canary.Requests != c.trial.Canary.Requests || v.Evidence.Weight != c.trial.Weight {
				t.Errorf("evidence %+v", v.Evidence)
			}
		})
	}
}

// TestCanaryThatFailsOnlyUnderLoad goes through every step with a revision that
// does well until it gets a quarter of the requests.
func TestCanaryThatFailsOnlyUnderLoad(t *testing.T) {
	weight, earlier := steps[0], Sample{}
	for range steps {
		requests := int64(200_000 * weight / 100)
		errors := int64(0)
		if weight >= 25 {
			errors = requests / 20
		}
		serving := sample(200_000-requests, 20, 20*time.Millisecond)
		v := Judge(Trial{
			Analysis: analysis, Steps: steps, Weight: weight, Age: time.Minute,
			Serving: serving, Canary: sample(requests, errors, 20*time.Millisecond), Earlier: earlier,
		})
		if v.Action == RollBack {
			if weight != 25 {
				t.Errorf("it fell at %d %%: %s", weight, v.Reason)
			}
			return
		}
		if v.Action != Advance {
			t.Fatalf("%s at %d %%: %s", v.Action, weight, v.Reason)
		}
		weight, earlier = v.Weight, serving
	}
	t.Error("it was promoted")
}

// TestSameRevisionIsSeldomRolledBack draws both from the same distribution.
func TestSameRevisionIsSeldomRolledBack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	draw := func(n int) Sample {
		s := Sample{Requests: int64(n), Latencies: map[int]int64{}}
		for range n {
			if random.Float64() < 0.005 {
				s.Errors++
			}
			s.Latencies[Bucket(time.Duration(float64(20*time.Millisecond)*(0.5+random.ExpFloat64())))]++
		}
		return s
	}
	fell := 0
	const trials = 300
	for range trials {
		v := Judge(Trial{Analysis: analysis, Steps: steps, Weight: 5, Age: time.Minute, Serving: draw(9500), Canary: draw(500)})
		if v.Action == RollBack {
			fell++
		}
	}
	if fell > trials/50 {
		t.Errorf("%d of %d were rolled back", fell, trials)
	}
}

// TestJudgeIsTotal is a property: whatever the numbers are, the action fits
// the share.
func TestJudgeIsTotal(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		some := func(name string) Sample {
			n := rapid.Int64Range(0, 1000).Draw(rt, name)
			return sample(n, rapid.Int64Range(0, n).Draw(rt, name+" errors"), time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(rt, name+" latency")))
		}
		trial := Trial{
			Analysis: analysis, Steps: steps, Weight: rapid.IntRange(1, 99).Draw(rt, "weight"),
			Age: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "age")), Serving: some("serving"), Canary: some("canary"), Earlier: some("earlier"),
		}
		v := Judge(trial)
		switch v.Action {
		case Wait, RollBack:
			if v.Weight != trial.Weight {
				rt.Fatalf("%s changes the share to %d", v.Action, v.Weight)
			}
		case Advance, Promote:
			if v.Weight <= trial.Weight || (v.Weight == 100) != (v.Action == Promote) || trial.Canary.Requests < int64(analysis.MinRequests) {
				rt.Fatalf("%s to %d after %d requests", v.Action, v.Weight, trial.Canary.Requests)
			}
		}
		if v.Reason == "" {
			rt.Fatal("no reason")
		}
	})
}

func TestSamples(t *testing.T) {
	for _, d := range []time.Duration{0, time.Microsecond, 100 * time.Microsecond, time.Millisecond, 37 * time.Millisecond, time.Second, time.Minute, 3 * time.Hour} {
		bound := Bound(Bucket(d))
		if bound < d-1 || d > firstBound && float64(bound) > float64(d)*1.1 {
			t.Errorf("%s counts as %s", d, bound)
		}
	}
	if Bucket(1<<62) != maxBucket {
		t.Error("there is no last bucket")
	}
	s := sample(90, 0, 10*time.Millisecond).Add(sample(10, 5, time.Second))
	if s.Requests != 100 || s.Errors != 5 || s.ErrorRate() != 0.05 {
		t.Errorf("%+v", s)
	}
	if p := s.Percentile(90); p < 10*time.Millisecond || p > 11*time.Millisecond {
		t.Errorf("p90 %s", p)
	}
	if p := s.Percentile(91); p < time.Second {
		t.Errorf("p91 %s", p)
	}
	if d := s.Add(s).Since(s); d.Requests != 100 || d.Errors != 5 || d.Percentile(91) != s.Percentile(91) {
		t.Errorf("%+v", d)
	}
	if d := sample(5, 0, time.Second).Since(s); d.Requests != 5 {
		t.Errorf("after a restart: %+v", d)
	}
	if (Sample{}).Percentile(50) != 0 || (Sample{}).ErrorRate() != 0 {
		t.Error("nothing has numbers")
	}
}
