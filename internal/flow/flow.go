// Package flow takes pipelines and schedules further: it accepts them, and
// its loops on the leader submit the jobs whose time has come. It decides
// nothing by itself: which steps may begin says pipeline, which ticks run says
// schedule, and what becomes of a job is queue's matter. The server calls it
// for what users ask; daemon runs its loops beside those of the queue.
//
// What is decided is written before it is done: a step or a tick is starting
// in the record first, then its job is submitted under an idempotency key made
// of the record's identity and the run, then the record names the job. Whoever
// finds it starting, after a crash or under a new leader, submits once more,
// and the key answers with the job that there is.
package flow

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/store"
)

// Queue is what flow needs of a *queue.Queue.
type Queue interface {
	Submit(ctx context.Context, submissions []queue.Submission) []queue.Submitted
	Render(ctx context.Context, submission queue.Submission) (queue.Rendered, error)
	Cancel(ctx context.Context, id job.ID) (job.Job, error)
	// Watch is signalled after commits of this process.
	Watch() (changed <-chan struct{}, stop func())
	// Announce signals those who watch: an event was written past the queue.
	Announce()
	Leading() bool
}

var _ Queue = (*queue.Queue)(nil)

// Options is what a Flow is made of. Store and Queue are required.
type Options struct {
	Store store.Store
	Queue Queue
	Clock clock.WithTicker
	Log   *slog.Logger
	// Tick is how often the loops look without having been told to; 0 is a
	// second.
	Tick time.Duration
}

// Flow serves calls about pipelines and schedules, and runs their loops. Its
// methods may be called concurrently.
type Flow struct {
	Options
	metrics *metrics
	runner  *runner
	ticker  *ticker
	// news wakes the runner.
	news chan struct{}
}

// New returns a Flow that serves calls at once; its loops start with Run.
func New(options Options) *Flow {
	o := options
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Tick == 0 {
		o.Tick = time.Second
	}
	f := &Flow{Options: o, metrics: newMetrics(), news: make(chan struct{}, 1)}
	f.runner = newRunner(f)
	f.ticker = &ticker{f: f}
	return f
}

// Run runs the leader's loops until ctx ends; they do nothing while another
// process leads.
func (f *Flow) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return f.runner.run(ctx) })
	group.Go(func() error { return f.ticker.run(ctx) })
	return group.Wait()
}

// wake tells the runner of this process to look at once.
func (f *Flow) wake() {
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// told says that the event of a pipeline was written; empty is none.
func (f *Flow) told(event string) {
	if event == "" {
		return
	}
	f.metrics.pipelines.WithLabelValues(wordOf(event)).Inc()
	f.Queue.Announce()
}

// dueLimit is how many records a loop looks at in one round, and duePause how
// long one is left alone whose job could not be submitted.
const (
	dueLimit = 200
	duePause = 10 * time.Second
)

// refusal is why the queue will never accept a submission.
type refusal struct{ reason, message string }

// refusalOf finds the refusal in an error, and false for what may pass.
func refusalOf(err error) (refusal, bool) {
	if invalid, ok := errors.AsType[*job.Invalid](err); ok {
		return refusal{"invalid", invalid.Error()}, true
	}
	if other, ok := errors.AsType[*queue.NotYourNamespace](err); ok {
		return refusal{"namespace", other.Error()}, true
	}
	if errors.Is(err, store.ErrKeyReused) {
		return refusal{"key-reused", "its idempotency key belongs to another submission"}, true
	}
	return refusal{}, false
}
