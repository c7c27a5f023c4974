package dynamodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/store"
)

// Bounds of one page of the log. Its number and the place on it make a cursor.
const (
	pageBits    = 10
	pageEntries = 400
	// tailRead is how many entries are read of one partition of the tail at a
	// time.
	tailRead = 200
	// pageShards spreads the pages over partitions.
	pageShards = 16
	// freshFor is for how many nanoseconds what an idle process has read is
	// fresh enough.
	freshFor = 200 * 1000 * 1000
)

func cursorOf(page int64, place int) int64 { return page<<pageBits | int64(place+1) }
func pageOf(cursor int64) int64            { return cursor >> pageBits }

// log puts entries in order. They come into its tail with the writes that they
// tell of, in many partitions, in the order of no clock that could be trusted.
// From there they are moved on to pages:
//
//  1. The head is read, and the pages that this process does not know yet.
//  2. The tail is read twice. What the first reading shows is taken; the second
//     adds what was written before one of those and was missed: it was there
//     when the first reading ended. So of one subject nothing is out of order.
//     Across subjects, entries go by their stamps, and one with a stamp later
//     than the beginning of the reading waits for the next round.
//  3. What is in the last page is left out, and removed from the tail. Only the
//     last page can have left something there, since no page is written before
//     the one before it was cleared away.
//  4. Head and page are written on condition that the head is as it was read.
//
// Whoever wants to know more than its process has read does this; it needs no
// leader. Where two do it at once, one begins anew.
type log struct {
	s *Store
	v *view

	mu sync.Mutex
	// readAt is a time that everything is in the view from before of.
	readAt int64
	// wrote is after the last write of this process.
	wrote stampMark
	// head is as it was read last; loaded tells that the view is one.
	head   logHead
	loaded bool
	// recent are the entries of the last pages, by number.
	recent map[int64][]entry
	// oldest is no later than the oldest event that is kept.
	oldest int64

	reached reached
}

// stampMark holds the newest of some stamps.
type stampMark struct {
	mu sync.Mutex
	ns int64
}

func (m *stampMark) raise(ns int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ns = max(m.ns, ns)
}

func (m *stampMark) newest() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ns
}

func newLog(s *Store) *log { return &log{s: s, v: newView(), recent: map[int64][]entry{}} }

// Attributes of the head of the log.
const (
	attrPage     = "page"
	attrFirst    = "first_page"
	attrSnapshot = "view_page"
	attrParts    = "view_parts"

	skHead = "head"
)

// logHead is what the item at the head of the log says.
type logHead struct {
	page, first, snapshot, parts int64
}

func (l *log) readHead(ctx context.Context) (logHead, error) {
	found, err := l.s.get(ctx, TableEvents, at(pkLog, skHead))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return logHead{}, err
	}
	return logHead{
		page: numberOf(found, attrPage), first: max(1, numberOf(found, attrFirst)),
		snapshot: numberOf(found, attrSnapshot), parts: numberOf(found, attrParts),
	}, nil
}

// fresh returns the view with all that was written before the call by anyone.
// What others wrote in the last moments may be missing.
func (l *log) fresh(ctx context.Context) (*view, error) {
	asked := l.s.stamps.next("").ns()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readAt >= asked || l.readAt > l.wrote.newest() && l.readAt >= asked-freshFor {
		return l.v, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Entries of a server whose clock is ahead wait for one more round, in which
	// this one's has caught up.
	for waited := false; ; {
		reached, held, err := l.round(ctx)
		if err != nil {
			return nil, fmt.Errorf("putting the log in order: %w", err)
		}
		l.readAt = max(l.readAt, reached)
		if reached >= asked && (!held || waited) {
			return l.v, nil
		}
		waited = waited || reached >= asked
	}
}

// round does all of the above once. Everything is in the view then that was
// stamped and written before reached; held tells of entries that had to wait.
func (l *log) round(ctx context.Context) (reached int64, held bool, err error) {
	began := l.s.stamps.next("")
	head, err := l.readHead(ctx)
	if err != nil {
		return 0, false, err
	}
	if err := l.catchUp(ctx, head); err != nil {
		return 0, false, err
	}
	entries, reached, held, err := l.readTail(ctx, began)
	if err != nil {
		return 0, false, err
	}
	if len(entries) == 0 && reached == began.ns() {
		return reached, held, nil
	}
	if err := l.sweep(ctx); err != nil || len(entries) == 0 {
		return 0, held, err
	}
	written, err := l.write(ctx, head, entries)
	if err != nil || !written {
		return 0, held, err
	}
	l.append(head.page+1, entries)
	if err := l.sweep(ctx); err != nil {
		return 0, false, err
	}
	return reached, held, l.keepView(ctx, head)
}

// catchUp reads the pages that others wrote.
func (l *log) catchUp(ctx context.Context, head logHead) error {
	if !l.loaded || l.v.page < head.first-1 {
		v, err := l.load(ctx, head)
		if err != nil {
			return err
		}
		l.v, l.loaded = v, true
	}
	l.head = head
	for l.v.page < head.page {
		entries, err := l.readPage(ctx, l.v.page+1)
		if err != nil {
			return err
		}
		l.append(l.v.page+1, entries)
	}
	return nil
}

// recentPages is how many pages a process remembers.
const recentPages = 64

// append adds a page to what this process knows.
func (l *log) append(page int64, entries []entry) {
	l.v.append(l.s, page, entries)
	l.reached.raise(page)
	l.recent[page] = entries
	delete(l.recent, page-recentPages)
}

// entriesOf returns a page from memory, or reads it.
func (l *log) entriesOf(ctx context.Context, page int64) ([]entry, error) {
	l.mu.Lock()
	entries, known := l.recent[page]
	l.mu.Unlock()
	if known {
		return entries, nil
	}
	return l.readPage(ctx, page)
}

func pageKey(page int64) item {
	return at(sharded(kindPage, int(page%pageShards)), fmt.Sprintf("%016d", page))
}

func (l *log) readPage(ctx context.Context, page int64) ([]entry, error) {
	found, err := l.s.get(ctx, TableEvents, pageKey(page))
	if err != nil {
		return nil, fmt.Errorf("reading page %d: %w", page, err)
	}
	var entries []entry
	if err := unpackJSON(found, attrBody, &entries); err != nil {
		return nil, fmt.Errorf("reading page %d: %w", page, err)
	}
	return entries, nil
}

// readTail returns what the next page should hold. All that was stamped before
// reached is on it or was before; held tells of entries that have to wait.
func (l *log) readTail(ctx context.Context, began stamp) (entries []entry, reached int64, held bool, err error) {
	known := map[string]bool{}
	for _, k := range l.v.tail {
		known[textOf(k, attrSK)] = true
	}
	shards := make([]tailShard, l.s.shards.Tail)
	err = each(ctx, len(shards), func(ctx context.Context, n int) (err error) {
		shards[n], err = l.readTailShard(ctx, sharded(kindTail, n), known, began)
		return err
	})
	if err != nil {
		return nil, 0, false, err
	}
	reached = began.ns()
	var cut stamp
	for _, shard := range shards {
		entries, held = append(entries, shard.entries...), held || shard.held
		// Where a partition has more, nothing later than what was read of it
		// may come before the rest.
		if shard.cut != "" && (cut == "" || shard.cut < cut) {
			cut = shard.cut
		}
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(strings.Compare(string(a.Stamp), string(b.Stamp)), strings.Compare(a.Subject, b.Subject), cmp.Compare(a.Number, b.Number))
	})
	if cut != "" {
		entries = slices.DeleteFunc(entries, func(e entry) bool { return e.Stamp > cut })
		reached = min(reached, cut.ns()-1)
	}
	if len(entries) > pageEntries {
		entries = entries[:pageEntries]
		reached = min(reached, entries[pageEntries-1].Stamp.ns()-1)
	}
	return entries, reached, held, nil
}

