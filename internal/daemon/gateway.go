package daemon

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/gateway"
	"github.com/gco-project/gco/internal/server"
)

// doorway is a region's own door: its gateway and its health.
type doorway struct {
	gateway  *gateway.Gateway
	door     *gateway.Door
	address  string
	listener net.Listener
	metrics  net.Listener
	registry *prometheus.Registry
	clock    clock.PassiveClock
	// began is when the gateway began to count.
	began time.Time
}

// doorwayOptions is what a doorway is made of.
type doorwayOptions struct {
	region string
	config config.Gateway
	// listener is used instead of config.Listen, if there is one.
	listener net.Listener
	client   *client.Client
	health   func(context.Context) api.Health
	clock    clock.WithTicker
	log      *slog.Logger
}

// openDoorway opens the door of a region.
func openDoorway(o doorwayOptions) (_ *doorway, err error) {
	d := &doorway{listener: o.listener, registry: metrics(), clock: o.clock, began: o.clock.Now().UTC()}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	upstream, err := upstreamOf(o.client.Addr())
	if err != nil {
		return nil, err
	}
	if d.gateway, err = gateway.New(gateway.Options{
		Region: o.region, Upstream: upstream,
		Access:   gateway.NewCachedAccess(remoteAccess{o.client}, o.clock),
		Patience: o.config.Patience, WakeTimeout: o.config.WakeTimeout, MaxWaiting: o.config.MaxWaiting,
		Clock: o.clock, Log: o.log, Metrics: d.registry,
	}); err != nil {
		return nil, err
	}
	if d.listener == nil {
		if d.listener, err = net.Listen("tcp", o.config.Listen); err != nil {
			return nil, fmt.Errorf("listening on %s for the gateway of region %s: %w", o.config.Listen, o.region, err)
		}
	}
	d.address = cmp.Or(o.config.Address, reachable(d.listener.Addr()))
	if o.config.TLS.Enabled() {
		certificates, err := server.LoadCertificates(o.config.TLS.Cert, o.config.TLS.Key, o.log)
		if err != nil {
			return nil, err
		}
		settings := certificates.Config()
		settings.NextProtos = []string{"http/1.1"}
		d.listener, d.address = tls.NewListener(d.listener, settings), "https://"+d.address
	}
	if o.config.Metrics != "" {
		if d.metrics, err = net.Listen("tcp", o.config.Metrics); err != nil {
			return nil, fmt.Errorf("listening on %s for the metrics of the gateway: %w", o.config.Metrics, err)
		}
	}
	d.door = gateway.NewDoor(gateway.DoorOptions{
		Handler: withHealth(d.gateway, o.health), DrainTimeout: o.config.DrainTimeout, Clock: o.clock, Log: o.log,
	})
	return d, nil
}

// upstreamOf is the control plane at a base URL.
func upstreamOf(base string) (*gateway.Upstream, error) {
	at, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("reading the address of the control plane: %w", err)
	}
	up := &gateway.Upstream{Address: at.Host, TLS: at.Scheme == "https"}
	if at.Port() == "" {
		up.Address = net.JoinHostPort(at.Hostname(), map[bool]string{false: "80", true: "443"}[up.TLS])
	}
	return up, nil
}

// healthTimeout is how long a region's cluster may take to say that it is
// there.
const healthTimeout = 2 * time.Second

// withHealth serves a region's own health, and all else by its gateway.
func withHealth(g *gateway.Gateway, health func(context.Context) api.Health) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/health" {
			g.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
		defer cancel()
		found := health(ctx)
		status := http.StatusOK
		if found.Status == "failed" {
			status = http.StatusServiceUnavailable
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(found)
	})
}

// run serves until ctx ends and what was open has ended.
func (d *doorway) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	drained := make(chan struct{})
	group.Go(func() error {
		defer close(drained)
		return d.door.Run(ctx, d.listener)
	})
	group.Go(func() error { return d.gateway.Run(ctx) })
	if d.metrics != nil {
		group.Go(func() error { return serveMetrics(d.metrics, d.registry, drained) })
	}
	return group.Wait()
}

func (d *doorway) close() error {
	var errs []error
	for _, l := range []net.Listener{d.listener, d.metrics} {
		if l == nil {
			continue
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// apply routes by what the agent says.
func (d *doorway) apply(routes []endpoint.Route) {
	table := gateway.Table{}
	for _, route := range routes {
		table.Endpoints = append(table.Endpoints, routed(route))
	}
	d.gateway.Apply(table)
}

// loads is what the gateway measured, for the agent.
func (d *doorway) loads() map[string]api.EndpointLoad {
	now, all := d.clock.Now().UTC(), map[string]api.EndpointLoad{}
	for name, load := range d.gateway.Load() {
		out := api.EndpointLoad{
			Began: d.began, At: now, Open: load.Open, Waiting: load.Waiting, Busy: load.Busy,
			Revisions: map[int]api.EndpointSample{},
		}
		numbers := slices.Sorted(maps.Keys(load.Revisions))
		for _, revision := range numbers[max(0, len(numbers)-endpoint.KeepRevisions):] {
			out.Revisions[revision] = api.EndpointSample(load.Revisions[revision])
		}
		all[name] = out
	}
	return all
}

// routed is a route in the gateway's words. Replicas that drain get nothing
// more.
func routed(route endpoint.Route) gateway.Endpoint {
	e := gateway.Endpoint{
		Name: route.Name, Open: !route.Limits.TokenRequired, Models: route.ModelNames,
		Limits: gateway.Limits{
			RequestsPerSecond: route.Limits.RequestsPerSecond, Concurrent: route.Limits.Concurrent, BodyBytes: route.Limits.BodyBytes,
		},
	}
	for i, share := range route.Shares {
		if i > 0 {
			e.Canary, e.Weight = share.Revision, share.Weight
		}
		for _, b := range share.Backends {
			if !b.Draining {
				e.Replicas = append(e.Replicas, gateway.Replica{Address: b.Address, Revision: b.Revision})
			}
		}
	}
	return e
}

// remoteAccess asks the control plane who may use an endpoint.
type remoteAccess struct{ client *client.Client }

// Allow is that of gateway.Access.
func (a remoteAccess) Allow(ctx context.Context, authorization, name string) error {
	_, token, _ := strings.Cut(authorization, " ")
	err := a.client.MayInvoke(ctx, token, name)
	said, answered := errors.AsType[*client.Error](err)
	if !answered || said.Problem.Status >= http.StatusInternalServerError {
		return err
	}
	refusal := &gateway.Refusal{Problem: said.Problem}
	if said.Problem.Status == http.StatusUnauthorized {
		refusal.Challenge = "Bearer"
	}
	return refusal
}
