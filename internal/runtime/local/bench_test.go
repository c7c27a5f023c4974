package local

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkApply measures one attempt after the other: until Apply returns,
// until its first process is started, and until its end is seen.
func BenchmarkApply(b *testing.B) {
	r := openTest(b, testOptions(b))
	var held, started, ended []time.Duration
	for b.Loop() {
		a := attemptOf(newID(), "exit 0")
		began := time.Now()
		apply(b, r, a)
		held = append(held, time.Since(began))
		o := awaitEnd(b, r, a.ID)
		ended = append(ended, time.Since(began))
		started = append(started, o.StartedAt.Sub(began))
		if err := r.Forget(b.Context(), a.ID); err != nil {
			b.Fatal(err)
		}
	}
	report(b, "held", held)
	report(b, "started", started)
	report(b, "ended", ended)
}

func report(b *testing.B, name string, times []time.Duration) {
	slices.Sort(times)
	for _, quantile := range []struct {
		name string
		at   float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		at := times[int(quantile.at*float64(len(times)-1))]
		b.ReportMetric(float64(at.Microseconds())/1000, name+"-"+quantile.name+"-ms")
	}
}
