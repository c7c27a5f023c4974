package placement

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gco-project/gco/internal/capacity"
)

// Generators of fleets so small that every packing of them can be tried.

func drawResources(t *rapid.T, label string, most int64) capacity.Resources {
	r := capacity.Resources{}
	for _, name := range []string{"cpu", gpu, "fpga"} {
		if amount := rapid.Int64Range(0, most).Draw(t, label+" "+name); amount > 0 {
			r[name] = amount
		}
	}
	return r
}

func drawNode(t *rapid.T) capacity.NodeShape {
	node := capacity.NodeShape{
		Count:        rapid.IntRange(1, 2).Draw(t, "nodes"),
		Total:        drawResources(t, "total", 4),
		Architecture: rapid.SampledFrom([]string{"", "amd64", "arm64"}).Draw(t, "architecture"),
		Labels:       rapid.MapOfN(rapid.SampledFrom([]string{"zone", "karpenter.sh/capacity-type"}), rapid.SampledFrom([]string{"a", "spot"}), 0, 2).Draw(t, "labels"),
	}
	if rapid.Bool().Draw(t, "limits pods") {
		node.Total["pods"] = rapid.Int64Range(1, 3).Draw(t, "pods")
	}
	if rapid.IntRange(0, 3).Draw(t, "tainted") == 0 {
		node.Taints = []capacity.Taint{{Key: "t", Effect: rapid.SampledFrom([]string{"NoSchedule", "PreferNoSchedule"}).Draw(t, "effect")}}
	}
	node.Free = capacity.Resources{}
	for _, name := range node.Total.Names() {
		node.Free[name] = rapid.Int64Range(0, node.Total[name]).Draw(t, "free "+name)
	}
	return node
}

func drawInput(t *rapid.T, name string) Input {
	input := live(name, rapid.SliceOfN(rapid.Custom(drawNode), 0, 2).Draw(t, "nodes of "+name)...)
	for _, node := range rapid.SliceOfN(rapid.Custom(drawNode), 0, 1).Draw(t, "provisionable of "+name) {
		node.Free = node.Total.Clone()
		input.Region.Snapshot.Provisionable = append(input.Region.Snapshot.Provisionable, node)
	}
	input.DrainRate = rapid.Float64Range(0, 2).Draw(t, "rate")
	input.Prices = Prices{}
	for _, resource := range []string{"cpu", gpu, "fpga"} {
		if rapid.IntRange(0, 3).Draw(t, "priced") > 0 {
			input.Prices[resource] = Price{OnDemand: rapid.Float64Range(0, 5).Draw(t, "price")}
		}
	}
	input.Region.Cordoned = rapid.IntRange(0, 9).Draw(t, "cordoned") == 0
	if rapid.IntRange(0, 4).Draw(t, "failed") == 0 {
		until := noon.Add(time.Duration(rapid.IntRange(-70, 10).Draw(t, "until")) * time.Minute)
		input.Region.Backoffs = map[string]capacity.Backoff{gpu: {Failures: 2, Until: until}}
	}
	return input
}

func drawInputs(t *rapid.T) []Input {
	var inputs []Input
	for _, name := range []string{"a", "b", "c"}[:rapid.IntRange(1, 3).Draw(t, "regions")] {
		inputs = append(inputs, drawInput(t, name))
	}
	return inputs
}

func drawGroup(t *rapid.T) capacity.PodGroup {
	group := capacity.PodGroup{Count: rapid.IntRange(1, 3).Draw(t, "count"), Pod: capacity.Pod{Requests: drawResources(t, "request", 3)}}
	switch rapid.IntRange(0, 4).Draw(t, "selects") {
	case 0:
		group.NodeSelector = map[string]string{"zone": "a"}
	case 1:
		group.Affinity = []capacity.Term{{{Key: archLabel, Operator: "NotIn", Values: []string{"arm64"}}}}
	case 2:
		group.Tolerations = []capacity.Toleration{{Key: "t", Operator: "Exists"}}
	}
	return group
}

func drawDemand(groups int) *rapid.Generator[capacity.Demand] {
	return rapid.Custom(func(t *rapid.T) capacity.Demand {
		return capacity.Demand{Pods: rapid.SliceOfN(rapid.Custom(drawGroup), 1, groups).Draw(t, "groups")}
	})
}

func drawRequest(t *rapid.T, groups int) Request {
	request := Request{Demand: drawDemand(groups).Draw(t, "demand")}
	request.Constraints.CapacityType = rapid.SampledFrom([]capacity.Type{"", "", capacity.OnDemand, capacity.Spot}).Draw(t, "market")
	request.Demand = request.Demand.OfType(request.Constraints.CapacityType)
	if rapid.IntRange(0, 4).Draw(t, "limited") == 0 {
		request.Constraints.MaxPricePerHour = rapid.Float64Range(0.1, 20).Draw(t, "limit")
	}
	return request
}

