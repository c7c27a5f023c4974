package gateway

import (
	"context"
	"slices"
	"sync"
	"time"
)

// route is one endpoint while the gateway runs: what the table says of it, and
// what is going on.
type route struct {
	gateway *Gateway
	name    string
	traffic *traffic

	mu       sync.Mutex
	endpoint Endpoint
	peers    []*peer
	removed  bool
	limiter  limiter
	// open counts the requests that were let in and have not ended.
	open int
	// busy sums the time of all requests at replicas here, in seconds, up to
	// busyAt; there are local of them.
	busy   float64
	busyAt time.Time
	local  int
	// turn counts the choices between two revisions; next goes round the
	// replicas with the same number of requests.
	turn uint64
	next int
	// waiting are requests for which there is no replica, oldest first.
	waiting []*waiter
	wokenAt time.Time
}

// waiter is a request that waits. given receives one peer, or nil when there is
// no hope any more.
type waiter struct {
	want  want
	given chan *peer
}

// want is what a request looks for.
type want struct {
	// tried are peers that did not take it.
	tried []*peer
	// via is the region whose gateway sent it here; empty is a client.
	via string
}

func newRoute(g *Gateway, name string) *route {
	return &route{gateway: g, name: name, traffic: newTraffic(g.metrics, name)}
}

// apply takes what a table says.
func (r *route) apply(e Endpoint, peers []*peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endpoint, r.peers = e, peers
	r.limiter.perSecond = e.Limits.RequestsPerSecond
	for _, p := range peers {
		p.emptyUntil.Store(0)
	}
	r.handOut()
}

// remove ends what waits: the endpoint is gone.
func (r *route) remove() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removed, r.peers = true, nil
	r.handOut()
}

// enter lets a request in, or says why not.
func (r *route) enter(length int64) (Endpoint, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.endpoint
	if r.removed {
		return e, notFound("the endpoint %q was deleted", r.name)
	}
	if e.Stopped {
		return e, stopped(r.name)
	}
	if most := e.Limits.BodyBytes; most > 0 && length > most {
		return e, tooLarge(most)
	}
	if most := e.Limits.Concurrent; most > 0 && r.open >= most {
		return e, limited("the endpoint takes %d requests at a time here", most)
	}
	if e.Limits.RequestsPerSecond > 0 {
		if allowed, after := r.limiter.allow(r.gateway.Clock.Now()); !allowed {
			refusal := limited("the endpoint takes %g requests a second here", e.Limits.RequestsPerSecond)
			refusal.RetryAfter = max(1, int((after+time.Second-1)/time.Second))
			return e, refusal
		}
	}
	r.open++
	return e, nil
}

func stopped(name string) *Refusal {
	p := notReady("the endpoint %q is stopped", name)
	p.RetryAfter = 0
	return p
}

func (r *route) leave() {
	r.mu.Lock()
	r.open--
	r.mu.Unlock()
}

// acquire returns a peer for a request, and counts it there until release. It
// waits where there is none, in turn.
func (r *route) acquire(ctx context.Context, want want) (*peer, error) {
	r.mu.Lock()
	if len(r.waiting) == 0 {
		if p := r.choose(want); p != nil {
			r.count(p, 1)
			r.mu.Unlock()
			return p, nil
		}
	}
	if err := r.mayWait(want); err != nil {
		r.mu.Unlock()
		return nil, err
	}
	w := &waiter{want: want, given: make(chan *peer, 1)}
	r.waiting = append(r.waiting, w)
	r.wake()
	r.mu.Unlock()
	return r.await(ctx, w)
}

