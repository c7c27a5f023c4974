package gateway

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of one gateway; docs/metrics.md lists them.
type metrics struct {
	requests *prometheus.CounterVec
	refusals *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	retries  prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gco_inference_requests_total", Help: "Requests that were sent to replicas, by the class of the answer's status; none where there was no answer.",
		}, []string{"endpoint", "revision", "status"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gco_inference_refusals_total", Help: "Requests that the gateway answered itself, by status.",
		}, []string{"endpoint", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gco_inference_first_byte_seconds", Help: "Time until a replica's answer began.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"endpoint", "revision"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gco_inference_retries_total", Help: "Tries at another replica or region, after one that did not take a request.",
		}),
	}
}

// classes name the answers by the first digit of their status.
var classes = [6]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// tally looks the counters of a revision up once.
func (m *metrics) tally(endpoint string, revision int) *tally {
	number := strconv.Itoa(revision)
	made := &tally{seconds: m.seconds.WithLabelValues(endpoint, number)}
	for i, class := range classes {
		made.byClass[i] = m.requests.WithLabelValues(endpoint, number, class)
	}
	return made
}

func (m *metrics) refusal(endpoint string, status int) prometheus.Counter {
	return m.refusals.WithLabelValues(endpoint, strconv.Itoa(status))
}

// forget drops what was counted of an endpoint.
func (m *metrics) forget(endpoint string) {
	labels := prometheus.Labels{"endpoint": endpoint}
	m.requests.DeletePartialMatch(labels)
	m.refusals.DeletePartialMatch(labels)
	m.seconds.DeletePartialMatch(labels)
}

var (
	openDesc = prometheus.NewDesc("gco_inference_open_requests", "Requests that are at replicas now.", []string{"endpoint"}, nil)
	waitDesc = prometheus.NewDesc("gco_inference_waiting_requests", "Requests that wait for a replica now.", []string{"endpoint"}, nil)
)

// collector adds what is looked up at each scrape.
type collector struct{ gateway *Gateway }

// Describe lists what Collect sends.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	m := c.gateway.metrics
	for _, of := range []prometheus.Collector{m.requests, m.refusals, m.seconds, m.retries} {
		of.Describe(to)
	}
	to <- openDesc
	to <- waitDesc
}

// Collect sends the metrics.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	m := c.gateway.metrics
	for _, of := range []prometheus.Collector{m.requests, m.refusals, m.seconds, m.retries} {
		of.Collect(to)
	}
	for name, load := range c.gateway.Load() {
		to <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(load.Open), name)
		to <- prometheus.MustNewConstMetric(waitDesc, prometheus.GaugeValue, float64(load.Waiting), name)
	}
}
