package endpoint

import (
	"maps"
	"slices"
)

// Roll says how many replicas of each revision a region should hold now, on
// its way to the sets of its target. Called again whenever a replica changes,
// it comes to the target, and on its way
//
//   - takes no ready replica away while fewer are ready than the target says;
//   - has no more than a quarter more replicas (at least one) than the target
//     says, or than it had.
//
// have are the replicas held, with those that drain, which count for nothing.
// Who takes replicas away takes those first that are not ready.
func Roll(sets []Set, have []Replica) map[int]int {
	wanted, total := map[int]int{}, 0
	for _, set := range sets {
		wanted[set.Revision] += set.Replicas
		total += set.Replicas
	}
	counts, ready, readyAll, alive := map[int]int{}, map[int]int{}, 0, 0
	for number := range wanted {
		counts[number] = 0
	}
	for _, r := range have {
		if r.Phase == Draining {
			if _, known := counts[r.Revision]; !known {
				counts[r.Revision] = 0
			}
			continue
		}
		counts[r.Revision]++
		alive++
		if r.Phase == Ready {
			ready[r.Revision]++
			readyAll++
		}
	}
	spare := max(0, readyAll-total)
	for _, number := range newestFirst(counts) {
		over := counts[number] - wanted[number]
		if over <= 0 {
			continue
		}
		idle := counts[number] - ready[number]
		drop := min(over, idle)
		more := min(over-drop, spare)
		spare -= more
		counts[number] -= drop + more
		alive -= drop + more
	}
	room := total + max(1, (total+3)/4) - alive
	if total == 0 {
		room = 0
	}
	for _, number := range newestFirst(counts) {
		more := min(max(0, wanted[number]-counts[number]), max(0, room))
		counts[number] += more
		room -= more
	}
	return counts
}

// newestFirst makes the outcome the same every time.
func newestFirst(counts map[int]int) []int {
	return slices.SortedFunc(maps.Keys(counts), func(a, b int) int { return b - a })
}
