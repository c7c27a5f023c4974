package dynamodb

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/schedule"
	"github.com/gco-project/gco/internal/store"
)

const (
	pkSchedules = "schedules"
	// kindSchedule starts the key of one schedule: its record and document.
	kindSchedule = "schedule"

	listDueSchedules = "schedules-due"
)

// scheduleKey orders by namespace, then name: a space is before all that is in
// either.
func scheduleKey(name store.ScheduleName) string { return name.Namespace + " " + name.Name }

func schedulePK(name store.ScheduleName) string { return key(kindSchedule, scheduleKey(name)) }

func nameOf(s *schedule.Schedule) store.ScheduleName {
	return store.ScheduleName{Namespace: s.Namespace, Name: s.Name}
}

// schedulePlaces are the places of a schedule in lists.
func (s *Store) schedulePlaces(of *schedule.Schedule) []item {
	name := scheduleKey(nameOf(of))
	all := []item{at(pkSchedules, name)}
	if !of.DueAt.IsZero() {
		all = append(all, at(s.partitionOf(listDueSchedules, shardOf(name, s.listShards(listDueSchedules))), timeKey(of.DueAt)+"#"+name))
	}
	return all
}

// storedSchedule is a schedule as it is stored.
type storedSchedule struct {
	schedule.Schedule
	stamp stamp
	parts int64
}

func (s *Store) storedSchedule(ctx context.Context, name store.ScheduleName) (*storedSchedule, error) {
	found, err := s.get(ctx, TableState, at(schedulePK(name), skRecord))
	if err != nil {
		return nil, err
	}
	r := &storedSchedule{stamp: stamp(textOf(found, attrStamp)), parts: numberOf(found, attrPartsOf)}
	return r, unpackJSON(found, attrBody, &r.Schedule)
}

// PutSchedule writes a record, and with it the document unless that is nil.
func (s *Store) PutSchedule(ctx context.Context, next schedule.Schedule, document []byte) error {
	return wrap(s.putSchedule(ctx, next, document), "writing schedule %s/%s", next.Namespace, next.Name)
}

func (s *Store) putSchedule(ctx context.Context, next schedule.Schedule, document []byte) error {
	name := nameOf(&next)
	before := &storedSchedule{}
	var places []item
	condition, values := "attribute_not_exists(pk)", item(nil)
	if next.Version != 1 {
		var err error
		if before, err = s.storedSchedule(ctx, name); err != nil {
			return err
		}
		if before.Version != next.Version-1 {
			return fmt.Errorf("%w: version %d is stored", store.ErrConflict, before.Version)
		}
		places = s.schedulePlaces(&before.Schedule)
		condition, values = "stamp = :before", item{":before": text(string(before.stamp))}
	}
	own, parts := s.stamps.next(before.stamp), before.parts
	var more []types.TransactWriteItem
	if document != nil {
		more, parts = s.documentActions(schedulePK(name), document, before.parts)
	}
	body, err := packJSON(next)
	if err != nil {
		return err
	}
	record := with(at(schedulePK(name), skRecord), item{attrBody: body, attrStamp: text(string(own)), attrPartsOf: number(parts)})
	actions := append([]types.TransactWriteItem{s.putAction(TableState, record, condition, values)}, more...)
	actions = append(actions, s.shiftActions(places, s.schedulePlaces(&next), item{attrID: text(scheduleKey(name))})...)
	actions = append(actions, s.eventOfRecord(store.OfSchedule(&next), own)...)
	return s.transactOne(ctx, unit{actions: actions, refused: changedUnless(own)})
}

// DeleteSchedule removes a schedule with its document.
func (s *Store) DeleteSchedule(ctx context.Context, last schedule.Schedule) error {
	name := nameOf(&last)
	before, err := s.storedSchedule(ctx, name)
	if err == nil && before.Version != last.Version-1 {
		err = fmt.Errorf("%w: version %d is stored", store.ErrConflict, before.Version)
	}
	if err == nil {
		actions := []types.TransactWriteItem{
			s.deleteAction(TableState, at(schedulePK(name), skRecord), "stamp = :before", item{":before": text(string(before.stamp))}),
		}
		actions = append(actions, s.dropDocument(schedulePK(name), 0, before.parts)...)
		actions = append(actions, s.shiftActions(s.schedulePlaces(&before.Schedule), nil, nil)...)
		actions = append(actions, s.eventOfRecord(store.OfSchedule(&last), s.stamps.next(before.stamp))...)
		err = s.transactOne(ctx, unit{actions: actions, refused: func(int, item) error { return store.ErrConflict }})
	}
	return wrap(err, "deleting schedule %s/%s", name.Namespace, name.Name)
}

