package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/accelerator"
	"github.com/gco-project/gco/internal/config"
)

// AcceleratorOptions is what an Accelerator is made of.
type AcceleratorOptions struct {
	// Config has listeners, and has been validated.
	Config config.FrontDoor
	Clock  clock.WithTicker
	Log    *slog.Logger
}

// Accelerator is a front door and the port of its metrics.
type Accelerator struct {
	*accelerator.Accelerator

	metrics  net.Listener
	registry *prometheus.Registry
}

// OpenAccelerator opens every port. Close it, or Run it, which closes it.
func OpenAccelerator(o AcceleratorOptions) (*Accelerator, error) {
	a := &Accelerator{registry: metrics()}
	options, err := frontDoor(o)
	if err != nil {
		return nil, err
	}
	options.Metrics = a.registry
	if a.Accelerator, err = accelerator.Open(options); err != nil {
		return nil, err
	}
	if o.Config.Metrics != "" {
		if a.metrics, err = net.Listen("tcp", o.Config.Metrics); err != nil {
			return nil, errors.Join(fmt.Errorf("listening on %s for metrics: %w", o.Config.Metrics, err), a.Accelerator.Close())
		}
	}
	return a, nil
}

// MetricsAddress is where the metrics are served; nil is nowhere.
func (a *Accelerator) MetricsAddress() net.Addr {
	if a.metrics == nil {
		return nil
	}
	return a.metrics.Addr()
}

// Run passes connections on until ctx ends and the open ones have ended, and
// closes everything.
func (a *Accelerator) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	// Metrics are served while connections drain, too.
	drained := make(chan struct{})
	group.Go(func() error {
		defer close(drained)
		return a.Accelerator.Run(ctx)
	})
	if a.metrics != nil {
		group.Go(func() error { return serveMetrics(a.metrics, a.registry, drained) })
	}
	return group.Wait()
}

// serveMetrics serves until done is closed.
func serveMetrics(listener net.Listener, registry *prometheus.Registry, done <-chan struct{}) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-done
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving metrics: %w", err)
	}
	return nil
}

// frontDoor is what the configuration says, in the accelerator's words.
func frontDoor(o AcceleratorOptions) (accelerator.Options, error) {
	c := o.Config
	options := accelerator.Options{
		HealthCheck: accelerator.HealthCheck(c.HealthCheck),
		DialTimeout: c.DialTimeout, IdleTimeout: c.IdleTimeout, DrainTimeout: c.DrainTimeout, MaxConnections: c.MaxConnections,
		Clock: o.Clock, Log: o.Log,
	}
	for _, l := range c.Listeners {
		options.Listeners = append(options.Listeners, accelerator.Listener{Address: l.Address, Affinity: accelerator.Affinity(l.ClientAffinity)})
	}
	for _, region := range slices.Sorted(maps.Keys(c.Groups)) {
		configured := c.Groups[region]
		group := accelerator.Group{Region: region, Latency: configured.Latency, Dial: configured.TrafficDial}
		for _, e := range configured.Endpoints {
			host, port, err := e.HostPort()
			if err != nil {
				return options, err
			}
			endpoint := accelerator.Endpoint{Host: host, Port: port, Ports: map[int]int{}, HealthPort: e.HealthPort, Weight: e.Weight}
			for listener, other := range e.Ports {
				number, err := strconv.Atoi(listener)
				if err != nil {
					return options, fmt.Errorf("the ports of endpoint %s: %w", e.Address, err)
				}
				endpoint.Ports[number] = other
			}
			group.Endpoints = append(group.Endpoints, endpoint)
		}
		options.Groups = append(options.Groups, group)
	}
	return options, nil
}
