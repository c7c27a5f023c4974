package config

import (
	"fmt"
	"maps"
	"math"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Region is what gco.yaml says of one region, under its name.
type Region struct {
	Nodes  []Node           `json:"nodes" doc:"Nodes that the local runtime accounts jobs against. A Kubernetes region reports its own and ignores them."`
	Prices map[string]Price `json:"prices" doc:"Price of one piece of a resource for one hour, in any one currency: a core of cpu, a GiB of memory or ephemeral-storage, one of anything else."`

	Kubernetes Kubernetes `json:"kubernetes" doc:"The region's cluster, for an agent with the Kubernetes runtime."`
}

// Node is Count nodes of one shape.
type Node struct {
	Count        int                 `json:"count" doc:"How many there are." minimum:"1" maximum:"100000"`
	Resources    map[string]Quantity `json:"resources" doc:"What one of them can hold, in Kubernetes quantities: cpu, memory, and any other resource by its full name, such as nvidia.com/gpu."`
	Architecture string              `json:"architecture" doc:"Architecture of its processors, as in the label kubernetes.io/arch. Empty: that of this host."`
	Labels       map[string]string   `json:"labels" doc:"Labels that a job's nodeSelector and affinity are held against."`
	Taints       []Taint             `json:"taints" doc:"Taints that a job has to tolerate."`
}

func (n *Node) setDefaults() { *n = Node{Count: 1} }

// Taint keeps jobs that do not tolerate it off a node.
type Taint struct {
	Key    string `json:"key" doc:"Key of the taint." minLength:"1"`
	Value  string `json:"value" doc:"Value of the taint."`
	Effect string `json:"effect" doc:"What it does, as in Kubernetes." enum:"NoSchedule,PreferNoSchedule,NoExecute"`
}

func (t *Taint) setDefaults() { *t = Taint{Effect: "NoSchedule"} }

// Price of one piece of a resource for one hour.
type Price struct {
	OnDemand float64  `json:"onDemand" doc:"Price of capacity that stays." minimum:"0"`
	Spot     *float64 `json:"spot" doc:"Price of capacity that may be taken away. Absent: not known." minimum:"0"`
}

// Quantity is an amount of a resource in the notation of Kubernetes, such as
// 500m, 8 or 32Gi. Its reader gives it a meaning.
type Quantity string

var quantityType = reflect.TypeFor[Quantity]()

var quantity = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$`)

// UnmarshalText checks the notation.
func (q *Quantity) UnmarshalText(text []byte) error {
	if !quantity.Match(text) {
		return fmt.Errorf("a quantity such as 500m, 8 or 32Gi expected, found %s", strconv.Quote(string(text)))
	}
	*q = Quantity(text)
	return nil
}

// Regions are regions by name.
type Regions map[string]Region

var regionName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (r Regions) validate(path string) []Fault {
	var faults []Fault
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if !regionName.MatchString(name) {
			faults = append(faults, faultf(joinPath(path, name), "%q is not a region name (lower-case letters, digits and hyphens, at most 63)", name))
		}
		faults = append(faults, validateNodes(joinPath(path, name)+".nodes", r[name].Nodes)...)
		faults = append(faults, validateNodes(joinPath(path, name)+".kubernetes.provisionable", r[name].Kubernetes.Provisionable)...)
	}
	return faults
}

func validateNodes(path string, nodes []Node) []Fault {
	var faults []Fault
	for i, node := range nodes {
		for _, needed := range []string{"cpu", "memory"} {
			if _, set := node.Resources[needed]; !set {
				faults = append(faults, faultf(fmt.Sprintf("%s[%d].resources", path, i), "%s is missing: without it no job fits on the node", needed))
			}
		}
	}
	return faults
}

// LaptopRegionNames are the regions of gco up where nothing names others.
var LaptopRegionNames = []string{"us-east-1", "us-west-2", "eu-west-1"}

// LaptopRegion is what gco up simulates for a region that gco.yaml says
// nothing of: a small cluster with some spot capacity and a few GPUs. The three of
// [LaptopRegionNames] differ in size and price, so that placement has
// something to weigh; any other is like one of them. Prices are of the order
// of a big cloud's list prices.
func LaptopRegion(name string) Region {
	models := []struct {
		cpuNodes, gpuNodes int
		factor             float64
	}{
		{cpuNodes: 4, gpuNodes: 2, factor: 1},
		{cpuNodes: 4, gpuNodes: 1, factor: 1.1},
		{cpuNodes: 3, gpuNodes: 1, factor: 1.2},
	}
	small := map[string]Quantity{"cpu": "8", "memory": "32Gi", "ephemeral-storage": "100Gi", "pods": "110"}
	model := models[max(slices.Index(LaptopRegionNames, name), 0)]
	return Region{
		Nodes: []Node{
			{Count: model.cpuNodes, Resources: small},
			{Count: 2, Resources: small, Labels: map[string]string{"karpenter.sh/capacity-type": "spot"}},
			{
				Count:     model.gpuNodes,
				Resources: map[string]Quantity{"cpu": "32", "memory": "256Gi", "ephemeral-storage": "500Gi", "pods": "110", "nvidia.com/gpu": "8"},
				Labels:    map[string]string{"node.kubernetes.io/instance-type": "gpu-8x"},
			},
		},
		Prices: map[string]Price{
			"cpu":               laptopPrice(0.04 * model.factor),
			"memory":            laptopPrice(0.005 * model.factor),
			"ephemeral-storage": laptopPrice(0.0001 * model.factor),
			"nvidia.com/gpu":    laptopPrice(2.5 * model.factor),
		},
	}
}

// laptopPrice sets spot at a third of on-demand, where it often is.
func laptopPrice(onDemand float64) Price {
	round := func(price float64) float64 { return math.Round(price*1e6) / 1e6 }
	spot := round(onDemand / 3)
	return Price{OnDemand: round(onDemand), Spot: &spot}
}

// In returns the amount in the unit in which GCO counts the resource: cpu in
// thousandths of a core, everything else in whole pieces or bytes, rounded up
// as Kubernetes does. It is 0 for a quantity that [Quantity.UnmarshalText]
// would not take, and at most the largest int64.
func (q Quantity) In(resource string) int64 {
	match := quantity.FindStringSubmatch(string(q))
	if match == nil {
		return 0
	}
	suffix := match[2]
	amount, ok := new(big.Rat).SetString(strings.TrimSuffix(string(q), suffix))
	if !ok {
		return 0
	}
	amount.Mul(amount, suffixes[suffix])
	if resource == "cpu" {
		amount.Mul(amount, big.NewRat(1000, 1))
	}
	whole, rest := new(big.Int).QuoRem(amount.Num(), amount.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		whole.Add(whole, big.NewInt(1))
	}
	if !whole.IsInt64() {
		return math.MaxInt64
	}
	return whole.Int64()
}

// suffixes are those of Kubernetes quantities.
var suffixes = map[string]*big.Rat{
	"": power(10, 0), "m": big.NewRat(1, 1000),
	"k": power(10, 3), "M": power(10, 6), "G": power(10, 9), "T": power(10, 12), "P": power(10, 15), "E": power(10, 18),
	"Ki": power(2, 10), "Mi": power(2, 20), "Gi": power(2, 30), "Ti": power(2, 40), "Pi": power(2, 50), "Ei": power(2, 60),
}

func power(base, exponent int64) *big.Rat {
	return new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(base), big.NewInt(exponent), nil))
}
