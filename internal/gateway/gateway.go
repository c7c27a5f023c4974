// Package gateway carries requests for inference endpoints to their replicas:
// it chooses one, streams both ways, waits for one where there is none yet, and
// tries another where that is safe. A region's own door is one ([Door]), which
// has the replicas of its region and passes everything else on to the control
// plane; the control plane has one, too, which has the gateways of the regions.
//
// It owns connections to replicas, the queue of requests that wait, limits, and
// what it measures. It decides nothing about how many replicas there are and
// keeps nothing on disk: what it routes by is a [Table], which whoever drives
// it gives to [Gateway.Apply]. daemon and server make a [Gateway].
//
// docs/routing.md has the rules.
package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
)

// Prefix begins the path of every request for an endpoint.
const Prefix = "/inference/"

// What is taken where Options say nothing.
const (
	defaultPatience    = 10 * time.Minute
	defaultWakeTimeout = 60 * time.Second
	defaultMaxWaiting  = 1000
	dialTimeout        = 3 * time.Second
	// wakePause is the time between two calls of Options.Wake for one
	// endpoint.
	wakePause = time.Second
)

// Access says who may use an endpoint.
type Access interface {
	// Allow returns nil for who may, a [Refusal] for who may not, and any
	// other error where that cannot be found out.
	Allow(ctx context.Context, authorization, endpoint string) error
}

// Options is what a Gateway is made of. Everything may be left out.
type Options struct {
	// Region is the one whose replicas it has; empty is the control plane.
	Region string
	// Access is asked about requests for endpoints that are not open to all.
	Access Access
	// Upstream takes what is not for an endpoint that has a replica here; nil
	// is nobody.
	Upstream *Upstream
	// Wake is told of an endpoint for which requests wait, at most once a
	// second for each.
	Wake func(endpoint string)
	// WakeTimeout bounds how long a request waits for a replica, MaxWaiting how
	// many do for one endpoint.
	WakeTimeout time.Duration
	MaxWaiting  int
	// Patience bounds how long a replica may take to begin its answer.
	Patience time.Duration

	Clock   clock.WithTicker
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Gateway is an http.Handler for requests below [Prefix], and for others where
// it has an Upstream.
type Gateway struct {
	Options
	metrics *metrics
	// upstream is a peer like others, for every endpoint and for none.
	upstream *peer
	// ownName is the value of a header.
	ownName []string

	// applying serialises Apply; routes are swapped as a whole.
	applying sync.Mutex
	routes   atomic.Pointer[map[string]*route]
	peers    map[peerKey]*peer
	ended    atomic.Bool
}

// New returns a Gateway that has no endpoint yet.
func New(o Options) (*Gateway, error) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	if o.WakeTimeout == 0 {
		o.WakeTimeout = defaultWakeTimeout
	}
	if o.MaxWaiting == 0 {
		o.MaxWaiting = defaultMaxWaiting
	}
	g := &Gateway{Options: o, metrics: newMetrics(), ownName: []string{o.Region}, peers: map[peerKey]*peer{}}
	g.routes.Store(&map[string]*route{})
	if o.Upstream != nil {
		g.upstream = newPeer(o.Clock, peerKey{address: o.Upstream.Address})
		g.upstream.tls, g.upstream.relay = o.Upstream.TLS, true
	}
	if o.Metrics != nil {
		if err := o.Metrics.Register(&collector{g}); err != nil {
			return nil, errors.Join(errors.New("registering the metrics of the gateway"), err)
		}
	}
	return g, nil
}

// sweepEvery is how often connections that nobody uses are looked for.
const sweepEvery = 30 * time.Second

// Run closes connections that were not used for long, until ctx ends; then all.
func (g *Gateway) Run(ctx context.Context) error {
	ticker := g.Clock.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C():
			g.sweep(g.Clock.Now().Add(-idleConnection))
		case <-ctx.Done():
			g.ended.Store(true)
			g.sweep(g.Clock.Now().Add(time.Hour))
			return nil
		}
	}
}

func (g *Gateway) sweep(before time.Time) {
	g.applying.Lock()
	defer g.applying.Unlock()
	for _, p := range g.peers {
		p.pool.closeIdle(before)
	}
	if g.upstream != nil {
		g.upstream.pool.closeIdle(before)
	}
}

// ServeHTTP serves one request to its end.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, found := endpointOf(r.URL.Path)
	if !found {
		g.passOn(w, r)
		return
	}
	route := (*g.routes.Load())[name]
	if route == nil {
		// The control plane may know it already.
		g.unknown(w, r, name)
		return
	}
	route.serve(w, r)
}

// passOn gives the request to the control plane as it is.
func (g *Gateway) passOn(w http.ResponseWriter, r *http.Request) {
	if g.upstream == nil {
		write(w, notFound("there is nothing at this path"))
		return
	}
	x := exchange{gateway: g, w: w, r: r, target: r.URL.RequestURI(), keepToken: true}
	defer x.end()
	if err := x.readBody(0); err != nil {
		write(w, problemOf(err))
		return
	}
	x.forward(g.toUpstream)
}

// toUpstream is the only way there is.
func (g *Gateway) toUpstream([]*peer) (*peer, error) {
	g.upstream.outstanding.Add(1)
	return g.upstream, nil
}

// unknown serves an endpoint that is in no table here.
func (g *Gateway) unknown(w http.ResponseWriter, r *http.Request, name string) {
	if r.Header.Get(viaHeader) != "" && g.upstream != nil {
		// Whoever sent it here may know of another region.
		write(w, notReady("region %s does not know the endpoint %q", g.Region, shorten(name)))
		return
	}
	if g.upstream == nil {
		write(w, notFound("there is no endpoint %q", shorten(name)))
		return
	}
	x := exchange{gateway: g, w: w, r: r, target: r.URL.RequestURI(), keepToken: true, via: g.Region}
	defer x.end()
	if err := x.readBody(0); err != nil {
		write(w, problemOf(err))
		return
	}
	x.forward(g.toUpstream)
}

// endpointOf is the endpoint that a path names.
func endpointOf(path string) (name string, found bool) {
	rest, found := strings.CutPrefix(path, Prefix)
	if !found {
		return "", false
	}
	name, _, _ = strings.Cut(rest, "/")
	return name, name != ""
}

// Endpoints are the names of those in the table, sorted.
func (g *Gateway) Endpoints() []string {
	var names []string
	for name := range *g.routes.Load() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
