// Package sim runs the real queue, with its placer and rescuer, and real
// agents on a fake clock, a fake network and fake clusters, and checks after
// every step that what GCO promises still holds. Everything random comes from
// one seed, and everything happens in one goroutine, so a seed always gives
// the same schedule: a failure prints it, and
//
//	go test ./internal/sim -run TestSchedules -seed N -v
//
// shows that schedule again. The clock, the calls and the crashes are faked;
// the store is a real SQLite database in memory, and no line of queue, agent
// or job is replaced.
package sim

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/internal/manifest"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/store"
)

// The shape of a schedule.
const (
	// troubleTime is for how long faults are injected, calmTime how long the
	// system then has to finish every job.
	troubleTime = 2 * time.Minute
	calmTime    = 30 * time.Minute
	jobCount    = 24
	serverCount = 2
	// settleTime is for how long after the faults an attempt may run that
	// nobody wants: an old answer, a restart, a stop.
	settleTime = 40 * time.Second
	tick       = 400 * time.Millisecond
	maxTrace   = 400
)

var regionNames = []string{"east", "north", "west"}

// timing is short, so that a schedule holds many leases.
var timing = queue.Timing{
	Trust: 6 * time.Second, Lease: 10 * time.Second, Takeover: 13 * time.Second, LongPoll: 3 * time.Second,
	Tick: time.Second, Patience: 10 * time.Second, NeverFitsAfter: time.Hour, RecoveryRate: 2,
}

// world is one schedule.
type world struct {
	ctx   context.Context
	seed  uint64
	dice  *rand.Rand
	clock *clocktesting.FakeClock
	start time.Time
	plan  agenda
	store store.Store
	ids   int

	servers []*server
	regions []*region
	clients *clients
	checks  *checks

	// calm ends the injection of faults.
	calm         bool
	calmSince    time.Time
	interleaving bool
	trace        []string
	log          *slog.Logger
}

// server is one process of the control plane.
type server struct {
	name  string
	queue *queue.Queue
	path  *crashStore
	// shakyUntil is when its database works again.
	shakyUntil time.Time
}

// Run plays the schedule of one seed on an empty store. The error says which
// promise was broken, with the steps that led there.
func Run(ctx context.Context, seed uint64, backing store.Store, log *slog.Logger) (err error) {
	w := newWorld(ctx, seed, backing, log)
	defer func() {
		switch broken := recover().(type) {
		case nil:
		case violation:
			err = fmt.Errorf("seed %d, after %s: %s\n%s", seed, w.now().Sub(w.start), string(broken), strings.Join(w.trace, "\n"))
		default:
			panic(broken)
		}
	}()
	w.play()
	return nil
}

// violation is a broken promise.
type violation string

func (w *world) fail(format string, args ...any) { panic(violation(fmt.Sprintf(format, args...))) }

func newWorld(ctx context.Context, seed uint64, backing store.Store, log *slog.Logger) *world {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	w := &world{
		ctx: ctx, seed: seed, dice: rand.New(rand.NewPCG(seed, 1)),
		clock: clocktesting.NewFakeClock(start), start: start, store: backing, log: log,
	}
	w.checks = newChecks(w)
	w.clients = &clients{w: w}
	for i := range serverCount {
		s := &server{name: fmt.Sprintf("server-%d", i)}
		w.servers = append(w.servers, s)
		w.boot(s)
	}
	for i, name := range regionNames {
		w.regions = append(w.regions, newRegion(w, name, 3+int64(i)))
	}
	return w
}

// play runs trouble, then calm, and expects that everything ended well.
func (w *world) play() {
	for _, s := range w.servers {
		w.plan.plan(w.later(0, time.Second), func() { w.loop(s) })
	}
	for _, r := range w.regions {
		w.plan.plan(w.later(0, 2*time.Second), r.call)
	}
	for range jobCount {
		w.plan.plan(w.later(0, troubleTime*2/3), w.clients.submit)
	}
	w.planFaults()
	w.advanceClusters()
	w.plan.plan(w.start.Add(troubleTime), w.heal)
	for {
		item, ok := w.plan.next()
		if !ok {
			w.fail("nothing is left to happen")
		}
		w.clock.SetTime(item.at)
		item.do()
		w.checks.afterStep()
		if w.calm && w.checks.allDone() {
			w.checks.atEnd()
			return
		}
		if w.now().Sub(w.start) > troubleTime+calmTime {
			w.fail("still not done %s after the faults ended: %s", calmTime, w.checks.why())
		}
	}
}

func (w *world) now() time.Time { return w.clock.Now() }

// later is a random time between low and high from now.
func (w *world) later(low, high time.Duration) time.Time {
	return w.now().Add(between(w.dice, low, high))
}

// chance is true once in n times, and never when the world is calm.
func (w *world) chance(n int) bool { return w.dice.IntN(n) == 0 && !w.calm }

func (w *world) note(format string, args ...any) {
	line := fmt.Sprintf("%9.3fs  ", w.now().Sub(w.start).Seconds()) + fmt.Sprintf(format, args...)
	w.log.Debug(line) //nolint:sloglint // a trace for people, in the form that a failure prints
	if len(w.trace) == maxTrace {
		w.trace = append(w.trace[:0], w.trace[1:]...)
	}
	w.trace = append(w.trace, line)
}

// newID makes identities that sort by age and are the same for each run of a
// seed.
func (w *world) newID() string {
	w.ids++
	return fmt.Sprintf("00000000-0000-7000-8000-%012d", w.ids)
}

