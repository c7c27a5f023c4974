package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/store"
)

const (
	// kindPipeline starts the key of one pipeline: its record and document.
	kindPipeline = "pipeline"
	// kindPipelineKey has idempotency keys of pipelines.
	kindPipelineKey = "pipeline-key"

	// The lists of pipelines: all of them, those of a namespace, and those that
	// are due.
	listPipelines    = "pipelines"
	listPipelinesOf  = "pipelines "
	listDuePipelines = "pipelines-due"
)

func pipelineKeyOf(id pipeline.ID) string { return key(kindPipeline, string(id)) }

func pipelineKeyKey(hash string) item { return at(key(kindPipelineKey, hash), skKey) }

// pipelineRecord is a pipeline as it is stored.
type pipelineRecord struct {
	pipeline.Pipeline
	stamp stamp
	parts int64
	key   string
}

func pipelineOf(i item) (*pipelineRecord, error) {
	r := &pipelineRecord{stamp: stamp(textOf(i, attrStamp)), parts: numberOf(i, attrPartsOf), key: textOf(i, attrKey)}
	return r, unpackJSON(i, attrBody, &r.Pipeline)
}

func (s *Store) pipelineItem(r *pipelineRecord) (item, error) {
	body, err := packJSON(&r.Pipeline)
	i := with(at(pipelineKeyOf(r.ID), skRecord), item{attrBody: body, attrStamp: text(string(r.stamp)), attrPartsOf: number(r.parts)})
	if r.key != "" {
		i[attrKey] = text(r.key)
	}
	return i, err
}

// pipelinePlaces are the places of a pipeline in lists.
func (s *Store) pipelinePlaces(p *pipeline.Pipeline) []item {
	id := string(p.ID)
	place := func(list, sort string) item {
		return at(s.partitionOf(list, shardOf(id, s.listShards(list))), sort)
	}
	all := []item{place(listPipelines, id), place(listPipelinesOf+p.Namespace, id)}
	if !p.DueAt.IsZero() {
		all = append(all, place(listDuePipelines, timeKey(p.DueAt)+"#"+id))
	}
	return all
}

// shiftActions writes the keys of after that before has not, and removes those
// of before that after has not.
func (s *Store) shiftActions(before, after []item, more item) []types.TransactWriteItem {
	same := func(a item) func(item) bool {
		return func(b item) bool { return compareText(a, b, attrPK) == 0 && compareText(a, b, attrSK) == 0 }
	}
	var actions []types.TransactWriteItem
	for _, k := range after {
		if !slices.ContainsFunc(before, same(k)) {
			actions = append(actions, s.putAction(TableState, with(k, more), "", nil))
		}
	}
	for _, k := range before {
		if !slices.ContainsFunc(after, same(k)) {
			actions = append(actions, s.deleteAction(TableState, k, "", nil))
		}
	}
	return actions
}

// InsertPipeline keeps a new pipeline, or finds the one that its key made.
func (s *Store) InsertPipeline(ctx context.Context, p store.NewPipeline) (stored pipeline.Pipeline, created bool, err error) {
	made, err := s.insertPipeline(ctx, p)
	switch {
	case err != nil:
		return pipeline.Pipeline{}, false, wrap(err, "inserting pipeline %s", p.Pipeline.ID)
	case made == "":
		return p.Pipeline, true, nil
	}
	stored, err = s.Pipeline(ctx, made)
	return stored, false, wrap(err, "inserting pipeline %s", p.Pipeline.ID)
}

