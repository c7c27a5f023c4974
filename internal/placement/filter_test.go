package placement

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

func TestFilters(t *testing.T) {
	oneGPU := Request{Demand: gpuPods(1, 1)}
	with8 := live("r", gpuNodes(2, 8))
	prices := Prices{"cpu": {OnDemand: 0.1}, gpu: {OnDemand: 2}}
	tests := []struct {
		name    string
		request Request
		input   Input
		reason  string
		message string
	}{
		{
			"not allowed", constrained(gpuPods(1, 1), func(c *job.Constraints) { c.Regions = []string{"a", "b"} }), with8,
			"not-allowed", "the job allows only a, b",
		},
		{
			"avoided", constrained(gpuPods(1, 1), func(c *job.Constraints) { c.AvoidRegions = []string{"r"} }), with8,
			"avoided", "the job avoids this region",
		},
		{
			"skipped",
			Request{Demand: gpuPods(1, 1), Avoid: []string{"r"}},
			with8,
			"skipped", "skipped this time, another region gets its chance first",
		},
		{
			"no session", oneGPU, with(with8, func(r *capacity.Region) { r.Lease = capacity.LeaseNone }),
			"no-session", "no agent has connected yet",
		},
		{
			"lease lost", oneGPU, with(with8, func(r *capacity.Region) {
				r.Lease, r.RenewedAt = capacity.LeaseLost, noon.Add(-185*time.Second)
			}),
			"lease-lost", "its agent has not been heard of for 3m5s",
		},
		{
			"inventory incomplete", oneGPU, with(with8, func(r *capacity.Region) { r.Inventoried = false }),
			"inventory-incomplete", "its agent has just connected and still lists what runs there",
		},
		{
			"unreachable", oneGPU, with(with8, func(r *capacity.Region) { r.UnreachableSince = noon.Add(-time.Minute) }),
			"unreachable", "its agent has not reached the cluster for 1m",
		},
		{
			"draining", oneGPU, with(with8, func(r *capacity.Region) { r.Cordoned, r.Draining = true, true }),
			"draining", "is being drained by an operator",
		},
		{
			"cordoned", oneGPU, with(with8, func(r *capacity.Region) { r.Cordoned = true }),
			"cordoned", "is cordoned by an operator",
		},
		{
			"no nodes", oneGPU, live("r"),
			"no-nodes", "reports no nodes",
		},
		{
			"back-off for no capacity", oneGPU, with(with8, func(r *capacity.Region) {
				r.Backoffs = map[string]capacity.Backoff{gpu: {Kind: capacity.NoCapacity, Failures: 3, Until: noon.Add(90 * time.Second), Message: "InsufficientInstanceCapacity"}}
			}),
			"back-off", "could not provide nvidia.com/gpu (failure 3); next try in 1m30s, at 12:01:30 UTC: InsufficientInstanceCapacity",
		},
		{
			"back-off for a quota", oneGPU, with(with8, func(r *capacity.Region) {
				r.Backoffs = map[string]capacity.Backoff{gpu: {Kind: capacity.Quota, Failures: 1, Until: noon.Add(time.Hour)}}
			}),
			"back-off", "the account's quota of nvidia.com/gpu is used up, which an operator has to raise (failure 1); next try in 1h, at 13:00:00 UTC",
		},
		{
			"back-off for what never fits", oneGPU, with(with8, func(r *capacity.Region) {
				r.Backoffs = map[string]capacity.Backoff{gpu: {Kind: capacity.NeverFits, Failures: 1, Until: noon.Add(time.Hour)}}
			}),
			"back-off", "found no node that could ever hold as much nvidia.com/gpu (failure 1); next try in 1h, at 13:00:00 UTC",
		},
		{
			"back-off for places for pods, which every pod needs", oneGPU, with(with8, func(r *capacity.Region) {
				r.Backoffs = map[string]capacity.Backoff{"pods": {Kind: capacity.NoCapacity, Failures: 1, Until: noon.Add(time.Minute)}}
			}),
			"back-off", "could not provide pods (failure 1); next try in 1m, at 12:01:00 UTC",
		},
		{
			"back-off that has ended", oneGPU, with(with8, func(r *capacity.Region) {
				r.Backoffs = map[string]capacity.Backoff{gpu: {Kind: capacity.NoCapacity, Failures: 3, Until: noon}}
			}),
			"", "",
		},
		{
			"back-off for something else", oneGPU, with(with8, func(r *capacity.Region) {
				r.Backoffs = map[string]capacity.Backoff{"aws.amazon.com/neuron": {Kind: capacity.NoCapacity, Failures: 3, Until: noon.Add(time.Hour)}}
			}),
			"", "",
		},
		{
			"unknown resource",
			Request{Demand: podsOf(1, capacity.Resources{"aws.amazon.com/neuron": 1})},
			with8,
			"unknown-resource", "no node here has any aws.amazon.com/neuron (2 nodes)",
		},
		{
			"a resource that is known with zero", oneGPU, live("r", capacity.NodeShape{
				Count: 1, Free: capacity.Resources{"cpu": 1000, gpu: 0}, Total: capacity.Resources{"cpu": 1000, gpu: 0},
			}),
			"unknown-resource", "no node here has any nvidia.com/gpu (1 node)",
		},
		{
			"no matching node",
			Request{Demand: capacity.Demand{Pods: []capacity.PodGroup{{Count: 1, Pod: capacity.Pod{
				Requests: capacity.Resources{gpu: 1}, NodeSelector: map[string]string{"gpu-type": "h100"},
			}}}}},
			live("r", labelled(gpuNodes(3, 8), "gpu-type", "a100"), tainted(labelled(gpuNodes(2, 8), "gpu-type", "h100"), "dedicated", "ml", "NoSchedule")),
			"no-matching-node", "no node here will take such a pod (5 nodes): 3 without label gpu-type=h100; 2 with taint dedicated=ml:NoSchedule, not tolerated",
		},
		{
			"wrong architecture",
			Request{Demand: capacity.Demand{Pods: []capacity.PodGroup{{Count: 1, Pod: capacity.Pod{
				Requests: capacity.Resources{gpu: 1}, NodeSelector: map[string]string{"kubernetes.io/arch": "arm64"},
			}}}}},
			with8,
			"no-matching-node", "no node here will take such a pod (2 nodes): 2 without label kubernetes.io/arch=arm64",
		},
		{
			"outside the affinity",
			Request{Demand: capacity.Demand{Pods: []capacity.PodGroup{{Count: 1, Pod: capacity.Pod{
				Requests: capacity.Resources{gpu: 1}, Affinity: []capacity.Term{{{Key: "zone", Operator: "In", Values: []string{"a"}}}},
			}}}}},
			with8,
			"no-matching-node", "no node here will take such a pod (2 nodes): 2 outside the required node affinity",
		},
		{
			"spot where there is none", constrained(gpuPods(1, 1), func(c *job.Constraints) { c.CapacityType = capacity.Spot }), with8,
			"capacity-type-not-offered", "wants spot capacity; no node here that suits it otherwise is (2 nodes)",
		},
		{
			"on-demand where all is spot", constrained(gpuPods(1, 1), func(c *job.Constraints) { c.CapacityType = capacity.OnDemand }),
			live("r", labelled(gpuNodes(1, 8), "eks.amazonaws.com/capacityType", "SPOT")),
			"capacity-type-not-offered", "wants on-demand capacity; no node here that suits it otherwise is (1 node)",
		},
		{
			"spot where there is some", constrained(gpuPods(1, 1), func(c *job.Constraints) { c.CapacityType = capacity.Spot }),
			live("r", labelled(gpuNodes(1, 8), "karpenter.sh/capacity-type", "spot")),
			"", "",
		},
		{
			"one pod larger than every node",
			Request{Demand: gpuPods(1, 16)},
			with8,
			"never-fits", "needs 16 nvidia.com/gpu on one node; the largest of 2 suitable nodes has 8",
		},
		{
			"each resource somewhere, never together",
			Request{Demand: podsOf(1, capacity.Resources{gpu: 1, "memory": 1 << 40})},
			live("r", gpuNodes(0, 8), capacity.NodeShape{
				Count: 1, Free: capacity.Resources{gpu: 8, "memory": 64 << 30}, Total: capacity.Resources{gpu: 8, "memory": 64 << 30},
			}, capacity.NodeShape{Count: 1, Free: capacity.Resources{gpu: 0, "memory": 2 << 40}, Total: capacity.Resources{gpu: 0, "memory": 2 << 40}}),
			"never-fits", "needs 1 TiB memory on one node; the largest of 1 suitable node has 64 GiB",
		},
		{
			"more pods than the empty region holds",
			Request{Demand: gpuPods(3, 8)},
			with8,
			"never-fits", "needs 3 pods of 8 nvidia.com/gpu + 8 cpu at once; the region holds 2 when it is empty",
		},
		{
			"more pods than a node's limit on pods",
			Request{Demand: podsOf(1, capacity.Resources{"cpu": 1000, "pods": 200})},
			with8,
			"never-fits", "needs room for 200 pods on one node; the largest of 2 suitable nodes has 110",
		},
		{
			"groups that exceed the region together",
			Request{Demand: capacity.Demand{Pods: append(gpuPods(2, 8).Pods, gpuPods(1, 4).Pods...)}},
			with8,
			"never-fits", "its pods together need more nvidia.com/gpu than all nodes have",
		},
		{
			"price unknown", constrained(gpuPods(1, 1), func(c *job.Constraints) { c.MaxPricePerHour = 1 }),
			Input{Region: with8.Region, Prices: Prices{gpu: {OnDemand: 2}}},
			"price-unknown", "the job has a price limit, and the on-demand price of cpu here is not known (0 would mean free of charge)",
		},
		{
			"price over the limit", constrained(gpuPods(2, 4), func(c *job.Constraints) { c.MaxPricePerHour = 16.5 }),
			Input{Region: with8.Region, Prices: prices},
			"price-over-limit", "costs 16.80 an hour; the job's limit is 16.50",
		},
		{
			"price at the limit", constrained(gpuPods(2, 4), func(c *job.Constraints) { c.MaxPricePerHour = 16.8 }),
			Input{Region: with8.Region, Prices: prices},
			"", "",
		},
		{
			"eight nodes with one free GPU each",
			Request{Demand: gpuPods(1, 8)},
			live("r", gpuNodes(8, 1)),
			"busy", "needs 8 nvidia.com/gpu on one node; the freest of 8 suitable nodes has 1 of 8 free",
		},
		{
			"each resource free somewhere, not together",
			Request{Demand: podsOf(1, capacity.Resources{gpu: 4, "cpu": 90_000})},
			live("r",
				capacity.NodeShape{Count: 1, Free: capacity.Resources{gpu: 8, "cpu": 1000}, Total: capacity.Resources{gpu: 8, "cpu": 96_000}},
				capacity.NodeShape{Count: 1, Free: capacity.Resources{gpu: 1, "cpu": 96_000}, Total: capacity.Resources{gpu: 8, "cpu": 96_000}}),
			"busy", "needs 4 nvidia.com/gpu + 90 cpu on one node; none of 2 suitable nodes has all of it free",
		},
		{
			"some pods now, not all",
			Request{Demand: gpuPods(4, 4)},
			live("r", gpuNodes(1, 8), gpuNodes(3, 2)),
			"busy", "needs 4 pods of 4 nvidia.com/gpu + 4 cpu at once; 2 fit now, 8 when the region is empty",
		},
		{
			"groups that fit one by one",
			Request{Demand: capacity.Demand{Pods: append(gpuPods(1, 6).Pods, gpuPods(2, 4).Pods...)}},
			live("r", gpuNodes(1, 8), gpuNodes(5, 0)),
			"busy", "each of its 2 kinds of pod fits by itself, but not all at once",
		},
	}
	covered := map[string]bool{}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			decision := decide(t, test.request, test.input)
			var got Rejection
			if len(decision.Rejections) > 0 {
				got = decision.Rejections[0]
			}
			want := Rejection{Reason: test.reason, Message: test.message}
			if test.reason != "" {
				want.Region = "r"
			}
			if got != want {
				t.Errorf("rejection = %+v\nwant        %+v", got, want)
			}
			if placed := decision.Region == "r"; placed != (test.reason == "") {
				t.Errorf("region = %q", decision.Region)
			}
			covered[test.reason] = true
		})
	}
	for _, code := range Reasons() {
		if !covered[code] && code != "reserved" { // TestReserve has that one
			t.Errorf("no case for %q", code)
		}
	}
}

func TestReasonsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/placement.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range slices.Concat(Reasons(), termNames[:]) {
		if !strings.Contains(string(text), "| `"+word+"` |") {
			t.Errorf("docs/placement.md has no table row for %q", word)
		}
	}
}

func TestNeverFits(t *testing.T) {
	small := live("small", gpuNodes(4, 0))
	tests := []struct {
		name    string
		request Request
		inputs  []Input
		want    bool
	}{
		{"larger than every node", Request{Demand: gpuPods(1, 16)}, []Input{small}, true},
		{"merely busy", Request{Demand: gpuPods(1, 8)}, []Input{small}, false},
		{"no regions", Request{Demand: gpuPods(1, 16)}, nil, false},
		{"a region without nodes may be starting", Request{Demand: gpuPods(1, 16)}, []Input{small, live("empty")}, false},
		{
			"a cordoned region that could hold it",
			Request{Demand: gpuPods(1, 8)},
			[]Input{with(small, func(r *capacity.Region) { r.Cordoned = true })},
			false,
		},
		{
			"a cordoned region that could not",
			Request{Demand: gpuPods(1, 16)},
			[]Input{with(small, func(r *capacity.Region) { r.Cordoned = true })},
			true,
		},
		{
			"a region that backs off and could hold it",
			Request{Demand: gpuPods(1, 8)},
			[]Input{with(small, func(r *capacity.Region) {
				r.Backoffs = map[string]capacity.Backoff{gpu: {Kind: capacity.NeverFits, Until: noon.Add(time.Hour)}}
			})},
			false,
		},
		{
			"a lost region may be larger",
			Request{Demand: gpuPods(1, 16)},
			[]Input{small, with(live("lost", gpuNodes(1, 8)), func(r *capacity.Region) { r.Lease = capacity.LeaseLost })},
			false,
		},
		{
			"a region that lists its inventory",
			Request{Demand: gpuPods(1, 16)},
			[]Input{with(small, func(r *capacity.Region) { r.Inventoried = false })},
			false,
		},
		{
			"a region that the job does not allow could hold it",
			constrained(gpuPods(1, 8), func(c *job.Constraints) { c.Regions = []string{"tiny"} }),
			[]Input{live("big", gpuNodes(1, 8)), live("tiny", cpuNodes(1, 16))},
			true,
		},
		{
			"an allowed region has not come yet",
			constrained(gpuPods(1, 16), func(c *job.Constraints) { c.Regions = []string{"small", "later"} }),
			[]Input{small},
			false,
		},
		{
			"every region avoided", constrained(gpuPods(1, 16), func(c *job.Constraints) { c.AvoidRegions = []string{"small"} }),
			[]Input{small},
			false,
		},
		{
			"a skipped region could hold it",
			Request{Demand: gpuPods(1, 8), Avoid: []string{"small"}},
			[]Input{small},
			false,
		},
		{
			"only the price is in the way", constrained(gpuPods(1, 8), func(c *job.Constraints) { c.MaxPricePerHour = 0.01 }),
			[]Input{{Region: small.Region, Prices: Prices{"cpu": {OnDemand: 1}, gpu: {OnDemand: 1}}}},
			false,
		},
		{"more than fits beside what is promised", Request{Demand: gpuPods(4, 8)}, []Input{small}, false},
		{"nodes that may be added count", Request{Demand: gpuPods(1, 16)}, []Input{with(small, func(r *capacity.Region) {
			big := gpuNodes(1, 8)
			big.Total = capacity.Resources{"cpu": 96_000, gpu: 16}
			big.Free = big.Total
			r.Snapshot.Provisionable = []capacity.NodeShape{big}
		})}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			decision := decide(t, test.request, test.inputs...)
			if got := decision.NeverFits(); got != test.want {
				t.Errorf("NeverFits() = %v, rejections %+v", got, decision.Rejections)
			}
		})
	}
}

