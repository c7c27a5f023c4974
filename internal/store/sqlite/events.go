package sqlite

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

const eventColumns = `e.seq, j.id, e.subject, e.number, e.type, e.namespace, e.at, e.data`

var (
	stEvents = statement(`SELECT ` + eventColumns + ` FROM events e LEFT JOIN jobs j ON j.seq = e.subject
		WHERE e.seq > ? ORDER BY e.seq LIMIT ?`)
	stJobEvents = statement(`SELECT ` + eventColumns + ` FROM events e INDEXED BY events_subject
		CROSS JOIN jobs j ON j.seq = e.subject WHERE e.subject = (SELECT +seq FROM jobs WHERE id = ?) AND e.seq > ? ORDER BY e.number LIMIT ?`)
	stRegionEvents = statement(`SELECT e.seq, NULL, e.subject, e.number, e.type, e.namespace, e.at, e.data FROM events e INDEXED BY events_subject
		WHERE e.subject = ? AND e.seq > ? ORDER BY e.number LIMIT ?`)
	stOldestEvent      = statement(`SELECT coalesce(min(seq), 0) FROM events`)
	stDropRegionEvents = statement(`DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE subject >= '' AND at < ? LIMIT ?)`)
)

// Events returns events after the cursor, and the cursor to go on from.
func (s *Store) Events(ctx context.Context, query store.EventQuery) ([]store.Event, int64, error) {
	var found []store.Event
	next := query.After
	limit := min(query.Limit, maxRead)
	err := s.read(ctx, "events", func(r *session) error {
		// Read first: an event that is committed later comes after it.
		var last int64
		if _, err := r.row(stLastEvent, nil, &last); err != nil {
			return err
		}
		records, err := r.events(query)
		if err != nil {
			return err
		}
		for _, e := range records {
			if len(found) == limit {
				return nil
			}
			next = e.Cursor
			if query.Selects(e) {
				found = append(found, e)
			}
		}
		if len(records) < maxRead {
			next = max(next, last)
		}
		return nil
	})
	return found, next, err
}

// events reads up to maxRead records after the cursor, of one subject or all.
func (s *session) events(query store.EventQuery) ([]store.Event, error) {
	id, args := stEvents, []any{query.After, maxRead}
	if name, ok := strings.CutPrefix(query.Subject, store.JobSubject("")); ok {
		id, args = stJobEvents, []any{name, query.After, maxRead}
	} else if name, ok := strings.CutPrefix(query.Subject, store.RegionSubject("")); ok {
		id, args = stRegionEvents, []any{name, query.After, maxRead}
	} else if query.Subject != "" {
		id, args = stRegionEvents, []any{query.Subject, query.After, maxRead}
	}
	var all []store.Event
	err := s.each(id, args, func(scan func(...any) error) error {
		var e store.Event
		var jobID, subject, at any
		var data string
		if err := scan(&e.Cursor, &jobID, &subject, &e.Number, &e.Type, &e.Namespace, &at, &data); err != nil {
			return err
		}
		switch name := subject.(type) {
		case string:
			e.Subject = subjectOf(name)
		default:
			id, _ := jobID.(string)
			e.Subject = store.JobSubject(job.ID(id))
		}
		e.ID = fmt.Sprintf("%s/%d", e.Subject, e.Number)
		e.At, e.Data = instantOf(at), []byte(data)
		all = append(all, e)
		return nil
	})
	return all, err
}

// tell writes the event of a pipeline or a schedule; nil is none.
func (t *tx) tell(e *store.Event) error {
	if e == nil {
		return nil
	}
	t.lastEvent++
	return t.events.add(t.session, t.lastEvent, e.Subject, e.Number, e.Type, e.Namespace, instant(e.At), string(e.Data))
}

// subjectOf reads the column subject of an event that is no job's. The name of
// a region, which has no slash, stands there by itself.
func subjectOf(column string) string {
	if strings.Contains(column, "/") {
		return column
	}
	return store.RegionSubject(column)
}

// LastEvent is the cursor of the newest event there ever was.
func (s *Store) LastEvent(ctx context.Context) (last int64, err error) {
	err = s.read(ctx, "the newest event", func(r *session) error {
		_, err := r.row(stLastEvent, nil, &last)
		return err
	})
	return last, err
}

// OldestEvent is the cursor of the oldest event that is kept.
func (s *Store) OldestEvent(ctx context.Context) (oldest int64, err error) {
	err = s.read(ctx, "the oldest event", func(r *session) error {
		var last int64
		if _, err := r.row(stLastEvent, nil, &last); err != nil {
			return err
		}
		_, err := r.row(stOldestEvent, nil, &oldest)
		if oldest == 0 {
			oldest = last + 1
		}
		return err
	})
	return oldest, err
}

// PruneRegionEvents removes events that are no job's and older than the
// time.
func (s *Store) PruneRegionEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	var removed int64
	err := s.writer.do(ctx, func(t *tx) error {
		if err := t.flushRows(); err != nil {
			return err
		}
		n, err := t.exec(stDropRegionEvents, instant(before), limit)
		removed = n
		t.forgotten = true
		return err
	})
	if err != nil {
		return 0, wrap(err, "removing old events of regions")
	}
	return int(removed), nil
}
