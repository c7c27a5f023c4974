package sqlite

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

// keepMinutes is how long minutes of throughput are kept.
const keepMinutes = 2 * 24 * 60

// known is what the writer remembers of the committed database, so that it
// need not ask.
type known struct {
	lastJob   int64
	lastEvent int64
	// minute is the newest one that has throughput.
	minute int64
	// queued counts the Queued and Placed jobs by namespace.
	queued  map[string]int64
	classes map[capacity.Class]int64
}

// maxClasses bounds the memory for classes.
const maxClasses = 100_000

var (
	stLastJob    = statement(`SELECT coalesce(max(seq), 0) FROM jobs`)
	stLastEvent  = statement(`SELECT max((SELECT coalesce(max(seq), 0) FROM events), (SELECT value FROM meta WHERE name = 'last_event'))`)
	stLastMinute = statement(`SELECT coalesce(max(minute), 0) FROM throughput`)
	stQueued     = statement(`SELECT namespace, sum(jobs) FROM counts WHERE state IN ('queued', 'placed') GROUP BY namespace`)
)

func loadKnown(s *session) (*known, error) {
	k := &known{queued: map[string]int64{}, classes: map[capacity.Class]int64{}}
	for id, into := range map[stmt]*int64{stLastJob: &k.lastJob, stLastEvent: &k.lastEvent, stLastMinute: &k.minute} {
		if _, err := s.row(id, nil, into); err != nil {
			return nil, err
		}
	}
	err := s.each(stQueued, nil, func(scan func(...any) error) error {
		var namespace string
		var jobs int64
		err := scan(&namespace, &jobs)
		k.queued[namespace] = jobs
		return err
	})
	return k, err
}

// learn takes over what a committed transaction changed.
func (k *known) learn(t *tx) {
	k.lastJob, k.lastEvent, k.minute = t.lastJob, t.lastEvent, t.minute
	for namespace, jobs := range t.queued {
		if k.queued[namespace] += jobs; k.queued[namespace] == 0 {
			delete(k.queued, namespace)
		}
	}
	if len(k.classes)+len(t.classes) > maxClasses {
		clear(k.classes)
	}
	maps.Copy(k.classes, t.classes)
	for _, class := range t.dropped {
		delete(k.classes, class)
	}
}

type countKey struct {
	namespace, region string
	state             job.State
}

type promiseKey struct {
	region string
	class  int64
}

type minuteKey struct {
	minute int64
	state  job.State
}

// head is what a transaction did to the waiting jobs of one class: the first
// one that it added, and whether it took any away.
type head struct {
	added     bool
	rank      int64
	id        job.ID
	submitted any
	removed   bool
}

// tx is the open transaction of the writer; one value serves them all, one
// after the other. Counters are summed up here and written once, by flush.
type tx struct {
	*session
	known *known
	// args is scratch space for the parameters of long statements.
	args []any

	lastJob, lastEvent, minute int64
	queued                     map[string]int64
	classes                    map[capacity.Class]int64
	dropped                    []capacity.Class

	counts     map[countKey]int64
	promises   map[promiseKey]int64
	throughput map[minuteKey]int64
	references map[int64]int64
	heads      map[int64]head
	forgotten  bool

	submissions, events, changes bulk
}

func newTx(s *session, k *known) *tx {
	return &tx{
		session: s, known: k, args: make([]any, 0, 32), queued: map[string]int64{}, classes: map[capacity.Class]int64{},
		counts: map[countKey]int64{}, promises: map[promiseKey]int64{}, throughput: map[minuteKey]int64{},
		references: map[int64]int64{}, heads: map[int64]head{},
		submissions: bulk{bulkTable: submissionTable}, events: bulk{bulkTable: eventTable},
		changes: bulk{bulkTable: changeTable},
	}
}

// begin forgets the transaction before, whatever came of it.
func (t *tx) begin() {
	t.lastJob, t.lastEvent, t.minute = t.known.lastJob, t.known.lastEvent, t.known.minute
	t.dropped, t.forgotten = nil, false
	clear(t.queued)
	clear(t.classes)
	clear(t.counts)
	clear(t.promises)
	clear(t.throughput)
	clear(t.references)
	clear(t.heads)
	for _, rows := range []*bulk{&t.submissions, &t.events, &t.changes} {
		rows.args = rows.args[:0]
	}
}

// count adds to the counters of jobs.
func (t *tx) count(key countKey, class, jobs int64) {
	t.counts[key] += jobs
	switch key.state {
	case job.Queued:
		t.queued[key.namespace] += jobs
	case job.Placed:
		t.queued[key.namespace] += jobs
		t.promises[promiseKey{key.region, class}] += jobs
	case job.Claimed:
		t.promises[promiseKey{key.region, class}] += jobs
	}
}

// pass counts a transition for throughput: submissions and ends.
func (t *tx) pass(tr *job.Transition) {
	if tr.Event == job.Submitted || (tr.To.Terminal() && !tr.From.Terminal()) {
		t.throughput[minuteKey{minuteOf(tr.At), tr.To}]++
	}
}

func minuteOf(at time.Time) int64 { return at.Unix() / 60 }

// addWaiting notes a job that came to wait in a class.
func (t *tx) addWaiting(class, rank int64, id job.ID, submitted any) {
	h := t.heads[class]
	if !h.added || rank < h.rank || (rank == h.rank && id < h.id) {
		h.added, h.rank, h.id, h.submitted = true, rank, id, submitted
	}
	t.heads[class] = h
}