func TestSummary(t *testing.T) {
	tests := []struct {
		name    string
		request Request
		inputs  []Input
		want    string
	}{
		{"no regions", Request{Demand: gpuPods(1, 1)}, nil, "there are no regions yet"},
		{"one", Request{Demand: gpuPods(1, 1)}, []Input{live("a", gpuNodes(1, 8)), live("b", gpuNodes(1, 0))}, "a is the only region that will do"},
		{
			"several",
			Request{Demand: gpuPods(1, 1)},
			[]Input{live("a", gpuNodes(1, 4)), live("b", gpuNodes(1, 8))},
			"b has the best score of the regions that will do: 0.600",
		},
		{
			"waiting",
			Request{Demand: gpuPods(1, 8)},
			[]Input{live("a", gpuNodes(1, 4)), live("b", gpuNodes(1, 1)), with(live("c", gpuNodes(1, 8)), func(r *capacity.Region) { r.Cordoned = true })},
			"no region will do now: 2 busy, 1 cordoned",
		},
		{
			"never",
			Request{Demand: gpuPods(1, 16)},
			[]Input{
				live("a", cpuNodes(1, 8)),
				live("b", gpuNodes(1, 8)),
				with(live("c", gpuNodes(1, 8)), func(r *capacity.Region) { r.Cordoned = true }),
			},
			"no region could hold it, even empty; b: needs 16 nvidia.com/gpu on one node; the largest of 1 suitable node has 8",
		},
	}
	for _, test := range tests {
		if got := decide(t, test.request, test.inputs...).Summary(); got != test.want {
			t.Errorf("%s: %q\nwant %q", test.name, got, test.want)
		}
	}
}
