package cost

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
)

// PartitionUnits is what one partition writes in a second.
const PartitionUnits = 1000

// Load is what the life of one job takes of one family of partition keys. Keys
// that differ in their shard alone are one family.
type Load struct {
	// Name is "table key" or "table/index key", with * for the shard.
	Name string
	// Keys are those of the family, among which a job's writes fall at random.
	Keys int
	// Writes are the units of each write of one job.
	Writes []float64
}

// units is what one job takes of the family.
func (l Load) units() float64 {
	sum := 0.0
	for _, w := range l.Writes {
		sum += w
	}
	return sum
}

// Even is the rate at which the family's keys are full if writes fall evenly,
// in jobs a second.
func (l Load) Even() float64 { return PartitionUnits * float64(l.Keys) / l.units() }

// Partitions is a simulation of tables in which every partition key is a
// partition of its own, as splitting for heat ends up with; no key is ever
// split, and no capacity is borrowed or saved up. A write of an index that finds its
// partition full holds back the write of the table.
type Partitions struct {
	Loads []Load
	// Seconds is how long each rate is tried.
	Seconds int
	Seed    uint64
}

// Ceiling is the highest rate of jobs a second, in steps of one in a hundred,
// at which nothing is left waiting that the next second could not take.
func (p Partitions) Ceiling() float64 {
	low, high := 0.0, 0.0
	for _, l := range p.Loads {
		if even := l.Even(); high == 0 || even < high {
			high = even * 1.05
		}
	}
	for high-low > max(0.5, high/100) {
		if middle := (low + high) / 2; p.carries(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// carries runs a rate, second by second. What a full partition does not take
// waits, and the job's other writes with it.
func (p Partitions) carries(rate float64) bool {
	random := rand.New(rand.NewPCG(p.Seed, p.Seed)) //nolint:gosec // a simulation, replayed by its seed
	backlog, units := make([][]float64, len(p.Loads)), make([]float64, len(p.Loads))
	for i, l := range p.Loads {
		backlog[i], units[i] = make([]float64, l.Keys), l.units()
	}
	due := 0.0
	for range p.Seconds {
		due += rate
		for ; due >= 1; due-- {
			// All writes of one job in one family are in one shard, which
			// its ID decides.
			for i := range p.Loads {
				backlog[i][random.IntN(p.Loads[i].Keys)] += units[i]
			}
		}
		for _, keys := range backlog {
			for k := range keys {
				keys[k] = max(0, keys[k]-PartitionUnits)
			}
		}
	}
	// A queue that stays within a second's capacity is the unevenness of
	// chance; one beyond it grows.
	for _, keys := range backlog {
		if slices.Max(keys) > PartitionUnits {
			return false
		}
	}
	return true
}

var (
	shardRule = regexp.MustCompile(`#\d{2,3}$`)
	ownRule   = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
)

// Loads turns the uses of some jobs into those of one: families of keys, by the
// shard at their end. shards is how many keys a family has. Keys that hold the
// ID of a job are left out: no other job writes there.
func Loads(uses []Use, jobs int, shards func(family string) int) []Load {
	families := map[string]map[float64]int{}
	for _, use := range uses {
		if use.Write == 0 || ownRule.MatchString(use.Key) {
			continue
		}
		name := use.Table
		if use.Index != "" {
			name += "/" + use.Index
		}
		name += " " + shardRule.ReplaceAllString(use.Key, "#*")
		if families[name] == nil {
			families[name] = map[float64]int{}
		}
		families[name][use.Write]++
	}
	var loads []Load
	for _, name := range slices.Sorted(maps.Keys(families)) {
		load := Load{Name: name, Keys: shards(name)}
		for units, times := range families[name] {
			for range times / jobs {
				load.Writes = append(load.Writes, units)
			}
			// What jobs share is spread over them.
			if rest := times % jobs; rest > 0 {
				load.Writes = append(load.Writes, units*float64(rest)/float64(jobs))
			}
		}
		slices.Sort(load.Writes)
		loads = append(loads, load)
	}
	slices.SortStableFunc(loads, func(a, b Load) int { return cmp.Compare(a.Even(), b.Even()) })
	return loads
}
