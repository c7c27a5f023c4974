package server

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

// metrics are what the server counts itself. What the store counts anyway is
// read at each scrape (storeMetrics).
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec

	submitted   prometheus.Counter
	replayed    prometheus.Counter
	refused     prometheus.Counter
	syncs       prometheus.Counter
	streams     prometheus.Gauge
	slowStreams prometheus.Counter
	panics      prometheus.Counter
}

func newMetrics(s *Server, version api.Version) (*metrics, error) {
	submissions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gco_submissions_total", Help: "Submissions by what became of them: created, replayed (same idempotency key), refused.",
	}, []string{"result"})
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gco_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version.Version, "commit": version.Commit, "go": version.Go},
	})
	build.Set(1)
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gco_http_requests_total", Help: "Requests by route and status.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gco_http_request_seconds", Help: "Time to answer a request; streams and long polls to their end.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
		submitted: submissions.WithLabelValues("created"),
		replayed:  submissions.WithLabelValues("replayed"),
		refused:   submissions.WithLabelValues("refused"),
		syncs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gco_syncs_total", Help: "Syncs of agents that were understood.",
		}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gco_event_streams", Help: "Clients that follow the event stream now.",
		}),
		slowStreams: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gco_event_streams_cut_total", Help: "Event streams that were cut off because the client read too slowly.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gco_http_panics_total", Help: "Requests that failed by a fault of the program.",
		}),
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.seconds, submissions, m.syncs, m.streams, m.slowStreams, m.panics, build, &storeMetrics{server: s},
	} {
		if err := s.registry.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}

// routeMetrics are the metrics of one route, looked up once.
type routeMetrics struct {
	route    string
	requests *prometheus.CounterVec
	seconds  prometheus.Observer
	byStatus sync.Map
}

func (m *metrics) of(r *route) *routeMetrics {
	name := strings.TrimSpace(r.method + " " + r.path)
	return &routeMetrics{route: name, requests: m.requests, seconds: m.seconds.WithLabelValues(name)}
}

func (m *routeMetrics) observe(status int, took time.Duration) {
	if status == 0 {
		status = http.StatusInternalServerError
	}
	counter, ok := m.byStatus.Load(status)
	if !ok {
		counter, _ = m.byStatus.LoadOrStore(status, m.requests.WithLabelValues(m.route, strconv.Itoa(status)))
	}
	counter.(prometheus.Counter).Inc()
	m.seconds.Observe(took.Seconds())
}

// storeMetrics reads the store's counters at each scrape.
type storeMetrics struct{ server *Server }

var (
	jobsDesc   = prometheus.NewDesc("gco_jobs", "Jobs by state.", []string{"state"}, nil)
	oldestDesc = prometheus.NewDesc("gco_queue_oldest_seconds", "Age of the oldest queued job; 0 when none waits.", nil, nil)
	leaderDesc = prometheus.NewDesc("gco_leader", "1 while this server runs the placing and recovering loops.", nil, nil)
	leaseDesc  = prometheus.NewDesc("gco_region_lease", "1 for the state that the region's lease is in: none, live, lost.", []string{"region", "lease"}, nil)
	syncDesc   = prometheus.NewDesc("gco_region_last_sync_seconds", "Time since the region's agent last synced.", []string{"region"}, nil)
	regionDesc = prometheus.NewDesc("gco_region_jobs", "Unfinished jobs by region and state.", []string{"region", "state"}, nil)
	workDesc   = prometheus.NewDesc("gco_store_up", "1 when the counters could be read for this scrape.", nil, nil)
)

// Describe lists what Collect sends.
func (m *storeMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{jobsDesc, oldestDesc, leaderDesc, leaseDesc, syncDesc, regionDesc, workDesc} {
		to <- desc
	}
}

// Collect reads the store. Where that fails the scrape still has the rest,
// and gco_store_up is 0.
func (m *storeMetrics) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(m.server.ending, storeTimeout)
	defer cancel()
	up := 1.0
	for _, read := range []func(context.Context, chan<- prometheus.Metric) error{m.jobs, m.oldest, m.regions} {
		if err := read(ctx, to); err != nil {
			up = 0
		}
	}
	to <- prometheus.MustNewConstMetric(workDesc, prometheus.GaugeValue, up)
	leading := 0.0
	if m.server.queue.Leading() {
		leading = 1
	}
	to <- prometheus.MustNewConstMetric(leaderDesc, prometheus.GaugeValue, leading)
}

func (m *storeMetrics) jobs(ctx context.Context, to chan<- prometheus.Metric) error {
	counts, err := m.server.store.Counts(ctx)
	if err != nil {
		return err
	}
	type place struct {
		region string
		state  job.State
	}
	byState, byRegion := map[job.State]int64{}, map[place]int64{}
	for _, count := range counts {
		byState[count.State] += count.Jobs
		if count.Region != "" && !count.State.Terminal() {
			byRegion[place{count.Region, count.State}] += count.Jobs
		}
	}
	for _, state := range job.States {
		to <- prometheus.MustNewConstMetric(jobsDesc, prometheus.GaugeValue, float64(byState[state]), string(state))
	}
	for at, n := range byRegion {
		to <- prometheus.MustNewConstMetric(regionDesc, prometheus.GaugeValue, float64(n), at.region, string(at.state))
	}
	return nil
}

func (m *storeMetrics) oldest(ctx context.Context, to chan<- prometheus.Metric) error {
	oldest, err := m.server.store.OldestWaiting(ctx)
	if err != nil {
		return err
	}
	age := 0.0
	if !oldest.IsZero() {
		age = max(0, m.server.clock.Since(oldest).Seconds())
	}
	to <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, age)
	return nil
}

func (m *storeMetrics) regions(ctx context.Context, to chan<- prometheus.Metric) error {
	regions, err := m.server.store.Regions(ctx)
	if err != nil {
		return err
	}
	for _, r := range regions {
		for _, lease := range []capacity.Lease{capacity.LeaseNone, capacity.LeaseLive, capacity.LeaseLost} {
			value := 0.0
			if r.Lease == lease {
				value = 1
			}
			to <- prometheus.MustNewConstMetric(leaseDesc, prometheus.GaugeValue, value, r.Name, string(lease))
		}
		if !r.RenewedAt.IsZero() {
			since := max(0, m.server.clock.Since(r.RenewedAt).Seconds())
			to <- prometheus.MustNewConstMetric(syncDesc, prometheus.GaugeValue, since, r.Name)
		}
	}
	return nil
}

// scrape serves the registry.
func (c *call) scrape() error {
	handler := promhttp.HandlerFor(c.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, DisableCompression: true,
	})
	handler.ServeHTTP(c.w, c.r)
	return nil
}
