package server

import (
	"context"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/queue"
)

// Queue is what the server needs of a *queue.Queue.
type Queue interface {
	Submit(ctx context.Context, submissions []queue.Submission) []queue.Submitted
	Render(ctx context.Context, submission queue.Submission) (queue.Rendered, error)
	Cancel(ctx context.Context, id job.ID) (job.Job, error)
	Retry(ctx context.Context, identity string, id job.ID) (job.Job, error)
	Delete(ctx context.Context, id job.ID) error
	Explain(ctx context.Context, id job.ID) (api.Explanation, error)

	Sync(ctx context.Context, region string, request api.SyncRequest) (api.SyncResponse, error)
	Cordon(ctx context.Context, region string) (capacity.Region, error)
	Uncordon(ctx context.Context, region string) (capacity.Region, error)
	Drain(ctx context.Context, region string) (capacity.Region, error)
	WriteOff(ctx context.Context, region string) (capacity.Region, error)

	// Watch is signalled after commits of this process.
	Watch() (changed <-chan struct{}, stop func())
	Leading() bool
}

var _ Queue = (*queue.Queue)(nil)