// Schedule returns one schedule.
func (s *Store) Schedule(ctx context.Context, name store.ScheduleName) (schedule.Schedule, error) {
	r, err := s.storedSchedule(ctx, name)
	if err != nil {
		return schedule.Schedule{}, wrap(err, "reading schedule %s/%s", name.Namespace, name.Name)
	}
	return r.Schedule, nil
}

// ScheduleDocument returns what a schedule submits.
func (s *Store) ScheduleDocument(ctx context.Context, name store.ScheduleName) ([]byte, error) {
	document, err := s.document(ctx, schedulePK(name))
	return document, wrap(err, "reading the document of schedule %s/%s", name.Namespace, name.Name)
}

// Schedules returns one page of the schedules that a query selects, by name.
func (s *Store) Schedules(ctx context.Context, q store.ScheduleQuery) (store.SchedulePage, error) {
	var page store.SchedulePage
	if q.Limit <= 0 {
		return page, nil
	}
	selected := query{table: TableState, pk: pkSchedules, limit: maxRead}
	if q.After != (store.ScheduleName{}) {
		selected.from = scheduleKey(q.After) + "\x01"
	}
	if len(q.Namespaces) == 1 {
		selected.from, selected.to = max(selected.from, q.Namespaces[0]+" "), q.Namespaces[0]+" "+afterAll
		if selected.from > selected.to {
			return page, nil
		}
	}
	if len(q.Namespaces) < 2 {
		selected.limit = min(maxRead, q.Limit+1)
	}
	items, err := s.all(ctx, selected)
	if err != nil {
		return page, wrap(err, "reading schedules")
	}
	var names []store.ScheduleName
	for n, i := range items {
		if len(names) == q.Limit {
			page.More = true
			break
		}
		namespace, name, _ := strings.Cut(textOf(i, attrSK), " ")
		page.Next, page.More = store.ScheduleName{Namespace: namespace, Name: name}, n+1 == maxRead
		if len(q.Namespaces) == 0 || slices.Contains(q.Namespaces, namespace) {
			names = append(names, page.Next)
		}
	}
	if !page.More {
		page.Next = store.ScheduleName{}
	}
	page.Schedules, err = s.schedulesNamed(ctx, names)
	return page, err
}

// schedulesNamed reads those that exist, in the order of their names.
func (s *Store) schedulesNamed(ctx context.Context, names []store.ScheduleName) ([]schedule.Schedule, error) {
	keys := make([]item, len(names))
	for n, name := range names {
		keys[n] = at(schedulePK(name), skRecord)
	}
	items, err := s.getAll(ctx, TableState, keys)
	if err != nil {
		return nil, wrap(err, "reading schedules")
	}
	found := map[store.ScheduleName]schedule.Schedule{}
	for _, i := range items {
		var one schedule.Schedule
		if err := unpackJSON(i, attrBody, &one); err != nil {
			return nil, wrap(err, "reading schedules")
		}
		found[nameOf(&one)] = one
	}
	var all []schedule.Schedule
	for _, name := range names {
		if one, there := found[name]; there {
			all = append(all, one)
		}
	}
	return all, nil
}

// DueSchedules lists those that somebody has to look at.
func (s *Store) DueSchedules(ctx context.Context, before time.Time, limit int) ([]schedule.Schedule, error) {
	items, err := s.merged(ctx, query{table: TableState, to: timeKey(before), limit: limit}, s.partitionsOf(listDueSchedules))
	if err != nil {
		return nil, wrap(err, "reading due schedules")
	}
	var names []store.ScheduleName
	for _, i := range items {
		namespace, name, _ := strings.Cut(textOf(i, attrID), " ")
		names = append(names, store.ScheduleName{Namespace: namespace, Name: name})
	}
	all, err := s.schedulesNamed(ctx, names)
	return slices.DeleteFunc(all, func(of schedule.Schedule) bool { return of.DueAt.IsZero() || !of.DueAt.Before(before) }), err
}
