// Package agent is the regional loop: it syncs with the control plane,
// applies what it is told to a runtime, observes, and reports. It keeps no
// record of its own: what it holds is in the runtime, what it should hold is
// in the queue, and a restart reads both again. daemon starts it.
//
// The right to act is the session's lease. The agent trusts it from the start
// of the call that last renewed it, for as long as the answer said; when that
// time is over it fences, that is, it kills what it runs. The runtime is told
// the same deadline and keeps it even when the agent is dead.
package agent

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

// The answers of a Server that an agent decides on.
var (
	// ErrStaleSession: another session has taken the region over, or the
	// queue has given it up.
	ErrStaleSession = errors.New("stale session")
	// ErrOtherCluster: a live session of another cluster holds the region.
	ErrOtherCluster = errors.New("region is held by another cluster")
	// ErrGone: nobody wants what was sent any more.
	ErrGone = errors.New("gone")
)

var errNoAnswer = errors.New("the control plane did not answer in time")

// Server is the control plane as an agent sees it.
type Server interface {
	// Sync is the protocol; see queue.Queue.Sync. Errors wrap ErrStaleSession
	// and ErrOtherCluster where those are the reason.
	Sync(ctx context.Context, region string, request api.SyncRequest) (api.SyncResponse, error)
	// ArchiveLogs ships the logs of an attempt that has ended, in the format
	// of package joblog; again after a failure is harmless. ErrGone: the
	// control plane does not want them.
	ArchiveLogs(ctx context.Context, region string, attempt api.AttemptRef, lines io.Reader) error
	// Answer streams the answer to a client's request. refused is set instead
	// of body where there is none to give.
	Answer(ctx context.Context, region string, request api.Request, body io.Reader, refused error) error
}

// Options is what an Agent is made of. Region, Runtime and Server are
// required.
type Options struct {
	Region  string
	Runtime runtime.Runtime
	Server  Server
	// Replicas is the part of the runtime that runs endpoints; nil where it has
	// none.
	Replicas runtime.Replicas
	// Models is where attempts find theirs; nil where there are none.
	Models Models
	// Routes is told where the requests of each endpoint go, whenever that
	// changes; nil where there is no gateway.
	Routes func([]endpoint.Route)
	// GatewayAddress is where the gateway is reached, and Loads what it measured
	// of each endpoint, by name.
	GatewayAddress string
	Loads          func() map[string]api.EndpointLoad

	Clock clock.WithTicker
	Log   *slog.Logger
	// MaxStart bounds the attempts that are being applied at the same time;
	// 0 is 64.
	MaxStart int
	// LongPoll is how long a Sync may be held back; 0 is 10 s. The server has
	// a bound of its own.
	LongPoll time.Duration
	// Go starts work that may take long; nil is a goroutine each. A
	// simulation runs it in place.
	Go func(work func())
}

// Bounds of one request: the control plane refuses one that is too large, and
// would do so for ever. Words are in bytes.
const (
	maxObservations = 2000
	maxInventory    = 5000
	maxKnown        = 50_000
	maxWords        = 4096
	maxWordsInAll   = 512 << 10
)

// The pause after a call that failed grows from first to max.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
)

// For how long an attempt is left alone after something was tried on it: an
// Apply or a Stop, and the shipping of its logs.
const (
	retryPause   = time.Second
	archivePause = 10 * time.Second
)

// capacityPause is how long the agent keeps a change of the capacity to itself
// that comes right after another one, and alone: in a big cluster something
// changes all the time.
const capacityPause = time.Second

// maxFinishing bounds how many attempts have their logs shipped at the same
// time.
const maxFinishing = 32

// Agent drives one region.
type Agent struct {
	Options
	background context.Context
	// endpoints is nil where the runtime runs none.
	endpoints *endpoints
	// changed tells the poll that the agent itself has something to report.
	changed chan struct{}

	mu sync.Mutex
	session
	// fenced is set once trust has ended and everything was killed for it.
	fenced bool
	// busy attempts are being applied; answering is the attempt that each
	// request which is being answered is about, by the request's ID.
	busy      map[job.AttemptID]bool
	closing   map[job.AttemptID]closing
	answering map[string]job.AttemptID
	// finishing has a place for each attempt whose logs may be shipped now.
	finishing chan struct{}
}

// session is what an agent knows for as long as its session lasts.
type session struct {
	id          string
	epoch       int64
	sequence    int64
	incarnation string
	trust       time.Duration
	trustUntil  time.Time

	// inventoried says that the control plane has the whole inventory;
	// inventoryAfter is the job ID up to which it has it.
	inventoried    bool
	inventoryAfter string
	// capacity is the snapshot that the control plane has; nil while that is
	// not certain. capacityAt is when one was last sent.
	capacity   *capacity.Snapshot
	capacityAt time.Time
	// reported is the phase of each attempt that the control plane knows;
	// told holds every attempt that it may know of, answered or not.
	reported map[job.AttemptID]runtime.Phase
	told     map[job.AttemptID]bool
	// condemned attempts are to be stopped, and the runtime has not taken that
	// in yet; stopping ones have been told.
	condemned map[job.AttemptID]bool
	stopping  map[job.AttemptID]bool
	// resting attempts are left alone for a while: something was tried on them
	// just now.
	resting map[job.AttemptID]rest
	// settled says that something which the last request called known is not
	// under way any more.
	settled bool
	// unheld are final observations of attempts that the runtime does not
	// hold: rejected ones, and stopped ones that never came.
	unheld map[job.AttemptID]api.Observation
}

// rest is until when an attempt is left alone, and whether because something
// failed.
type rest struct {
	until  time.Time
	failed bool
}

