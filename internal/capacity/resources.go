// Package capacity holds what a job needs (Demand) and what a region has
// (Snapshot), node shape by node shape. It is pure data and arithmetic: it
// decides nothing (placement does) and reads no cluster (runtime does).
package capacity

import (
	"maps"
	"math"
	"math/bits"
	"slices"
)

// Names of the resources that every Kubernetes node has. Anything else is an
// extended resource and goes by its full name, such as "nvidia.com/gpu".
const (
	CPU              = "cpu"
	Memory           = "memory"
	EphemeralStorage = "ephemeral-storage"
	Pods             = "pods"
)

// Resources counts by resource name. Units: CPU in millicores, Memory and
// EphemeralStorage in bytes, everything else in whole pieces. A name that is
// missing counts as zero. A result that int64 cannot hold stays at its limit,
// so that no demand is so large that it looks like none.
type Resources map[string]int64

// Clone returns a copy that shares nothing with r.
func (r Resources) Clone() Resources { return maps.Clone(r) }

// Add returns r + other, as a new value.
func (r Resources) Add(other Resources) Resources { return r.combine(other, plus) }

// Sub returns r - other, as a new value; a count may become negative.
func (r Resources) Sub(other Resources) Resources { return r.combine(other, minus) }

// Scale returns n times r, as a new value.
func (r Resources) Scale(n int64) Resources {
	out := make(Resources, len(r))
	for name, amount := range r {
		out[name] = times(amount, n)
	}
	return out
}

// Max returns the larger count of each name, as a new value.
func (r Resources) Max(other Resources) Resources {
	out := make(Resources, max(len(r), len(other)))
	maps.Copy(out, r)
	for name, amount := range other {
		out[name] = max(out[name], amount)
	}
	return out
}

// FitsIn tells whether every positive count of r is at most that of free.
func (r Resources) FitsIn(free Resources) bool {
	for name, amount := range r {
		if amount > 0 && amount > free[name] {
			return false
		}
	}
	return true
}

// Equal tells whether both count the same, taking a missing name as zero.
func (r Resources) Equal(other Resources) bool {
	for name, amount := range r {
		if other[name] != amount {
			return false
		}
	}
	for name, amount := range other {
		if r[name] != amount {
			return false
		}
	}
	return true
}

// Names returns the names with a count other than zero, sorted.
func (r Resources) Names() []string {
	names := make([]string, 0, len(r))
	for name, amount := range r {
		if amount != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (r Resources) combine(other Resources, op func(a, b int64) int64) Resources {
	out := make(Resources, max(len(r), len(other)))
	maps.Copy(out, r)
	for name, amount := range other {
		out[name] = op(out[name], amount)
	}
	return out
}

func plus(a, b int64) int64 {
	sum := a + b
	if (sum > a) == (b > 0) {
		return sum
	}
	return limit(b > 0)
}

func minus(a, b int64) int64 {
	difference := a - b
	if (difference < a) == (b > 0) {
		return difference
	}
	return limit(b < 0)
}

func times(a, b int64) int64 {
	high, low := bits.Mul64(magnitude(a), magnitude(b))
	negative := (a < 0) != (b < 0)
	switch {
	case high != 0 || low > math.MaxInt64:
		return limit(!negative)
	case negative:
		return -int64(low)
	default:
		return int64(low)
	}
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

func limit(positive bool) int64 {
	if positive {
		return math.MaxInt64
	}
	return math.MinInt64
}
