package accelerator

import (
	"hash/fnv"
	"math"
	"net/netip"
	"sync/atomic"
)

// The steps of a sequence that fills the unit square evenly: 1/p and 1/p² for
// p³ = p + 1 (M. Roberts, The Unreasonable Effectiveness of Quasirandom
// Sequences). Its shares are within a few connections of what they should be,
// where dice would be off by the square root of their number.
const (
	stepGroup    = 0.7548776662466927
	stepEndpoint = 0.5698402909980532
)

// spread gives each connection the next point of the sequence.
type spread struct{ count atomic.Uint64 }

func (s *spread) next() point {
	n := float64(s.count.Add(1) % (1 << 32)) // further on a product would lose its fraction
	_, group := math.Modf(n * stepGroup)
	_, endpoint := math.Modf(n * stepEndpoint)
	return point{group, endpoint}
}

// pointOf is the same point for the same address, in every process.
func pointOf(client netip.Addr) point {
	hash := fnv.New64a()
	address := client.Unmap().As16()
	_, _ = hash.Write(address[:])
	seed := hash.Sum64()
	return point{unit(mix(seed)), unit(mix(seed + 1))}
}

// mix spreads neighbouring numbers over all 64 bits (the finalizer of
// SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unit maps a number to the line from 0 to 1, without 1.
func unit(x uint64) float64 { return float64(x>>11) / (1 << 53) }
