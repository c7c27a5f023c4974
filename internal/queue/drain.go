package queue

import (
	"math"
	"sync"
	"time"
)

// drainHalfLife is how fast the memory of finished jobs fades.
const drainHalfLife = 2 * time.Minute

// drainRates estimates how many jobs a second finish in each region, as an
// average that halves every drainHalfLife. It is an estimate for scores and
// expected starts, so a new leader may begin without it.
type drainRates struct {
	mu    sync.Mutex
	rates map[string]drainRate
}

type drainRate struct {
	weight float64
	at     time.Time
}

func newDrainRates() *drainRates { return &drainRates{rates: map[string]drainRate{}} }

func (d *drainRates) finished(region string, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rates[region] = drainRate{d.rates[region].faded(now) + 1, now}
}

// perSecond is 0 while nothing is known.
func (d *drainRates) perSecond(region string, now time.Time) float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	// The weight of a steady rate r is r times the mean life of the memory.
	return d.rates[region].faded(now) * math.Ln2 / drainHalfLife.Seconds()
}

func (r drainRate) faded(now time.Time) float64 {
	return r.weight * math.Exp2(-now.Sub(r.at).Seconds()/drainHalfLife.Seconds())
}
