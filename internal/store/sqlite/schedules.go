package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/gco-project/gco/internal/schedule"
	"github.com/gco-project/gco/internal/store"
)

const scheduleWhere = `SELECT record FROM schedules WHERE `

var (
	stInsertSchedule = statement(`INSERT INTO schedules (namespace, name, version, due_at, record) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`)
	stUpdateSchedule = statement(`UPDATE schedules SET version = ?, due_at = ?, record = ? WHERE namespace = ? AND name = ? AND version = ?`)
	stPutDocument    = statement(`INSERT INTO schedule_documents (namespace, name, document) VALUES (?, ?, ?)
		ON CONFLICT DO UPDATE SET document = excluded.document`)
	stScheduleVersion = statement(`SELECT version FROM schedules WHERE namespace = ? AND name = ?`)
	stDropSchedule    = statement(`DELETE FROM schedules WHERE namespace = ? AND name = ? AND version = ?`)
	stDropDocument    = statement(`DELETE FROM schedule_documents WHERE namespace = ? AND name = ?`)

	stSchedule           = statement(scheduleWhere + `namespace = ? AND name = ?`)
	stScheduleDocument   = statement(`SELECT document FROM schedule_documents WHERE namespace = ? AND name = ?`)
	stSchedules          = statement(scheduleWhere + `(namespace, name) > (?, ?) ORDER BY namespace, name LIMIT ?`)
	stNamespaceSchedules = statement(scheduleWhere + `namespace = ? AND name > ? ORDER BY name LIMIT ?`)
	stDueSchedules       = statement(scheduleWhere + `due_at < ? ORDER BY due_at LIMIT ?`)
)

// PutSchedule writes a record, and its document where there is one.
func (s *Store) PutSchedule(ctx context.Context, put schedule.Schedule, document []byte) error {
	record, err := json.Marshal(put)
	if err != nil {
		return wrap(err, "encoding schedule %s/%s", put.Namespace, put.Name)
	}
	var text *string
	if document != nil {
		copied := string(document)
		text = &copied
	}
	event := store.OfSchedule(&put)
	err = s.writer.do(ctx, func(t *tx) error {
		err := t.putSchedule(put, string(record))
		if err == nil && text != nil {
			_, err = t.exec(stPutDocument, put.Namespace, put.Name, *text)
		}
		if err == nil {
			err = t.tell(event)
		}
		return err
	})
	return wrap(err, "writing schedule %s/%s", put.Namespace, put.Name)
}

func (t *tx) putSchedule(s schedule.Schedule, record string) error {
	if s.Version == 1 {
		n, err := t.exec(stInsertSchedule, s.Namespace, s.Name, s.Version, instant(s.DueAt), record)
		if err == nil && n == 0 {
			err = fmt.Errorf("%w: there is such a schedule", store.ErrConflict)
		}
		return err
	}
	n, err := t.exec(stUpdateSchedule, s.Version, instant(s.DueAt), record, s.Namespace, s.Name, s.Version-1)
	if err == nil && n == 0 {
		err = t.missed(stScheduleVersion, s.Namespace, s.Name)
	}
	return err
}

// DeleteSchedule removes a schedule with its document.
func (s *Store) DeleteSchedule(ctx context.Context, last schedule.Schedule) error {
	event := store.OfSchedule(&last)
	err := s.writer.do(ctx, func(t *tx) error {
		n, err := t.exec(stDropSchedule, last.Namespace, last.Name, last.Version-1)
		if err == nil && n == 0 {
			err = t.missed(stScheduleVersion, last.Namespace, last.Name)
		}
		if err == nil {
			_, err = t.exec(stDropDocument, last.Namespace, last.Name)
		}
		if err == nil {
			err = t.tell(event)
		}
		return err
	})
	return wrap(err, "deleting schedule %s/%s", last.Namespace, last.Name)
}

// Schedule returns one schedule.
func (s *Store) Schedule(ctx context.Context, name store.ScheduleName) (found schedule.Schedule, err error) {
	record, err := s.text(ctx, "schedule "+name.Namespace+"/"+name.Name, stSchedule, name.Namespace, name.Name)
	if err != nil {
		return schedule.Schedule{}, err
	}
	err = json.Unmarshal([]byte(record), &found)
	return found, wrap(err, "reading schedule %s/%s", name.Namespace, name.Name)
}

// ScheduleDocument returns what a schedule submits.
func (s *Store) ScheduleDocument(ctx context.Context, name store.ScheduleName) ([]byte, error) {
	document, err := s.text(ctx, "the document of schedule "+name.Namespace+"/"+name.Name, stScheduleDocument, name.Namespace, name.Name)
	return []byte(document), err
}

// Schedules returns one page of the schedules that a query selects, by name.
func (s *Store) Schedules(ctx context.Context, query store.ScheduleQuery) (store.SchedulePage, error) {
	var page store.SchedulePage
	if query.Limit <= 0 {
		return page, nil
	}
	err := s.read(ctx, "schedules", func(r *session) error {
		id, args := stSchedules, []any{query.After.Namespace, query.After.Name}
		if len(query.Namespaces) == 1 {
			only := query.Namespaces[0]
			after := query.After.Name
			if query.After.Namespace != only {
				after = ""
			}
			id, args = stNamespaceSchedules, []any{only, after}
		}
		limit := maxRead
		if len(query.Namespaces) < 2 {
			limit = min(maxRead, query.Limit+1)
		}
		read, err := records[schedule.Schedule](r, id, append(args, limit)...)
		var last schedule.Schedule
		page.Schedules, last, page.More = pageOf(read, query.Limit, func(s schedule.Schedule) bool {
			return len(query.Namespaces) == 0 || slices.Contains(query.Namespaces, s.Namespace)
		})
		page.Next = store.ScheduleName{Namespace: last.Namespace, Name: last.Name}
		return err
	})
	return page, err
}

// DueSchedules lists those that somebody has to look at.
func (s *Store) DueSchedules(ctx context.Context, before time.Time, limit int) (due []schedule.Schedule, err error) {
	err = s.read(ctx, "due schedules", func(r *session) error {
		due, err = records[schedule.Schedule](r, stDueSchedules, instant(before), limit)
		return err
	})
	return due, err
}
