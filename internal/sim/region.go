package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/agent"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// callTimeout is how long an agent waits for an answer at most.
const callTimeout = 5 * time.Second

var (
	errTimeout = errors.New("no answer")
	errKilled  = errors.New("agent killed")
)

// cut says which way of the network is closed.
type cut struct{ up, down bool }

var partitions = []cut{{up: true, down: true}, {up: true}, {down: true}}

// region is one cluster, its agent and the wire between them and the servers.
type region struct {
	w       *world
	name    string
	cluster *cluster
	agent   *agent.Agent
	// life numbers the agent's processes: what an earlier one was waiting for
	// reaches nobody.
	life int
	cut  cut
	// heals numbers partitions, so that an old one's end is not a new one's.
	heals int
	// crashIn counts down to the cluster operation at which the agent dies;
	// negative is never.
	crashIn int
}

func newRegion(w *world, name string, nodes int64) *region {
	r := &region{w: w, name: name, crashIn: -1}
	r.cluster = &cluster{
		name: "cluster-of-" + name, now: w.now, dice: rand.New(rand.NewPCG(w.seed, uint64(nodes))), nodes: nodes,
		attempts: map[job.AttemptID]*attempt{}, changed: make(chan struct{}, 1),
		crash: r.countdown, moved: func() { w.checks.running() },
	}
	r.boot()
	return r
}

func (r *region) boot() {
	r.agent = agent.New(agent.Options{
		Region: r.name, Runtime: r.cluster, Server: wire{r}, Clock: r.w.clock,
		Go: func(work func()) { work() },
	})
}

// countdown kills the agent at the chosen operation, in the middle of
// whatever it is doing.
func (r *region) countdown() {
	if r.crashIn == 0 {
		r.crashIn = -1
		panic(errKilled)
	}
	if r.crashIn > 0 {
		r.crashIn--
	}
}

// alive runs a part of the agent, and kills the process where countdown says.
func (r *region) alive(do func()) {
	defer func() {
		switch broken := recover(); broken {
		case nil:
		case errKilled:
			r.killAgent(between(r.w.dice, 0, 20*time.Second))
		default:
			panic(broken)
		}
	}()
	do()
}

// killAgent ends the agent's process; another is started after a while.
func (r *region) killAgent(away time.Duration) {
	r.life++
	r.w.note("agent of %s dies for %s", r.name, away.Round(time.Millisecond))
	life := r.life
	r.w.plan.plan(r.w.now().Add(away), func() {
		if r.life == life {
			r.boot()
			r.call()
		}
	})
}

// call is one turn of the agent's loop: ask, wait, act.
func (r *region) call() {
	life := r.life
	r.alive(func() {
		r.agent.CheckTrust(r.w.ctx)
		request, err := r.agent.Prepare(r.w.ctx)
		if err != nil {
			r.w.fail("agent of %s: %v", r.name, err)
		}
		request.WaitSeconds = 0
		r.send(request, life)
	})
}

// send carries a request through the network. Exactly one of answer, error
// and time-out reaches the agent, unless that has died.
func (r *region) send(request api.SyncRequest, life int) {
	w, begun, open := r.w, r.w.now(), true
	finish := func(response api.SyncResponse, err error) {
		if !open || r.life != life {
			return
		}
		open = false
		r.receive(request, response, err, begun)
	}
	w.plan.plan(begun.Add(between(w.dice, callTimeout/4, callTimeout)), func() { finish(api.SyncResponse{}, errTimeout) })
	deliver := func() {
		response, lost, err := r.serve(request)
		if lost || r.cut.down || w.chance(25) {
			return
		}
		w.plan.plan(w.later(0, 300*time.Millisecond), func() { finish(response, err) })
	}
	if r.cut.up || w.chance(25) {
		return
	}
	w.plan.plan(w.later(0, 300*time.Millisecond), deliver)
	if w.chance(15) {
		// A duplicate, and so late that it may come after later requests.
		w.plan.plan(w.later(0, 20*time.Second), deliver)
	}
}

