package gateway

import "slices"

// choose returns the peer that a request should go to; nil is none now. A
// replica of this region comes first; then the nearest gateway. Those that
// failed just now come last. r.mu is held.
func (r *route) choose(want want) *peer {
	if p := r.chooseReplica(want, false); p != nil {
		return p
	}
	if p := r.nearest(want, false); p != nil {
		return p
	}
	if p := r.chooseReplica(want, true); p != nil {
		return p
	}
	if p := r.nearest(want, true); p != nil {
		return p
	}
	up := r.gateway.upstream
	if up != nil && want.via == "" && !r.hasRoom() && !slices.Contains(want.tried, up) {
		return up
	}
	return nil
}

// hasRoom tells whether the request should rather wait for a replica here:
// there is one, and all that is wrong with it is that it is busy.
func (r *route) hasRoom() bool {
	return slices.ContainsFunc(r.peers, func(p *peer) bool { return !p.relay && !p.ejected() })
}

// chooseReplica returns a replica of the revision whose turn it is, with the
// fewest requests.
func (r *route) chooseReplica(want want, ejected bool) *peer {
	canary, other := false, false
	for _, p := range r.peers {
		if r.usable(p, want, ejected) {
			if p.key.revision == r.endpoint.Canary {
				canary = true
			} else {
				other = true
			}
		}
	}
	var best *peer
	if !canary && !other {
		return nil
	}
	try := canary
	if canary && other {
		try = r.turnOfCanary()
	}
	least := int64(0)
	n := len(r.peers)
	r.next++
	for i := range n {
		p := r.peers[(i+r.next)%n]
		if !r.usable(p, want, ejected) || (p.key.revision == r.endpoint.Canary) != try {
			continue
		}
		if open := p.outstanding.Load(); best == nil || open < least {
			best, least = p, open
		}
	}
	return best
}

// turnOfCanary spreads the canary's share evenly, so that it holds for any
// number of requests and not only on average.
func (r *route) turnOfCanary() bool {
	weight := uint64(r.endpoint.Weight)
	before := r.turn * weight / 100
	r.turn++
	return r.turn*weight/100 > before
}

// usable tells whether a request can go to a replica.
func (r *route) usable(p *peer, want want, ejected bool) bool {
	most := r.endpoint.Limits.PerReplica
	return !p.relay && p.ejected() == ejected && !slices.Contains(want.tried, p) &&
		(most == 0 || p.outstanding.Load() < int64(most))
}

// nearest returns the gateway that is nearest, and not the one that the request
// came from, unless there is no other.
func (r *route) nearest(want want, ejected bool) *peer {
	var best, back *peer
	for _, p := range r.peers {
		switch {
		case !p.relay || p.isEmpty() || p.ejected() != ejected || slices.Contains(want.tried, p):
		case p.key.region == want.via:
			back = p
		case best == nil || p.distance.Load() < best.distance.Load():
			best = p
		}
	}
	if best == nil {
		return back
	}
	return best
}
