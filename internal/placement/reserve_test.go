package placement

import (
	"testing"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

func reserve(f *Fleet, request Request) (string, bool) {
	return f.Reserve(request, DefaultPolicy(), noon)
}

func TestReserve(t *testing.T) {
	t.Run("where least has to become free", func(t *testing.T) {
		fleet := NewFleet([]Input{live("a", gpuNodes(4, 2)), live("b", gpuNodes(4, 1), gpuNodes(1, 6)), live("c", gpuNodes(4, 3))})
		if name, ok := reserve(fleet, Request{Demand: gpuPods(1, 8)}); name != "b" || !ok {
			t.Fatalf("reserved in %q, %v; want b", name, ok)
		}
		// The node with 6 is kept, those with 1 are not.
		small := constrained(gpuPods(1, 2), func(c *job.Constraints) { c.Regions = []string{"b"} })
		decision := Decide(small, fleet, DefaultPolicy(), noon)
		want := Rejection{"b", "reserved", "there is room for 1 pod of 2 nvidia.com/gpu + 2 cpu, but 1 node is kept for a job that has waited longer"}
		if decision.Region != "" || decision.Rejections[0] != want {
			t.Errorf("%+v", decision)
		}
		small.Demand = gpuPods(4, 1)
		if decision := Decide(small, fleet, DefaultPolicy(), noon); decision.Region != "b" {
			t.Errorf("nodes that are not kept: %+v", decision.Rejections)
		}
		small.Demand = gpuPods(5, 8)
		if decision := Decide(small, fleet, DefaultPolicy(), noon); decision.Rejections[0].Reason != "busy" {
			t.Errorf("a job that would not fit anyway: %+v", decision.Rejections)
		}
	})
	t.Run("several nodes", func(t *testing.T) {
		fleet := NewFleet([]Input{live("a", gpuNodes(10, 3), gpuNodes(10, 4))})
		if _, ok := reserve(fleet, Request{Demand: gpuPods(12, 8)}); !ok {
			t.Fatal("not reserved")
		}
		if held := nodesIn(fleet.regions[0].held); held != 12 {
			t.Errorf("%d nodes are kept, want 12", held)
		}
		if left := freeOf(fleet, "a"); len(left) != 1 || left[0].count != 8 || left[0].special != 375 {
			t.Errorf("left: %+v", left)
		}
	})
	t.Run("nodes that may be added first", func(t *testing.T) {
		fleet := NewFleet([]Input{with(live("a", gpuNodes(2, 4)), func(r *capacity.Region) {
			r.Snapshot.Provisionable = []capacity.NodeShape{gpuNodes(1, 8)}
		})})
		if _, ok := reserve(fleet, Request{Demand: gpuPods(2, 8)}); !ok {
			t.Fatal("not reserved")
		}
		if held := fleet.regions[0].held; len(held) != 2 || held[1].special != 1000 {
			t.Errorf("kept: %+v", held)
		}
	})
	t.Run("groups that must share nodes keep all of them", func(t *testing.T) {
		fleet := NewFleet([]Input{live("a", gpuNodes(1, 1))})
		demand := capacity.Demand{Pods: append(gpuPods(1, 6).Pods, gpuPods(1, 2).Pods...)}
		if _, ok := reserve(fleet, Request{Demand: demand}); !ok {
			t.Fatal("not reserved")
		}
		if len(freeOf(fleet, "a")) != 0 {
			t.Error("a node is left")
		}
	})
	t.Run("one in a region", func(t *testing.T) {
		fleet := NewFleet([]Input{live("a", gpuNodes(4, 2)), live("b", gpuNodes(4, 1))})
		for _, want := range []string{"a", "b", ""} {
			if name, ok := reserve(fleet, Request{Demand: gpuPods(1, 8)}); name != want || ok != (want != "") {
				t.Errorf("reserved in %q, %v; want %q", name, ok, want)
			}
		}
	})
	t.Run("the cheaper of equals", func(t *testing.T) {
		fleet := NewFleet([]Input{
			{Region: live("a", gpuNodes(1, 2)).Region},
			{Region: live("b", gpuNodes(1, 2)).Region, Prices: Prices{"cpu": {}, gpu: {OnDemand: 3}}},
			{Region: live("c", gpuNodes(1, 2)).Region, Prices: Prices{"cpu": {}, gpu: {OnDemand: 2}}},
		})
		if name, _ := reserve(fleet, Request{Demand: gpuPods(1, 8)}); name != "c" {
			t.Errorf("reserved in %q, want c", name)
		}
	})
	t.Run("nowhere", func(t *testing.T) {
		cordoned := with(live("a", gpuNodes(1, 2)), func(r *capacity.Region) { r.Cordoned = true })
		for _, inputs := range [][]Input{nil, {cordoned}, {live("a", gpuNodes(1, 8))}, {live("a", cpuNodes(9, 0))}} {
			if name, ok := reserve(NewFleet(inputs), Request{Demand: gpuPods(1, 8)}); ok {
				t.Errorf("reserved in %q", name)
			}
		}
	})
}

// TestWithoutReserveSmallJobsStarveLargeOnes, and with it they do not: one GPU
// becomes free each pass, and there is always a small job that wants it.
func TestWithoutReserveSmallJobsStarveLargeOnes(t *testing.T) {
	large, small := Request{Demand: gpuPods(1, 8)}, Request{Demand: gpuPods(1, 1)}
	passes := func(reserving bool) int {
		used := []int64{8, 8, 8, 8} // by node
		for pass := range 200 {
			used[pass*7%len(used)] = max(0, used[pass*7%len(used)]-1)
			fleet := NewFleet([]Input{live("a", shapesOf(used)...)})
			if Decide(large, fleet, DefaultPolicy(), noon).Region != "" {
				return pass
			}
			if reserving {
				reserve(fleet, large)
			}
			for Decide(small, fleet, DefaultPolicy(), noon).Region != "" {
				fleet.Take("a", small.Demand)
				// The cluster's scheduler puts it where placement expects.
				used[tightest(t, used, fleet)]++
			}
		}
		return -1
	}
	if pass := passes(false); pass >= 0 {
		t.Errorf("without a reservation the large job fits after %d passes: the test shows nothing", pass)
	}
	if pass := passes(true); pass < 0 {
		t.Error("the large job never fits")
	}
}

func shapesOf(used []int64) []capacity.NodeShape {
	var shapes []capacity.NodeShape
	for _, n := range used {
		shapes = append(shapes, gpuNodes(1, 8-n))
	}
	return shapes
}

// tightest is a node that has a GPU free and is not kept: the fullest one.
func tightest(t *testing.T, used []int64, fleet *Fleet) int {
	t.Helper()
	kept := map[int64]int64{}
	for _, s := range fleet.regions[0].held {
		kept[8-s.special*8/1000] += s.count
	}
	best := -1
	for i, n := range used {
		if kept[n] > 0 {
			kept[n]--
			continue
		}
		if n < 8 && (best < 0 || n > used[best]) {
			best = i
		}
	}
	if best < 0 {
		t.Fatal("placement found room where there is none")
	}
	return best
}
