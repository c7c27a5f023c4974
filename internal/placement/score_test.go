package placement

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

// candidate returns what a decision says of a region that would do.
func candidate(t *testing.T, decision Decision, region string) Candidate {
	t.Helper()
	i := slices.IndexFunc(decision.Candidates, func(c Candidate) bool { return c.Region == region })
	if i < 0 {
		t.Fatalf("%s is no candidate: %+v", region, decision)
	}
	return decision.Candidates[i]
}

func term(t *testing.T, c Candidate, name string) float64 {
	t.Helper()
	i := slices.IndexFunc(c.Terms, func(term Term) bool { return term.Name == name })
	if i < 0 {
		t.Fatalf("no term %s in %+v", name, c)
	}
	return c.Terms[i].Value
}

func TestTerms(t *testing.T) {
	one := gpuPods(1, 1)
	provisionable := with(live("r"), func(r *capacity.Region) {
		r.Snapshot.Provisionable = []capacity.NodeShape{gpuNodes(2, 8)}
	})
	promised := func(input Input, count int, rate float64) Input {
		input.Promised, input.DrainRate = []Promised{{gpuPods(1, 0), count}}, rate
		return input
	}
	failed := func(failures int, ago time.Duration) Input {
		return with(live("r", gpuNodes(1, 8)), func(r *capacity.Region) {
			r.Backoffs = map[string]capacity.Backoff{gpu: {Failures: failures, Until: noon.Add(-ago)}}
		})
	}
	tests := []struct {
		name  string
		term  string
		input Input
		want  float64
	}{
		{"nothing ahead", "expectedWait", live("r", gpuNodes(1, 8)), 1},
		{"nothing ahead, rate known", "expectedWait", promised(live("r", gpuNodes(1, 8)), 0, 2), 1},
		{"120 ahead at 2 a second", "expectedWait", promised(live("r", gpuNodes(2, 8)), 120, 2), 0.5},
		{"180 ahead at 1 a second", "expectedWait", promised(live("r", gpuNodes(2, 8)), 180, 1), 0.25},
		{"some ahead, rate unknown", "expectedWait", promised(live("r", gpuNodes(1, 8)), 1, 0), 0},
		{"a node has to come", "expectedWait", provisionable, 0.25},

		{"all free", "freeShare", live("r", gpuNodes(4, 8)), 1},
		{"half free", "freeShare", live("r", gpuNodes(2, 8), gpuNodes(2, 0)), 0.5},
		{"free of what suits: nodes without GPUs don't count", "freeShare", live("r", gpuNodes(1, 2), cpuNodes(100, 16)), 0.25},
		{"the last place is better than none", "freeShare", live("r", gpuNodes(1, 1), gpuNodes(100_000, 0)), 0.0001},
		{"a node has to come", "freeShare", provisionable, 0},
		{"what is promised is not free", "freeShare", Input{Region: live("r", gpuNodes(1, 8)).Region, Promised: []Promised{{one, 6}}}, 0.25},

		{"no price", "price", live("r", gpuNodes(1, 8)), 0},
		{"as cheap as the other", "price", Input{Region: live("r", gpuNodes(1, 8)).Region, Prices: Prices{"cpu": {}, gpu: {OnDemand: 2}}}, 1},
		{"twice the price", "price", Input{Region: live("r", gpuNodes(1, 8)).Region, Prices: Prices{"cpu": {}, gpu: {OnDemand: 4}}}, 0.5},
		{"free of charge", "price", Input{Region: live("r", gpuNodes(1, 8)).Region, Prices: Prices{"cpu": {}, gpu: {}}}, 1},

		{"the model is here", "locality", holding("llama@1", "llama@3"), 1},
		{"another version is here", "locality", holding("llama@2"), 0},

		{"none", "recentFailures", live("r", gpuNodes(1, 8)), 1},
		{"one just forgiven", "recentFailures", failed(1, 0), 0.5},
		{"three, half forgotten", "recentFailures", failed(3, 30*time.Minute), 0.4},
		{"long ago", "recentFailures", failed(3, time.Hour), 1},
	}
	other := live("other", gpuNodes(1, 8))
	other.Prices = Prices{"cpu": {}, gpu: {OnDemand: 2}}
	for _, test := range tests {
		t.Run(test.term+"/"+test.name, func(t *testing.T) {
			request := Request{Demand: one, Constraints: job.Constraints{Model: "llama@3"}}
			if got := term(t, candidate(t, decide(t, request, other, test.input), "r"), test.term); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
			if test.term == "locality" {
				if got := term(t, candidate(t, decide(t, request, other, test.input), "other"), test.term); got != 0 {
					t.Errorf("where no model is known to be: %v", got)
				}
			}
		})
	}
}

// holding is a region that has models.
func holding(models ...string) Input {
	in := live("r", gpuNodes(1, 8))
	in.Region.Snapshot.Models = models
	return in
}

// TestScoreIsTheSumOfItsTerms also with weights that round badly.
func TestScoreIsTheSumOfItsTerms(t *testing.T) {
	policy := DefaultPolicy()
	policy.Weights = Weights{ExpectedWait: 1, FreeShare: 1, Price: 1, Locality: 0, RecentFailures: 4.0 / 3}
	decision := Decide(Request{Demand: gpuPods(1, 1)}, NewFleet([]Input{live("r", gpuNodes(3, 7))}), policy, noon)
	sum, weights := 0.0, 0.0
	for _, term := range decision.Candidates[0].Terms {
		sum += term.Value * term.Weight
		weights += term.Weight
	}
	if got := decision.Candidates[0].Score; math.Abs(got-sum) > 1e-12 || math.Abs(weights-1) > 1e-12 {
		t.Errorf("score %v, terms sum to %v, weights to %v", got, sum, weights)
	}
}