// insertPipeline returns the pipeline that the key has made before, if it has.
func (s *Store) insertPipeline(ctx context.Context, p store.NewPipeline) (made pipeline.ID, err error) {
	r := &pipelineRecord{Pipeline: p.Pipeline, stamp: s.stamps.next("")}
	pk := pipelineKeyOf(r.ID)
	actions, parts := s.documentActions(pk, p.Document, 0)
	r.parts = parts
	if p.Key != nil {
		r.key = keyHash(p.Key)
	}
	record, err := s.pipelineItem(r)
	if err != nil {
		return "", err
	}
	u := unit{actions: append([]types.TransactWriteItem{s.putAction(TableState, record, "attribute_not_exists(pk)", nil)}, actions...)}
	if p.Key != nil {
		k := with(pipelineKeyKey(r.key), item{attrHash: text(p.Key.BodyHash), attrJob: text(string(r.ID))})
		u.actions = slices.Insert(u.actions, 0, s.putAction(TableState, k, "attribute_not_exists(pk)", nil))
	}
	u.actions = append(u.actions, s.shiftActions(nil, s.pipelinePlaces(&r.Pipeline), item{attrID: text(string(r.ID))})...)
	u.actions = append(u.actions, s.eventOfRecord(store.OfPipeline(&r.Pipeline), r.stamp)...)
	u.refused = func(action int, found item) error {
		switch byKey := p.Key != nil && action == 0; {
		case byKey && textOf(found, attrJob) == string(r.ID), !byKey && textOf(found, attrStamp) == string(r.stamp):
			return nil
		case !byKey:
			return fmt.Errorf("%w: there is such a pipeline", store.ErrConflict)
		case textOf(found, attrHash) != p.Key.BodyHash:
			return store.ErrKeyReused
		}
		made = pipeline.ID(textOf(found, attrJob))
		return nil
	}
	err = s.transactOne(ctx, u)
	return made, err
}

// PipelineMadeBy returns the pipeline that a key has made.
func (s *Store) PipelineMadeBy(ctx context.Context, key store.IdempotencyKey) (pipeline.Pipeline, error) {
	found, err := s.get(ctx, TableState, pipelineKeyKey(keyHash(&key)))
	if err == nil && textOf(found, attrHash) != key.BodyHash {
		err = store.ErrKeyReused
	}
	if err != nil {
		return pipeline.Pipeline{}, wrap(err, "reading the pipeline of a key")
	}
	return s.Pipeline(ctx, pipeline.ID(textOf(found, attrJob)))
}

// changePipeline writes a record over one of a version; nil removes it.
func (s *Store) changePipeline(ctx context.Context, id pipeline.ID, version int64, next *pipeline.Pipeline) error {
	found, err := s.get(ctx, TableState, at(pipelineKeyOf(id), skRecord))
	if err != nil {
		return err
	}
	before, err := pipelineOf(found)
	if err != nil {
		return err
	}
	if before.Version != version {
		return fmt.Errorf("%w: version %d is stored", store.ErrConflict, before.Version)
	}
	values := item{":before": text(string(before.stamp))}
	if next == nil {
		actions := []types.TransactWriteItem{s.deleteAction(TableState, at(pipelineKeyOf(id), skRecord), "stamp = :before", values)}
		actions = append(actions, s.dropDocument(pipelineKeyOf(id), 0, before.parts)...)
		if before.key != "" {
			actions = append(actions, s.deleteAction(TableState, pipelineKeyKey(before.key), "", nil))
		}
		actions = append(actions, s.shiftActions(s.pipelinePlaces(&before.Pipeline), nil, nil)...)
		return s.transactOne(ctx, unit{actions: actions, refused: func(int, item) error { return store.ErrConflict }})
	}
	after := &pipelineRecord{Pipeline: *next, stamp: s.stamps.next(before.stamp), parts: before.parts, key: before.key}
	i, err := s.pipelineItem(after)
	if err != nil {
		return err
	}
	actions := append([]types.TransactWriteItem{s.putAction(TableState, i, "stamp = :before", values)},
		s.shiftActions(s.pipelinePlaces(&before.Pipeline), s.pipelinePlaces(next), item{attrID: text(string(id))})...)
	actions = append(actions, s.eventOfRecord(store.OfPipeline(next), after.stamp)...)
	return s.transactOne(ctx, unit{actions: actions, refused: changedUnless(after.stamp)})
}

// UpdatePipeline writes a record that follows the stored one.
func (s *Store) UpdatePipeline(ctx context.Context, p pipeline.Pipeline) error {
	return wrap(s.changePipeline(ctx, p.ID, p.Version-1, &p), "updating pipeline %s", p.ID)
}

// DeletePipeline removes a pipeline with its document and its key.
func (s *Store) DeletePipeline(ctx context.Context, id pipeline.ID, version int64) error {
	return wrap(s.changePipeline(ctx, id, version, nil), "deleting pipeline %s", id)
}

