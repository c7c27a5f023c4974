// Package queue owns the life of every job: it accepts submissions, decides
// placements, answers the regions' agents and recovers what a lost region
// held. It owns no storage (store), no rule about states (job) and no opinion
// about which region is best (placement). The server calls Submit, Sync,
// Cancel, Retry, Delete and Explain; daemon runs the loops of the leader: the
// Placer, the Rescuer and the Pruner.
//
// Everything that the queue knows is in the store. What it keeps in memory is
// either a signal to look again, or an observation that a new leader has to
// make for itself.
package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/manifest"
	"github.com/gco-project/gco/internal/model"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/store"
)

// Options is what a Queue is made of. Store is required; everything else has
// a default.
type Options struct {
	Store store.Store
	Clock clock.WithTicker
	Log   *slog.Logger
	// Holder names this process in the leader's lease. A store that only one
	// process can open may give a constant name: the next process then leads
	// at once.
	Holder string

	Admission manifest.Policy
	Placement placement.Policy
	// Prices by region.
	Prices map[string]placement.Prices
	Limits Limits
	Timing Timing

	// Requests lists the open questions of clients to a region.
	Requests func(region string) []api.Request
	// Endpoints is what Syncs carry of endpoints; nil is nothing.
	Endpoints Endpoints
	// Model finds the version of a model that a reference names now, or
	// ErrNoModel; nil where there are no models.
	Model func(ctx context.Context, ref model.Ref) (model.Ref, error)
	// Pruned is told of jobs whose record is about to be removed, so that what
	// hangs on them goes first: without the record nobody would find it again.
	Pruned func(ctx context.Context, ids []job.ID)
	// NewID makes identities of jobs and sessions; a simulation makes them
	// predictable. They must sort by the time they were made.
	NewID func() string
}

// Endpoints is what Syncs carry of endpoints, which are not the queue's.
type Endpoints interface {
	// Report takes in what a region says, under the guard of its session;
	// store.ErrStaleSession.
	Report(ctx context.Context, guard store.Guard, report api.EndpointReport) error
	// Targets lists what a region should know and does not, going by the tags
	// of what it holds.
	Targets(ctx context.Context, region string, held map[string]string) ([]api.EndpointTarget, error)
}

// Queue is the durable global queue. Its methods may be called concurrently.
type Queue struct {
	Options

	leader  *leader
	placer  *placer
	rescuer *rescuer
	pruner  *pruner
	census  *census

	submissions *submissionLimits
	drain       *drainRates
	bounds      answerBounds
	ahead       ahead

	// regions wakes the long polls of a region, events whoever watches the
	// event stream, work the Placer.
	regions *signals
	events  *signals
	work    chan struct{}

	identify    sync.Mutex
	incarnation string
}

// New returns a Queue that serves calls at once; its loops start with Run.
func New(options Options) *Queue {
	o := options
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.NewID == nil {
		o.NewID = func() string { return string(job.NewID()) }
	}
	if o.Holder == "" {
		o.Holder = uuid.NewString()
	}
	if o.Requests == nil {
		o.Requests = func(string) []api.Request { return nil }
	}
	if o.Pruned == nil {
		o.Pruned = func(context.Context, []job.ID) {}
	}
	o.Timing = o.Timing.withDefaults()
	o.Limits = o.Limits.withDefaults()
	q := &Queue{
		Options:     o,
		submissions: newSubmissionLimits(o.Limits),
		drain:       newDrainRates(),
		bounds:      defaultAnswerBounds,
		regions:     newSignals(),
		events:      newSignals(),
		work:        make(chan struct{}, 1),
	}
	q.leader = newLeader(q)
	q.placer = newPlacer(q)
	q.rescuer = newRescuer(q)
	q.pruner = &pruner{q: q}
	q.census = &census{q: q}
	return q
}

// Run campaigns for leadership and runs the leader's loops until ctx ends.
func (q *Queue) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, loop := range []func(context.Context) error{
		q.leader.run, q.placer.run, q.rescuer.run, q.pruner.run,
	} {
		group.Go(func() error { return loop(ctx) })
	}
	return group.Wait()
}

// Steps returns one round of each loop, for a caller that keeps time itself,
// such as a simulation. The leader's loops do nothing while another process
// leads.
func (q *Queue) Steps() []func(context.Context) error {
	led := func(step func(context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error {
			if !q.Leading() {
				q.rescuer.forget()
				return nil
			}
			return step(ctx)
		}
	}
	return []func(context.Context) error{
		q.leader.runOnce,
		led(func(ctx context.Context) error { _, err := q.placer.runOnce(ctx); return err }),
		led(q.rescuer.runOnce),
		led(func(ctx context.Context) error { _, err := q.pruner.runOnce(ctx); return err }),
	}
}

// Leading tells whether this process runs the leader's loops now.
func (q *Queue) Leading() bool { return q.leader.leading(q.Clock.Now()) }

// Watch returns a channel that is signalled after commits of this process
// that made events; signals merge. stop releases it.
func (q *Queue) Watch() (changed <-chan struct{}, stop func()) {
	return q.events.subscribe("")
}

// Announce signals those who watch: an event was written past the queue.
func (q *Queue) Announce() { q.events.notify("") }

// Wake ends the long poll of a region, so that it picks up new Requests.
func (q *Queue) Wake(region string) { q.regions.notify(region) }

// commit writes changes and tells whoever waits for them. The errors are as
// in store.Jobs.Commit.
func (q *Queue) commit(ctx context.Context, guard *store.Guard, changes []store.Change) ([]error, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	errs, err := q.Store.Commit(ctx, guard, changes)
	if err != nil {
		return nil, err
	}
	woken := map[string]bool{}
	for i, change := range changes {
		if errs[i] != nil {
			continue
		}
		t := change.Transition
		if t.Region != "" && tellsRegion(t) && !woken[t.Region] {
			woken[t.Region] = true
			q.regions.notify(t.Region)
		}
		if change.Job.State.Terminal() && t.From == job.Running {
			q.drain.finished(t.Region, t.At)
		}
	}
	q.events.notify("")
	q.wakePlacer()
	// In the middle of a long call the session may have ended, or the store have
	// failed.
	for _, err := range errs {
		if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
	}
	return errs, nil
}

// tellsRegion tells whether the region's agent wants to know.
func tellsRegion(t job.Transition) bool {
	return t.Event == job.Place || t.Event == job.StopAsked || t.Event == job.MoveAsked
}

func (q *Queue) wakePlacer() {
	select {
	case q.work <- struct{}{}:
	default:
	}
}

// incarnationID reads the store's incarnation once.
func (q *Queue) incarnationID(ctx context.Context) (string, error) {
	q.identify.Lock()
	defer q.identify.Unlock()
	if q.incarnation == "" {
		id, err := q.Store.Incarnation(ctx)
		if err != nil {
			return "", fmt.Errorf("reading the incarnation: %w", err)
		}
		q.incarnation = id
	}
	return q.incarnation, nil
}
