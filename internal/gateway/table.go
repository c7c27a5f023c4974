package gateway

import (
	"maps"
	"strings"
)

// Table is what a gateway routes by: every endpoint that it knows. Whoever
// gave it to Apply must not change it any more.
type Table struct {
	Endpoints []Endpoint
}

// Endpoint is one endpoint as a gateway sees it.
type Endpoint struct {
	Name string
	// Stopped endpoints refuse requests at once.
	Stopped bool
	// Open endpoints ask for no token.
	Open   bool
	Limits Limits
	// Models maps names of models in requests to those that replicas know.
	Models map[string]string
	// Canary is the revision that gets Weight percent of the requests, as long
	// as it and another one have a ready replica; 0 is none.
	Canary int
	Weight int
	// Replicas are those that are ready.
	Replicas []Replica
}

// Limits bound what a gateway takes for one endpoint. 0 is no limit.
type Limits struct {
	RequestsPerSecond float64
	Concurrent        int
	BodyBytes         int64
	// PerReplica is how many requests one replica gets at a time; more wait.
	PerReplica int
}

// Replica is where requests can go: a replica of this region or, where Region
// is set, the gateway of another region that has ready ones.
type Replica struct {
	// Address is host and port.
	Address  string
	Revision int
	Region   string
	// TLS says that the gateway of another region wants HTTPS.
	TLS bool
}

// Upstream is the control plane.
type Upstream struct {
	// Address is host and port.
	Address string
	TLS     bool
}

// Apply routes by another table from now on. Requests that wait are given to
// the replicas that it has; those that are being served are not disturbed.
func (g *Gateway) Apply(t Table) {
	g.applying.Lock()
	defer g.applying.Unlock()
	before := *g.routes.Load()
	now := make(map[string]*route, len(t.Endpoints))
	used := map[peerKey]bool{}
	for _, e := range t.Endpoints {
		r := before[e.Name]
		if r == nil {
			r = newRoute(g, e.Name)
		}
		peers := make([]*peer, len(e.Replicas))
		for i, replica := range e.Replicas {
			peers[i] = g.peer(e.Name, replica)
			used[peers[i].key] = true
		}
		r.apply(e, peers)
		now[e.Name] = r
	}
	g.routes.Store(&now)
	for name, r := range before {
		if now[name] == nil {
			r.remove()
			g.metrics.forget(name)
		}
	}
	maps.DeleteFunc(g.peers, func(key peerKey, p *peer) bool {
		if !used[key] {
			p.pool.close()
		}
		return !used[key]
	})
}

// peer returns the state of a replica, which it keeps from table to table.
func (g *Gateway) peer(endpoint string, r Replica) *peer {
	key := peerKey{endpoint: endpoint, address: r.Address, revision: r.Revision, region: r.Region}
	if p := g.peers[key]; p != nil {
		return p
	}
	p := newPeer(g.Clock, key)
	p.tls, p.relay = r.TLS, r.Region != ""
	g.peers[key] = p
	if p.relay {
		go p.measure()
	}
	return p
}

// ReplicaIn is the gateway of another region, which has ready replicas, at
// host:port or an https:// URL.
func ReplicaIn(region, address string) Replica {
	address, secure := strings.CutPrefix(address, "https://")
	return Replica{Address: address, Region: region, TLS: secure}
}