// Pipeline returns one pipeline.
func (s *Store) Pipeline(ctx context.Context, id pipeline.ID) (pipeline.Pipeline, error) {
	found, err := s.get(ctx, TableState, at(pipelineKeyOf(id), skRecord))
	if err != nil {
		return pipeline.Pipeline{}, wrap(err, "reading pipeline %s", id)
	}
	r, err := pipelineOf(found)
	return r.Pipeline, wrap(err, "reading pipeline %s", id)
}

// PipelinesByID returns those that exist.
func (s *Store) PipelinesByID(ctx context.Context, ids []pipeline.ID) (map[pipeline.ID]pipeline.Pipeline, error) {
	var keys []item
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		keys = append(keys, at(pipelineKeyOf(id), skRecord))
	}
	items, err := s.getAll(ctx, TableState, keys)
	all := make(map[pipeline.ID]pipeline.Pipeline, len(items))
	for _, i := range items {
		r, failed := pipelineOf(i)
		err = errors.Join(err, failed)
		all[r.ID] = r.Pipeline
	}
	return all, wrap(err, "reading pipelines")
}

// PipelineDocument returns what the steps of a pipeline submit.
func (s *Store) PipelineDocument(ctx context.Context, id pipeline.ID) ([]byte, error) {
	document, err := s.document(ctx, pipelineKeyOf(id))
	return document, wrap(err, "reading the document of pipeline %s", id)
}

// Pipelines returns one page of the pipelines that a query selects, newest
// first.
func (s *Store) Pipelines(ctx context.Context, q store.PipelineQuery) (store.PipelinePage, error) {
	var page store.PipelinePage
	if q.Limit <= 0 {
		return page, nil
	}
	list := listPipelines
	if len(q.Namespaces) == 1 {
		list = listPipelinesOf + q.Namespaces[0]
	}
	limit := maxRead
	if len(q.States) == 0 && len(q.Namespaces) < 2 {
		limit = min(maxRead, q.Limit+1)
	}
	items, err := s.merged(ctx, query{table: TableState, to: justBefore(string(q.Before)), newest: true, limit: limit}, s.partitionsOf(list))
	if err != nil {
		return page, wrap(err, "reading pipelines")
	}
	ids := make([]pipeline.ID, len(items))
	for n, i := range items {
		ids[n] = pipeline.ID(textOf(i, attrID))
	}
	records, err := s.PipelinesByID(ctx, ids)
	if err != nil {
		return page, err
	}
	for n, id := range ids {
		if len(page.Pipelines) == q.Limit {
			page.More = true
			return page, nil
		}
		page.Next, page.More = id, n+1 == limit
		p, there := records[id]
		if there && (len(q.Namespaces) == 0 || slices.Contains(q.Namespaces, p.Namespace)) &&
			(len(q.States) == 0 || slices.Contains(q.States, p.State)) {
			page.Pipelines = append(page.Pipelines, p)
		}
	}
	if !page.More {
		page.Next = ""
	}
	return page, nil
}

// justBefore is the last key before another, of those that go on like it;
// empty stays so.
func justBefore(key string) string {
	if key == "" {
		return ""
	}
	return key[:len(key)-1] + string(rune(key[len(key)-1]-1)) + afterAll
}

// DuePipelines lists those that somebody has to look at.
func (s *Store) DuePipelines(ctx context.Context, before time.Time, limit int) ([]pipeline.Pipeline, error) {
	items, err := s.merged(ctx, query{table: TableState, to: timeKey(before), limit: limit}, s.partitionsOf(listDuePipelines))
	if err != nil {
		return nil, wrap(err, "reading due pipelines")
	}
	ids := make([]pipeline.ID, len(items))
	for n, i := range items {
		ids[n] = pipeline.ID(textOf(i, attrID))
	}
	records, err := s.PipelinesByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	var due []pipeline.Pipeline
	for _, id := range ids {
		if p, there := records[id]; there && !p.DueAt.IsZero() && p.DueAt.Before(before) {
			due = append(due, p)
		}
	}
	return due, nil
}
