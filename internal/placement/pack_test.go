package placement

import (
	"testing"

	"github.com/gco-project/gco/internal/capacity"
)

func TestRoomTake(t *testing.T) {
	mixed := capacity.Demand{Pods: append(gpuPods(1, 8).Pods, gpuPods(2, 4).Pods...)}
	tests := []struct {
		name     string
		snapshot capacity.Snapshot
		takes    []capacity.Demand
		want     []bool
	}{
		{
			"one after the other until it is full",
			capacity.Snapshot{Nodes: []capacity.NodeShape{gpuNodes(2, 8)}},
			[]capacity.Demand{gpuPods(1, 8), gpuPods(1, 4), gpuPods(1, 8), gpuPods(1, 4), gpuPods(1, 1)},
			[]bool{true, true, false, true, false},
		},
		{
			"all pods or none",
			capacity.Snapshot{Nodes: []capacity.NodeShape{gpuNodes(2, 8)}},
			[]capacity.Demand{gpuPods(3, 8), gpuPods(2, 8)},
			[]bool{false, true},
		},
		{
			"all groups or none",
			capacity.Snapshot{Nodes: []capacity.NodeShape{gpuNodes(1, 8), gpuNodes(1, 4)}},
			[]capacity.Demand{mixed, gpuPods(1, 8), gpuPods(1, 4)},
			[]bool{false, true, true},
		},
		{
			"large pods first",
			capacity.Snapshot{Nodes: []capacity.NodeShape{gpuNodes(2, 8)}},
			[]capacity.Demand{{Pods: append(gpuPods(2, 4).Pods, gpuPods(1, 8).Pods...)}},
			[]bool{true},
		},
		{
			"small pods go to the tightest node",
			capacity.Snapshot{Nodes: []capacity.NodeShape{gpuNodes(1, 8), gpuNodes(1, 2)}},
			[]capacity.Demand{gpuPods(2, 1), gpuPods(1, 8)},
			[]bool{true, true},
		},
		{
			"pods without GPUs leave GPU nodes alone",
			capacity.Snapshot{Nodes: []capacity.NodeShape{gpuNodes(1, 8), cpuNodes(1, 16)}},
			[]capacity.Demand{podsOf(1, capacity.Resources{"cpu": 16_000}), podsOf(1, capacity.Resources{gpu: 8, "cpu": 96_000})},
			[]bool{true, true},
		},
		{
			"nodes that may be added count, after those that exist",
			capacity.Snapshot{Nodes: []capacity.NodeShape{gpuNodes(1, 4)}, Provisionable: []capacity.NodeShape{gpuNodes(1, 8)}},
			[]capacity.Demand{gpuPods(1, 4), gpuPods(1, 8), gpuPods(1, 1)},
			[]bool{true, true, false},
		},
		{
			"a node's limit on pods",
			capacity.Snapshot{Nodes: []capacity.NodeShape{{
				Count: 1, Free: capacity.Resources{"cpu": 64_000, "pods": 2}, Total: capacity.Resources{"cpu": 64_000, "pods": 110},
			}}},
			[]capacity.Demand{podsOf(2, capacity.Resources{"cpu": 100}), podsOf(1, capacity.Resources{"cpu": 100})},
			[]bool{true, false},
		},
		{
			"a node that takes no pods",
			capacity.Snapshot{Nodes: []capacity.NodeShape{{
				Count: 1, Free: capacity.Resources{"cpu": 64_000, "pods": 0}, Total: capacity.Resources{"cpu": 64_000, "pods": 0},
			}}},
			[]capacity.Demand{podsOf(1, capacity.Resources{"cpu": 100})},
			[]bool{false},
		},
		{
			"no limit on pods where none is named",
			capacity.Snapshot{Nodes: []capacity.NodeShape{{
				Count: 1, Free: capacity.Resources{"cpu": 64_000}, Total: capacity.Resources{"cpu": 64_000},
			}}},
			[]capacity.Demand{podsOf(640, capacity.Resources{"cpu": 100, "pods": 1}), podsOf(1, capacity.Resources{"cpu": 1})},
			[]bool{true, false},
		},
		{
			"more used than there is counts as nothing free",
			capacity.Snapshot{Nodes: []capacity.NodeShape{{
				Count: 1, Free: capacity.Resources{"cpu": -500}, Total: capacity.Resources{"cpu": 1000},
			}}},
			[]capacity.Demand{podsOf(1, capacity.Resources{"cpu": 100}), {}},
			[]bool{false, true},
		},
		{
			"pods that ask for nothing still need a node",
			capacity.Snapshot{},
			[]capacity.Demand{podsOf(1, nil)},
			[]bool{false},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			room := NewRoom(test.snapshot)
			for i, demand := range test.takes {
				if got := room.Take(demand); got != test.want[i] {
					t.Errorf("take %d: %v", i, got)
				}
			}
			if got := Fits(test.takes[0], test.snapshot); got != test.want[0] {
				t.Errorf("Fits says %v", got)
			}
		})
	}
}

