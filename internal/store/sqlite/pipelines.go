package sqlite

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/store"
)

const pipelineWhere = `SELECT record FROM pipelines WHERE `

var (
	stInsertPipeline = statement(`INSERT INTO pipelines (id, namespace, version, due_at, record, identity, key, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`)
	stInsertPipelineText = statement(`INSERT INTO pipeline_documents (id, document) VALUES (?, ?)`)
	stPipelineByKey      = statement(`SELECT record, hash FROM pipelines WHERE identity = ? AND namespace = ? AND key = ?`)
	stUpdatePipeline     = statement(`UPDATE pipelines SET version = ?, due_at = ?, record = ? WHERE id = ? AND version = ?`)
	stPipelineVersion    = statement(`SELECT version FROM pipelines WHERE id = ?`)
	stDropPipeline       = statement(`DELETE FROM pipelines WHERE id = ? AND version = ?`)
	stDropPipelineText   = statement(`DELETE FROM pipeline_documents WHERE id = ?`)

	stPipeline           = statement(pipelineWhere + `id = ?`)
	stPipelineText       = statement(`SELECT document FROM pipeline_documents WHERE id = ?`)
	stPipelines          = statement(pipelineWhere + `id < ? ORDER BY id DESC LIMIT ?`)
	stNamespacePipelines = statement(pipelineWhere + `namespace = ? AND id < ? ORDER BY id DESC LIMIT ?`)
	stDuePipelines       = statement(pipelineWhere + `due_at < ? ORDER BY due_at LIMIT ?`)
)

// InsertPipeline keeps a new pipeline, or finds the one that its key made.
func (s *Store) InsertPipeline(ctx context.Context, p store.NewPipeline) (stored pipeline.Pipeline, created bool, err error) {
	record, err := json.Marshal(p.Pipeline)
	if err != nil {
		return pipeline.Pipeline{}, false, wrap(err, "encoding pipeline %s", p.Pipeline.ID)
	}
	document := string(p.Document)
	var key store.IdempotencyKey
	if p.Key != nil {
		key = *p.Key
	}
	err = s.writer.do(ctx, func(t *tx) (err error) {
		stored, created = p.Pipeline, false
		if key.Key != "" {
			made, found, err := t.pipelineByKey(key)
			if err != nil || found {
				stored = made
				return err
			}
		}
		created, err = t.insertPipeline(p.Pipeline, string(record), document, key)
		return err
	})
	if err != nil {
		return pipeline.Pipeline{}, false, wrap(err, "inserting pipeline %s", p.Pipeline.ID)
	}
	return stored, created, nil
}

func (s *session) pipelineByKey(key store.IdempotencyKey) (made pipeline.Pipeline, found bool, err error) {
	var record, hash string
	found, err = s.row(stPipelineByKey, []any{key.Identity, key.Namespace, key.Key}, &record, &hash)
	if err != nil || !found {
		return pipeline.Pipeline{}, false, err
	}
	if hash != key.BodyHash {
		return pipeline.Pipeline{}, true, store.ErrKeyReused
	}
	err = json.Unmarshal([]byte(record), &made)
	return made, true, err
}

// PipelineMadeBy returns the pipeline that a key has made.
func (s *Store) PipelineMadeBy(ctx context.Context, key store.IdempotencyKey) (made pipeline.Pipeline, err error) {
	err = s.read(ctx, "the pipeline of a key", func(r *session) error {
		p, found, err := r.pipelineByKey(key)
		if err == nil && !found {
			err = store.ErrNotFound
		}
		made = p
		return err
	})
	return made, err
}

func (t *tx) insertPipeline(p pipeline.Pipeline, record, document string, key store.IdempotencyKey) (bool, error) {
	var identity, name, hash any
	if key.Key != "" {
		identity, name, hash = key.Identity, key.Key, key.BodyHash
	}
	n, err := t.exec(stInsertPipeline, string(p.ID), p.Namespace, p.Version, instant(p.DueAt), record, identity, name, hash)
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: there is such a pipeline", store.ErrConflict)
	}
	if err != nil {
		return false, err
	}
	if _, err := t.exec(stInsertPipelineText, string(p.ID), document); err != nil {
		return false, err
	}
	return true, t.tell(store.OfPipeline(&p))
}

