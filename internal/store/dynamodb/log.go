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
	// fresh enough is what an idle process read this long ago.
	freshFor = 200 * 1000 * 1000 // nanoseconds
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
	for {
		again, err := l.round(ctx)
		if err != nil {
			return nil, fmt.Errorf("putting the log in order: %w", err)
		}
		if !again {
			return l.v, nil
		}
	}
}

// round does all of the above once.
func (l *log) round(ctx context.Context) (again bool, err error) {
	began := l.s.stamps.next("")
	head, err := l.readHead(ctx)
	if err != nil {
		return false, err
	}
	if err := l.catchUp(ctx, head); err != nil {
		return false, err
	}
	entries, more, err := l.readTail(ctx, began)
	if err != nil {
		return false, err
	}
	if len(entries) == 0 && !more {
		l.readAt = began.ns()
		return false, nil
	}
	if err := l.sweep(ctx); err != nil || len(entries) == 0 {
		return true, err
	}
	written, err := l.write(ctx, head, entries)
	if err != nil || !written {
		return true, err
	}
	l.append(head.page+1, entries)
	if err := l.sweep(ctx); err != nil {
		return false, err
	}
	if !more {
		l.readAt = began.ns()
	}
	return more, l.keepView(ctx, head)
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

// readTail returns what the next page should hold. more tells that there is
// more, or something that has to wait for a later round.
func (l *log) readTail(ctx context.Context, began stamp) (entries []entry, more bool, err error) {
	known := map[string]bool{}
	for _, k := range l.v.tail {
		known[textOf(k, attrSK)] = true
	}
	shards := make([][]entry, l.s.shards.Tail)
	cuts := make([]stamp, l.s.shards.Tail)
	held := make([]bool, l.s.shards.Tail)
	err = each(ctx, len(shards), func(ctx context.Context, n int) (err error) {
		shards[n], cuts[n], held[n], err = l.readTailShard(ctx, sharded(kindTail, n), known, began)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	entries = slices.Concat(shards...)
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(strings.Compare(string(a.Stamp), string(b.Stamp)), strings.Compare(a.Subject, b.Subject), cmp.Compare(a.Number, b.Number))
	})
	// Where a partition has more, nothing later than what was read of it may
	// come before the rest.
	for n := range cuts {
		if cut := cuts[n]; cut != "" {
			more = true
			entries = slices.DeleteFunc(entries, func(e entry) bool { return e.Stamp > cut })
		}
		more = more || held[n]
	}
	if len(entries) > pageEntries {
		entries, more = entries[:pageEntries], true
	}
	return entries, more, nil
}

// readTailShard reads the beginning of one partition, twice. cut is where it
// stopped, if there is more; held tells that entries were left for later.
func (l *log) readTailShard(ctx context.Context, pk string, known map[string]bool, began stamp) (entries []entry, cut stamp, held bool, err error) {
	// Who has written nothing looks for what others wrote, and sees it soon
	// enough; the second reading must miss nothing.
	q := query{table: TableEvents, pk: pk, limit: tailRead, eventual: l.readAt > l.wrote.newest()}
	first, err := l.s.all(ctx, q)
	if err != nil || len(first) == 0 {
		return nil, "", false, err
	}
	if len(first) == tailRead {
		last, err := entryOf(first[len(first)-1])
		if err != nil {
			return nil, "", false, err
		}
		cut = last.Stamp
	}
	newest := map[string]int64{}
	for _, i := range first {
		if known[textOf(i, attrSK)] {
			continue
		}
		e, err := entryOf(i)
		if err != nil {
			return nil, "", false, err
		}
		if e.Stamp.ns() > began.ns() {
			l.s.stamps.observe(e.Stamp)
			held = true
			continue
		}
		newest[e.Subject] = max(newest[e.Subject], e.order())
	}
	if len(newest) == 0 {
		return nil, cut, held, nil
	}
	second, err := l.s.all(ctx, query{table: TableEvents, pk: pk, to: textOf(first[len(first)-1], attrSK)})
	if err != nil {
		return nil, "", false, err
	}
	for _, i := range second {
		if known[textOf(i, attrSK)] {
			continue
		}
		e, err := entryOf(i)
		if err != nil {
			return nil, "", false, err
		}
		if until, seen := newest[e.Subject]; seen && e.order() <= until {
			entries = append(entries, e)
		}
	}
	return entries, cut, held, nil
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
