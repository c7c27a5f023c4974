package placement

import (
	"fmt"
	"slices"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

const gibibyte = 1 << 30

// Price is for one piece of a resource and one hour, in the operator's own
// currency: per core for cpu, per GiB for memory and ephemeral-storage, per
// piece for anything else.
type Price struct {
	OnDemand float64 `json:"onDemand" yaml:"onDemand" doc:"For an hour, not interruptible."`
	// Spot is nil where it is not known or not sold.
	Spot *float64 `json:"spot,omitempty" yaml:"spot,omitempty" doc:"For an hour on the spot market."`
}

// Prices is what one region charges, by resource name.
type Prices map[string]Price

// PerHour is the price of all pods of the demand together for an hour. It is
// known only if every resource that they request has a price on that market:
// a resource that costs nothing has to be listed with 0. An empty market means
// on-demand, which is what a job that does not ask for spot may have to pay.
func (p Prices) PerHour(demand capacity.Demand, market capacity.Type) (price float64, known bool) {
	for _, group := range demand.Pods {
		if group.Count <= 0 {
			continue
		}
		each, missing := p.perPod(needsOf(group.Requests), market)
		if missing != "" {
			return 0, false
		}
		price += float64(each * float64(group.Count))
	}
	return price, true
}

// perPod is the price of one pod, or the first resource without one.
func (p Prices) perPod(needs []need, market capacity.Type) (price float64, missing string) {
	for _, need := range needs {
		each, known := p[need.name]
		switch {
		case !known, market == capacity.Spot && each.Spot == nil:
			return 0, need.name
		case market == capacity.Spot:
			each.OnDemand = *each.Spot
		}
		// The conversion keeps processors from fusing product and sum, so that
		// every one of them gets the same last digit.
		price += float64(each.OnDemand * pieces(need))
	}
	return price, ""
}

// Validate returns every fault below the given path of gco.yaml.
func (p Prices) Validate(path string) []job.Fault {
	var faults []job.Fault
	check := func(field string, price float64) {
		if !(price >= 0 && price <= 1e9) {
			faults = append(faults, job.Fault{Field: field, Message: fmt.Sprintf("%v is outside 0 to 1e9", price)})
		}
	}
	names := make([]string, 0, len(p))
	for name := range p {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		check(path+"."+name+".onDemand", p[name].OnDemand)
		if spot := p[name].Spot; spot != nil {
			check(path+"."+name+".spot", *spot)
		}
	}
	return faults
}

// pieces converts an amount into the unit that prices are for.
func pieces(n need) float64 {
	switch n.name {
	case capacity.CPU:
		return float64(n.amount) / 1000
	case capacity.Memory, capacity.EphemeralStorage:
		return float64(n.amount) / gibibyte
	default:
		return float64(n.amount)
	}
}
