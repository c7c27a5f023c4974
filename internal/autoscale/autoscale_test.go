package autoscale

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var policy = Policy{Min: 0, Max: 10, Target: 4, Window: time.Minute, Delay: 5 * time.Minute, Idle: 10 * time.Minute}

// run feeds readings, five seconds apart, and returns the number after each.
func run(p Policy, values []float64, current int) []int {
	var s Scaler
	at := time.Unix(1_000_000, 0)
	var numbers []int
	for _, value := range values {
		waiting := 0
		if current == 0 {
			waiting = int(value)
		}
		current, _ = s.Next(p, Reading{At: at, Value: value, Busy: value > 0, Waiting: waiting}, current)
		numbers = append(numbers, current)
		at = at.Add(5 * time.Second)
	}
	return numbers
}

// flat is a value for some minutes.
func flat(value float64, minutes int) []float64 {
	values := make([]float64, minutes*12)
	for i := range values {
		values[i] = value
	}
	return values
}

func TestScaleToZeroAndBack(t *testing.T) {
	values := append(flat(0, 2), flat(3, 5)...)
	values = append(values, flat(0, 12)...)
	numbers := run(policy, values, 0)
	for minute, want := range map[int]int{1: 0, 3: 1, 6: 1, 12: 1, 18: 0} {
		if got := numbers[minute*12]; got != want {
			t.Errorf("minute %d: %d replicas, want %d", minute, got, want)
		}
	}
	if first := numbers[24]; first != 1 {
		t.Errorf("the first request wakes %d", first)
	}
}

func TestSuddenLoadIsMetAtOnce(t *testing.T) {
	numbers := run(policy, append(flat(4, 5), flat(32, 1)...), 1)
	for i := 62; i < 66; i++ {
		if numbers[i] < 6 {
			t.Errorf("%d s after the load came there are %d replicas", 5*(i-60), numbers[i])
		}
	}
}

func TestFewerComeLate(t *testing.T) {
	numbers := run(policy, append(flat(32, 10), flat(8, 10)...), 8)
	fell := -1
	for i, n := range numbers {
		if n < 8 {
			fell = i
			break
		}
	}
	if minutes := float64(fell-120) / 12; minutes < 5 || minutes > 7 {
		t.Errorf("there are fewer after %g minutes", minutes)
	}
	if last := numbers[len(numbers)-1]; last != 2 {
		t.Errorf("in the end there are %d", last)
	}
}

// TestNoFlapping lets the load swing around a bound: the number must not swing
// with it.
func TestNoFlapping(t *testing.T) {
	var values []float64
	for i := range 12 * 60 {
		values = append(values, 16+6*math.Sin(float64(i)/3))
	}
	changes, last := 0, 0
	for i, n := range run(policy, values, 4) {
		if i > 12 && n != last {
			changes++
		}
		last = n
	}
	if changes > 2 {
		t.Errorf("the number changed %d times in an hour", changes)
	}
}

func TestUnknownPastScalesNothingDown(t *testing.T) {
	for i, n := range run(policy, flat(4, 4), 9) {
		if n != 9 {
			t.Fatalf("%d s after a new leader there are %d", 5*i, n)
		}
	}
}

// TestBounds is a property: whatever is measured, the number is within its
// bounds, never 0 while requests wait, and never falls as long as the load
// stays above what there is.
func TestBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := policy
		p.Min = rapid.IntRange(0, 3).Draw(rt, "min")
		p.Max = rapid.IntRange(max(p.Min, 1), 12).Draw(rt, "max")
		var s Scaler
		at, current := time.Unix(0, 0), rapid.IntRange(p.Min, p.Max).Draw(rt, "current")
		for range rapid.IntRange(1, 60).Draw(rt, "readings") {
			at = at.Add(time.Duration(rapid.IntRange(1, 120).Draw(rt, "seconds")) * time.Second)
			r := Reading{At: at, Value: rapid.Float64Range(0, 100).Draw(rt, "value"), Waiting: rapid.IntRange(0, 3).Draw(rt, "waiting")}
			r.Busy = r.Value > 0
			next, reason := s.Next(p, r, current)
			if next < p.Min || next > p.Max || reason == "" {
				rt.Fatalf("%d replicas (%s) for %d to %d", next, reason, p.Min, p.Max)
			}
			if r.Waiting > 0 && next == 0 {
				rt.Fatal("requests wait and nobody comes")
			}
			current = next
		}
	})
}