// boot starts a server process with nothing in its memory.
func (w *world) boot(s *server) {
	s.path = &crashStore{
		Store: w.store, until: -1,
		wrote: func() { w.checks.stale = true }, meanwhile: func() { w.interleave(s) }, shaky: func() trouble { return w.trouble(s) },
	}
	s.queue = queue.New(queue.Options{
		Store: s.path, Clock: w.clock, Holder: s.name + "/" + w.newID(), Timing: timing,
		Admission: manifest.DefaultPolicy(), Placement: placement.DefaultPolicy(), NewID: w.newID,
	})
}

// trouble rolls what a server's database does to its next write.
func (w *world) trouble(s *server) trouble {
	if !w.now().Before(s.shakyUntil) {
		return none
	}
	return trouble(w.dice.IntN(3))
}

// loop runs one round of the server's loops.
func (w *world) loop(s *server) {
	if s.path.dead {
		w.note("%s restarts", s.name)
		w.boot(s)
	}
	for _, step := range s.queue.Steps() {
		if err := step(w.ctx); err != nil && !s.path.dead && !passing(err) {
			w.fail("%s: a loop failed: %v", s.name, err)
		}
		w.checks.afterStep()
	}
	next := w.now().Add(tick)
	if s.path.dead {
		next = w.later(0, 8*time.Second)
	} else if w.chance(400) {
		w.note("%s hangs", s.name)
		next = w.later(0, 25*time.Second)
	}
	w.plan.plan(next, func() { w.loop(s) })
}

// interleave lets something else happen between what a server has read and
// what it is about to write.
func (w *world) interleave(s *server) {
	if w.interleaving || !w.chance(6) {
		return
	}
	w.interleaving = true
	defer func() { w.interleaving = false }()
	other := w.anyServer()
	if other == nil || other == s {
		return
	}
	if w.dice.IntN(2) == 0 {
		w.clients.cancelAny(other)
		return
	}
	for _, step := range other.queue.Steps() {
		if err := step(w.ctx); err != nil && !other.path.dead && !passing(err) {
			w.fail("%s: a loop failed: %v", other.name, err)
		}
	}
}

// advanceClusters lets the fake clusters follow the clock.
func (w *world) advanceClusters() {
	for _, r := range w.regions {
		r.cluster.advance()
	}
	w.plan.plan(w.now().Add(tick/4), w.advanceClusters)
}

// anyServer is one that lives.
func (w *world) anyServer() *server {
	first := w.dice.IntN(len(w.servers))
	for i := range w.servers {
		if s := w.servers[(first+i)%len(w.servers)]; !s.path.dead {
			return s
		}
	}
	return nil
}

// planFaults rolls the faults of the whole schedule.
func (w *world) planFaults() {
	for range 3 + w.dice.IntN(13) {
		w.plan.plan(w.later(0, troubleTime), w.fault)
	}
}

func (w *world) fault() {
	r := w.regions[w.dice.IntN(len(w.regions))]
	s := w.servers[w.dice.IntN(len(w.servers))]
	switch w.dice.IntN(12) {
	case 0, 1:
		s.path.until, s.path.after = w.dice.IntN(12), w.dice.IntN(2) == 0
		w.note("%s will crash in %d writes (after: %t)", s.name, s.path.until, s.path.after)
	case 2, 3:
		r.partition(partitions[w.dice.IntN(len(partitions))], between(w.dice, time.Second, time.Minute))
	case 4:
		r.crashIn = w.dice.IntN(6)
		w.note("agent of %s will crash in %d operations", r.name, r.crashIn)
	case 5:
		r.killAgent(between(w.dice, 0, 45*time.Second))
	case 6:
		r.cluster.tired = !r.cluster.tired
		w.note("capacity of %s: out=%t", r.name, r.cluster.tired)
	case 7:
		w.note("%s loses an attempt", r.name)
		r.cluster.evict()
	case 8:
		w.schedule(r)
	case 9:
		w.note("%s is wiped", r.name)
		r.cluster.wipe()
		if w.dice.IntN(2) == 0 {
			r.killAgent(between(w.dice, 0, 8*time.Second))
		}
	case 10:
		r.intruder()
	case 11:
		away := between(w.dice, time.Second, 40*time.Second)
		w.note("the cluster of %s cannot be reached for %s", r.name, away.Round(time.Millisecond))
		r.cluster.awayUntil = w.now().Add(away)
	case 12:
		shaky := between(w.dice, time.Second, 20*time.Second)
		w.note("the database of %s is shaky for %s", s.name, shaky.Round(time.Millisecond))
		s.shakyUntil = w.now().Add(shaky)
	}
}

// schedule cordons, drains or opens a region again.
func (w *world) schedule(r *region) {
	s := w.anyServer()
	if s == nil {
		return
	}
	do, name := s.queue.Uncordon, "uncordon"
	switch w.dice.IntN(3) {
	case 0:
		do, name = s.queue.Cordon, "cordon"
	case 1:
		do, name = s.queue.Drain, "drain"
	}
	_, err := do(w.ctx, r.name)
	w.note("%s %s: %v", name, r.name, err)
}

// heal ends all trouble.
func (w *world) heal() {
	w.note("calm")
	w.calm, w.calmSince = true, w.now()
	for _, s := range w.servers {
		s.path.until, s.shakyUntil = -1, w.now()
	}
	for _, r := range w.regions {
		r.heal()
	}
	w.plan.plan(w.later(0, time.Second), w.uncordonAll)
}

func (w *world) uncordonAll() {
	s := w.anyServer()
	if s == nil {
		w.plan.plan(w.later(0, time.Second), w.uncordonAll)
		return
	}
	for _, r := range w.regions {
		if _, err := s.queue.Uncordon(w.ctx, r.name); err != nil {
			w.note("uncordon %s: %v", r.name, err)
		}
	}
}
