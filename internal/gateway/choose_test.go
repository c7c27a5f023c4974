package gateway

import (
	"net/http"
	"testing"

	"pgregory.net/rapid"
)

func chosen(t *testing.T, g *Gateway, via string, tried ...*peer) *peer {
	t.Helper()
	r := (*g.routes.Load())["e"]
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.choose(want{via: via, tried: tried})
}

// TestWeightsAreMet holds for every weight: over 10,000 requests the canary
// gets its share within 1 %, and any 100 in a row within one request.
func TestWeightsAreMet(t *testing.T) {
	for weight := 1; weight <= 99; weight++ {
		e := at("a:1", "b:1", "c:1")
		e.Replicas[2].Revision, e.Canary, e.Weight = 2, 2, weight
		g := newGateway(t, Options{}, e)
		total, hundred := 0, 0
		for i := range 10_000 {
			if p := chosen(t, g, ""); p.key.revision == 2 {
				total++
				hundred++
			}
			if i%100 == 99 {
				if hundred < weight-1 || hundred > weight+1 {
					t.Fatalf("weight %d: %d of the hundred before request %d", weight, hundred, i)
				}
				hundred = 0
			}
		}
		if total < weight*100-100 || total > weight*100+100 {
			t.Errorf("weight %d: %d of 10,000", weight, total)
		}
	}
}

func TestCanaryAloneGetsEverythingAndNothingWithoutReplica(t *testing.T) {
	alone, without := at("a:1"), at("a:1")
	alone.Canary, alone.Weight = 1, 5
	without.Canary, without.Weight = 2, 95
	for _, e := range []Endpoint{alone, without} {
		g := newGateway(t, Options{}, e)
		for range 100 {
			if p := chosen(t, g, ""); p == nil {
				t.Fatal("nobody serves")
			}
		}
	}
}

// TestFewestRequestsFirst is a property: whatever is open, the next request
// goes to a replica with the fewest, and not over its bound.
func TestFewestRequestsFirst(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		open := rapid.SliceOfN(rapid.Int64Range(0, 5), 1, 8).Draw(rt, "open")
		most := rapid.Int64Range(0, 4).Draw(rt, "most")
		e := Endpoint{Name: "e", Limits: Limits{PerReplica: int(most)}}
		for i := range open {
			e.Replicas = append(e.Replicas, Replica{Address: string(rune('a'+i)) + ":1", Revision: 1})
		}
		g := newGateway(t, Options{}, e)
		least := open[0]
		for i, p := range (*g.routes.Load())["e"].peers {
			p.outstanding.Store(open[i])
			least = min(least, open[i])
		}
		p := chosen(t, g, "")
		switch {
		case most > 0 && least >= most:
			if p != nil {
				rt.Fatalf("%d of at most %d are open, and one more comes", p.outstanding.Load(), most)
			}
		case p == nil || p.outstanding.Load() != least:
			rt.Fatalf("%v does not have the fewest of %v", p, open)
		}
	})
}

func TestReplicasTakeTurns(t *testing.T) {
	g := newGateway(t, Options{}, at("a:1", "b:1", "c:1"))
	got := map[string]int{}
	for range 300 {
		got[chosen(t, g, "").key.address]++
	}
	for address, n := range got {
		if n != 100 {
			t.Errorf("%s got %d of 300", address, n)
		}
	}
}

func TestNearestRegionWithAReadyReplica(t *testing.T) {
	e := Endpoint{Name: "e", Replicas: []Replica{{Address: "far:1", Region: "far"}, {Address: "near:1", Region: "near"}, {Address: "mid:1", Region: "mid"}}}
	g, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for region, distance := range map[string]int64{"far": 90, "near": 10, "mid": 50} {
		key := peerKey{endpoint: "e", address: region + ":1", region: region}
		p := newPeer(g.Clock, key)
		p.relay = true
		p.distance.Store(distance)
		g.peers[key] = p
	}
	g.Apply(Table{Endpoints: []Endpoint{e}})
	first := chosen(t, g, "")
	if first.key.region != "near" {
		t.Errorf("the first is %s", first.key.region)
	}
	second := chosen(t, g, "", first)
	if second.key.region != "mid" {
		t.Errorf("the second is %s", second.key.region)
	}
	if p := chosen(t, g, "near"); p.key.region != "mid" {
		t.Errorf("what near could not serve goes to %s", p.key.region)
	}
	second.failed()
	if p := chosen(t, g, "near"); p.key.region != "far" {
		t.Errorf("while mid fails, it goes to %s", p.key.region)
	}
	e.Replicas = e.Replicas[1:2]
	g.Apply(Table{Endpoints: []Endpoint{e}})
	if p := chosen(t, g, "near"); p == nil || p.key.region != "near" {
		t.Errorf("where there is only near, it goes to %v", p)
	}
}

func TestReplicaHereComesBeforeAnyGateway(t *testing.T) {
	r := newReplica(t, says("here"))
	elsewhere := newReplica(t, says("elsewhere"))
	e := at(r.address())
	e.Replicas = append(e.Replicas, Replica{Address: elsewhere.address(), Region: "west"})
	url := open(t, newGateway(t, Options{}, e)) + "/inference/e/"
	for range 10 {
		if got := send(t, http.MethodGet, url, ""); got.body != "here" {
			t.Fatalf("%q answered", got.body)
		}
	}
}
