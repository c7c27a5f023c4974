package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/blob"
	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/flow"
	"github.com/gco-project/gco/internal/gateway"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/joblog"
	"github.com/gco-project/gco/internal/manifest"
	"github.com/gco-project/gco/internal/model/registry"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/server"
	"github.com/gco-project/gco/internal/serving"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/traffic"
	"github.com/gco-project/gco/internal/webhook"
)

// ControlPlaneOptions is what a ControlPlane is made of.
type ControlPlaneOptions struct {
	// Config has every value set: timing is that of the role.
	Config config.Config
	// Dir holds the database, the log archive and the admin token.
	Dir string
	// RenewAdmin makes a new admin token where its file is missing.
	RenewAdmin bool
	// Deleted is told of jobs whose record goes; nil is nobody.
	Deleted func(ids []job.ID)
	Version api.Version
	// STS carries requests to AWS's Security Token Service; nil is the network.
	STS   http.RoundTripper
	Clock clock.WithTicker
	Log   *slog.Logger
}

// ControlPlane is the API, the queue and its store in one process.
type ControlPlane struct {
	// URL is where the API answers.
	URL string
	// AdminTokenFile holds the first admin token, if that was made here.
	AdminTokenFile string

	dir   string
	clock clock.WithTicker
	log   *slog.Logger

	store store.Store
	// holder names this process in the leader's lease; empty is a fresh name.
	holder       string
	bucket       *blob.Bucket
	modelBucket  *blob.Bucket
	models       *registry.Registry
	archive      *joblog.Archive
	copies       copies
	queue        *queue.Queue
	webhooks     *webhook.Outbox
	flow         *flow.Flow
	serving      *serving.Serving
	traffic      *traffic.Traffic
	server       *server.Server
	certificates *server.Certificates
	listener     net.Listener
	debug        string
}

// singleHolder names the process in the leader's lease where only one can open
// the database, so the next one may lead at once.
const singleHolder = "only"

// OpenControlPlane opens everything that can fail to open. Close it, or Run
// it, which closes it.
func OpenControlPlane(ctx context.Context, o ControlPlaneOptions) (*ControlPlane, error) {
	c := &ControlPlane{dir: o.Dir, clock: o.Clock, log: o.Log, debug: o.Config.Server.Debug}
	if err := c.open(ctx, o); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *ControlPlane) open(ctx context.Context, o ControlPlaneOptions) (err error) {
	listen := o.Config.Server.Listen
	// The port first: a second gco up should hear of the first one, not of
	// its lock on the database.
	if c.listener, err = net.Listen("tcp", listen); err != nil {
		return fmt.Errorf("listening on %s: %w", listen, err)
	}
	if err := c.openStore(ctx, o); err != nil {
		return err
	}
	if err := c.openModels(ctx, o); err != nil {
		return err
	}
	c.archive = joblog.NewArchive(c.bucket, 0)
	if err := c.adminToken(ctx, o.RenewAdmin); err != nil {
		return err
	}
	c.URL = "http://" + reachable(c.listener.Addr())
	if tls := o.Config.Server.TLS; tls.Enabled() {
		c.URL = "https://" + reachable(c.listener.Addr())
		if c.certificates, err = server.LoadCertificates(tls.Cert, tls.Key, o.Log); err != nil {
			return err
		}
	}
	if c.webhooks, err = c.newOutbox(ctx, o); err != nil {
		return err
	}
	return c.assemble(o)
}

// openBucket opens where objects are kept: below the directory, unless the
// configuration names another place. That must be reachable now: an archive
// that turns up later as wrong has lost logs by then.
func (c *ControlPlane) openBucket(ctx context.Context, o ControlPlaneOptions) (err error) {
	if o.Config.Server.Bucket == "" {
		c.bucket, err = blob.OpenDir(filepath.Join(o.Dir, "logs"))
		return err
	}
	if c.bucket, err = blob.Open(ctx, o.Config.Server.Bucket); err != nil {
		return err
	}
	return c.bucket.Check(ctx)
}

// reachable is where a process of this host finds a listener.
func reachable(address net.Addr) string {
	at, ok := address.(*net.TCPAddr)
	if !ok || !at.IP.IsUnspecified() {
		return address.String()
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(at.Port))
}

