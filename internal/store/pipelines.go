package store

import (
	"context"
	"time"

	"github.com/gco-project/gco/internal/pipeline"
)

// NewPipeline is one pipeline to insert.
type NewPipeline struct {
	// Pipeline has Version 1.
	Pipeline pipeline.Pipeline
	// Document is what the steps submit, as JSON; it never changes.
	Document []byte
	// Key is nil for a submission without an idempotency key. Its namespace is
	// the pipeline's. It is kept as long as the pipeline, and apart from the
	// keys of jobs.
	Key *IdempotencyKey
}

// PipelineQuery selects pipelines. Zero fields do not filter. Order is newest
// first.
type PipelineQuery struct {
	Namespaces []string
	States     []pipeline.State
	// Before continues a list after the last ID of the page before.
	Before pipeline.ID
	Limit  int
}

// PipelinePage is one page of a list. More says that Next continues it; a page
// may be short, or empty, and still have more, since a query reads at most
// 1,000 records.
type PipelinePage struct {
	Pipelines []pipeline.Pipeline
	Next      pipeline.ID
	More      bool
}

// Pipelines is the record of every pipeline, for flow and the server. A record
// is at most 350 KB as JSON, a document 1 MiB.
type Pipelines interface {
	// InsertPipeline writes record, document and key in one atomic write, and
	// with them the event that the record names, as the other writes do. It
	// returns the new record, or on a replay the one that the key made, as it
	// is now; created is false then. ErrKeyReused, or ErrConflict (the ID is
	// taken).
	InsertPipeline(ctx context.Context, p NewPipeline) (stored pipeline.Pipeline, created bool, err error)
	// PipelineMadeBy returns the pipeline that a key has made, as it is now.
	// ErrNotFound: it has made none. ErrKeyReused: it belongs to another body.
	PipelineMadeBy(ctx context.Context, key IdempotencyKey) (pipeline.Pipeline, error)
	// UpdatePipeline writes the record if Version-1 is stored, else
	// ErrConflict; ErrNotFound. Nobody changes ID, Namespace or SubmittedBy.
	UpdatePipeline(ctx context.Context, p pipeline.Pipeline) error
	// DeletePipeline removes record, document and key if the version is
	// stored, else ErrConflict; ErrNotFound.
	DeletePipeline(ctx context.Context, id pipeline.ID, version int64) error

	Pipeline(ctx context.Context, id pipeline.ID) (pipeline.Pipeline, error)
	// PipelinesByID returns those that exist, in no order.
	PipelinesByID(ctx context.Context, ids []pipeline.ID) (map[pipeline.ID]pipeline.Pipeline, error)
	PipelineDocument(ctx context.Context, id pipeline.ID) ([]byte, error)
	Pipelines(ctx context.Context, query PipelineQuery) (PipelinePage, error)
	// DuePipelines lists those whose DueAt is before a time, earliest first;
	// among equal times in no order.
	DuePipelines(ctx context.Context, before time.Time, limit int) ([]pipeline.Pipeline, error)
}
