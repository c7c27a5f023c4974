package capacity

import (
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// resources draws counts far enough from the limits of int64 that sums of a
// few stay exact.
func resources() *rapid.Generator[Resources] {
	return rapid.Custom(func(t *rapid.T) Resources {
		return Resources(rapid.MapOfN(
			rapid.SampledFrom([]string{CPU, Memory, Pods, "nvidia.com/gpu"}),
			rapid.Int64Range(-1<<40, 1<<40), -1, 4,
		).Draw(t, "resources"))
	})
}

func TestAddAndSubAreArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := resources().Draw(t, "a"), resources().Draw(t, "b"), resources().Draw(t, "c")
		same := func(law string, x, y Resources) {
			if !x.Equal(y) || !y.Equal(x) {
				t.Fatalf("%s: %v is not %v", law, x, y)
			}
		}
		same("a+b = b+a", a.Add(b), b.Add(a))
		same("(a+b)+c = a+(b+c)", a.Add(b).Add(c), a.Add(b.Add(c)))
		same("(a+b)-b = a", a.Add(b).Sub(b), a)
		same("a-a = 0", a.Sub(a), nil)
		same("a+0 = a", a.Add(nil), a)
		same("0*a = 0", a.Scale(0), nil)
		same("3*a = a+a+a", a.Scale(3), a.Add(a).Add(a))
		same("2*(a+b) = 2*a+2*b", a.Add(b).Scale(2), a.Scale(2).Add(b.Scale(2)))
	})
}

func TestMaxIsTheLeastUpperBound(t *testing.T) {
	natural := rapid.Custom(func(t *rapid.T) Resources {
		r := resources().Draw(t, "r")
		for name, amount := range r {
			r[name] = max(amount, -amount)
		}
		return r
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := natural.Draw(t, "a"), natural.Draw(t, "b")
		upper := a.Max(b)
		if !a.FitsIn(upper) || !b.FitsIn(upper) || !upper.Equal(b.Max(a)) || !upper.Max(a).Equal(upper) {
			t.Fatalf("the maximum of %v and %v is %v", a, b, upper)
		}
		for name, amount := range upper {
			if amount != a[name] && amount != b[name] {
				t.Fatalf("%s of the maximum is %d, of neither %v nor %v", name, amount, a, b)
			}
		}
	})
}

func TestFitsInAgreesWithSub(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		need, free := resources().Draw(t, "need"), resources().Draw(t, "free")
		left := free.Sub(need)
		want := true
		for _, name := range need.Names() {
			want = want && (need[name] <= 0 || left[name] >= 0)
		}
		if need.FitsIn(free) != want {
			t.Fatalf("%v fits in %v: %t; what would be left is %v", need, free, !want, left)
		}
	})
}

func TestArithmeticDoesNotChangeItsOperands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := resources().Draw(t, "a"), resources().Draw(t, "b")
		aWas, bWas := maps.Clone(a), maps.Clone(b)
		for _, result := range []Resources{a.Add(b), a.Sub(b), a.Max(b), a.Scale(2), a.Clone()} {
			if result != nil {
				result["changed"] = 1
			}
		}
		if !maps.Equal(a, aWas) || !maps.Equal(b, bWas) {
			t.Fatalf("%v and %v became %v and %v", aWas, bWas, a, b)
		}
	})
}

// TestSumsThatInt64CannotHoldStayAtTheLimit: a sum that wrapped round would
// make the largest demand look like none.
func TestSumsThatInt64CannotHoldStayAtTheLimit(t *testing.T) {
	huge := Resources{Memory: math.MaxInt64 / 2}
	tests := []struct {
		name string
		got  Resources
		want int64
	}{
		{"four times 2^62", Resources{Memory: 1 << 62}.Scale(4), math.MaxInt64},
		{"minus four times 2^62", Resources{Memory: 1 << 62}.Scale(-4), math.MinInt64},
		{"a sum", huge.Add(huge).Add(huge), math.MaxInt64},
		{"a difference", Resources{}.Sub(huge).Sub(huge).Sub(huge), math.MinInt64},
		{"taking the smallest number away", Resources{}.Sub(Resources{Memory: math.MinInt64}), math.MaxInt64},
		{"the smallest number times -1", Resources{Memory: math.MinInt64}.Scale(-1), math.MaxInt64},
		{"the largest that is exact", Resources{Memory: 1 << 61}.Scale(3), 3 << 61},
		{"a demand", Demand{Pods: []PodGroup{{Count: math.MaxInt32, Pod: Pod{Requests: huge}}}}.Total(), math.MaxInt64},
	}
	for _, test := range tests {
		if test.got[Memory] != test.want {
			t.Errorf("%s is %d; want %d", test.name, test.got[Memory], test.want)
		}
	}
}

func TestEqualTakesAMissingNameAsZero(t *testing.T) {
	if !(Resources{CPU: 1, Memory: 0}).Equal(Resources{CPU: 1, Pods: 0}) || !(Resources{}).Equal(nil) {
		t.Error("a zero and a missing name differ")
	}
	if (Resources{CPU: 1}).Equal(Resources{Memory: 1}) || (Resources{}).Equal(Resources{CPU: 1}) {
		t.Error("different counts are equal")
	}
}

func TestNamesAreSortedAndNotZero(t *testing.T) {
	got := Resources{Pods: 1, "aws.amazon.com/neuron": 2, CPU: 0, Memory: -1}.Names()
	if want := []string{"aws.amazon.com/neuron", Memory, Pods}; !slices.Equal(got, want) {
		t.Errorf("names are %q; want %q", got, want)
	}
}

func TestSnapshotSums(t *testing.T) {
	snapshot := Snapshot{
		Nodes: []NodeShape{
			{Count: 2, Free: Resources{CPU: 1000}, Total: Resources{CPU: 4000, "nvidia.com/gpu": 8}},
			{Count: 3, Free: Resources{CPU: 500, Memory: 7}, Total: Resources{CPU: 2000, Memory: 9}},
			{Count: 0, Free: Resources{CPU: 99}, Total: Resources{CPU: 99}},
		},
		Provisionable: []NodeShape{{Count: 9, Free: Resources{CPU: 1}, Total: Resources{CPU: 1}}},
	}
	if want := (Resources{CPU: 3500, Memory: 21}); !snapshot.Free().Equal(want) {
		t.Errorf("free is %v; want %v", snapshot.Free(), want)
	}
	if want := (Resources{CPU: 14000, Memory: 27, "nvidia.com/gpu": 16}); !snapshot.Total().Equal(want) {
		t.Errorf("total is %v; want %v", snapshot.Total(), want)
	}
}