// mayWait tells why a request must not wait; nil is that it may. r.mu is held.
func (r *route) mayWait(want want) error {
	final := want.via != "" && r.gateway.upstream != nil
	switch {
	case r.removed:
		return notFound("the endpoint %q was deleted", r.name)
	case r.endpoint.Stopped:
		return stopped(r.name)
	case len(want.tried) > 0:
		return notReady("no replica of the endpoint %q took the request", r.name)
	case final && !r.hasReplica():
		return notReady("region %s has no ready replica of the endpoint %q", r.gateway.Region, r.name)
	case len(r.waiting) >= r.gateway.MaxWaiting:
		return limited("%d requests for the endpoint %q wait already", len(r.waiting), r.name)
	}
	return nil
}

// hasReplica tells whether there is a replica here. r.mu is held.
func (r *route) hasReplica() bool {
	return slices.ContainsFunc(r.peers, func(p *peer) bool { return !p.relay })
}

// await waits for the turn of w.
func (r *route) await(ctx context.Context, w *waiter) (*peer, error) {
	timer := r.gateway.Clock.NewTimer(r.gateway.WakeTimeout)
	defer timer.Stop()
	again := r.gateway.Clock.NewTimer(wakePause)
	defer again.Stop()
	r.traffic.waiting.Add(1)
	defer r.traffic.waiting.Add(-1)
	for {
		select {
		case p := <-w.given:
			return p, r.gaveUp(p)
		case <-again.C():
			r.mu.Lock()
			r.handOut()
			r.wake()
			r.mu.Unlock()
			again.Reset(wakePause)
		case <-timer.C():
			return nil, r.abandon(w, notReady("no replica of the endpoint %q became ready within %s", r.name, r.gateway.WakeTimeout))
		case <-ctx.Done():
			return nil, r.abandon(w, ctx.Err())
		}
	}
}

// gaveUp is the error of a request that was handed no peer.
func (r *route) gaveUp(p *peer) error {
	if p != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.removed {
		return notFound("the endpoint %q was deleted", r.name)
	}
	return stopped(r.name)
}

// abandon takes a request out of the queue. It may have been handed a peer
// just now, which goes to the next one.
func (r *route) abandon(w *waiter, why error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.waiting, w); i >= 0 {
		r.waiting = slices.Delete(r.waiting, i, i+1)
		return why
	}
	if p := <-w.given; p != nil {
		r.count(p, -1)
		r.handOut()
	}
	return why
}

// release ends what acquire began.
func (r *route) release(p *peer) {
	r.mu.Lock()
	r.count(p, -1)
	if len(r.waiting) > 0 {
		r.handOut()
	}
	r.mu.Unlock()
}

// count notes that a request came to a peer or left it. r.mu is held.
func (r *route) count(p *peer, change int) {
	p.outstanding.Add(int64(change))
	if !p.relay {
		r.sumBusy()
		r.local += change
	}
}

// sumBusy brings the sum up to now. r.mu is held.
func (r *route) sumBusy() {
	now := r.gateway.Clock.Now()
	if r.local > 0 {
		r.busy += float64(r.local) * now.Sub(r.busyAt).Seconds()
	}
	r.busyAt = now
}

// handOut gives peers to the requests that wait, oldest first. r.mu is held.
func (r *route) handOut() {
	for len(r.waiting) > 0 {
		w := r.waiting[0]
		var p *peer
		if !r.removed && !r.endpoint.Stopped {
			if p = r.choose(w.want); p == nil {
				return
			}
			r.count(p, 1)
		}
		r.waiting[0] = nil
		r.waiting = r.waiting[1:]
		w.given <- p
	}
}

// wake asks for a replica, not too often. r.mu is held.
func (r *route) wake() {
	now := r.gateway.Clock.Now()
	if r.gateway.Wake == nil || len(r.waiting) == 0 || now.Sub(r.wokenAt) < wakePause && !r.wokenAt.IsZero() {
		return
	}
	if slices.ContainsFunc(r.peers, func(p *peer) bool { return !p.isEmpty() }) {
		// They are busy: what they do is known, and scaled by.
		return
	}
	r.wokenAt = now
	go r.gateway.Wake(r.name)
}
