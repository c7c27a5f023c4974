package accelerator

import "github.com/prometheus/client_golang/prometheus"

// metrics are those of one front door; docs/accelerator.md lists them.
type metrics struct {
	open         *prometheus.GaugeVec
	connections  *prometheus.CounterVec
	dialFailures *prometheus.CounterVec
	bytes        *prometheus.CounterVec
	checks       *prometheus.CounterVec
	healthy      *prometheus.GaugeVec
	refused      prometheus.Counter
	failingOpen  prometheus.Gauge
}

func newMetrics() *metrics {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	return &metrics{
		open:         gauges("gco_accelerator_open_connections", "Connections that are open now.", "region"),
		connections:  counters("gco_accelerator_connections_total", "Connections that were passed on.", "region"),
		dialFailures: counters("gco_accelerator_dial_failures_total", "Tries to connect to an endpoint that failed; another endpoint was tried.", "region"),
		bytes:        counters("gco_accelerator_bytes_total", "Bytes that were passed on, in (to the endpoint) and out.", "region", "direction"),
		checks:       counters("gco_accelerator_checks_total", "Health checks, passed and failed.", "region", "result"),
		healthy:      gauges("gco_accelerator_endpoint_healthy", "1 for an endpoint that is healthy.", "region", "endpoint"),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gco_accelerator_refused_connections_total", Help: "Connections that were ended because no endpoint took them.",
		}),
		failingOpen: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gco_accelerator_failing_open", Help: "1 while none of the nearest regions has a healthy endpoint, and connections go to the nearest one all the same.",
		}),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.open, m.connections, m.dialFailures, m.bytes, m.checks, m.healthy, m.refused, m.failingOpen}
}

// attach gives a target its metrics, so that no connection looks them up.
func (m *metrics) attach(t *target) {
	t.open, t.connections, t.dialFailures = m.open.WithLabelValues(t.region), m.connections.WithLabelValues(t.region), m.dialFailures.WithLabelValues(t.region)
	t.in, t.out = m.bytes.WithLabelValues(t.region, "in"), m.bytes.WithLabelValues(t.region, "out")
	t.passed, t.failed = m.checks.WithLabelValues(t.region, "passed"), m.checks.WithLabelValues(t.region, "failed")
	t.healthyMetric = m.healthy.WithLabelValues(t.region, t.name)
}

// Describe lists what Collect sends.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(to)
	}
}

// Collect sends the metrics.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(to)
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