func TestUnknownIsNeverBetter(t *testing.T) {
	known := live("z", gpuNodes(1, 8))
	known.Prices = Prices{"cpu": {OnDemand: 1e6}, gpu: {OnDemand: 1e6}}
	unknown := live("a", gpuNodes(1, 8))
	if got := decide(t, Request{Demand: gpuPods(1, 1)}, unknown, known).Region; got != "z" {
		t.Errorf("%s is chosen; a price that is not known beats a high one", got)
	}
	slow, silent := live("z", gpuNodes(1, 8)), live("a", gpuNodes(1, 8))
	slow.Promised, slow.DrainRate = []Promised{{gpuPods(1, 1), 1}}, 0.01
	silent.Promised = slow.Promised
	if got := decide(t, Request{Demand: gpuPods(1, 1)}, silent, slow).Region; got != "z" {
		t.Errorf("%s is chosen; a rate that is not known beats a low one", got)
	}
}

func TestFreeNodesBeatProvisionableOnes(t *testing.T) {
	full := live("z", gpuNodes(1, 1), gpuNodes(10_000, 0))
	empty := with(live("a"), func(r *capacity.Region) { r.Snapshot.Provisionable = []capacity.NodeShape{gpuNodes(100, 8)} })
	if got := decide(t, Request{Demand: gpuPods(1, 1)}, full, empty).Region; got != "z" {
		t.Errorf("%s is chosen over a region with a free node", got)
	}
	if got := decide(t, Request{Demand: gpuPods(1, 8)}, full, empty).Region; got != "a" {
		t.Errorf("%q is chosen, only the nodes that may be added hold it", got)
	}
}

func TestTiesGoToTheFirstName(t *testing.T) {
	decision := decide(t, Request{Demand: gpuPods(1, 1)}, live("b", gpuNodes(1, 8)), live("c", gpuNodes(1, 8)), live("a", gpuNodes(1, 8)))
	if decision.Region != "a" || decision.Candidates[1].Region != "b" {
		t.Errorf("%+v", decision.Candidates)
	}
}

func TestLargeFleetsAreCut(t *testing.T) {
	var inputs []Input
	for i := range 200 {
		input := live(fmt.Sprintf("r%03d", i), gpuNodes(1, int64(i%8+1)))
		input.Region.Cordoned = i%2 == 1
		inputs = append(inputs, input)
	}
	decision := decide(t, Request{Demand: gpuPods(1, 1)}, inputs...)
	if len(decision.Candidates) != maxCandidates || len(decision.Rejections) != maxRejections || decision.Omitted != 200-maxCandidates-maxRejections {
		t.Errorf("%d candidates, %d rejections, %d omitted", len(decision.Candidates), len(decision.Rejections), decision.Omitted)
	}
	if !slices.IsSortedFunc(decision.Candidates, func(a, b Candidate) int { return int(math.Copysign(1, b.Score-a.Score)) }) {
		t.Errorf("not best first: %+v", decision.Candidates)
	}
	for _, c := range decision.Candidates {
		if term(t, c, "freeShare") != 0.875 { // the even ones go up to 7 of 8
			t.Errorf("%+v is among the best", c)
		}
	}
	waiting := decide(t, Request{Demand: gpuPods(1, 8)}, inputs...)
	if len(waiting.Rejections) != maxReasons || waiting.Rejections[0].Reason != "busy" || waiting.Rejections[maxReasons-1].Reason != "busy" {
		t.Errorf("%d rejections, the first %+v, the last %+v", len(waiting.Rejections), waiting.Rejections[0], waiting.Rejections[len(waiting.Rejections)-1])
	}
	if want := "no region will do now: 100 busy, 100 more"; waiting.Summary() != want {
		t.Errorf("summary %q, want %q", waiting.Summary(), want)
	}
}

func TestDecisionJSON(t *testing.T) {
	priced := live("a", gpuNodes(1, 8))
	priced.Prices = Prices{"cpu": {OnDemand: 0.05}, gpu: {OnDemand: 2}}
	decision := decide(t, Request{Demand: gpuPods(1, 2)}, priced, live("b", gpuNodes(1, 1)))
	text, err := json.Marshal(decision)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"region":"a","candidates":[{"region":"a","score":0.9,"terms":[` +
		`{"name":"expectedWait","value":1,"weight":0.3},{"name":"freeShare","value":1,"weight":0.2},` +
		`{"name":"price","value":1,"weight":0.3},{"name":"locality","value":0,"weight":0.1},` +
		`{"name":"recentFailures","value":1,"weight":0.1}],"pricePerHour":4.1}],"rejections":[` +
		`{"region":"b","reason":"busy","message":"needs 2 nvidia.com/gpu on one node; the freest of 1 suitable node has 1 of 8 free"}]}`
	if string(text) != want {
		t.Errorf("%s\nwant %s", text, want)
	}
	empty, err := json.Marshal(decide(t, Request{}))
	if err != nil || strings.Contains(string(empty), "null") {
		t.Errorf("%s, %v; lists are never null", empty, err)
	}
}
