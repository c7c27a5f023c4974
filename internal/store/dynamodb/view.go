package dynamodb

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// keepMinutes is how long minutes of throughput are kept.
const keepMinutes = 2 * 24 * 60

type countKey struct {
	Namespace string
	Region    string
	State     job.State
}

type promiseKey struct {
	Region string
	Class  capacity.Class
}

type minuteKey struct {
	Minute int64
	State  job.State
}

// head is the first waiting job of a class.
type head struct {
	store.Position
	Since time.Time
	// Unsure says that it may be gone, and that another has to be looked for.
	Unsure bool
}

// view is what the log adds up to, as far as this process has read it.
type view struct {
	mu sync.Mutex
	// page is the last one that is in it.
	page int64
	// last is the cursor of the newest event.
	last int64

	counts   map[countKey]int64
	promises map[promiseKey]int64
	minutes  map[minuteKey]int64
	newest   int64
	// members counts the jobs of a list, by shard.
	members map[string]map[int]int64
	heads   map[capacity.Class]head

	// tail are the keys of the last page's entries in the tail: there may be
	// some that nobody has removed yet.
	tail []item
	// swept says that this process has removed them.
	swept bool
}

func newView() *view {
	return &view{
		counts: map[countKey]int64{}, promises: map[promiseKey]int64{}, minutes: map[minuteKey]int64{},
		members: map[string]map[int]int64{}, heads: map[capacity.Class]head{},
	}
}

// append adds one page.
func (v *view) append(s *Store, page int64, entries []entry) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.page, v.tail, v.swept = page, nil, false
	for i := range entries {
		e := &entries[i]
		if e.event() {
			v.last = cursorOf(page, i)
		}
		v.tail = append(v.tail, s.tailKey(e))
		if e.Job != nil {
			v.move(s, e, e.Job)
		}
	}
}

func (v *view) move(s *Store, e *entry, m *move) {
	if m.From != "" {
		v.count(e.Namespace, m.Before, m.From, m.Class, -1)
	}
	if m.To != "" {
		v.count(e.Namespace, m.Region, m.To, m.Class, 1)
	}
	if e.event() && (m.From == "" || m.To.Terminal() && !m.From.Terminal()) {
		minute := e.At.Unix() / 60
		v.minutes[minuteKey{minute, m.To}]++
		if minute > v.newest {
			v.newest = minute
			v.forgetMinutes()
		}
	}
	id := job.ID(strings.TrimPrefix(e.Subject, store.JobSubject("")))
	for _, list := range m.Left {
		v.member(s, list, id, -1)
		if class, ok := strings.CutPrefix(list, listWaiting); ok {
			v.left(capacity.Class(class), id)
		}
	}
	for _, list := range m.Entered {
		v.member(s, list, id, 1)
		if class, ok := strings.CutPrefix(list, listWaiting); ok {
			v.entered(capacity.Class(class), store.Position{Priority: m.Priority, ID: id}, m.Submitted)
		}
	}
}

func (v *view) forgetMinutes() {
	for key := range v.minutes {
		if key.Minute < v.newest-keepMinutes {
			delete(v.minutes, key)
		}
	}
}

func add[K comparable](counters map[K]int64, key K, n int64) {
	if counters[key] += n; counters[key] == 0 {
		delete(counters, key)
	}
}

func (v *view) count(namespace, region string, state job.State, class capacity.Class, n int64) {
	add(v.counts, countKey{namespace, region, state}, n)
	if state == job.Placed || state == job.Claimed {
		add(v.promises, promiseKey{region, class}, n)
	}
}

func (v *view) member(s *Store, list string, id job.ID, n int64) {
	shards := v.members[list]
	if shards == nil {
		shards = map[int]int64{}
		v.members[list] = shards
	}
	add(shards, shardOf(string(id), s.listShards(list)), n)
	if len(shards) == 0 {
		delete(v.members, list)
	}
}

func (v *view) left(class capacity.Class, id job.ID) {
	if v.members[listWaiting+string(class)] == nil {
		delete(v.heads, class)
		return
	}
	if h := v.heads[class]; h.ID == id {
		h.Unsure = true
		v.heads[class] = h
	}
}

func (v *view) entered(class capacity.Class, at store.Position, since time.Time) {
	h, there := v.heads[class]
	if !there || !h.Unsure && before(at, h.Position) {
		v.heads[class] = head{Position: at, Since: since}
	}
}

// before tells whether a is ahead of b among waiting jobs.
func before(a, b store.Position) bool { return comparePositions(a, b) < 0 }

func comparePositions(a, b store.Position) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.ID, b.ID))
}

// lists are those with members whose name has the prefix.
func (v *view) lists(prefix string) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []string
	for list := range v.members {
		if strings.HasPrefix(list, prefix) {
			all = append(all, list)
		}
	}
	slices.Sort(all)
	return all
}

// empty tells whether a list has no members.
func (v *view) empty(list string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.members[list]) == 0
}

// occupied are the partitions of a list that have members.
func (v *view) occupied(s *Store, list string) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []string
	for shard := range v.members[list] {
		all = append(all, s.partitionOf(list, shard))
	}
	slices.Sort(all)
	return all
}

// waiting counts the Queued and Placed jobs of a namespace.
func (v *view) waiting(namespace string) int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	var sum int64
	for key, n := range v.counts {
		if key.Namespace == namespace && (key.State == job.Queued || key.State == job.Placed) {
			sum += n
		}
	}
	return sum
}
