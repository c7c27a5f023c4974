package accelerator

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is a configuration whose targets' health a test sets.
type world struct {
	groups  []Group
	targets []*target
}

func newWorld(groups ...Group) *world {
	for i := range groups {
		if groups[i].Region == "" {
			groups[i].Region = fmt.Sprint("r", i+1)
		}
		if groups[i].Latency == 0 {
			groups[i].Latency = time.Duration(i+1) * time.Millisecond
		}
		for k := range groups[i].Endpoints {
			groups[i].Endpoints[k].Host = fmt.Sprintf("%s-%d", groups[i].Region, k)
		}
	}
	w := &world{groups: groups, targets: newTargets(Options{Groups: groups}, 80, newMetrics())}
	w.set(stateHealthy)
	return w
}

// set gives all targets of some regions a state; of none, all targets.
func (w *world) set(state uint32, regions ...string) {
	for _, t := range w.targets {
		if len(regions) == 0 || slices.Contains(regions, t.region) {
			t.state.Store(state)
		}
	}
}

func (w *world) snapshot() *snapshot { return newSnapshot(w.groups, w.targets) }

// shares counts where so many connections go, by region and by host.
func (w *world) shares(connections int) map[string]float64 {
	s, all := w.snapshot(), map[string]float64{}
	var points spread
	for range connections {
		if t := s.first(points.next()); t != nil {
			all[t.region] += 1 / float64(connections)
			all[t.Host] += 1 / float64(connections)
		}
	}
	return all
}

func weighted(dial float64, weights ...int) Group {
	g := Group{Dial: dial}
	for _, weight := range weights {
		g.Endpoints = append(g.Endpoints, Endpoint{Weight: weight})
	}
	return g
}

func TestWhereConnectionsGo(t *testing.T) {
	tests := []struct {
		name   string
		groups []Group
		down   []string
		want   map[string]float64
	}{
		{"the nearest", []Group{weighted(100, 1), weighted(100, 1)}, nil, map[string]float64{"r1": 1}},
		{"the next where the nearest is down", []Group{weighted(100, 1), weighted(100, 1)}, []string{"r1"}, map[string]float64{"r2": 1}},
		{
			"by dial, each of what comes to it",
			[]Group{weighted(50, 1), weighted(50, 1), weighted(100, 1)},
			nil,
			map[string]float64{"r1": .5, "r2": .25, "r3": .25},
		},
		{"what no dial takes goes to the nearest", []Group{weighted(0, 1), weighted(25, 1), weighted(25, 1)}, nil, map[string]float64{"r2": 1 - .75*.25, "r3": .75 * .25}},
		{"all dials at 0", []Group{weighted(0, 1), weighted(0, 1)}, nil, map[string]float64{"r1": 1}},
		{"failover ignores a dial of 0", []Group{weighted(100, 1), weighted(0, 1)}, []string{"r1"}, map[string]float64{"r2": 1}},
		{
			"failover takes the nearest, also nearer ones",
			[]Group{weighted(0, 1), weighted(0, 1), weighted(100, 1)},
			[]string{"r3"},
			map[string]float64{"r1": 1},
		},
		{
			"failover leaves the share of the others",
			[]Group{weighted(60, 1), weighted(50, 1), weighted(100, 1)},
			[]string{"r2"},
			map[string]float64{"r1": .8, "r3": .2},
		},
		{"a weight of 0 takes a region out", []Group{weighted(100, 0), weighted(100, 1)}, nil, map[string]float64{"r2": 1}},
		{"and out of failover", []Group{weighted(100, 1), weighted(100, 0), weighted(0, 1)}, []string{"r1"}, map[string]float64{"r3": 1}},
		{"by weight", []Group{weighted(100, 128, 64, 0, 64)}, nil, map[string]float64{"r1": 1, "r1-0": .5, "r1-1": .25, "r1-3": .25}},
		{
			"fails open in the nearest, although the fourth is healthy",
			[]Group{weighted(100, 1, 3), weighted(100, 1), weighted(100, 1), weighted(100, 1)},
			[]string{"r1", "r2", "r3"},
			map[string]float64{"r1": 1, "r1-0": .5, "r1-1": .5},
		},
		{
			"the fourth takes what its dial gives it",
			[]Group{weighted(0, 1), weighted(0, 1), weighted(0, 1), weighted(100, 1)},
			[]string{"r1", "r2", "r3"},
			map[string]float64{"r4": 1},
		},
		{"fails open past a region that is out", []Group{weighted(100, 0), weighted(100, 1)}, []string{"r1", "r2"}, map[string]float64{"r2": 1}},
		{"nowhere", []Group{weighted(100, 0)}, nil, map[string]float64{}},
		{"no group", nil, nil, map[string]float64{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(test.groups...)
			if len(test.down) > 0 {
				w.set(stateUnhealthy, test.down...)
			}
			got := w.shares(10_000)
			for key, share := range test.want {
				if math.Abs(got[key]-share) > .01 {
					t.Errorf("%s gets %.4f; want %.4f", key, got[key], share)
				}
			}
			for _, g := range test.groups {
				if _, wanted := test.want[g.Region]; !wanted && got[g.Region] > 0 {
					t.Errorf("%s gets %.4f; want none", g.Region, got[g.Region])
				}
			}
		})
	}
}

