package webhook

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gco-project/gco/internal/store"
)

// metrics counts tries as they are settled, and reads the rest from the store
// at each scrape.
type metrics struct {
	store   Store
	results *prometheus.CounterVec
	seconds prometheus.Histogram
}

func newMetrics(s Store) *metrics {
	m := &metrics{
		store: s,
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gco_webhook_tries_total", Help: "Tries to deliver an event by what came of them: done, retry (to be tried again), dead (given up).",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gco_webhook_try_seconds", Help: "Time of one try, to the receiver's answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30},
		}),
	}
	for _, result := range []string{"done", "retry", "dead"} {
		m.results.WithLabelValues(result)
	}
	return m
}

var (
	webhooksDesc = prometheus.NewDesc("gco_webhooks", "Webhooks by state: active, failing (every try fails), paused.", []string{"state"}, nil)
	backlogDesc  = prometheus.NewDesc("gco_webhook_open_deliveries", "Deliveries that a webhook waits for.", []string{"webhook"}, nil)
	lagDesc      = prometheus.NewDesc("gco_webhook_undispatched_events", "Events that no delivery was made of yet, of interest or not; 0 without webhooks.", nil, nil)
)

// tried counts one try.
func (m *metrics) tried(state store.DeliveryState, out outcome) {
	result := string(state)
	if state == store.DeliveryOpen {
		result = "retry"
	}
	m.results.WithLabelValues(result).Inc()
	m.seconds.Observe(out.try.Took.Seconds())
}

// Describe lists what Collect sends.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	m.results.Describe(to)
	m.seconds.Describe(to)
	for _, desc := range []*prometheus.Desc{webhooksDesc, backlogDesc, lagDesc} {
		to <- desc
	}
}

// scrapeTime bounds what a scrape waits for the store.
const scrapeTime = 5 * time.Second

// Collect sends the metrics. What the store does not say in time is left out.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	m.results.Collect(to)
	m.seconds.Collect(to)
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	hooks, err := m.store.Webhooks(ctx)
	if err != nil {
		return
	}
	states := map[string]int{"active": 0, "failing": 0, "paused": 0}
	for i := range hooks {
		states[stateOf(&hooks[i])]++
	}
	for state, n := range states {
		to <- prometheus.MustNewConstMetric(webhooksDesc, prometheus.GaugeValue, float64(n), state)
	}
	m.lag(ctx, to, states["active"]+states["failing"] > 0)
	backlogs, err := m.store.Backlogs(ctx)
	if err != nil {
		return
	}
	open := map[string]int64{}
	for _, b := range backlogs {
		open[b.Webhook] = b.Open
	}
	for _, w := range hooks {
		to <- prometheus.MustNewConstMetric(backlogDesc, prometheus.GaugeValue, float64(open[w.ID]), w.ID)
	}
}

func (m *metrics) lag(ctx context.Context, to chan<- prometheus.Metric, listening bool) {
	lag := 0.0
	if listening {
		last, err := m.store.LastEvent(ctx)
		if err != nil {
			return
		}
		cursor, err := m.store.OutboxCursor(ctx)
		if err != nil {
			return
		}
		lag = float64(last - cursor)
	}
	to <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, lag)
}

func stateOf(w *store.Webhook) string {
	switch {
	case w.Paused():
		return "paused"
	case !w.FailingSince.IsZero():
		return "failing"
	}
	return "active"
}
