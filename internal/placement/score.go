package placement

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
)

// The terms of a score.
const (
	expectedWait = iota
	freeShare
	price
	locality
	recentFailures
	terms
)

var termNames = [terms]string{"expectedWait", "freeShare", "price", "locality", "recentFailures"}

// one is 1 as values and weights count it: in ten-thousandths. Scores are whole
// numbers of one squared, so that they add up exactly, and are the same on
// every processor.
const one = 10_000

const (
	// waitHalf is the wait at which expectedWait is one half.
	waitHalf = time.Minute
	// failureMemory is how long after its end a back-off still counts.
	failureMemory = time.Hour
)

// normalized returns the weights with their sum as one. What rounding leaves
// over goes to the largest.
func (w Weights) normalized() [terms]int64 {
	list, sum, largest := w.list(), 0.0, 0
	for i, weight := range list {
		sum += weight
		if weight > list[largest] {
			largest = i
		}
	}
	var out [terms]int64
	if sum <= 0 {
		return out
	}
	left := int64(one)
	for i, weight := range list {
		out[i] = tenThousandths(weight / sum)
		left -= out[i]
	}
	out[largest] += left
	return out
}

// score fills in values and score of a candidate. A term whose input is not
// known is 0, which no known input is below.
func (q *inquiry) score(ruled *ruling) {
	r := ruled.region
	ruled.values = [terms]int64{
		expectedWait:   q.expectedWait(ruled),
		freeShare:      q.freeShare(ruled),
		price:          q.relativePrice(ruled),
		locality:       q.locality(r),
		recentFailures: q.recentFailures(r),
	}
	for i, value := range ruled.values {
		ruled.score += q.weights[i] * value
	}
}

// expectedWait: 1 for no wait, one half for waitHalf. The wait is the time in
// which the region finishes as many jobs as are in front, and the time that it
// takes to add nodes if some have to be.
func (q *inquiry) expectedWait(ruled *ruling) int64 {
	wait := 0.0
	if ahead := ruled.region.ahead; ahead > 0 {
		if !(ruled.region.drainRate > 0) {
			return 0
		}
		wait = float64(ahead) / ruled.region.drainRate
	}
	if ruled.fit == fitsProvisioned {
		wait += q.policy.ProvisionTime.Seconds()
	}
	return tenThousandths(1 / (1 + wait/waitHalf.Seconds()))
}

// freeShare: of all places that the region's nodes have for such pods, the
// share that is free. Nodes that would have to be added are not free.
func (q *inquiry) freeShare(ruled *ruling) int64 {
	if ruled.fit != fitsFree {
		return 0
	}
	least := int64(one)
	for _, g := range q.groups {
		v := ruled.region.view(g.pod)
		// Rounded up: the last free place is still better than none.
		share := math.Ceil(one * (float64(v.now) / float64(v.empty)))
		least = min(least, int64(share))
	}
	return least
}

// relativePrice: 1 for the cheapest candidate, one half for twice its price.
func (q *inquiry) relativePrice(ruled *ruling) int64 {
	switch {
	case !ruled.priced:
		return 0
	case ruled.price == 0:
		return one
	default:
		return tenThousandths(q.cheapest / ruled.price)
	}
}

// locality: 1 where the job's model is.
func (q *inquiry) locality(r *region) int64 {
	if model := q.request.Constraints.Model; model != "" && slices.Contains(r.record.Snapshot.Models, model) {
		return one
	}
	return 0
}

// recentFailures: 1 for none, one half for one that has just been forgiven. A
// failure counts less and less over failureMemory.
func (q *inquiry) recentFailures(r *region) int64 {
	if len(r.record.Backoffs) == 0 {
		return one
	}
	failures := 0.0
	for _, name := range q.needed {
		b, failed := r.record.Backoffs[name]
		if age := q.now.Sub(b.Until); failed && age < failureMemory {
			failures += float64(float64(max(0, b.Failures)) * (1 - age.Seconds()/failureMemory.Seconds()))
		}
	}
	return tenThousandths(1 / (1 + failures))
}

// tenThousandths rounds a share; what is no number counts as 0.
func tenThousandths(share float64) int64 {
	if !(share > 0) {
		return 0
	}
	return int64(math.Round(one * min(share, 1)))
}

// rank returns the best candidates, best first.
func (q *inquiry) rank() []*ruling {
	best := make([]*ruling, 0, maxCandidates+1)
	for i := range q.rulings {
		ruled := &q.rulings[i]
		if ruled.reason != fits {
			continue
		}
		if len(best) == maxCandidates && compareRulings(best[maxCandidates-1], ruled) < 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, ruled, compareRulings)
		best = slices.Insert(best, at, ruled)
		best = best[:min(len(best), maxCandidates)]
	}
	return best
}

// compareRulings puts the higher score first, then the lower name.
func compareRulings(a, b *ruling) int {
	return cmp.Or(cmp.Compare(b.score, a.score), strings.Compare(a.region.record.Name, b.region.record.Name))
}

// candidates shows rulings to people.
func (q *inquiry) candidates(best []*ruling) []Candidate {
	out := make([]Candidate, len(best))
	all := make([]Term, 0, len(best)*terms)
	for i, ruled := range best {
		for t, value := range ruled.values {
			all = append(all, Term{termNames[t], float64(value) / one, float64(q.weights[t]) / one})
		}
		out[i] = Candidate{
			Region: ruled.region.record.Name,
			Score:  float64(ruled.score) / (one * one),
			Terms:  all[i*terms : (i+1)*terms : (i+1)*terms],
		}
		if ruled.priced {
			price := ruled.price
			out[i].PricePerHour = &price
		}
	}
	return out
}