// Equally near groups are taken by name, and the order of the configuration
// does not matter.
func TestDistanceOrdersGroups(t *testing.T) {
	b, a, far := weighted(100, 1), weighted(100, 1), weighted(100, 1)
	b.Region, a.Region, far.Region = "b", "a", "far"
	b.Latency, a.Latency, far.Latency = time.Second, time.Second, time.Minute
	w := newWorld(far, b, a)
	if got := w.snapshot().first(point{}).region; got != "a" {
		t.Errorf("the first is %s; want a", got)
	}
}

// drawWorld makes any configuration, with any health.
func drawWorld(t *rapid.T) *world {
	groups := make([]Group, rapid.IntRange(1, 6).Draw(t, "groups"))
	for i := range groups {
		groups[i] = weighted(
			rapid.SampledFrom([]float64{0, 10, 33, 50, 100}).Draw(t, "dial"),
			rapid.SliceOfN(rapid.IntRange(0, 255), 1, 5).Draw(t, "weights")...,
		)
	}
	w := newWorld(groups...)
	for _, target := range w.targets {
		target.state.Store(rapid.SampledFrom([]uint32{stateUnknown, stateHealthy, stateHealthy, stateUnhealthy}).Draw(t, "state"))
	}
	return w
}

func drawPoint(t *rapid.T) point {
	at := rapid.Float64Range(0, math.Nextafter(1, 0))
	return point{at.Draw(t, "group"), at.Draw(t, "endpoint")}
}

// A target is chosen wherever one has a weight; never one without; and one
// that is not healthy only where none of the three nearest groups has any.
func TestChoiceIsAsGoodAsItCanBe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawWorld(t).snapshot()
		chosen := s.first(drawPoint(t))
		anyWeight := slices.ContainsFunc(s.groups, func(g regional) bool { return len(g.weighted) > 0 })
		if (chosen != nil) != anyWeight {
			t.Fatalf("chosen %v, some have a weight: %v", chosen, anyWeight)
		}
		if chosen == nil {
			return
		}
		if chosen.Weight == 0 {
			t.Fatal("a target without a weight")
		}
		if _, healthy := chosen.health(); !healthy && !s.failingOpen() {
			t.Fatal("a target that is not healthy, beside healthy ones")
		}
	})
}

// Dials and weights are kept, within one percent of all connections, whatever
// they are, where all is healthy.
func TestSharesAreKept(t *testing.T) {
	const connections = 10_000
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for i, target := range w.targets {
			target.Weight = max(target.Weight, 1)
			w.targets[i].state.Store(stateHealthy)
		}
		got, left, total := w.shares(connections), 1.0, map[string]int{}
		for _, target := range w.targets {
			total[target.region] += target.Weight
		}
		want, nearest := map[string]float64{}, ""
		for _, g := range w.groups {
			if g.Dial > 0 && nearest == "" {
				nearest = g.Region
			}
			want[g.Region] = left * g.Dial / 100
			left -= want[g.Region]
		}
		if nearest == "" {
			nearest = w.groups[0].Region
		}
		want[nearest] += left
		for _, target := range w.targets {
			share := want[target.region] * float64(target.Weight) / float64(total[target.region])
			if math.Abs(got[target.Host]-share) > .01 {
				t.Fatalf("%s gets %.4f; want %.4f", target.Host, got[target.Host], share)
			}
		}
	})
}