func newSession() session {
	return session{
		reported:  map[job.AttemptID]runtime.Phase{},
		told:      map[job.AttemptID]bool{},
		condemned: map[job.AttemptID]bool{},
		stopping:  map[job.AttemptID]bool{},
		resting:   map[job.AttemptID]rest{},
		unheld:    map[job.AttemptID]api.Observation{},
	}
}

// New returns an Agent that does nothing until Run.
func New(options Options) *Agent {
	o := options
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxStart == 0 {
		o.MaxStart = 64
	}
	if o.LongPoll == 0 {
		o.LongPoll = 10 * time.Second
	}
	if o.Go == nil {
		o.Go = func(work func()) { go work() }
	}
	a := &Agent{
		Options: o, background: context.Background(), session: newSession(),
		changed: make(chan struct{}, 1),
		busy:    map[job.AttemptID]bool{}, closing: map[job.AttemptID]closing{}, answering: map[string]job.AttemptID{},
		finishing: make(chan struct{}, maxFinishing),
	}
	if o.Replicas != nil {
		a.endpoints = newEndpoints(a)
	}
	return a
}

// Run drives the region until ctx ends. What runs then runs on, until its
// lease ends or the next agent takes it over.
func (a *Agent) Run(ctx context.Context) error {
	a.background = ctx
	go a.watchTrust(ctx)
	if a.endpoints != nil {
		go a.endpoints.run(ctx)
	}
	pause := firstPause
	for ctx.Err() == nil {
		switch err := a.syncOnce(ctx); {
		case err == nil:
			pause = firstPause
		case ctx.Err() != nil:
		case a.Refused(ctx, err):
		default:
			a.Log.Warn("sync failed", "region", a.Region, "error", err, "retry", pause)
			a.rest(ctx, pause)
			pause = min(2*pause, maxPause)
		}
	}
	return nil
}

// syncOnce makes one call. It ends the call early, without an error, when
// there is something new to report.
func (a *Agent) syncOnce(ctx context.Context) error {
	request, err := a.Prepare(ctx)
	if err != nil {
		return err
	}
	begun := a.Clock.Now()
	call, cancel := context.WithTimeoutCause(ctx, a.callTimeout(), errNoAnswer)
	defer cancel()
	interrupted, watched := make(chan struct{}), make(chan struct{})
	if request.WaitSeconds > 0 {
		go func() {
			defer close(watched)
			a.cancelOnNews(call, func() { close(interrupted); cancel() })
		}()
	} else {
		close(watched)
	}
	response, err := a.Server.Sync(call, a.Region, request)
	cause := context.Cause(call)
	cancel()
	// Whoever still waited for news of this call would take the signal from
	// the next one.
	<-watched
	if err != nil {
		select {
		case <-interrupted:
			return nil
		default:
			return cmp.Or(cause, err)
		}
	}
	a.Absorb(ctx, request, response, begun)
	return nil
}

// callTimeout is how long an answer may take: some more than the poll, and
// little enough to leave time for another try within the trust.
func (a *Agent) callTimeout() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.poll() + a.grace()
}

// poll is how long a call may be held back at most. A few of them have to fit
// into the trust, whatever the control plane's is.
func (a *Agent) poll() time.Duration {
	if a.trust == 0 {
		return a.LongPoll
	}
	return min(a.LongPoll, a.trust/3)
}

// grace is a small part of the trust.
func (a *Agent) grace() time.Duration { return max(a.trust/10, time.Second) }

// cancelOnNews ends a call as soon as there is something to report that it
// did not carry.
func (a *Agent) cancelOnNews(ctx context.Context, cancel func()) {
	for ready := (<-chan time.Time)(nil); ; {
		select {
		case <-ctx.Done():
			return
		case <-a.Runtime.Changed():
		case <-a.modelsChanged():
		case <-a.changed:
		case <-ready:
		}
		news, after := a.hasNews(ctx)
		switch {
		case news && after == 0:
			cancel()
			return
		case news:
			ready = a.Clock.After(after)
		default:
			ready = nil
		}
	}
}

// notice tells the poll to look for news.
func (a *Agent) notice() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// rest waits for a while, with jitter so that regions do not call in step.
func (a *Agent) rest(ctx context.Context, pause time.Duration) {
	timer := a.Clock.NewTimer(pause/2 + rand.N(pause))
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-ctx.Done():
	}
}

// watchTrust fences when trust ends, whatever the calls are doing.
func (a *Agent) watchTrust(ctx context.Context) {
	ticker := a.Clock.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C():
			a.CheckTrust(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// CheckTrust fences once if trust has ended.
func (a *Agent) CheckTrust(ctx context.Context) {
	a.mu.Lock()
	ended := a.id != "" && !a.fenced && !a.Clock.Now().Before(a.trustUntil)
	a.fenced = a.fenced || ended
	a.mu.Unlock()
	if !ended {
		return
	}
	a.Log.Warn("lease not renewed in time; fencing", "region", a.Region)
	a.fence(ctx)
}

// Refused acts on the error of a call, and returns false for one that says
// nothing about the session. When the session has ended, whatever it ran is
// fenced, and the next call opens another.
func (a *Agent) Refused(ctx context.Context, err error) bool {
	if !errors.Is(err, ErrStaleSession) {
		return false
	}
	a.Log.Warn("session ended; fencing and opening a new one", "region", a.Region, "error", err)
	a.mu.Lock()
	a.session = newSession()
	a.fenced = true
	a.mu.Unlock()
	a.fence(ctx)
	return true
}

// fence repeats until nothing runs that may not.
func (a *Agent) fence(ctx context.Context) {
	for ctx.Err() == nil {
		err := a.Runtime.Fence(ctx)
		if err == nil {
			return
		}
		a.Log.Error("fencing failed; trying again", "region", a.Region, "error", err)
		a.rest(ctx, firstPause)
	}
}
