package dynamodb

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/store"
)

// maxRead is how many records one query looks at.
const maxRead = 1000

// Events returns events after the cursor, and the cursor to go on from.
func (s *Store) Events(ctx context.Context, query store.EventQuery) ([]store.Event, int64, error) {
	v, err := s.log.fresh(ctx)
	if err != nil {
		return nil, query.After, wrap(err, "reading events")
	}
	last, page, first := v.bounds(s.log)
	w := &walk{s: s, query: query, limit: min(query.Limit, maxRead), next: query.After, last: last}
	if query.Subject != "" {
		err = w.subject(ctx, first, page)
	} else {
		err = w.pages(ctx, max(first, pageOf(query.After)), page)
	}
	return w.found, w.next, wrap(err, "reading events")
}

// bounds are the newest cursor, the last page and the first page there may be.
func (v *view) bounds(l *log) (last, page, first int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.last, v.page, l.head.first
}

// walk is one call of Events.
type walk struct {
	s     *Store
	query store.EventQuery
	limit int
	last  int64

	found []store.Event
	next  int64
}

// pages goes through the log, page by page.
func (w *walk) pages(ctx context.Context, page, until int64) error {
	read := 0
	for ; page <= until; page++ {
		entries, err := w.s.log.entriesOf(ctx, page)
		if err != nil {
			return err
		}
		var wanted []store.Event
		for i := range entries {
			e := &entries[i]
			cursor := cursorOf(page, i)
			if !e.event() || cursor <= w.query.After {
				continue
			}
			if len(w.found)+len(wanted) == w.limit || read == maxRead {
				return w.add(ctx, wanted)
			}
			read++
			w.next = cursor
			event := store.Event{Cursor: cursor, Subject: e.Subject, Number: e.Number, Type: e.Type, Namespace: e.Namespace}
			if w.query.Selects(event) {
				wanted = append(wanted, event)
			}
		}
		if err := w.add(ctx, wanted); err != nil {
			return err
		}
	}
	w.next = max(w.next, w.last)
	return nil
}

// add reads the data of events; those of jobs that were removed have none any
// more.
func (w *walk) add(ctx context.Context, wanted []store.Event) error {
	if len(wanted) == 0 {
		return nil
	}
	keys := make([]item, len(wanted))
	for i, e := range wanted {
		keys[i] = eventKey(e.Subject, e.Number)
	}
	items, err := w.s.getAll(ctx, TableEvents, keys)
	if err != nil {
		return err
	}
	data := make(map[string]store.Event, len(items))
	for _, i := range items {
		e, err := eventOf(i)
		if err != nil {
			return err
		}
		data[e.ID] = e
	}
	for _, e := range wanted {
		if whole, there := data[idOf(e.Subject, e.Number)]; there {
			whole.Cursor = e.Cursor
			w.found = append(w.found, whole)
		}
	}
	return nil
}

// subject reads the events of one subject, which stand together, and looks for
// each one's place in the log.
func (w *walk) subject(ctx context.Context, page, until int64) error {
	items, err := w.s.all(ctx, query{table: TableEvents, pk: w.query.Subject, limit: maxRead})
	if err != nil {
		return err
	}
	at := position{page: page}
	for _, i := range items {
		e, err := eventOf(i)
		if err != nil {
			return err
		}
		if len(w.found) == w.limit {
			return nil
		}
		at.page = max(at.page, numberOf(i, attrAfter))
		if at, err = w.s.log.find(ctx, e.Subject, e.Number, at, until); err != nil {
			return err
		}
		if e.Cursor = at.cursor; e.Cursor == 0 || e.Cursor <= w.query.After {
			continue
		}
		w.next = e.Cursor
		if w.query.Selects(e) {
			w.found = append(w.found, e)
		}
	}
	w.next = max(w.next, w.last)
	return nil
}

// position is where an entry is in the log; cursor is 0 where it was not found.
type position struct{ page, cursor int64 }

// find looks for an event from one page to another.
func (l *log) find(ctx context.Context, subject string, number int64, from position, until int64) (position, error) {
	for page := max(1, from.page); page <= until; page++ {
		entries, err := l.entriesOf(ctx, page)
		if err != nil {
			return from, err
		}
		i := slices.IndexFunc(entries, func(e entry) bool { return e.Subject == subject && e.Number == number && e.event() })
		if i >= 0 {
			return position{page, cursorOf(page, i)}, nil
		}
	}
	return position{page: from.page}, nil
}