// A client of a target that stays as it is, stays there: health moves only
// those who were at a target that went down.
func TestHealthMovesOnlyWhomItMust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		at := drawPoint(t)
		before := w.snapshot().first(at)
		if before == nil {
			return
		}
		if _, healthy := before.health(); !healthy {
			return
		}
		down := rapid.SampledFrom(w.targets).Draw(t, "down")
		if down == before || down.region == before.region && !w.ready(down.region, down) {
			return
		}
		down.state.Store(stateUnhealthy)
		if after := w.snapshot().first(at); after != before {
			t.Fatalf("from %s to %s, because %s went down", before.Host, after.Host, down.Host)
		}
	})
}

func (w *world) ready(region string, without *target) bool {
	return slices.ContainsFunc(w.targets, func(t *target) bool {
		_, healthy := t.health()
		return t != without && t.region == region && healthy && t.Weight > 0
	})
}

// Refused connections try every target once, a fresh region before the rest,
// and then end.
func TestNextTriesEachTargetOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		s, at := w.snapshot(), drawPoint(t)
		want := 0
		for _, target := range w.targets {
			if target.Weight > 0 {
				want++
			}
		}
		var tried []*target
		for next := s.first(at); next != nil; next = s.next(tried, at) {
			if slices.Contains(tried, next) {
				t.Fatalf("%s is tried twice", next.Host)
			}
			tried = append(tried, next)
		}
		if len(tried) != want {
			t.Fatalf("%d are tried of %d", len(tried), want)
		}
	})
}

func TestRefusedGoesToTheNextRegion(t *testing.T) {
	s := newWorld(weighted(100, 1, 1), weighted(0, 1), weighted(100, 1)).snapshot()
	first := s.first(point{})
	second := s.next([]*target{first}, point{})
	third := s.next([]*target{first, second}, point{})
	fourth := s.next([]*target{first, second, third}, point{})
	if second.region != "r2" || third.region != "r3" || fourth.region != "r1" || fourth == first {
		t.Errorf("after %s: %s, %s, %s", first.Host, second.Host, third.Host, fourth.Host)
	}
}

func TestAffinityIsOfTheAddress(t *testing.T) {
	one, mapped := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("::ffff:192.0.2.7")
	if pointOf(one) != pointOf(mapped) {
		t.Error("an address is another one in IPv6 notation")
	}
	// The same in every process: a restart of the front door moves nobody.
	if got, want := pointOf(one), (point{0.13807560769505567, 0.14457456460605667}); got != want {
		t.Errorf("the point is %v; want %v", got, want)
	}
}

// Neighbouring addresses spread over the targets like any others.
func TestAffinitySpreadsAddresses(t *testing.T) {
	s := newWorld(weighted(50, 1, 1), weighted(100, 1)).snapshot()
	const clients = 10_000
	got, address := map[string]float64{}, netip.MustParseAddr("10.0.0.0")
	for range clients {
		got[s.first(pointOf(address)).Host] += 1. / clients
		address = address.Next()
	}
	for host, share := range map[string]float64{"r1-0": .25, "r1-1": .25, "r2-0": .5} {
		if math.Abs(got[host]-share) > .02 {
			t.Errorf("%s gets %.4f; want about %.4f", host, got[host], share)
		}
	}
}

func TestVerdictChangesAfterSoManyInARow(t *testing.T) {
	for _, test := range []struct {
		threshold int
		checks    string // + passed, - failed
		healthy   string // after each
	}{
		{3, "+++", "+++"},
		{3, "---", "---"},
		{3, "+---+++", "+++---+"},
		{3, "+--+--+--", "+++++++++"},
		{3, "-++-++-+++", "---------+"},
		{1, "+-+-", "+-+-"},
		{2, "-+-++--+", "----++--"},
	} {
		v, got := verdict{threshold: test.threshold}, ""
		for _, check := range test.checks {
			before, known := v.healthy, v.known
			if changed := v.observe(check == '+'); changed != (!known || before != v.healthy) {
				t.Errorf("%s: a change is not told, or told without one", test.checks)
			}
			got += map[bool]string{true: "+", false: "-"}[v.healthy]
		}
		if got != test.healthy {
			t.Errorf("threshold %d, %s: %s; want %s", test.threshold, test.checks, got, test.healthy)
		}
	}
}