// assemble makes every part of the control plane.
func (c *ControlPlane) assemble(o ControlPlaneOptions) (err error) {
	broker := joblog.NewBroker(joblog.BrokerOptions{
		Clock: o.Clock,
		Wake:  func(region string) { c.queue.Wake(region) },
	})
	c.serving = serving.New(serving.Options{
		Store: c.store, Clock: o.Clock, Log: o.Log,
		Placement: placementPolicy(o.Config), Prices: prices(o.Config.Regions),
		Leading: func() bool { return c.queue.Leading() },
		Wake:    func(region string) { c.queue.Wake(region) },
		// Neither is asked before the loops run.
		Replicas: func(e *endpoint.Endpoint) int { return c.traffic.Replicas(e) },
		Changed:  func() { c.traffic.Look() },
	})
	c.queue = queue.New(queue.Options{
		Store: c.store, Clock: o.Clock, Log: o.Log, Holder: c.holder,
		Admission: manifest.Policy(o.Config.Policy),
		Placement: placementPolicy(o.Config),
		Prices:    prices(o.Config.Regions),
		Limits:    queue.Limits(o.Config.Limits),
		Timing:    timing(o.Config.Timing),
		Requests:  broker.Requests,
		Model:     server.ModelFinder(c.models),
		Endpoints: c.serving,
		Pruned:    c.pruned(o.Deleted),
	})
	callers, err := newIAMCallers(o.Config.Auth, o.STS, o.Clock, o.Log)
	if err != nil {
		return err
	}
	c.flow = flow.New(flow.Options{Store: c.store, Queue: c.queue, Clock: o.Clock, Log: o.Log})
	options := server.Options{
		Identifier: callers,
		Store:      c.store, Queue: c.queue, Flow: c.flow, Serving: c.serving, Broker: broker, Archive: c.archive, Models: c.models, Webhooks: c.webhooks,
		Clock: o.Clock, Log: o.Log, Metrics: metrics(), Version: o.Version,
		Prices: func(region string) map[string]api.Price { return wirePrices(o.Config.Regions[region]) },
		Inference: &gateway.Options{
			Patience: o.Config.Gateway.Patience, WakeTimeout: o.Config.Gateway.WakeTimeout, MaxWaiting: o.Config.Gateway.MaxWaiting,
			Wake: c.wakeEndpoint,
		},
	}
	if c.copies.keeper != nil {
		options.Backups = c.copies.keeper
	}
	if c.server, err = server.New(options); err != nil {
		return err
	}
	c.traffic = traffic.New(traffic.Options{
		Serving: c.serving, Gateway: c.server.Gateway(), Leading: c.queue.Leading, Clock: o.Clock, Log: o.Log,
	})
	return nil
}

// wakeTimeout bounds the write by which an endpoint is woken.
const wakeTimeout = 10 * time.Second

// wakeEndpoint asks for a replica, because a request waits for one.
func (c *ControlPlane) wakeEndpoint(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), wakeTimeout)
	defer cancel()
	c.traffic.Wake(ctx, name)
}

// metrics is the registry of the process.
func metrics() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return registry
}

func wirePrices(region config.Region) map[string]api.Price {
	all := map[string]api.Price{}
	for resource, price := range region.Prices {
		all[resource] = api.Price(price)
	}
	return all
}

// pruned removes what is kept of jobs beside their record.
func (c *ControlPlane) pruned(deleted func([]job.ID)) func(context.Context, []job.ID) {
	return func(ctx context.Context, ids []job.ID) {
		if err := c.archive.Delete(ctx, ids); err != nil {
			c.log.Warn("deleting archived logs", "jobs", len(ids), "error", err)
		}
		if deleted != nil {
			deleted(ids)
		}
	}
}

// Run runs every loop of the control plane until ctx ends, and closes it.
func (c *ControlPlane) Run(ctx context.Context) error {
	TuneGC()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.queue.Run(ctx) })
	group.Go(func() error { return c.webhooks.Run(ctx) })
	group.Go(func() error { return c.flow.Run(ctx) })
	group.Go(func() error { return c.serving.Run(ctx) })
	group.Go(func() error { return c.traffic.Run(ctx) })
	group.Go(func() error { return c.server.Gateway().Run(ctx) })
	c.copies.run(ctx, group)
	group.Go(func() error { return c.server.Run(ctx, c.listener, c.certificates) })
	if c.debug != "" {
		group.Go(func() error { return Debug(ctx, c.debug) })
	}
	return errors.Join(group.Wait(), c.Close())
}

// Close releases what is open. It may be called more than once.
func (c *ControlPlane) Close() error {
	var errs []error
	if c.listener != nil {
		if err := c.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, c.copies.close())
	if c.bucket != nil {
		errs = append(errs, c.bucket.Close())
	}
	if c.modelBucket != nil {
		errs = append(errs, c.modelBucket.Close())
	}
	if c.store != nil {
		errs = append(errs, c.store.Close())
	}
	c.bucket, c.modelBucket, c.store = nil, nil, nil
	return errors.Join(errs...)
}
