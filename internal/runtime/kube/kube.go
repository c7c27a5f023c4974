// Package kube runs attempts as Jobs of a Kubernetes cluster. It implements
// the contract in package runtime; daemon opens it for an agent.
//
// An attempt is one batch/v1 Job, named after its incarnation, job and number,
// and labelled with them, so that the next agent finds it again. What the
// cluster says of Jobs, pods and nodes is watched and kept in memory, as little
// of it as is needed; nothing is polled. An agent holds the cluster by a Lease
// object (see lease), in which also stands until when its attempts may run.
//
// The package decides what a Job's state means for its attempt (see observe
// and waiting), and nothing about jobs: whether an attempt runs again, and
// where, is the queue's matter.
package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

// What Options leave out.
const (
	DefaultNamespace     = "gco-system"
	DefaultLeaseDuration = 15 * time.Second
	DefaultCallTimeout   = 10 * time.Second
	DefaultFenceGrace    = 5 * time.Second
	DefaultUnschedulable = 5 * time.Minute
	DefaultUnstartable   = 2 * time.Minute
)

// leaseName is the one Lease of a cluster's agents.
const leaseName = "gco-agent"

// Options say what to drive.
type Options struct {
	// Config says how to reach the cluster.
	Config *rest.Config
	Region string
	// Namespace is the agents' own: it holds their Lease.
	Namespace string
	// Identity names this process in the Lease. No other process may use it
	// while this one lives; the next life of the same agent should, so that it
	// need not wait for its own Lease to pass.
	Identity string
	// Wait makes Open wait for a cluster that another agent drives, or that
	// can't be reached, rather than fail.
	Wait bool
	// Checkpoints is where jobs keep theirs, such as s3://bucket/prefix; each
	// gets a prefix of its own below it. Empty: they get none.
	Checkpoints string
	// Provisionable are nodes that something adds to the cluster when pods wait
	// for them.
	Provisionable []capacity.NodeShape

	// LeaseDuration is for how long a dead agent keeps others out.
	LeaseDuration time.Duration
	// CallTimeout bounds each call of the cluster's API that streams nothing.
	CallTimeout time.Duration
	// FenceGrace caps terminationGracePeriodSeconds of what is fenced.
	FenceGrace time.Duration
	// Unschedulable is for how long a pod may find no node, Unstartable for how
	// long an image that can't be pulled, or what a container refers to and
	// can't be found, is waited for.
	Unschedulable time.Duration
	Unstartable   time.Duration

	Log   *slog.Logger
	Clock clock.WithTicker
}

func (o Options) withDefaults() Options {
	o.Namespace = cmp.Or(o.Namespace, DefaultNamespace)
	o.LeaseDuration = cmp.Or(o.LeaseDuration, DefaultLeaseDuration)
	o.CallTimeout = cmp.Or(o.CallTimeout, DefaultCallTimeout)
	o.FenceGrace = cmp.Or(o.FenceGrace, DefaultFenceGrace)
	o.Unschedulable = cmp.Or(o.Unschedulable, DefaultUnschedulable)
	o.Unstartable = cmp.Or(o.Unstartable, DefaultUnstartable)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return o
}

// Runtime drives one cluster. It implements runtime.Runtime.
type Runtime struct {
	options Options
	client  *client
	lease   *lease
	cluster string
	changed chan struct{}
	// poked wakes the loop that ends attempts.
	poked  chan struct{}
	cancel context.CancelFunc
	// background ends when driving does.
	background context.Context
	loops      sync.WaitGroup

	mu     sync.Mutex
	held   map[job.AttemptID]*held
	byUID  map[types.UID]*held
	pods   map[types.UID]*pod
	podsOf map[types.UID]map[types.UID]*pod // by the UID of their Job
	nodes  map[string]*node
	// nodesLack says that too few nodes are ready.
	nodesLack hysteresis
	waiting   map[job.AttemptID]*held // that may have to be ended
	// loose are pods of attempts whose Job is not held, strays Jobs of attempts
	// that have ended, and forgotten Jobs that are held no more.
	loose     map[types.UID]*pod
	strays    map[types.UID]*stray
	forgotten map[types.UID]bool
	// term is the lease's, as far as attempts were held against it.
	term string
	// applies counts the calls of Apply that may make something, applying those
	// of each term.
	applies  int
	applying map[string]int
	// never says which pods no node could ever take.
	never   map[capacity.Class]bool
	watches map[string]*watchState
	closed  bool
	// updated is closed and replaced at each change of an attempt or its pods.
	updated chan struct{}
	// spools counts the logs that are kept of attempts that were stopped.
	spools int
	// snapshot is the capacity, while nothing has changed it.
	snapshot *capacity.Snapshot
}

var (
	_ runtime.Runtime     = (*Runtime)(nil)
	_ runtime.Conditioned = (*Runtime)(nil)
)

