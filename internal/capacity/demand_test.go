package capacity

import (
	"encoding/json"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestTotalCountsEveryPod(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var demand Demand
		var want Resources
		for range rapid.IntRange(0, 4).Draw(t, "groups") {
			group := PodGroup{Count: rapid.IntRange(0, 20).Draw(t, "count"), Pod: Pod{Requests: resources().Draw(t, "requests")}}
			demand.Pods = append(demand.Pods, group)
			for range group.Count {
				want = want.Add(group.Requests)
			}
		}
		if !demand.Total().Equal(want) {
			t.Fatalf("the total of %+v is %v; want %v", demand, demand.Total(), want)
		}
		if !slices.Equal(demand.ResourceNames(), want.Names()) {
			t.Fatalf("resource names are %q; want %q", demand.ResourceNames(), want.Names())
		}
	})
}

func someDemand() Demand {
	return Demand{Pods: []PodGroup{{Count: 2, Pod: Pod{
		Requests:     Resources{CPU: 500, Memory: 1 << 30, "nvidia.com/gpu": 1},
		NodeSelector: map[string]string{"zone": "a", "disk": "ssd"},
		Affinity:     []Term{{{Key: "kind", Operator: "In", Values: []string{"p5"}}}},
		Tolerations:  []Toleration{{Key: "nvidia.com/gpu", Operator: "Exists"}},
	}}}}
}

// TestClassesAreStable pins one class: classes are stored, so another hash for
// the same demand would split every class in two at the next release.
func TestClassesAreStable(t *testing.T) {
	const want = "532b4b880ca56cb38d676cf9"
	if got := ClassOf(someDemand(), map[string]any{"regions": []string{"north"}}); got != want {
		t.Errorf("the class is %s; want %s", got, want)
	}
}

// TestClassesDoNotDependOnTheOrderOfMaps builds each map in many orders, and
// through JSON, as a store does.
func TestClassesDoNotDependOnTheOrderOfMaps(t *testing.T) {
	want := ClassOf(someDemand(), nil)
	rapid.Check(t, func(t *rapid.T) {
		demand := someDemand()
		names := rapid.Permutation(demand.Pods[0].Requests.Names()).Draw(t, "order")
		rebuilt := Resources{}
		for _, name := range names {
			rebuilt[name] = demand.Pods[0].Requests[name]
		}
		demand.Pods[0].Requests = rebuilt
		text, err := json.Marshal(demand)
		if err != nil {
			t.Fatal(err)
		}
		var read Demand
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		if ClassOf(demand, nil) != want || ClassOf(read, nil) != want {
			t.Fatalf("the class of the same demand differs: %+v", demand)
		}
	})
}

func TestWhateverPlacementLooksAtMakesAnotherClass(t *testing.T) {
	classes := map[Class]string{ClassOf(someDemand(), nil): "the demand itself"}
	changes := map[string]func(*Demand){
		"count":      func(d *Demand) { d.Pods[0].Count++ },
		"cpu":        func(d *Demand) { d.Pods[0].Requests[CPU]++ },
		"selector":   func(d *Demand) { d.Pods[0].NodeSelector["zone"] = "b" },
		"affinity":   func(d *Demand) { d.Pods[0].Affinity[0][0].Operator = "NotIn" },
		"toleration": func(d *Demand) { d.Pods[0].Tolerations[0].Effect = "NoSchedule" },
		"group":      func(d *Demand) { d.Pods = append(d.Pods, PodGroup{Count: 1}) },
	}
	for name, change := range changes {
		demand := someDemand()
		change(&demand)
		class := ClassOf(demand, nil)
		if other, taken := classes[class]; taken {
			t.Errorf("%s and %s have one class", name, other)
		}
		classes[class] = name
	}
	if _, taken := classes[ClassOf(someDemand(), []string{"north"})]; taken {
		t.Error("constraints make no difference")
	}
}

// FuzzDemand: whatever JSON can hold as a demand has one class, before and
// after storage, and a total that does not panic.
func FuzzDemand(f *testing.F) {
	for _, demand := range []Demand{{}, someDemand()} {
		seed, err := json.Marshal(demand)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Add([]byte(`{"pods":[{"count":9223372036854775807,"requests":{"cpu":-9223372036854775808,"":1}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var demand Demand
		if json.Unmarshal(text, &demand) != nil {
			return
		}
		stored, err := json.Marshal(demand)
		if err != nil {
			t.Fatal(err)
		}
		var read Demand
		if err := json.Unmarshal(stored, &read); err != nil {
			t.Fatal(err)
		}
		if ClassOf(demand, nil) != ClassOf(read, nil) || !demand.Total().Equal(read.Total()) {
			t.Errorf("%s is another demand after storage", stored)
		}
	})
}
