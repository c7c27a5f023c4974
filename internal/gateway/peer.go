package gateway

import (
	"context"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// peerKey names a peer: a replica that comes back at the same address as
// another revision is another one.
type peerKey struct {
	endpoint string
	address  string
	revision int
	region   string
}

// A peer that fails is left alone for a while, if there are others.
const (
	firstEjection = time.Second
	maxEjection   = 16 * time.Second
)

// peer is a replica or another gateway, while it is in the table.
type peer struct {
	key peerKey
	tls bool
	// relay is a gateway: it gets the request as it came.
	relay bool
	pool  *pool
	clock clock.PassiveClock

	outstanding atomic.Int64
	// failures are those in a row; ejectedUntil is in nanoseconds since 1970.
	failures     atomic.Int32
	ejectedUntil atomic.Int64
	// emptyUntil is up to when a gateway is left alone that said that its region
	// has no ready replica, in nanoseconds since 1970.
	emptyUntil atomic.Int64
	// distance is how long it takes to connect, in nanoseconds; 0 is not known.
	distance atomic.Int64
}

func newPeer(clock clock.WithTicker, key peerKey) *peer {
	p := &peer{key: key, clock: clock}
	p.pool = newPool(p)
	return p
}

// failed notes that the peer did not take a request, or did not answer it.
func (p *peer) failed() {
	n := min(p.failures.Add(1), 8)
	pause := min(firstEjection<<(n-1), maxEjection)
	p.ejectedUntil.Store(p.clock.Now().Add(pause).UnixNano())
}

// answered notes that the peer works.
func (p *peer) answered() {
	if p.failures.Load() != 0 {
		p.failures.Store(0)
		p.ejectedUntil.Store(0)
	}
}

// ejected tells whether others come first.
func (p *peer) ejected() bool {
	until := p.ejectedUntil.Load()
	return until != 0 && p.clock.Now().UnixNano() < until
}

// emptyFor is how long what a gateway says of its replicas is believed.
const emptyFor = time.Second

// isEmpty tells whether a gateway said just now that it has no ready replica.
func (p *peer) isEmpty() bool {
	until := p.emptyUntil.Load()
	return until != 0 && p.clock.Now().UnixNano() < until
}

func (p *peer) emptied() { p.emptyUntil.Store(p.clock.Now().Add(emptyFor).UnixNano()) }

// measure finds out how far the peer is, with a connection that is kept.
func (p *peer) measure() {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	if c, err := p.pool.dial(ctx); err == nil {
		p.pool.put(c)
	}
}

// connected notes how long a connection took; the shortest time counts.
func (p *peer) connected(took time.Duration) {
	for {
		known := p.distance.Load()
		if known != 0 && known <= int64(took) || p.distance.CompareAndSwap(known, max(int64(took), 1)) {
			return
		}
	}
}
