// Package server is GCO's HTTP API: routes, authentication, the strict reading
// of requests, the one table from errors to answers, the event stream and the
// metrics. It decides nothing about jobs (queue does) and keeps nothing but
// connections and a few seconds of tokens (store does). daemon makes a Server
// and runs it; its own tests talk to it through package client.
//
// Everything about a route stands in one row of the table in routes.go: who
// may call it, what it reads and what it answers. The OpenAPI document, the
// documentation page and the metrics are made from those rows.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/flow"
	"github.com/gco-project/gco/internal/gateway"
	"github.com/gco-project/gco/internal/joblog"
	"github.com/gco-project/gco/internal/serving"
	"github.com/gco-project/gco/internal/store"
)

// Timeouts of connections. Streams and long polls are not bound by the read
// and write timeouts.
const (
	headerTimeout   = 10 * time.Second
	readTimeout     = 60 * time.Second
	writeTimeout    = 60 * time.Second
	idleTimeout     = 120 * time.Second
	shutdownTimeout = 10 * time.Second
	maxHeaderBytes  = 64 << 10
)

// Options is what a Server is made of. Store, Queue, Flow, Serving, Broker and
// Archive are required.
type Options struct {
	Store   store.Store
	Queue   Queue
	Flow    *flow.Flow
	Serving *serving.Serving
	Broker  *joblog.Broker
	Archive *joblog.Archive

	// Identifier knows callers by other credentials than tokens; nil is none.
	Identifier Identifier
	// Backups are served where there is something that keeps them.
	Backups Backups
	// Models is the model registry; nil serves no models.
	Models Models
	// Webhooks delivers events; nil serves no webhooks.
	Webhooks Webhooks
	// Inference is what the server's gateway is made of, but for what it shares
	// with the server; nil serves no requests for endpoints.
	Inference *gateway.Options

	Clock clock.WithTicker
	Log   *slog.Logger
	// Metrics is where the server's metrics are registered and what /metrics
	// serves.
	Metrics *prometheus.Registry
	// MetricsNeedToken asks for an admin's or viewer's token at /metrics.
	MetricsNeedToken bool
	// Prices are shown with a region.
	Prices  func(region string) map[string]api.Price
	Version api.Version
	Stream  StreamTiming
}

// Server serves the API.
type Server struct {
	store    store.Store
	queue    Queue
	flow     *flow.Flow
	serving  *serving.Serving
	broker   *joblog.Broker
	archive  *joblog.Archive
	backups  Backups
	models   Models
	webhooks Webhooks
	gateway  *gateway.Gateway
	inferred *routeMetrics
	clock    clock.WithTicker
	log      *slog.Logger
	prices   func(region string) map[string]api.Price
	timing   StreamTiming

	auth     *authenticator
	tail     *tail
	registry *prometheus.Registry
	metrics  *metrics
	routes   []*route
	doc      *huma.OpenAPI
	handler  http.Handler
	proof    storeCheck
	pages    pages

	// ending is done when streams and long polls should end.
	ending context.Context
	end    context.CancelFunc
}

// New returns a Server that can serve at once.
func New(options Options) (*Server, error) {
	s := &Server{
		store: options.Store, queue: options.Queue, flow: options.Flow, serving: options.Serving, broker: options.Broker, archive: options.Archive,
		backups: options.Backups, models: options.Models, webhooks: options.Webhooks,
		clock: options.Clock, log: options.Log, prices: options.Prices, registry: options.Metrics,
		timing: options.Stream.withDefaults(),
	}
	if s.clock == nil {
		s.clock = clock.RealClock{}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.prices == nil {
		s.prices = func(string) map[string]api.Price { return nil }
	}
	if s.registry == nil {
		s.registry = prometheus.NewRegistry()
	}
	s.auth = newAuthenticator(s.store, options.Identifier, s.clock)
	s.tail = newTail(s)
	s.ending, s.end = context.WithCancel(context.Background())
	s.routes = byPath(s.table(options.MetricsNeedToken))
	s.doc = document(s.routes, options.Version.Version)
	var err error
	if s.metrics, err = newMetrics(s, options.Version); err != nil {
		return nil, err
	}
	if options.Inference != nil {
		if err := s.newGateway(*options.Inference); err != nil {
			return nil, err
		}
	}
	if options.Webhooks != nil {
		if err := s.registry.Register(options.Webhooks.Collector()); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	if err := s.registry.Register(s.flow.Collector()); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	if s.backups != nil {
		if err := s.registry.Register(&backupMetrics{s.backups}); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	if err := s.writePages(); err != nil {
		return nil, err
	}
	s.handler = s.mount()
	return s, nil
}

// Handler serves the whole API.
func (s *Server) Handler() http.Handler { return s.handler }

// mount puts the routes on a mux, through the adapter of the library that
// writes the OpenAPI document from the same operations.
func (s *Server) mount() http.Handler {
	mux := http.NewServeMux()
	adapter := humago.NewAdapter(mux, "")
	for _, r := range s.routes {
		r.metrics = s.metrics.of(r)
		adapter.Handle(&huma.Operation{Method: r.method, Path: r.path}, func(ctx huma.Context) {
			request, w := humago.Unwrap(ctx)
			s.serve(r, w, request)
		})
	}
	s.inferred = s.metrics.of(&route{path: gateway.Prefix})
	f := &front{server: s, mux: mux, none: s.metrics.of(&route{method: "other"})}
	mux.HandleFunc("/", f.nowhere)
	return f
}

// Run serves on the listener until ctx ends. Then it ends streams and long
// polls, waits a little for other requests, and returns nil. With
// certificates it serves HTTPS.
func (s *Server) Run(ctx context.Context, listener net.Listener, certificates *Certificates) error {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() {
		if certificates == nil {
			served <- server.Serve(listener)
			return
		}
		server.TLSConfig = certificates.Config()
		served <- server.ServeTLS(listener, "", "")
	}()
	select {
	case err := <-served:
		s.end()
		return fmt.Errorf("serving on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	s.end()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("requests were still running at the end; their connections are closed")
		err = server.Close()
	}
	<-served
	return err
}

// untilStop returns a context that ends with the server, too.
func (s *Server) untilStop(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ending, func() { cancel(errStopping) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

var errStopping = &problem{Problem: api.Problem{
	Type: api.ProblemUnavailable, Title: "Unavailable", Status: http.StatusServiceUnavailable,
	Detail: "the server is stopping; try again",
}, header: http.Header{"Retry-After": {"1"}}}
