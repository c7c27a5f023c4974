package placement

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/gco-project/gco/internal/capacity"
)

// Input is one region as the Placer reads it.
type Input struct {
	Region capacity.Region
	Prices Prices
	// Promised is what was placed there and what Region.Snapshot cannot show
	// yet.
	Promised []Promised
	// DrainRate is how many jobs a second lately finished there; 0 is
	// unknown.
	DrainRate float64
}

// Promised is Count jobs of one demand.
type Promised struct {
	Demand capacity.Demand
	Count  int
}

// Fleet is what all regions have left, for one pass of placements. It may be
// used from several goroutines.
type Fleet struct {
	mu      sync.Mutex
	catalog *catalog
	regions []*region // by name
	byName  map[string]int

	rulings []ruling // scratch
	flags   []flag   // scratch
}

// region is one of a fleet, with room for what is still free.
type region struct {
	*space
	record    capacity.Region
	standing  reason // why nothing may be placed there at all; fits if it may
	prices    Prices
	ahead     int64 // jobs that were promised and have not started
	drainRate float64
}

// NewFleet reads the regions, whose names must differ, and subtracts what they
// were promised. The inputs must not be changed while the fleet is in use.
func NewFleet(inputs []Input) *Fleet {
	f := &Fleet{catalog: newCatalog(), byName: make(map[string]int, len(inputs))}
	f.catalog.maxPods = min(maxPods, max(64, maxViews/max(1, len(inputs))))
	inputs = slices.Clone(inputs)
	slices.SortStableFunc(inputs, func(a, b Input) int { return strings.Compare(a.Region.Name, b.Region.Name) })
	for _, input := range inputs {
		f.byName[input.Region.Name] = len(f.regions)
		r := &region{
			space:     newSpace(f.catalog, input.Region.Snapshot),
			record:    input.Region,
			standing:  standingOf(input.Region),
			prices:    input.Prices,
			drainRate: input.DrainRate,
		}
		r.subtract(input.Promised)
		f.regions = append(f.regions, r)
	}
	return f
}

// subtract takes what was promised, largest pods first, in bulk. What no
// longer fits is only counted.
func (r *region) subtract(promised []Promised) {
	var all []group
	for _, p := range promised {
		if p.Count <= 0 {
			continue
		}
		r.ahead += int64(p.Count)
		for _, g := range r.catalog.groups(p.Demand) {
			g.count = min(g.count*min(int64(p.Count), maxCount), maxCount)
			all = append(all, g)
		}
	}
	slices.SortStableFunc(all, func(a, b group) int {
		return cmp.Or(comparePods(a.pod, b.pod), cmp.Compare(b.count, a.count))
	})
	r.takeSome(all)
}

// Take records that a demand was promised to a region, so that later Decides
// see less free there. Pods that find no place are not recorded.
func (f *Fleet) Take(region string, demand capacity.Demand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, known := f.byName[region]
	if !known {
		return
	}
	r := f.regions[at]
	r.ahead++
	if groups := f.catalog.groups(demand); !r.takeAll(groups) {
		r.takeSome(groups)
	}
}