// The reference: every assignment of pods to single nodes is tried.

type plainNode struct {
	shape capacity.NodeShape
	free  capacity.Resources
}

func expand(snapshot capacity.Snapshot, empty bool) []*plainNode {
	var nodes []*plainNode
	for _, shape := range slices.Concat(snapshot.Nodes, snapshot.Provisionable) {
		for range shape.Count {
			node := &plainNode{shape, shape.Free.Clone()}
			if empty {
				node.free = shape.Total.Clone()
			}
			nodes = append(nodes, node)
		}
	}
	return nodes
}

func possible(nodes []*plainNode, demand capacity.Demand, market capacity.Type) bool {
	var pods []capacity.Pod
	for _, group := range demand.Pods {
		for range group.Count {
			pods = append(pods, group.Pod)
		}
	}
	return assign(nodes, pods, market)
}

func assign(nodes []*plainNode, pods []capacity.Pod, market capacity.Type) bool {
	if len(pods) == 0 {
		return true
	}
	for _, node := range nodes {
		takes := pods[0].Requests.Clone()
		if takes == nil {
			takes = capacity.Resources{}
		}
		if _, limited := node.shape.Total["pods"]; limited {
			takes["pods"] = 1
		}
		seen := profileOf(node.shape)
		if !takes.FitsIn(node.free) || mismatch(pods[0], seen) != "" || market != "" && market != seen.market {
			continue
		}
		node.free = node.free.Sub(takes)
		found := assign(nodes, pods[1:], market)
		node.free = node.free.Add(takes)
		if found {
			return true
		}
	}
	return false
}

func TestPropertyChosenRegionsHoldTheDemand(t *testing.T) {
	seen := map[string]int{}
	property := func(t *rapid.T) {
		inputs := drawInputs(t)
		request := drawRequest(t, 2)
		decision := Decide(request, NewFleet(inputs), DefaultPolicy(), noon)
		for _, c := range decision.Candidates {
			seen["candidate"]++
			if !possible(expand(snapshotOf(inputs, c.Region), false), request.Demand, request.Constraints.CapacityType) {
				t.Fatalf("%s is a candidate and cannot hold the demand", c.Region)
			}
		}
		for _, r := range decision.Rejections {
			seen[r.Reason]++
			snapshot, market := snapshotOf(inputs, r.Region), request.Constraints.CapacityType
			switch r.Reason {
			case "never-fits", "no-matching-node", "unknown-resource", "capacity-type-not-offered", "no-nodes":
				if possible(expand(snapshot, true), request.Demand, market) {
					t.Fatalf("%s could hold it when empty, and is rejected: %s", r.Region, r.Message)
				}
			case "busy":
				// For pods of several shapes, largest first may miss a packing.
				if len(request.Demand.Pods) == 1 && possible(expand(snapshot, false), request.Demand, market) {
					t.Fatalf("%s can hold it, and is rejected: %s", r.Region, r.Message)
				}
			}
		}
		if decision.NeverFits() {
			for _, input := range inputs {
				if possible(expand(input.Region.Snapshot, true), request.Demand, request.Constraints.CapacityType) {
					t.Fatalf("%s could hold what is said never to fit", input.Region.Name)
				}
			}
		}
	}
	// Many times, so that every outcome is sure to come.
	for range 20 {
		rapid.Check(t, property)
	}
	for _, outcome := range []string{"candidate", "busy", "never-fits", "no-matching-node", "unknown-resource", "capacity-type-not-offered", "no-nodes"} {
		if seen[outcome] == 0 {
			t.Errorf("no run ended in %q: %v", outcome, seen)
		}
	}
}

func snapshotOf(inputs []Input, region string) capacity.Snapshot {
	i := slices.IndexFunc(inputs, func(input Input) bool { return input.Region.Name == region })
	return inputs[i].Region.Snapshot
}

func TestPropertyWhatIsTakenFitsTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		snapshot := drawInput(t, "a").Region.Snapshot
		room := NewRoom(snapshot)
		var all capacity.Demand
		for range 3 {
			demand := drawDemand(2).Draw(t, "demand")
			before := room.space.sum()
			taken := room.Take(demand)
			used := before.Sub(room.space.sum())
			switch {
			case taken:
				all.Pods = append(all.Pods, demand.Pods...)
				used["pods"] = 0
				if !used.Equal(demand.Total()) {
					t.Fatalf("%v was taken for %v", used, demand)
				}
			case !used.Equal(nil):
				t.Fatalf("%v was taken for a demand that does not fit", used)
			}
			for _, s := range slices.Concat(room.space.nodes, room.space.spare) {
				if s.count < 1 || slices.ContainsFunc(s.free, func(n int64) bool { return n < 0 }) {
					t.Fatalf("shape %+v", s)
				}
			}
		}
		if !possible(expand(snapshot, false), all, "") {
			t.Fatalf("what was taken does not fit together: %v", all)
		}
	})
}

// sum is what is free in a space.
func (s *space) sum() capacity.Resources {
	total := capacity.Resources{}
	for _, shape := range slices.Concat(s.nodes, s.spare) {
		for i, name := range s.kinds[shape.kind].names {
			total[name] += shape.count * shape.free[i]
		}
	}
	return total
}

// TestPropertyOrderDoesNotMatter: regions, nodes, promises and groups may come
// in any order, and equal nodes as one shape or as many.
func TestPropertyOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inputs := drawInputs(t)
		for i := range inputs {
			for range rapid.IntRange(0, 2).Draw(t, "promises") {
				inputs[i].Promised = append(inputs[i].Promised, Promised{drawDemand(2).Draw(t, "promised"), rapid.IntRange(1, 2).Draw(t, "times")})
			}
		}
		request, reserved := drawRequest(t, 2), drawRequest(t, 1)
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		shuffled := shuffle(random, inputs)
		for i := range shuffled {
			shuffled[i].Promised = shuffle(random, shuffled[i].Promised)
			snapshot := &shuffled[i].Region.Snapshot
			snapshot.Nodes = shuffle(random, single(snapshot.Nodes))
			snapshot.Provisionable = shuffle(random, single(snapshot.Provisionable))
		}
		other := request
		other.Demand.Pods = shuffle(random, request.Demand.Pods)

		first, second := NewFleet(inputs), NewFleet(shuffled)
		for range 2 {
			want := Decide(request, first, DefaultPolicy(), noon)
			got := Decide(other, second, DefaultPolicy(), noon)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("in another order:\n%+v\nwant\n%+v", got, want)
			}
			first.Take(want.Region, request.Demand)
			second.Take(want.Region, other.Demand)
			in, _ := first.Reserve(reserved, DefaultPolicy(), noon)
			if at, _ := second.Reserve(reserved, DefaultPolicy(), noon); at != in {
				t.Fatalf("reserved in %q, in another order %q", in, at)
			}
		}
	})
}

func shuffle[T any](random *rand.Rand, list []T) []T {
	list = slices.Clone(list)
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func single(shapes []capacity.NodeShape) []capacity.NodeShape {
	var out []capacity.NodeShape
	for _, shape := range shapes {
		for range shape.Count {
			shape.Count = 1
			shape.Labels = maps.Clone(shape.Labels)
			out = append(out, shape)
		}
	}
	return out
}

// TestPropertyMemoryChangesNothing: what a fleet remembers from earlier
// questions makes it faster and nothing else.
func TestPropertyMemoryChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inputs := drawInputs(t)
		for i := range inputs {
			for j := range inputs[i].Region.Snapshot.Nodes {
				inputs[i].Region.Snapshot.Nodes[j].Count *= 3
			}
		}
		fleet := NewFleet(inputs)
		requests := []Request{drawRequest(t, 1), drawRequest(t, 1), drawRequest(t, 2)}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			request := rapid.SampledFrom(requests).Draw(t, "request")
			warm := Decide(request, fleet, DefaultPolicy(), noon)
			for _, r := range fleet.regions {
				r.views = nil
			}
			cold := Decide(request, fleet, DefaultPolicy(), noon)
			if !reflect.DeepEqual(warm, cold) {
				t.Fatalf("remembered:\n%+v\nmeasured anew:\n%+v", warm, cold)
			}
			Decide(requests[0], fleet, DefaultPolicy(), noon)
			switch {
			case warm.Region == "":
				fleet.Reserve(request, DefaultPolicy(), noon)
			case rapid.Bool().Draw(t, "take"):
				fleet.Take(warm.Region, request.Demand)
			}
			if rapid.IntRange(0, 5).Draw(t, "old log") == 0 {
				for _, r := range fleet.regions { // as if it had overflowed
					r.logStart, r.log = r.logStart+len(r.log), nil
				}
			}
		}
	})
}