// removeWaiting notes that a job of a class waits no longer.
func (t *tx) removeWaiting(class int64) {
	h := t.heads[class]
	h.removed = true
	t.heads[class] = h
}

var (
	stAddCount       = statement(`INSERT INTO counts (namespace, region, state, jobs) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET jobs = jobs + excluded.jobs`)
	stDropCount      = statement(`DELETE FROM counts WHERE namespace = ? AND region = ? AND state = ? AND jobs = 0`)
	stAddPromise     = statement(`INSERT INTO promises (region, class, jobs) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET jobs = jobs + excluded.jobs`)
	stDropPromise    = statement(`DELETE FROM promises WHERE region = ? AND class = ? AND jobs = 0`)
	stAddThroughput  = statement(`INSERT INTO throughput (minute, state, jobs) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET jobs = jobs + excluded.jobs`)
	stDropThroughput = statement(`DELETE FROM throughput WHERE minute < ?`)
	stReference      = statement(`UPDATE classes SET jobs = jobs + ? WHERE seq = ?`)
	stDropClass      = statement(`DELETE FROM classes WHERE seq = ? AND jobs = 0 RETURNING class`)
	stAddHead        = statement(`INSERT INTO heads (class, rank, id, submitted_at) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET rank = excluded.rank, id = excluded.id, submitted_at = excluded.submitted_at
		WHERE (excluded.rank, excluded.id) < (heads.rank, heads.id)`)
	stNextHead = statement(`INSERT OR REPLACE INTO heads (class, rank, id, submitted_at)
		SELECT class, rank, id, submitted_at FROM jobs WHERE queue = 'waiting ' || ? ORDER BY rank, id LIMIT 1`)
	stDropHead  = statement(`DELETE FROM heads WHERE class = ?`)
	stLastGiven = statement(`UPDATE meta SET value = ? WHERE name = 'last_event'`)
)

// flushRows writes the rows that were collected.
func (t *tx) flushRows() error {
	for _, rows := range []*bulk{&t.submissions, &t.events, &t.changes} {
		if err := rows.flush(t.session); err != nil {
			return err
		}
	}
	return nil
}

// flush writes what was collected and the counters, in a fixed order.
func (t *tx) flush() error {
	if err := t.flushRows(); err != nil {
		return err
	}
	for _, step := range []func() error{t.flushCounts, t.flushPromises, t.flushThroughput, t.flushHeads, t.flushClasses} {
		if err := step(); err != nil {
			return err
		}
	}
	if !t.forgotten {
		return nil
	}
	// Cursors are never given twice, even if the newest events are gone.
	_, err := t.exec(stLastGiven, t.lastEvent)
	return err
}

func (t *tx) flushCounts() error {
	for _, key := range sorted(t.counts, func(a, b countKey) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.region, b.region), cmp.Compare(a.state, b.state))
	}) {
		jobs := t.counts[key]
		if err := t.add(jobs, stAddCount, stDropCount, key.namespace, key.region, string(key.state)); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) flushPromises() error {
	for _, key := range sorted(t.promises, func(a, b promiseKey) int {
		return cmp.Or(cmp.Compare(a.region, b.region), cmp.Compare(a.class, b.class))
	}) {
		if err := t.add(t.promises[key], stAddPromise, stDropPromise, key.region, key.class); err != nil {
			return err
		}
	}
	return nil
}

// add adds n to a counter, and drops the counter when it comes to nothing.
func (t *tx) add(n int64, add, drop stmt, key ...any) error {
	if n == 0 {
		return nil
	}
	if _, err := t.exec(add, append(key, n)...); err != nil {
		return err
	}
	if n > 0 {
		return nil
	}
	_, err := t.exec(drop, key...)
	return err
}

func (t *tx) flushThroughput() error {
	for _, key := range sorted(t.throughput, func(a, b minuteKey) int {
		return cmp.Or(cmp.Compare(a.minute, b.minute), cmp.Compare(a.state, b.state))
	}) {
		if _, err := t.exec(stAddThroughput, key.minute, string(key.state), t.throughput[key]); err != nil {
			return err
		}
		if key.minute > t.minute {
			t.minute = key.minute
			if _, err := t.exec(stDropThroughput, t.minute-keepMinutes); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tx) flushHeads() error {
	for _, class := range sorted(t.heads, cmp.Compare) {
		if err := t.flushHead(class, t.heads[class]); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) flushHead(class int64, h head) error {
	if !h.removed {
		_, err := t.exec(stAddHead, class, h.rank, string(h.id), h.submitted)
		return err
	}
	found, err := t.exec(stNextHead, class)
	if err == nil && found == 0 {
		_, err = t.exec(stDropHead, class)
	}
	return err
}

func (t *tx) flushClasses() error {
	for _, class := range sorted(t.references, cmp.Compare) {
		jobs := t.references[class]
		if _, err := t.exec(stReference, jobs, class); err != nil {
			return err
		}
		if jobs > 0 {
			continue
		}
		var name string
		found, err := t.row(stDropClass, []any{class}, &name)
		if err != nil {
			return err
		}
		if found {
			t.dropped = append(t.dropped, capacity.Class(name))
		}
	}
	return nil
}

// sorted returns the keys in order, so that the same calls make the same
// database.
func sorted[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	if len(m) == 0 {
		return nil
	}
	keys := make([]K, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, compare)
	return keys
}
