// Package accelerator is the front door: it takes TCP connections and passes
// each one on to a healthy endpoint in the nearest region, as AWS Global
// Accelerator does, for installations that have none in front of them.
//
// It owns the listeners, the health checks, the choice of an endpoint and the
// copying of bytes. It knows nothing of what flows through it, of jobs or of
// HTTP beyond its own health checks, and keeps nothing on disk. daemon makes
// an [Accelerator] out of gco.yaml and runs it.
//
// Which endpoint gets a connection is decided by a pure function over a
// snapshot of what the health checks say ([snapshot.first]); the rest of the
// package is sockets. docs/accelerator.md has the rules, and where they differ
// from those of AWS.
package accelerator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"
)

// Affinity says what of a client decides where its connections go.
type Affinity string

const (
	// AffinityNone spreads all connections, whoever makes them.
	AffinityNone Affinity = "none"
	// AffinitySourceIP sends all connections of one address to one endpoint,
	// for as long as that is healthy and the configuration is the same.
	AffinitySourceIP Affinity = "source-ip"
)

// Listener is one port that takes connections.
type Listener struct {
	// Address is host and port; port 0 picks a free one.
	Address  string
	Affinity Affinity
}

// Group is the endpoints of one region.
type Group struct {
	Region string
	// Latency is the way from here: the nearest group comes first.
	Latency time.Duration
	// Dial is the share, in percent, that the group takes of the connections
	// that come to it. The rest goes on to the next group.
	Dial      float64
	Endpoints []Endpoint
}

// Endpoint is one address that takes connections.
type Endpoint struct {
	// Host is a name or an IP address.
	Host string
	// Port takes the connections of every listener that is not in Ports; 0 is
	// the listener's own.
	Port int
	// Ports are other ports for some listeners, by the listener's port.
	Ports map[int]int
	// HealthPort answers health checks; 0 is HealthCheck.Port.
	HealthPort int
	// Weight is the endpoint's share within its group; 0 takes it out.
	Weight int
}

// HealthCheck asks endpoints over HTTP whether they are well: 2xx says so.
type HealthCheck struct {
	Path string
	// Port is asked; 0 is the one that takes the first listener's connections.
	Port int
	// Interval is the time from the start of one check to that of the next.
	Interval time.Duration
	// Timeout bounds one check; a longer one than Interval is cut to that.
	Timeout time.Duration
	// Threshold is how many checks in a row must agree to change the state.
	Threshold int
}

// Options is what an Accelerator is made of. Listeners and Groups are
// required; every bound must be above 0.
type Options struct {
	Listeners   []Listener
	Groups      []Group
	HealthCheck HealthCheck

	// DialTimeout bounds one try to connect to an endpoint.
	DialTimeout time.Duration
	// IdleTimeout ends a connection over which nothing moved either way for
	// that long, and at the latest after twice that.
	IdleTimeout time.Duration
	// DrainTimeout is how long open connections may go on when Run is told to
	// end.
	DrainTimeout time.Duration
	// MaxConnections is how many may be open at a time. More wait in the
	// kernel until one ends.
	MaxConnections int

	Clock   clock.WithTicker
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Accelerator is an open front door.
type Accelerator struct {
	options   Options
	log       *slog.Logger
	listeners []*listener
	targets   []*target
	metrics   *metrics

	// slots holds a token for each open connection.
	slots       chan struct{}
	connections tracker

	// rebuilding serialises the making of snapshots.
	rebuilding sync.Mutex
	current    atomic.Pointer[snapshot]
}

// Open opens the listeners. Close it, or Run it, which closes it.
func Open(o Options) (*Accelerator, error) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &Accelerator{
		options: o, log: o.Log, metrics: newMetrics(),
		slots: make(chan struct{}, o.MaxConnections),
	}
	if o.Metrics != nil {
		if err := o.Metrics.Register(a.metrics); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	a.warnOfLimit()
	for _, wanted := range o.Listeners {
		l, err := listen(wanted)
		if err != nil {
			return nil, errors.Join(err, a.Close())
		}
		a.listeners = append(a.listeners, l)
	}
	a.targets = newTargets(o, a.listeners[0].port, a.metrics)
	a.current.Store(newSnapshot(o.Groups, a.targets))
	return a, nil
}

// warnOfLimit says when connections may run out of descriptors: each takes two.
func (a *Accelerator) warnOfLimit() {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return
	}
	if limit.Cur < 2*uint64(a.options.MaxConnections) {
		a.log.Warn("the limit of open files does not do for maxConnections", "files", limit.Cur, "maxConnections", a.options.MaxConnections)
	}
}

// Addresses are where it listens, in the order of Options.Listeners.
func (a *Accelerator) Addresses() []net.Addr {
	addresses := make([]net.Addr, len(a.listeners))
	for i, l := range a.listeners {
		addresses[i] = l.socket.Addr()
	}
	return addresses
}

// Run checks every endpoint once, then passes connections on until ctx ends.
// Then it takes no more, gives the open ones their time to end, and returns
// nil.
func (a *Accelerator) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { _ = a.Close() })
	defer stop()
	first := &sync.WaitGroup{}
	for _, t := range a.targets {
		first.Add(1)
		group.Go(func() error { return a.watch(ctx, t, first.Done) })
	}
	// Connections wait in the kernel until it is known where they can go.
	first.Wait()
	for _, l := range a.listeners {
		group.Go(func() error { return a.accept(ctx, l) })
	}
	err := group.Wait()
	a.drain()
	return errors.Join(err, a.Close())
}

// drain waits for open connections, and ends those that take too long.
func (a *Accelerator) drain() {
	open := a.connections.count()
	if open > 0 {
		a.log.Info("draining", "connections", open, "for", a.options.DrainTimeout)
	}
	timer := a.options.Clock.NewTimer(a.options.DrainTimeout)
	defer timer.Stop()
	select {
	case <-a.connections.ended():
		return
	case <-timer.C():
	}
	if cut := a.connections.cut(); cut > 0 {
		a.log.Warn("connections were cut: they did not end in time", "connections", cut, "time", a.options.DrainTimeout)
	}
	<-a.connections.ended()
}

// Close closes the listeners. It may be called more than once.
func (a *Accelerator) Close() error {
	var errs []error
	for _, l := range a.listeners {
		if err := l.socket.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// rebuild makes a new snapshot after a change of health, and says what that
// means.
func (a *Accelerator) rebuild() {
	a.rebuilding.Lock()
	defer a.rebuilding.Unlock()
	before, now := a.current.Load(), newSnapshot(a.options.Groups, a.targets)
	a.current.Store(now)
	a.metrics.failingOpen.Set(number(now.failingOpen()))
	for i, group := range now.groups {
		switch was, is := before.groups[i].ready(), group.ready(); {
		case was && !is:
			a.log.Warn("a region has no healthy endpoint left: its connections go elsewhere", "region", group.region)
		case !was && is:
			a.log.Info("a region takes connections", "region", group.region)
		}
	}
	switch was, is := before.known && before.failingOpen(), now.known && now.failingOpen(); {
	case is && !was:
		a.log.Error("no healthy endpoint in the nearest regions: connections go to the nearest one all the same", "regions", failoverGroups)
	case was && !is:
		a.log.Info("there are healthy endpoints again")
	}
}
