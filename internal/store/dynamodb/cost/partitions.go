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

// Family is partition keys that differ in their shard alone. All writes of one
// job in a family go to one of its keys, which the job's ID decides.
type Family struct {
	// Name is "table key" or "table/index key", with * for the shard.
	Name string
	Keys int
}

// Request is one step of a job's life: one write, which all of its takes hold up
// together.
type Request struct {
	Name  string
	Takes []Take
}

// Take is units of a family, by its place in Life.Families.
type Take struct {
	Family int
	Units  float64
}

// Life is what one job takes of the partitions that it shares with others.
type Life struct {
	Families []Family
	Requests []Request
}

// Units is what one job takes of a family in all.
func (l Life) Units(family int) float64 {
	sum := 0.0
	for _, r := range l.Requests {
		for _, t := range r.Takes {
			if t.Family == family {
				sum += t.Units
			}
		}
	}
	return sum
}

// Even is the rate, in jobs a second, at which a family's keys are full if jobs
// fall evenly on them.
func (l Life) Even(family int) float64 {
	return PartitionUnits * float64(l.Families[family].Keys) / l.Units(family)
}

// Partitions simulates tables in which every partition key is a partition of
// its own, as splitting for heat ends up with; no key is ever split, and no
// capacity is borrowed or saved up. A write waits, and is tried again a second
// later, while any partition that it needs is full, be it of the table or of an
// index: so a hot index holds up its table. A job makes one request a second.
type Partitions struct {
	Life Life
	// Seconds is how long each rate is tried; the second half counts.
	Seconds int
	Seed    uint64
}

// Outcome is what became of a rate.
type Outcome struct {
	// Completed is the lives that ended in a second.
	Completed float64
	// Throttled is how many tries of a request failed, for each that did not.
	Throttled float64
}

// Ceiling is the highest rate of jobs a second, within one in a hundred, of
// which practically all come through.
func (p Partitions) Ceiling() float64 {
	const practically = 0.985
	low, high := 0.0, 0.0
	for f := range p.Life.Families {
		if even := p.Life.Even(f); high == 0 || even < high {
			high = even
		}
	}
	high *= 1.05
	for high-low > max(0.5, high/100) {
		if middle := (low + high) / 2; p.Run(middle).Completed >= practically*middle {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// life is one job on its way.
type life struct {
	next int
	// keys are its keys in each family.
	keys []int
}

// Run offers a rate of jobs a second.
func (p Partitions) Run(rate float64) Outcome {
	random := rand.New(rand.NewPCG(p.Seed, p.Seed)) //nolint:gosec // a simulation, replayed by its seed
	free := make([][]float64, len(p.Life.Families))
	for f, family := range p.Life.Families {
		free[f] = make([]float64, family.Keys)
	}
	var underway []*life
	var completed, throttled, done float64
	due := 0.0
	for second := range p.Seconds {
		for _, keys := range free {
			for k := range keys {
				keys[k] = PartitionUnits
			}
		}
		for due += rate; due >= 1; due-- {
			job := &life{keys: make([]int, len(p.Life.Families))}
			for f, family := range p.Life.Families {
				job.keys[f] = random.IntN(family.Keys)
			}
			underway = append(underway, job)
		}
		counts := second >= p.Seconds/2
		underway = slices.DeleteFunc(underway, func(job *life) bool {
			if !p.Life.Requests[job.next].take(free, job.keys) {
				if counts {
					throttled++
				}
				return false
			}
			job.next++
			ended := job.next == len(p.Life.Requests)
			if counts {
				done++
				if ended {
					completed++
				}
			}
			return ended
		})
	}
	return Outcome{Completed: completed / float64(p.Seconds-p.Seconds/2), Throttled: throttled / max(1, done)}
}

// take books a request's units, if every partition has room for its part.
func (r Request) take(free [][]float64, keys []int) bool {
	for _, t := range r.Takes {
		if free[t.Family][keys[t.Family]] < t.Units {
			return false
		}
	}
	for _, t := range r.Takes {
		free[t.Family][keys[t.Family]] -= t.Units
	}
	return true
}

var (
	shardRule = regexp.MustCompile(`#\d{2,3}$`)
	ownRule   = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
)

// family is the name of a use's family; false where its key holds the ID of a
// job, and so is nobody else's.
func (u Use) family() (string, bool) {
	name := u.Table
	if u.Index != "" {
		name += "/" + u.Index
	}
	return name + " " + shardRule.ReplaceAllString(u.Key, "#*"), u.Write > 0 && !ownRule.MatchString(u.Key)
}

// NewLife turns what some jobs took into the life of one; what they shared is
// spread over them. names and uses go together, request by request; shards is
// how many keys a family has.
func NewLife(names []string, uses [][]Use, jobs int, shards func(family string) int) Life {
	total := map[string]float64{}
	for _, use := range slices.Concat(uses...) {
		if name, shared := use.family(); shared {
			total[name] += use.Write
		}
	}
	var l Life
	place := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(total)) {
		l.Families = append(l.Families, Family{Name: name, Keys: shards(name)})
	}
	slices.SortStableFunc(l.Families, func(a, b Family) int {
		return cmp.Compare(float64(a.Keys)/total[a.Name], float64(b.Keys)/total[b.Name])
	})
	for i, family := range l.Families {
		place[family.Name] = i
	}
	for i, name := range names {
		takes := map[int]float64{}
		for _, use := range uses[i] {
			if family, shared := use.family(); shared {
				takes[place[family]] += use.Write / float64(jobs)
			}
		}
		r := Request{Name: name}
		for _, family := range slices.Sorted(maps.Keys(takes)) {
			r.Takes = append(r.Takes, Take{family, takes[family]})
		}
		l.Requests = append(l.Requests, r)
	}
	return l
}