// UpdatePipeline writes a record that follows the stored one.
func (s *Store) UpdatePipeline(ctx context.Context, p pipeline.Pipeline) error {
	record, err := json.Marshal(p)
	if err != nil {
		return wrap(err, "encoding pipeline %s", p.ID)
	}
	event := store.OfPipeline(&p)
	err = s.writer.do(ctx, func(t *tx) error {
		n, err := t.exec(stUpdatePipeline, p.Version, instant(p.DueAt), string(record), string(p.ID), p.Version-1)
		if err == nil && n == 0 {
			err = t.missed(stPipelineVersion, string(p.ID))
		}
		if err == nil {
			err = t.tell(event)
		}
		return err
	})
	return wrap(err, "updating pipeline %s", p.ID)
}

// DeletePipeline removes a pipeline with its document and its key.
func (s *Store) DeletePipeline(ctx context.Context, id pipeline.ID, version int64) error {
	err := s.writer.do(ctx, func(t *tx) error {
		n, err := t.exec(stDropPipeline, string(id), version)
		if err == nil && n == 0 {
			err = t.missed(stPipelineVersion, string(id))
		}
		if err == nil {
			_, err = t.exec(stDropPipelineText, string(id))
		}
		return err
	})
	return wrap(err, "deleting pipeline %s", id)
}

// missed says why a statement that names a version met no row; the other
// statement finds the version that is there.
func (t *tx) missed(version stmt, args ...any) error {
	var stored int64
	found, err := t.row(version, args, &stored)
	switch {
	case err != nil:
		return err
	case !found:
		return store.ErrNotFound
	default:
		return fmt.Errorf("%w: version %d is stored", store.ErrConflict, stored)
	}
}

// Pipeline returns one pipeline.
func (s *Store) Pipeline(ctx context.Context, id pipeline.ID) (p pipeline.Pipeline, err error) {
	record, err := s.text(ctx, "pipeline "+string(id), stPipeline, string(id))
	if err != nil {
		return pipeline.Pipeline{}, err
	}
	err = json.Unmarshal([]byte(record), &p)
	return p, wrap(err, "reading pipeline %s", id)
}

// PipelinesByID returns those that exist.
func (s *Store) PipelinesByID(ctx context.Context, ids []pipeline.ID) (map[pipeline.ID]pipeline.Pipeline, error) {
	found := make(map[pipeline.ID]pipeline.Pipeline, len(ids))
	err := s.read(ctx, "pipelines", func(r *session) error {
		for _, id := range ids {
			some, err := records[pipeline.Pipeline](r, stPipeline, string(id))
			if err != nil {
				return err
			}
			for _, p := range some {
				found[id] = p
			}
		}
		return nil
	})
	return found, err
}

// PipelineDocument returns what the steps of a pipeline submit.
func (s *Store) PipelineDocument(ctx context.Context, id pipeline.ID) ([]byte, error) {
	document, err := s.text(ctx, "the document of pipeline "+string(id), stPipelineText, string(id))
	return []byte(document), err
}

// Pipelines returns one page of the pipelines that a query selects, newest
// first.
func (s *Store) Pipelines(ctx context.Context, query store.PipelineQuery) (store.PipelinePage, error) {
	var page store.PipelinePage
	if query.Limit <= 0 {
		return page, nil
	}
	err := s.read(ctx, "pipelines", func(r *session) error {
		before := cmp.Or(string(query.Before), "\U0010ffff")
		id, args := stPipelines, []any{before}
		if len(query.Namespaces) == 1 {
			id, args = stNamespacePipelines, []any{query.Namespaces[0], before}
		}
		limit := maxRead
		if len(query.States) == 0 && len(query.Namespaces) < 2 {
			limit = min(maxRead, query.Limit+1)
		}
		read, err := records[pipeline.Pipeline](r, id, append(args, limit)...)
		var last pipeline.Pipeline
		page.Pipelines, last, page.More = pageOf(read, query.Limit, func(p pipeline.Pipeline) bool {
			return (len(query.Namespaces) == 0 || slices.Contains(query.Namespaces, p.Namespace)) &&
				(len(query.States) == 0 || slices.Contains(query.States, p.State))
		})
		page.Next = last.ID
		return err
	})
	return page, err
}

// DuePipelines lists those that somebody has to look at.
func (s *Store) DuePipelines(ctx context.Context, before time.Time, limit int) (due []pipeline.Pipeline, err error) {
	err = s.read(ctx, "due pipelines", func(r *session) error {
		due, err = records[pipeline.Pipeline](r, stDuePipelines, instant(before), limit)
		return err
	})
	return due, err
}
