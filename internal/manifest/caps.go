package manifest

import (
	"math"
	"strconv"

	"k8s.io/apimachinery/pkg/api/resource"
)

// capResources holds what the job may come to use against the caps.
func (c *compiler) capResources(pods int64, each amounts) {
	p := c.policy
	if p.MaxPods > 0 && pods > int64(p.MaxPods) {
		c.add(specPath.Child("parallelism"), "runs %d pods at the same time; %d are allowed here (policy.maxPods)", pods, p.MaxPods)
	}
	for _, limited := range p.quantityCaps() {
		total := int64(0)
		for name, amount := range each {
			if limited.covers(name) {
				total = addSaturated(total, mulSaturated(amount, pods))
			}
		}
		limit, err := limited.limit()
		if err != nil || total > limit {
			c.add(specPath, "comes to %s in %s; %s is allowed here (policy.%s)",
				amountText(limited.field, total), podCount(pods), limited.value, limited.field)
		}
	}
	defer c.sortFrom(len(c.semantic))
	for name, amount := range each {
		total := mulSaturated(amount, pods)
		if total/1000 > maxAmount {
			c.add(specPath, "comes to more %s in %s than there can be", quoted(name), podCount(pods))
		} else if kindOf(name) == extendedResource && total > 0 {
			c.capExtended(string(name), roundUp(total), pods)
		}
	}
}

func (c *compiler) capExtended(name string, total, pods int64) {
	entry := name
	if _, listed := c.policy.MaxResources[name]; !listed {
		entry = anything
	}
	if limit := c.policy.MaxResources[entry]; total > limit {
		c.add(specPath, "comes to %d %s in %s; %d are allowed here (policy.maxResources[%s])",
			total, name, podCount(pods), limit, entry)
	}
}

// amountText writes thousandths for a message.
func amountText(of string, amount int64) string {
	switch {
	case amount == math.MaxInt64:
		return "more than there can be"
	case of == "maxCPU":
		return strconv.FormatFloat(float64(amount)/1000, 'f', -1, 64) + " CPUs"
	}
	return resource.NewQuantity(roundUp(amount), resource.BinarySI).String()
}