func TestTakeShowsInLaterDecisions(t *testing.T) {
	fleet := NewFleet([]Input{live("a", gpuNodes(1, 8)), live("b", gpuNodes(1, 8))})
	request := Request{Demand: gpuPods(1, 8)}
	for _, want := range []string{"a", "b", ""} {
		got := Decide(request, fleet, DefaultPolicy(), noon).Region
		if got != want {
			t.Fatalf("decided for %q, want %q", got, want)
		}
		fleet.Take(got, request.Demand)
	}
}

// TestTakeOfWhatDoesNotFit happens when a region was promised more than its
// newest report can hold.
func TestTakeOfWhatDoesNotFit(t *testing.T) {
	fleet := NewFleet([]Input{live("a", gpuNodes(1, 8))})
	fleet.Take("a", gpuPods(3, 4))
	fleet.Take("nowhere", gpuPods(1, 1))
	decision := Decide(Request{Demand: gpuPods(1, 1)}, fleet, DefaultPolicy(), noon)
	if decision.Region != "" || decision.Rejections[0].Reason != "busy" {
		t.Errorf("%+v", decision)
	}
}

func TestPromisedIsTakenInBulk(t *testing.T) {
	input := live("a", gpuNodes(5000, 8))
	input.Promised = []Promised{{gpuPods(2, 1), 3000}, {gpuPods(1, 8), 4000}, {gpuPods(1, 1), -1}}
	fleet := NewFleet([]Input{input})
	left := int64(0)
	for _, s := range freeOf(fleet, "a") {
		for i, name := range fleet.regions[0].kinds[s.kind].names {
			if name == gpu {
				left += s.count * s.free[i]
			}
		}
	}
	if want := int64(5000*8 - 2*3000 - 4000*8); left != want {
		t.Errorf("%d GPUs are left, want %d", left, want)
	}
	if got := fleet.regions[0].ahead; got != 7000 {
		t.Errorf("%d jobs ahead, want 7000", got)
	}
	// 4,000 nodes are full of large pods and 750 of small ones.
	if Decide(Request{Demand: gpuPods(251, 8)}, fleet, DefaultPolicy(), noon).Region != "" {
		t.Error("251 whole nodes are free")
	}
	if Decide(Request{Demand: gpuPods(250, 8)}, fleet, DefaultPolicy(), noon).Region != "a" {
		t.Error("250 whole nodes are not free")
	}
}

// TestForgottenPodsAreMeasuredAgain fills the catalog to its end.
func TestForgottenPodsAreMeasuredAgain(t *testing.T) {
	fleet := NewFleet([]Input{live("a", gpuNodes(1, 8))})
	fleet.catalog.maxPods = 4
	for i := range 20 {
		demand := podsOf(1, capacity.Resources{gpu: 8, "cpu": int64(90_000 + i*1000)})
		want := ""
		if 90+i <= 96 {
			want = "a"
		}
		if got := Decide(Request{Demand: demand}, fleet, DefaultPolicy(), noon).Region; got != want {
			t.Errorf("%d cores: %q, want %q", 90+i, got, want)
		}
	}
	if pods := len(fleet.catalog.pods); pods > 4 {
		t.Errorf("%d pods are remembered, 4 are allowed", pods)
	}
}
