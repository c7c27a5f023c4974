package placement

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/gco-project/gco/internal/capacity"
)

// FuzzDecide takes reports and demands as they come off the wire, however
// absurd, and checks that room is never invented.
func FuzzDecide(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"nodes":[{"count":8,"free":{"nvidia.com/gpu":1},"total":{"nvidia.com/gpu":8}}]}`, `{"pods":[{"count":1,"requests":{"nvidia.com/gpu":8}}]}`},
		{`{"nodes":[{"count":9223372036854775807,"free":{"cpu":9223372036854775807},"total":{"cpu":9223372036854775807}}]}`, `{"pods":[{"count":9223372036854775807,"requests":{"cpu":1}},{"count":2,"requests":{"cpu":9223372036854775807}}]}`},
		{`{"nodes":[{"count":-1,"free":{"cpu":-5},"total":{"cpu":-1,"":3,"pods":0}}],"provisionable":[{"count":2,"total":{"":3}}]}`, `{"pods":[{"count":-1,"requests":{"cpu":-1}},{"count":1,"requests":{"":1,"pods":-4}}]}`},
		{`{"nodes":[{"count":2,"total":{"cpu":4000,"pods":3},"free":{"cpu":4000,"pods":3},"labels":{"a":"b"},"taints":[{"key":"t","effect":"NoSchedule"}],"architecture":"arm64"}]}`, `{"pods":[{"count":2,"requests":{"cpu":100},"nodeSelector":{"kubernetes.io/arch":"arm64"},"affinity":[[{"key":"a","operator":"Gt","values":["1"]}],[]],"tolerations":[{"operator":"Exists"}]},{"count":1,"requests":{}}]}`},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, report, wanted []byte) {
		var snapshot capacity.Snapshot
		var demand capacity.Demand
		if json.Unmarshal(report, &snapshot) != nil || json.Unmarshal(wanted, &demand) != nil {
			return
		}
		request := Request{Demand: demand}
		fleet := NewFleet([]Input{with(live("a"), func(r *capacity.Region) { r.Snapshot = snapshot })})
		decision := Decide(request, fleet, DefaultPolicy(), noon)
		fits := Fits(demand, snapshot)
		// A demand without pods needs no room, but a region.
		if placed := decision.Region != ""; placed != fits {
			t.Fatalf("decided for %q (%+v); Fits says %v", decision.Region, decision.Rejections, fits)
		}
		if fits && decision.NeverFits() {
			t.Fatal("fits, and is said never to fit")
		}
		if _, reserved := fleet.Reserve(request, DefaultPolicy(), noon); reserved && fits {
			t.Fatal("reserved for what fits")
		}
		for range 3 {
			fleet.Take("a", demand)
			Decide(request, fleet, DefaultPolicy(), noon)
		}
		r := fleet.regions[0]
		for _, s := range slices.Concat(r.nodes, r.spare, r.held) {
			if s.count < 1 || slices.ContainsFunc(s.free, func(n int64) bool { return n < 0 }) {
				t.Fatalf("shape %+v", s)
			}
		}
	})
}