// Open takes a cluster and what runs there. It returns runtime.ErrLocked while
// another agent drives it; with Options.Wait it waits until ctx ends.
func Open(ctx context.Context, options Options) (*Runtime, error) {
	if options.Config == nil || options.Identity == "" {
		return nil, errors.New("opening a cluster: its address and this agent's identity are needed")
	}
	o := options.withDefaults()
	c, err := newClient(o.Config, o.CallTimeout)
	if err != nil {
		return nil, err
	}
	r := newRuntime(o, c)
	if err := r.take(ctx); err != nil {
		return nil, err
	}
	loops, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.background, r.cancel = loops, cancel
	r.loops.Go(func() { r.lease.run(loops) })
	r.loops.Go(func() { r.tend(loops) })
	r.watchAll(loops)
	r.awaitSync(ctx)
	return r, nil
}

func newRuntime(o Options, c *client) *Runtime {
	r := &Runtime{
		options: o, client: c, changed: make(chan struct{}, 1), poked: make(chan struct{}, 1), updated: make(chan struct{}),
		held: map[job.AttemptID]*held{}, byUID: map[types.UID]*held{}, waiting: map[job.AttemptID]*held{},
		pods: map[types.UID]*pod{}, podsOf: map[types.UID]map[types.UID]*pod{},
		nodes: map[string]*node{}, watches: map[string]*watchState{"events": {}}, never: map[capacity.Class]bool{},
		loose: map[types.UID]*pod{}, strays: map[types.UID]*stray{}, forgotten: map[types.UID]bool{}, applying: map[string]int{},
	}
	for _, resource := range needed {
		r.watches[resource] = &watchState{}
	}
	r.lease = newLease(c, o, r.poke)
	return r
}

// awaitSync gives the watches some time to bring what there is, so that the
// first List is complete where that is possible.
func (r *Runtime) awaitSync(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.options.CallTimeout)
	defer cancel()
	for {
		r.mu.Lock()
		updated, synced := r.updated, r.synced()
		r.mu.Unlock()
		if synced {
			return
		}
		select {
		case <-updated:
		case <-ctx.Done():
			return
		}
	}
}

// take identifies the cluster and takes its Lease.
func (r *Runtime) take(ctx context.Context) error {
	told := ""
	for {
		err := r.tryTake(ctx)
		if err == nil || !r.options.Wait || ctx.Err() != nil {
			return err
		}
		if err.Error() != told {
			told = err.Error()
			r.options.Log.Warn("the cluster can't be taken yet; trying again", "region", r.options.Region, "error", err)
		}
		if err := pause(ctx, r.options.Clock, r.options.LeaseDuration/3); err != nil {
			return err
		}
	}
}

func (r *Runtime) tryTake(ctx context.Context) (err error) {
	if r.cluster, err = r.client.clusterID(ctx); err != nil {
		return err
	}
	return r.lease.acquire(ctx, r.options.Wait)
}

// Cluster is the UID of the namespace kube-system.
func (r *Runtime) Cluster() string { return r.cluster }

// Changed is signalled after a change of what List or Capacity answer.
func (r *Runtime) Changed() <-chan struct{} { return r.changed }

// Lost is closed once another agent has taken the cluster. This one must end:
// it sees what it held, and may not touch it any more.
func (r *Runtime) Lost() <-chan struct{} { return r.lease.lost }

// Renew lets fenced attempts run for at most trust from now.
func (r *Runtime) Renew(trust time.Duration) error {
	if trust <= 0 {
		return fmt.Errorf("renewing the lease for %s: want a positive time", trust)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return os.ErrClosed
	}
	r.lease.renew(trust)
	return nil
}

// Close stops driving, and lets another agent take the cluster at once. What
// runs goes on.
func (r *Runtime) Close() error {
	if !r.stopLoops() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.options.LeaseDuration/3)
	defer cancel()
	if err := r.lease.release(ctx); err != nil {
		// It passes by itself.
		r.options.Log.Warn("releasing the agents' lease", "region", r.options.Region, "error", err)
	}
	return nil
}

// stopLoops returns false if they were stopped before.
func (r *Runtime) stopLoops() bool {
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.loops.Wait()
	return !closed
}

// signal tells of a change that the agent has to hear of, tell those who wait
// for one within this package; r.mu must be held.
func (r *Runtime) signal() {
	r.tell()
	poke(r.changed)
}

func (r *Runtime) tell() {
	close(r.updated)
	r.updated = make(chan struct{})
}

// poke wakes the loop that ends attempts.
func (r *Runtime) poke() { poke(r.poked) }

func poke(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, c clock.Clock, length time.Duration) error {
	timer := c.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func deref[T any](pointer *T) T {
	if pointer == nil {
		var zero T
		return zero
	}
	return *pointer
}
