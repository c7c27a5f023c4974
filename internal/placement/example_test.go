package placement_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/placement"
)

// nodes of 8 GPUs and 96 cores.
func nodes(count int, freeGPUs int64) capacity.NodeShape {
	return capacity.NodeShape{
		Count: count, Architecture: "amd64",
		Free:  capacity.Resources{capacity.CPU: 12_000 * freeGPUs, "nvidia.com/gpu": freeGPUs},
		Total: capacity.Resources{capacity.CPU: 96_000, "nvidia.com/gpu": 8},
	}
}

func region(name string, gpuPrice float64, shapes ...capacity.NodeShape) placement.Input {
	return placement.Input{
		Region: capacity.Region{
			Name: name, Lease: capacity.LeaseLive, Inventoried: true,
			Snapshot: capacity.Snapshot{Nodes: shapes},
		},
		Prices: placement.Prices{capacity.CPU: {OnDemand: 0.04}, "nvidia.com/gpu": {OnDemand: gpuPrice}},
	}
}

// training is one pod of 8 GPUs.
var training = placement.Request{Demand: capacity.Demand{Pods: []capacity.PodGroup{{
	Count: 1,
	Pod:   capacity.Pod{Requests: capacity.Resources{capacity.CPU: 32_000, "nvidia.com/gpu": 8}},
}}}}

var oneCore = capacity.Demand{Pods: []capacity.PodGroup{{
	Count: 1, Pod: capacity.Pod{Requests: capacity.Resources{capacity.CPU: 1000}},
}}}

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// The example of docs/placement.md: four regions, of which one has eight free
// GPUs on eight different nodes, and one has sixty jobs in front.
func ExampleDecide() {
	busyQueue := region("eu-west-1", 2.00, nodes(2, 8), nodes(6, 0))
	busyQueue.Promised = []placement.Promised{{Demand: oneCore, Count: 60}}
	busyQueue.DrainRate = 0.5
	exhausted := region("ap-south-1", 1.50, nodes(4, 8))
	exhausted.Region.Backoffs = map[string]capacity.Backoff{"nvidia.com/gpu": {
		Kind: capacity.NoCapacity, Failures: 2, Until: now.Add(4 * time.Minute), Message: "InsufficientInstanceCapacity",
	}}
	fleet := placement.NewFleet([]placement.Input{
		region("us-east-1", 2.50, nodes(3, 8), nodes(1, 0)),
		region("us-west-2", 1.80, nodes(8, 1)),
		busyQueue,
		exhausted,
	})

	decision := placement.Decide(training, fleet, placement.DefaultPolicy(), now)
	fmt.Println(decision.Summary())
	for _, c := range decision.Candidates {
		fmt.Printf("%s %.4f, %.2f an hour\n", c.Region, c.Score, *c.PricePerHour)
		for _, term := range c.Terms {
			fmt.Printf("  %-15s %.4f x %.1f\n", term.Name, term.Value, term.Weight)
		}
	}
	for _, r := range decision.Rejections {
		fmt.Printf("%s %s: %s\n", r.Region, r.Reason, r.Message)
	}
	// Output:
	// us-east-1 has the best score of the regions that will do: 0.794
	// us-east-1 0.7936, 21.28 an hour
	//   expectedWait    1.0000 x 0.3
	//   freeShare       0.7500 x 0.2
	//   price           0.8120 x 0.3
	//   locality        0.0000 x 0.1
	//   recentFailures  1.0000 x 0.1
	// eu-west-1 0.5500, 17.28 an hour
	//   expectedWait    0.3333 x 0.3
	//   freeShare       0.2500 x 0.2
	//   price           1.0000 x 0.3
	//   locality        0.0000 x 0.1
	//   recentFailures  1.0000 x 0.1
	// us-west-2 busy: needs 8 nvidia.com/gpu on one node; the freest of 8 suitable nodes has 1 of 8 free
	// ap-south-1 back-off: could not provide nvidia.com/gpu (failure 2); next try in 4m, at 12:04:00 UTC: InsufficientInstanceCapacity
}

// A decision that was acted upon is taken, so that the next one sees it.
func ExampleFleet_Take() {
	fleet := placement.NewFleet([]placement.Input{region("us-east-1", 2.50, nodes(1, 8))})
	for range 2 {
		decision := placement.Decide(training, fleet, placement.DefaultPolicy(), now)
		fmt.Println(decision.Summary())
		fleet.Take(decision.Region, training.Demand)
	}
	// Output:
	// us-east-1 is the only region that will do
	// no region will do now: 1 busy
}

// A reservation keeps small jobs off the node that a large one waits for.
func ExampleFleet_Reserve() {
	fleet := placement.NewFleet([]placement.Input{region("us-east-1", 2.50, nodes(1, 6), nodes(3, 1))})
	fmt.Println(fleet.Reserve(training, placement.DefaultPolicy(), now))

	small := placement.Request{Demand: capacity.Demand{Pods: []capacity.PodGroup{{
		Count: 1, Pod: capacity.Pod{Requests: capacity.Resources{"nvidia.com/gpu": 2}},
	}}}}
	decision := placement.Decide(small, fleet, placement.DefaultPolicy(), now)
	fmt.Println(decision.Rejections[0].Reason, decision.Rejections[0].Message)
	// Output:
	// us-east-1 true
	// reserved there is room for 1 pod of 2 nvidia.com/gpu, but 1 node is kept for a job that has waited longer
}

// What a region's agent may claim now.
func ExampleRoom() {
	room := placement.NewRoom(capacity.Snapshot{Nodes: []capacity.NodeShape{nodes(2, 8)}})
	for range 3 {
		fmt.Println(room.Take(training.Demand))
	}
	// Output:
	// true
	// true
	// false
}

// The placement section of gco.yaml, as JSON.
func ExampleDefaultPolicy() {
	policy := placement.DefaultPolicy()
	text, err := json.Marshal(policy.Weights)
	fmt.Println(string(text), err)
	fmt.Println(policy.ReserveAfter, policy.ProvisionTime, len(policy.Validate()))
	// Output:
	// {"expectedWait":3,"freeShare":2,"price":3,"locality":1,"recentFailures":1} <nil>
	// 10m0s 3m0s 0
}

// Prices are for one core, one GiB or one piece, and an hour.
func ExamplePrices_PerHour() {
	spot := 0.9
	prices := placement.Prices{capacity.CPU: {OnDemand: 0.04}, "nvidia.com/gpu": {OnDemand: 2.5, Spot: &spot}}
	fmt.Println(prices.PerHour(training.Demand, capacity.OnDemand))
	fmt.Println(prices.PerHour(training.Demand, capacity.Spot)) // cpu has no spot price
	// Output:
	// 21.28 true
	// 0 false
}
