package placement

import (
	"testing"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
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
			"more pods than a node allows leave no place, there or elsewhere",
			capacity.Snapshot{Nodes: []capacity.NodeShape{
				{Count: 1, Free: capacity.Resources{"cpu": 1000, "pods": -5}, Total: capacity.Resources{"cpu": 1000, "pods": 10}},
				{Count: 1, Free: capacity.Resources{"cpu": 1000, "pods": 1}, Total: capacity.Resources{"cpu": 1000, "pods": 10}},
			}},
			[]capacity.Demand{podsOf(1, capacity.Resources{"cpu": 1}), podsOf(1, capacity.Resources{"cpu": 1})},
			[]bool{true, false},
		},
		{
			"no more is free than there is",
			capacity.Snapshot{Nodes: []capacity.NodeShape{{
				Count: 1, Free: capacity.Resources{"cpu": 9000, gpu: 1}, Total: capacity.Resources{"cpu": 1000},
			}}},
			[]capacity.Demand{podsOf(1, capacity.Resources{"cpu": 2000}), podsOf(1, capacity.Resources{gpu: 1}), podsOf(1, capacity.Resources{"cpu": 1000})},
			[]bool{false, false, true},
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

// TestPodsThatDifferAreAskedAnew: a fleet must not answer for one pod what it
// remembers of another.
func TestPodsThatDifferAreAskedAnew(t *testing.T) {
	pod := func(change func(*capacity.Pod)) capacity.Pod {
		p := capacity.Pod{Requests: capacity.Resources{gpu: 1}}
		change(&p)
		return p
	}
	affinity := func(values ...string) func(*capacity.Pod) {
		return func(p *capacity.Pod) {
			p.Affinity = []capacity.Term{{{Key: "zone", Operator: "In", Values: values}}}
		}
	}
	tolerating := func(toleration capacity.Toleration) func(*capacity.Pod) {
		return func(p *capacity.Pod) { p.Tolerations = []capacity.Toleration{toleration} }
	}
	c := newCatalog()
	keys := map[string]int{}
	for i, p := range []capacity.Pod{
		pod(func(*capacity.Pod) {}),
		pod(func(p *capacity.Pod) { p.Requests[gpu] = 2 }),
		pod(func(p *capacity.Pod) { p.Requests["cpu"] = 1 }),
		pod(func(p *capacity.Pod) { p.NodeSelector = map[string]string{"zone": "a"} }),
		pod(func(p *capacity.Pod) { p.NodeSelector = map[string]string{"zone": "b"} }),
		pod(func(p *capacity.Pod) { p.NodeSelector = map[string]string{"zonea": ""} }),
		pod(affinity("a")), pod(affinity("b")), pod(affinity("a", "b")), pod(affinity("ab")), pod(affinity()),
		pod(func(p *capacity.Pod) { p.Affinity = []capacity.Term{{}} }),
		pod(func(p *capacity.Pod) { p.Affinity = []capacity.Term{{}, {}} }),
		pod(tolerating(capacity.Toleration{Key: "a"})), pod(tolerating(capacity.Toleration{Value: "a"})),
		pod(tolerating(capacity.Toleration{Operator: "a"})), pod(tolerating(capacity.Toleration{Effect: "a"})),
	} {
		key := string(c.appendPodKey(nil, p))
		if before, taken := keys[key]; taken {
			t.Errorf("pods %d and %d have one key", before, i)
		}
		keys[key] = i
	}

	fleet := NewFleet([]Input{live("a", labelled(gpuNodes(1, 8), "karpenter.sh/capacity-type", "spot"))})
	for _, test := range []struct {
		market capacity.Type
		want   string
	}{{"", "a"}, {capacity.OnDemand, ""}, {capacity.Spot, "a"}} {
		request := constrained(gpuPods(1, 1), func(c *job.Constraints) { c.CapacityType = test.market })
		if got := Decide(request, fleet, DefaultPolicy(), noon).Region; got != test.want {
			t.Errorf("market %q: %q, want %q", test.market, got, test.want)
		}
	}
}

// TestNodesThatDifferOnlyInLabelsAreTakenInOneOrder, whatever order a report
// lists them in.
func TestNodesThatDifferOnlyInLabelsAreTakenInOneOrder(t *testing.T) {
	a, b := labelled(gpuNodes(1, 8), "zone", "a"), labelled(gpuNodes(1, 8), "zone", "b")
	for _, nodes := range [][]capacity.NodeShape{{a, b}, {b, a}} {
		room := NewRoom(capacity.Snapshot{Nodes: nodes})
		room.Take(gpuPods(1, 8))
		for zone, want := range map[string]bool{"a": false, "b": true} {
			demand := gpuPods(1, 8)
			demand.Pods[0].NodeSelector = map[string]string{"zone": zone}
			if got := room.Take(demand); got != want {
				t.Errorf("listed %s first: zone %s has room: %v", nodes[0].Labels["zone"], zone, got)
			}
		}
	}
}

// TestPromisesAreTakenLargestFirst, so that small ones do not sit where only a
// large one could.
func TestPromisesAreTakenLargestFirst(t *testing.T) {
	roomy := gpuNodes(1, 8)
	roomy.Free["cpu"], roomy.Total["cpu"] = 128_000, 128_000
	small, large := Promised{gpuPods(1, 1), 4}, Promised{gpuPods(1, 8), 1}
	large.Demand.Pods[0].NodeSelector = map[string]string{"zone": "a"}
	for _, promised := range [][]Promised{{small, large}, {large, small}} {
		input := live("r", labelled(gpuNodes(1, 8), "zone", "a"), roomy)
		input.Promised = promised
		left := NewFleet([]Input{input}).regions[0].sum()[gpu]
		if left != 4 {
			t.Errorf("%d GPUs are left, want 4: not all that was promised found its place", left)
		}
	}
}

// Room that is taken, or promised, is that on the market which was asked for.
func TestRoomKeepsToTheCapacityType(t *testing.T) {
	spot := labelled(gpuNodes(1, 8), "karpenter.sh/capacity-type", "spot")
	room := NewRoom(capacity.Snapshot{Nodes: []capacity.NodeShape{gpuNodes(1, 8), spot}})
	for i, step := range []struct {
		of    capacity.Type
		takes bool
	}{{capacity.Spot, true}, {capacity.Spot, false}, {capacity.OnDemand, true}, {"", false}} {
		if got := room.Take(gpuPods(1, 8).OfType(step.of)); got != step.takes {
			t.Errorf("step %d: %q finds room: %v", i, step.of, got)
		}
	}
	input := live("r", gpuNodes(1, 8), spot)
	input.Promised = []Promised{{gpuPods(1, 8).OfType(capacity.Spot), 1}}
	for of, fits := range map[capacity.Type]bool{capacity.Spot: false, capacity.OnDemand: true} {
		decision := decide(t, Request{Demand: gpuPods(1, 1).OfType(of)}, input)
		if got := decision.Region == "r"; got != fits {
			t.Errorf("beside a promise on the spot market, %s fits: %v", of, got)
		}
	}
}
