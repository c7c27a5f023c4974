package flow

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/schedule"
)

// metrics counts what this process did; the gauges are the leader's.
type metrics struct {
	pipelines *prometheus.CounterVec
	running   prometheus.Gauge
	stuck     prometheus.Gauge
	runs      *prometheus.CounterVec
	late      prometheus.Histogram
}

func newMetrics() *metrics {
	m := &metrics{
		pipelines: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gco_pipelines_total", Help: "Pipelines that were submitted, retried, or came to an end: succeeded, failed, cancelled.",
		}, []string{"event"}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gco_pipelines_running", Help: "Pipelines that wait for jobs, on the server that leads.",
		}),
		stuck: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gco_pipelines_stuck", Help: "Pipelines that could not be taken further in the last try and are tried again, on the server that leads.",
		}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gco_schedule_runs_total", Help: "Runs of schedules by what came of them: submitted, skipped, refused.",
		}, []string{"outcome"}),
		late: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gco_schedule_late_seconds", Help: "Time from a tick to the submission of its run.",
			Buckets: []float64{.1, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600},
		}),
	}
	for _, event := range []string{
		pipeline.EventSubmitted, pipeline.EventRetried, pipeline.EventSucceeded, pipeline.EventFailed, pipeline.EventCancelled,
	} {
		m.pipelines.WithLabelValues(wordOf(event))
	}
	for _, outcome := range []schedule.Outcome{schedule.Submitted, schedule.Skipped, schedule.Refused} {
		m.runs.WithLabelValues(string(outcome))
	}
	return m
}

// wordOf is the last word of a type of events.
func wordOf(event string) string { return event[strings.LastIndexByte(event, '.')+1:] }

// Collector has the metrics of pipelines and schedules.
func (f *Flow) Collector() prometheus.Collector { return f.metrics }

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.pipelines, m.running, m.stuck, m.runs, m.late}
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

// ran counts runs that were decided or submitted.
func (m *metrics) ran(runs []schedule.Run, now time.Time) {
	for _, r := range runs {
		m.runs.WithLabelValues(string(r.Outcome)).Inc()
		if r.Outcome == schedule.Submitted && !r.Tick.IsZero() {
			m.late.Observe(now.Sub(r.Tick).Seconds())
		}
	}
}
