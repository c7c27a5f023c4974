package endpoint

import (
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"
)

func TestRoll(t *testing.T) {
	have := func(revision int, phases ...Phase) (all []Replica) {
		for i, phase := range phases {
			all = append(all, Replica{ID: fmt.Sprint(revision, i), Revision: revision, Phase: phase})
		}
		return all
	}
	tests := []struct {
		name string
		sets []Set
		have []Replica
		want map[int]int
	}{
		{"from nothing", []Set{{Revision: 1, Replicas: 3}}, nil, map[int]int{1: 3}},
		{"as it should be", []Set{{Revision: 1, Replicas: 2}}, have(1, Ready, Starting), map[int]int{1: 2}},
		{"one more at first", []Set{{Revision: 2, Replicas: 3}}, have(1, Ready, Ready, Ready), map[int]int{1: 3, 2: 1}},
		{"one of each", []Set{{Revision: 2, Replicas: 3}}, append(have(1, Ready, Ready, Ready), have(2, Ready)...), map[int]int{1: 2, 2: 2}},
		{"what is not ready goes first", []Set{{Revision: 2, Replicas: 3}}, have(1, Ready, Failed, Starting), map[int]int{1: 1, 2: 3}},
		{"a single one is replaced by a second", []Set{{Revision: 2, Replicas: 1}}, have(1, Ready), map[int]int{1: 1, 2: 1}},
		{"the first goes when the second is ready", []Set{{Revision: 2, Replicas: 1}}, append(have(1, Ready), have(2, Ready)...), map[int]int{1: 0, 2: 1}},
		{"fewer", []Set{{Revision: 1, Replicas: 1}}, have(1, Ready, Ready, Starting), map[int]int{1: 1}},
		{"none", nil, have(1, Ready, Ready, Draining), map[int]int{1: 0}},
		{"what drains is not there", []Set{{Revision: 1, Replicas: 1}}, have(1, Draining), map[int]int{1: 1}},
		{"a canary on top", []Set{{Revision: 1, Replicas: 4}, {Revision: 2, Replicas: 1}}, have(1, Ready, Ready, Ready, Ready), map[int]int{1: 4, 2: 1}},
	}
	for _, test := range tests {
		if got := Roll(test.sets, test.have); !maps.Equal(got, test.want) {
			t.Errorf("%s: %v instead of %v", test.name, got, test.want)
		}
	}
}

// TestRollKeepsReady rolls from revision to revision while replicas become
// ready and fail at random: no step takes the ready ones below what is wanted,
// or there were, and it comes to an end.
func TestRollKeepsReady(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var have []Replica
		next := 0
		apply := func(counts map[int]int) {
			var kept []Replica
			for _, phases := range [][]Phase{{Ready}, {Starting, Unready, Failed}} {
				for _, r := range have {
					if (r.Phase == Ready) == (phases[0] == Ready) && counts[r.Revision] > 0 {
						counts[r.Revision]--
						kept = append(kept, r)
					}
				}
			}
			for revision, n := range counts {
				for range n {
					next++
					kept = append(kept, Replica{ID: fmt.Sprint(next), Revision: revision, Phase: Starting})
				}
			}
			have = kept
		}
		ready := func() (n int) {
			for _, r := range have {
				if r.Phase == Ready {
					n++
				}
			}
			return n
		}
		for revision := 1; revision <= rapid.IntRange(1, 4).Draw(t, "revisions"); revision++ {
			sets := []Set{{Revision: revision, Replicas: rapid.IntRange(0, 9).Draw(t, "replicas")}}
			for step := range 60 {
				before, alive := ready(), len(have)
				apply(Roll(sets, have))
				if floor := min(before, sets[0].Replicas); ready() < floor {
					t.Fatalf("%d ready before the step, %d wanted, %d after it", before, sets[0].Replicas, ready())
				}
				if most := max(alive, sets[0].Replicas+max(1, (sets[0].Replicas+3)/4)); len(have) > most {
					t.Fatalf("%d replicas; at most %d may be", len(have), most)
				}
				for i := range have {
					switch {
					case step >= 30 || rapid.Bool().Draw(t, "answers"):
						have[i].Phase = Ready
					case rapid.IntRange(0, 9).Draw(t, "fails") == 0:
						have[i].Phase = Unready
					}
				}
			}
			if len(have) != sets[0].Replicas || ready() != sets[0].Replicas || len(have) > 0 && have[0].Revision != revision {
				t.Fatalf("ended with %v instead of %v", have, sets)
			}
		}
	})
}