// tailShard is what was read of one partition of the tail. cut is where it
// stopped, if there is more; held tells that entries were left for later.
type tailShard struct {
	entries []entry
	cut     stamp
	held    bool
}

// readTailShard reads the beginning of one partition, twice.
func (l *log) readTailShard(ctx context.Context, pk string, known map[string]bool, began stamp) (found tailShard, err error) {
	// Who has written nothing looks for what others wrote, and sees it soon
	// enough; the second reading must miss nothing.
	q := query{table: TableEvents, pk: pk, limit: tailRead, eventual: l.readAt > l.wrote.newest()}
	first, last, err := l.unknown(ctx, q, known)
	if err != nil || last == "" {
		return found, err
	}
	newest := map[string]int64{}
	for i := range first.entries {
		e := &first.entries[i]
		if e.Stamp.ns() > began.ns() {
			l.s.stamps.observe(e.Stamp)
			found.held = true
			continue
		}
		newest[e.Subject] = max(newest[e.Subject], e.order())
	}
	if found.cut = first.cut; len(newest) == 0 {
		return found, nil
	}
	second, _, err := l.unknown(ctx, query{table: TableEvents, pk: pk, to: last}, known)
	for _, e := range second.entries {
		if until, seen := newest[e.Subject]; seen && e.order() <= until {
			found.entries = append(found.entries, e)
		}
	}
	return found, err
}

// unknown reads the entries of a partition that are not in the last page, and
// the key of the last item that was read.
func (l *log) unknown(ctx context.Context, q query, known map[string]bool) (found tailShard, last string, err error) {
	items, err := l.s.all(ctx, q)
	if err != nil || len(items) == 0 {
		return found, "", err
	}
	for _, i := range items {
		e, err := entryOf(i)
		if err != nil {
			return found, "", err
		}
		if last = textOf(i, attrSK); !known[last] {
			found.entries = append(found.entries, e)
		}
		if len(items) == q.limit {
			found.cut = e.Stamp
		}
	}
	return found, last, nil
}

// order is what the entries of one subject grow by: their stamps.
func (e *entry) order() int64 { return e.Stamp.ns() }

// sweep removes the last page's entries from the tail.
func (l *log) sweep(ctx context.Context) error {
	if l.v.swept || len(l.v.tail) == 0 {
		return nil
	}
	if err := l.s.remove(ctx, TableEvents, l.v.tail); err != nil {
		return err
	}
	l.v.swept = true
	return nil
}

// write appends a page; written is false where somebody else was faster.
func (l *log) write(ctx context.Context, head logHead, entries []entry) (written bool, err error) {
	body := binary(pack([]byte(mustText(entries))))
	u := update{
		table: TableEvents, key: at(pkLog, skHead),
		expression: "SET #page = :next", condition: "#page = :page",
		names: map[string]string{"#page": attrPage}, values: item{":next": number(head.page + 1), ":page": number(head.page)},
	}
	if head.page == 0 {
		u.condition = "attribute_not_exists(#page)"
		delete(u.values, ":page")
	}
	err = l.s.transactOne(ctx, unit{
		actions: []types.TransactWriteItem{
			l.s.updateAction(u),
			l.s.putAction(TableEvents, with(pageKey(head.page+1), item{attrBody: body}), "attribute_not_exists(pk)", nil),
		},
		refused: func(int, item) error { return store.ErrConflict },
	})
	if errors.Is(err, store.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}
