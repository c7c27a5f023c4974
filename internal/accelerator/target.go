package accelerator

import (
	"cmp"
	"net"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// target is an endpoint while the front door is open: what it is, how it is,
// and its metrics.
type target struct {
	Endpoint

	region string
	// name is the endpoint in logs and metrics.
	name string
	// checked is host and port of the health checks.
	checked string

	// state is written by the target's watch alone.
	state atomic.Uint32
	// woken asks for a health check now.
	woken chan struct{}

	open          prometheus.Gauge
	connections   prometheus.Counter
	dialFailures  prometheus.Counter
	in, out       prometheus.Counter
	passed        prometheus.Counter
	failed        prometheus.Counter
	healthyMetric prometheus.Gauge
}

// What is known of a target's health.
const (
	stateUnknown uint32 = iota
	stateHealthy
	stateUnhealthy
)

// newTargets are the endpoints of all groups. port is that of the first
// listener.
func newTargets(o Options, port int, m *metrics) []*target {
	var all []*target
	for _, g := range o.Groups {
		for _, e := range g.Endpoints {
			t := &target{Endpoint: e, region: g.Region, woken: make(chan struct{}, 1)}
			t.name = t.address(port)
			t.checked = net.JoinHostPort(e.Host, strconv.Itoa(cmp.Or(e.HealthPort, o.HealthCheck.Port, t.port(port))))
			m.attach(t)
			all = append(all, t)
		}
	}
	return all
}

// port takes the connections of a listener.
func (t *target) port(listener int) int { return cmp.Or(t.Ports[listener], t.Port, listener) }

// address takes the connections of a listener.
func (t *target) address(listener int) string {
	return net.JoinHostPort(t.Host, strconv.Itoa(t.port(listener)))
}

// health is what the checks said last. Nothing is healthy before its first
// check.
func (t *target) health() (known, healthy bool) {
	state := t.state.Load()
	return state != stateUnknown, state == stateHealthy
}

// doubt asks for a health check now, because a connection failed. One that is
// down already is left to its interval.
func (t *target) doubt() {
	if _, healthy := t.health(); !healthy {
		return
	}
	select {
	case t.woken <- struct{}{}:
	default:
	}
}
