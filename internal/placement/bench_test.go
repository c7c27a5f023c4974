package placement

import (
	"fmt"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

// benchNow is the clock of the benchmarks.
var benchNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// benchFleet has regions of 5,000 nodes in the given number of shapes.
func benchFleet(regions, shapes int) []Input {
	inputs := make([]Input, regions)
	for i := range inputs {
		name := fmt.Sprintf("region-%04d", i)
		labels := map[string]string{
			"topology.kubernetes.io/region": name, "kubernetes.io/os": "linux",
			"node.kubernetes.io/instance-type": "p5.48xlarge", "karpenter.sh/capacity-type": "on-demand",
		}
		total := capacity.Resources{"cpu": 192_000, "memory": 2048 << 30, "nvidia.com/gpu": 8, "pods": 110}
		nodes := make([]capacity.NodeShape, shapes)
		for s := range nodes {
			nodes[s] = capacity.NodeShape{
				Count: 5000 / shapes, Total: total, Architecture: "amd64", Labels: labels,
				Free: capacity.Resources{
					"cpu": int64(8000 + s*997%184_000), "memory": int64(64+s*7%1900) << 30,
					"nvidia.com/gpu": int64(s % 9), "pods": int64(10 + s%100),
				},
			}
		}
		inputs[i] = Input{
			Region: capacity.Region{Name: name, Lease: capacity.LeaseLive, Inventoried: true, Snapshot: capacity.Snapshot{Nodes: nodes}},
			Prices: Prices{
				"cpu": {OnDemand: 0.04 + float64(i)/1e5}, "memory": {OnDemand: 0.005}, "nvidia.com/gpu": {OnDemand: 2.5},
			},
			DrainRate: 5,
		}
	}
	return inputs
}

func benchRequest(gpus int64) Request {
	return Request{Demand: capacity.Demand{Pods: []capacity.PodGroup{{
		Count: 1, Pod: capacity.Pod{
			Requests:     capacity.Resources{"cpu": 4000, "memory": 16 << 30, "nvidia.com/gpu": gpus},
			NodeSelector: map[string]string{"kubernetes.io/arch": "amd64"},
		},
	}}}, Constraints: job.Constraints{MaxPricePerHour: 100}}
}

// BenchmarkDecide is one decision about a pod that the fleet knows already,
// with what it decided taken; "first" is one about a pod that it sees for the
// first time, and "nowhere" one about a job that every region is too busy for.
func BenchmarkDecide(b *testing.B) {
	policy := DefaultPolicy()
	for _, regions := range []int{3, 10, 100, 1000} {
		for _, shapes := range []int{20, 500} {
			if regions*shapes > 100_000 {
				continue
			}
			inputs := benchFleet(regions, shapes)
			name := fmt.Sprintf("regions=%d/shapes=%d/", regions, shapes)
			b.Run(name+"take", func(b *testing.B) {
				fleet, request := NewFleet(inputs), benchRequest(1)
				b.ReportAllocs()
				for b.Loop() {
					decision := Decide(request, fleet, policy, benchNow)
					if decision.Region == "" {
						b.StopTimer()
						fleet = NewFleet(inputs)
						decision = Decide(request, fleet, policy, benchNow)
						b.StartTimer()
					}
					fleet.Take(decision.Region, request.Demand)
				}
			})
			b.Run(name+"first", func(b *testing.B) {
				fleet := NewFleet(inputs)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					request := benchRequest(1)
					request.Demand.Pods[0].Requests["memory"] += int64(i)
					if Decide(request, fleet, policy, benchNow).Region == "" {
						b.Fatal("no region")
					}
				}
			})
			b.Run(name+"nowhere", func(b *testing.B) {
				fleet, request := NewFleet(inputs), benchRequest(1)
				request.Demand.Pods[0].Count = 39_900
				b.ReportAllocs()
				for b.Loop() {
					if Decide(request, fleet, policy, benchNow).Region != "" {
						b.Fatal("a region")
					}
				}
			})
		}
	}
}

func BenchmarkNewFleet(b *testing.B) {
	for _, shapes := range []int{20, 500, 5000} {
		inputs := benchFleet(100, shapes)
		for i := range inputs {
			inputs[i].Promised = []Promised{{benchRequest(1).Demand, 500}, {benchRequest(8).Demand, 20}}
		}
		b.Run(fmt.Sprintf("regions=100/shapes=%d", shapes), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				NewFleet(inputs)
			}
		})
	}
}

func BenchmarkRoomTake(b *testing.B) {
	snapshot, demand := benchFleet(1, 500)[0].Region.Snapshot, benchRequest(1).Demand
	b.ReportAllocs()
	room := NewRoom(snapshot)
	for b.Loop() {
		if !room.Take(demand) {
			room = NewRoom(snapshot)
		}
	}
}
