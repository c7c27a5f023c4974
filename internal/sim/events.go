package sim

import (
	"container/heap"
	"time"
)

// agenda orders what will happen: by time, then by the order of planning, so
// that a seed always gives the same schedule.
type agenda struct {
	items  agendaHeap
	serial int
}

type agendaItem struct {
	at     time.Time
	serial int
	do     func()
}

func (a *agenda) plan(at time.Time, do func()) {
	a.serial++
	heap.Push(&a.items, agendaItem{at, a.serial, do})
}

func (a *agenda) next() (agendaItem, bool) {
	if len(a.items) == 0 {
		return agendaItem{}, false
	}
	return heap.Pop(&a.items).(agendaItem), true
}

type agendaHeap []agendaItem

func (h agendaHeap) Len() int      { return len(h) }
func (h agendaHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h agendaHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].serial < h[j].serial
}
func (h *agendaHeap) Push(x any) { *h = append(*h, x.(agendaItem)) }
func (h *agendaHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