// LastEvent is the cursor of the newest event there ever was.
func (s *Store) LastEvent(ctx context.Context) (int64, error) {
	v, err := s.log.fresh(ctx)
	if err != nil {
		return 0, wrap(err, "reading the newest event")
	}
	last, _, _ := v.bounds(s.log)
	return last, nil
}

// OldestEvent is the cursor of the oldest event that is kept.
func (s *Store) OldestEvent(ctx context.Context) (int64, error) {
	v, err := s.log.fresh(ctx)
	if err != nil {
		return 0, wrap(err, "reading the oldest event")
	}
	last, page, first := v.bounds(s.log)
	s.log.mu.Lock()
	from := max(s.log.oldest, cursorOf(first, -1))
	s.log.mu.Unlock()
	oldest, err := s.oldestFrom(ctx, from, page, last)
	if err != nil {
		return 0, wrap(err, "reading the oldest event")
	}
	s.log.mu.Lock()
	s.log.oldest = max(s.log.oldest, oldest)
	s.log.mu.Unlock()
	return oldest, nil
}

// oldestFrom looks for the first event from a cursor on that still exists.
func (s *Store) oldestFrom(ctx context.Context, from, until, last int64) (int64, error) {
	for page := max(1, pageOf(from)); page <= until; page++ {
		entries, err := s.log.entriesOf(ctx, page)
		if err != nil {
			return 0, err
		}
		w := &walk{s: s}
		var there []store.Event
		for i, e := range entries {
			if cursor := cursorOf(page, i); e.event() && cursor >= from {
				there = append(there, store.Event{Cursor: cursor, Subject: e.Subject, Number: e.Number})
			}
		}
		for some := range slices.Chunk(there, maxGet) {
			if err := w.add(ctx, some); err != nil {
				return 0, err
			}
			if len(w.found) > 0 {
				return w.found[0].Cursor, nil
			}
		}
	}
	return last + 1, nil
}

// pkAging has the events that go by their age, in its order.
const pkAging = "aging"

func agingKey(e *entry) item { return at(pkAging, timeKey(e.At)+"#"+idOf(e.Subject, e.Number)) }

// PruneRegionEvents removes events of regions and webhooks older than the
// time, and pages of the log that nothing is left of.
func (s *Store) PruneRegionEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	old, err := s.all(ctx, query{table: TableEvents, pk: pkAging, to: timeKey(before), limit: limit})
	if err != nil {
		return 0, wrap(err, "reading old events of regions")
	}
	var events, places []item
	for _, i := range old {
		subject, n, ok := cutNumber(textOf(i, attrSK))
		if ok {
			events = append(events, eventKey(subject, n))
		}
		places = append(places, at(pkAging, textOf(i, attrSK)))
	}
	for _, keys := range [][]item{events, places} {
		if err := s.remove(ctx, TableEvents, keys); err != nil {
			return 0, wrap(err, "removing old events of regions")
		}
	}
	return len(old), wrap(s.trim(ctx), "removing old pages of the log")
}

// cutNumber reads the key of an aging event: time, subject and number.
func cutNumber(sk string) (subject string, n int64, ok bool) {
	_, id, found := strings.Cut(sk, "#")
	at := strings.LastIndexByte(id, '/')
	if !found || at < 0 {
		return "", 0, false
	}
	n, ok = parseNumber(id[at+1:])
	return id[:at], n, ok
}

// trimPages bounds how many pages one call removes.
const trimPages = 100

// trim removes pages of the log before the oldest event, if a snapshot holds
// what they add up to. The head says so first: nobody reads them any more then.
func (s *Store) trim(ctx context.Context) error {
	oldest, err := s.OldestEvent(ctx)
	if err != nil {
		return err
	}
	s.log.mu.Lock()
	head := s.log.head
	s.log.mu.Unlock()
	first := min(pageOf(oldest), head.snapshot, head.first+trimPages)
	if first <= head.first {
		return nil
	}
	err = s.updateOne(ctx, update{
		table: TableEvents, key: at(pkLog, skHead), expression: "SET #first = :first",
		condition: "attribute_not_exists(#first) OR #first < :first",
		names:     map[string]string{"#first": attrFirst}, values: item{":first": number(first)},
	})
	if errors.Is(err, store.ErrConflict) {
		return nil // another process is at it
	}
	if err != nil {
		return err
	}
	var pages []item
	for page := head.first; page < first; page++ {
		pages = append(pages, pageKey(page))
	}
	return s.remove(ctx, TableEvents, pages)
}