func TestPropertyMoreFreeNeverHurts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		snapshot, demand := drawInput(t, "a").Region.Snapshot, drawDemand(1).Draw(t, "demand")
		if !Fits(demand, snapshot) {
			return
		}
		more := capacity.Snapshot{Provisionable: snapshot.Provisionable, Nodes: slices.Clone(snapshot.Nodes)}
		for i, node := range more.Nodes {
			node.Free = node.Free.Clone()
			for name := range node.Free {
				node.Free[name] += rapid.Int64Range(0, node.Total[name]-node.Free[name]).Draw(t, "more")
			}
			more.Nodes[i] = node
		}
		more.Nodes = append(more.Nodes, rapid.SliceOfN(rapid.Custom(drawNode), 0, 1).Draw(t, "new nodes")...)
		if !Fits(demand, more) {
			t.Fatalf("%v fits in %v, and not in %v", demand, snapshot, more)
		}
	})
}

func TestPropertyScoresAreShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := DefaultPolicy()
		policy.Weights = Weights{
			ExpectedWait: rapid.Float64Range(0, 10).Draw(t, "w1"), FreeShare: rapid.Float64Range(0, 10).Draw(t, "w2"),
			Price: rapid.Float64Range(0, 10).Draw(t, "w3"), Locality: rapid.Float64Range(0, 10).Draw(t, "w4"),
			RecentFailures: rapid.Float64Range(0.1, 10).Draw(t, "w5"),
		}
		request := drawRequest(t, 2)
		request.Constraints.Model = rapid.SampledFrom([]string{"", "llama@1", "llama@2"}).Draw(t, "model")
		inputs := drawInputs(t)
		for i := range inputs {
			inputs[i].Region.Snapshot.Models = rapid.SliceOf(rapid.SampledFrom([]string{"llama@1", "llama@2"})).Draw(t, "models")
		}
		decision := Decide(request, NewFleet(inputs), policy, noon)
		if len(decision.Candidates)+len(decision.Rejections) != len(inputs) || decision.Omitted != 0 {
			t.Fatalf("%d regions, decision %+v", len(inputs), decision)
		}
		if (decision.Region != "") != (len(decision.Candidates) > 0) {
			t.Fatalf("region %q with %d candidates", decision.Region, len(decision.Candidates))
		}
		before := 1.0
		for i, c := range decision.Candidates {
			if i == 0 && c.Region != decision.Region {
				t.Fatalf("%s is chosen, %s is the best", decision.Region, c.Region)
			}
			sum := 0.0
			for _, term := range c.Terms {
				if term.Value < 0 || term.Value > 1 {
					t.Fatalf("term %+v", term)
				}
				sum += term.Value * term.Weight
			}
			if c.Score < 0 || c.Score > before || sum-c.Score > 1e-9 || c.Score-sum > 1e-9 {
				t.Fatalf("score %v after %v, its terms sum to %v", c.Score, before, sum)
			}
			before = c.Score
		}
	})
}

// TestPropertyReservedNodesOnlyGainRoom: with a reservation, what the node
// nearest to holding a large job has free never shrinks, whatever ends where
// and however many small jobs wait. So the large job fits in the end.
func TestPropertyReservedNodesOnlyGainRoom(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		used := rapid.SliceOfN(rapid.Int64Range(1, 8), 1, 5).Draw(rt, "used")
		large := Request{Demand: gpuPods(1, 8)}
		least := slices.Min(used)
		for range 60 {
			ends := rapid.IntRange(0, len(used)-1).Draw(rt, "ends")
			used[ends] = max(0, used[ends]-1)
			fleet := NewFleet([]Input{live("a", shapesOf(used)...)})
			if Decide(large, fleet, DefaultPolicy(), noon).Region != "" {
				return
			}
			if _, ok := reserve(fleet, large); !ok {
				rt.Fatalf("no reservation with %v used", used)
			}
			small := Request{Demand: gpuPods(1, rapid.Int64Range(1, 2).Draw(rt, "small"))}
			for Decide(small, fleet, DefaultPolicy(), noon).Region != "" {
				fleet.Take("a", small.Demand)
				used = usedBy(fleet)
			}
			if now := slices.Min(used); now > least {
				rt.Fatalf("the best node had %d GPUs in use, now %d: %v", least, now, used)
			}
			least = slices.Min(used)
		}
	})
}

// usedBy reads the GPUs in use, node by node, out of a fleet of gpuNodes.
func usedBy(fleet *Fleet) []int64 {
	var used []int64
	for _, s := range slices.Concat(fleet.regions[0].nodes, fleet.regions[0].held) {
		for range s.count {
			used = append(used, 8-s.special*8/1000)
		}
	}
	return used
}
