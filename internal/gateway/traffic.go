package gateway

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gco-project/gco/internal/canary"
)

// Load is what a gateway measured of one endpoint since the gateway began. It
// only grows, but for Open and Waiting, which are how it is now.
type Load struct {
	Endpoint string
	// Open requests are at replicas, Waiting ones wait for one.
	Open, Waiting int
	// Busy sums the time of all requests at replicas, in seconds.
	Busy float64
	// Revisions are those that had requests.
	Revisions map[int]canary.Sample
}

// traffic measures one endpoint.
type traffic struct {
	endpoint string
	waiting  atomic.Int64
	metrics  *metrics
	// refusals are counters by status.
	refusals sync.Map
	// tallies by revision change as a whole.
	mu      sync.Mutex
	tallies atomic.Pointer[map[int]*tally]
}

// tally measures one revision.
type tally struct {
	requests, errors atomic.Int64
	latencies        [canary.Buckets]atomic.Int64
	// byClass are the counters of answers from 1xx to 5xx, and of none.
	byClass [6]prometheus.Counter
	seconds prometheus.Observer
}

func newTraffic(m *metrics, endpoint string) *traffic {
	t := &traffic{endpoint: endpoint, metrics: m}
	t.tallies.Store(&map[int]*tally{})
	return t
}

func (t *traffic) tally(revision int) *tally {
	if found := (*t.tallies.Load())[revision]; found != nil {
		return found
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	before := *t.tallies.Load()
	if found := before[revision]; found != nil {
		return found
	}
	made := t.metrics.tally(t.endpoint, revision)
	now := maps.Clone(before)
	now[revision] = made
	t.tallies.Store(&now)
	return made
}

// answered counts what came of a request to a replica.
func (t *traffic) answered(revision int, o outcome) {
	of := t.tally(revision)
	of.requests.Add(1)
	class := min(max(o.status/100, 0), 5)
	if o.err != nil {
		class = 0
	}
	if class == 0 || class == 5 {
		of.errors.Add(1)
	}
	of.latencies[canary.Bucket(o.took)].Add(1)
	of.byClass[class].Inc()
	of.seconds.Observe(o.took.Seconds())
}

// refused counts an answer that no replica gave.
func (t *traffic) refused(status int) {
	counter, found := t.refusals.Load(status)
	if !found {
		counter, _ = t.refusals.LoadOrStore(status, t.metrics.refusal(t.endpoint, status))
	}
	counter.(prometheus.Counter).Inc()
}

func (c *tally) sample() canary.Sample {
	s := canary.Sample{Requests: c.requests.Load(), Errors: c.errors.Load(), Latencies: map[int]int64{}}
	for bucket := range c.latencies {
		if n := c.latencies[bucket].Load(); n > 0 {
			s.Latencies[bucket] = n
		}
	}
	return s
}

// Load is what was measured of every endpoint in the table, by name.
func (g *Gateway) Load() map[string]Load {
	all := map[string]Load{}
	for name, r := range *g.routes.Load() {
		r.mu.Lock()
		r.sumBusy()
		load := Load{Endpoint: name, Open: r.local, Waiting: len(r.waiting), Busy: r.busy, Revisions: map[int]canary.Sample{}}
		r.mu.Unlock()
		for revision, counted := range *r.traffic.tallies.Load() {
			load.Revisions[revision] = counted.sample()
		}
		all[name] = load
	}
	return all
}