// serve has some server answer a request.
func (r *region) serve(request api.SyncRequest) (response api.SyncResponse, lost bool, err error) {
	s := r.w.anyServer()
	if s == nil {
		return api.SyncResponse{}, true, nil
	}
	r.w.checks.sync(r.name, request, func() {
		response, err = s.queue.Sync(r.w.ctx, r.name, request)
	})
	if s.path.dead {
		return api.SyncResponse{}, true, nil
	}
	return response, false, translate(err)
}

func translate(err error) error {
	switch {
	case errors.Is(err, store.ErrStaleSession):
		return fmt.Errorf("%w: %w", agent.ErrStaleSession, err)
	case errors.Is(err, store.ErrOtherCluster):
		return fmt.Errorf("%w: %w", agent.ErrOtherCluster, err)
	default:
		return err
	}
}

// receive lets the agent act on the outcome, and plans its next call.
func (r *region) receive(request api.SyncRequest, response api.SyncResponse, err error, begun time.Time) {
	pause := between(r.w.dice, 100*time.Millisecond, 800*time.Millisecond)
	life := r.life
	r.alive(func() {
		switch {
		case err == nil:
			r.agent.Absorb(r.w.ctx, request, response, begun)
		case r.agent.Refused(r.w.ctx, err):
		case errors.Is(err, errTimeout), errors.Is(err, store.ErrOldSequence), errors.Is(err, agent.ErrOtherCluster), passing(err):
		default:
			r.w.fail("sync of %s: %v", r.name, err)
		}
	})
	if r.life == life {
		r.w.plan.plan(r.w.now().Add(pause), func() {
			if r.life == life {
				r.call()
			}
		})
	}
}

func (r *region) partition(c cut, length time.Duration) {
	r.cut = c
	r.heals++
	mine := r.heals
	r.w.note("network of %s: up=%t down=%t for %s", r.name, !c.up, !c.down, length.Round(time.Millisecond))
	r.watchTrust()
	r.w.plan.plan(r.w.now().Add(length), func() {
		if r.heals == mine {
			r.cut = cut{}
		}
	})
}

// watchTrust stands for the agent's own timer while no call gets through.
func (r *region) watchTrust() {
	if r.cut == (cut{}) {
		return
	}
	life := r.life
	r.alive(func() { r.agent.CheckTrust(r.w.ctx) })
	if r.life == life {
		r.w.plan.plan(r.w.now().Add(tick), r.watchTrust)
	}
}

func (r *region) heal() {
	r.cut, r.crashIn, r.cluster.tired, r.cluster.awayUntil = cut{}, -1, false, r.w.now()
	r.heals++
}

// intruder is an agent of another cluster that claims the region's name. It
// may have it only when the region is lost.
func (r *region) intruder() {
	s := r.w.anyServer()
	if s == nil {
		return
	}
	before, err := r.w.store.Region(r.w.ctx, r.name)
	if err != nil {
		return
	}
	_, err = s.queue.Sync(r.w.ctx, r.name, api.SyncRequest{Cluster: "intruder"})
	r.w.note("an intruder asks for %s: %v", r.name, err)
	if err == nil && before.Lease == "live" && before.Cluster != "intruder" {
		r.w.fail("an intruder got the live region %s", r.name)
	}
}

// wire is the control plane as the agent sees it, for all but Sync, which the
// simulation sends itself.
type wire struct{ r *region }

func (wire) Sync(context.Context, string, api.SyncRequest) (api.SyncResponse, error) {
	panic("the simulation sends syncs itself")
}

func (c wire) ArchiveLogs(ctx context.Context, _ string, attempt api.AttemptRef, lines io.Reader) error {
	s := c.r.w.anyServer()
	if s == nil || c.r.cut.up || c.r.cut.down {
		return errTimeout
	}
	if _, err := io.Copy(io.Discard, lines); err != nil {
		return err
	}
	return s.path.SetLogs(ctx, job.AttemptID{Job: job.ID(attempt.JobID), Attempt: attempt.Attempt}, job.LogsArchived)
}

func (wire) Answer(context.Context, string, api.Request, io.Reader, error) error { return nil }
