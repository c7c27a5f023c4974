package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/agent"
	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/model/cache"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/local"
)

// RegionOptions is what a Region is made of.
type RegionOptions struct {
	Name string
	// Region has the nodes that the local runtime accounts jobs against.
	Region config.Region
	// Dir is the region's own; CheckpointDir is shared by the regions of a
	// host.
	Dir           string
	CheckpointDir string
	// Executable is this program, which supervises each attempt.
	Executable string
	// EndReplicas ends the replicas of endpoints with the agent.
	EndReplicas bool
	// Gateway is the region's own door, which it has if that says where to
	// listen or Listener is set, which it then serves on.
	Gateway  config.Gateway
	Listener net.Listener
	// Client speaks with the region's token.
	Client   *client.Client
	LongPoll time.Duration
	Clock    clock.WithTicker
	Log      *slog.Logger

	// modelDir is where the region's models are; empty where its runtime gives
	// attempts none.
	modelDir string
}

// Region is one region's agent with the runtime that it drives.
type Region struct {
	name    string
	runtime runtime.Runtime
	agent   *agent.Agent
	// doorway is nil where the region has none, and models too.
	doorway *doorway
	models  *cache.Cache
}

// OpenRegion opens the region's local runtime and takes over what runs there.
// Close it, or Run it, which closes it.
func OpenRegion(o RegionOptions) (*Region, error) {
	driven, err := local.Open(local.Options{
		Dir: o.Dir, Region: o.Name, Nodes: nodes(o.Region), CheckpointDir: o.CheckpointDir,
		Supervisor: []string{o.Executable, "supervise"}, EndReplicas: o.EndReplicas,
		Log: o.Log, Clock: o.Clock,
	})
	if errors.Is(err, runtime.ErrLocked) {
		return nil, fmt.Errorf("%w; end that one first, or give this one a directory of its own", err)
	}
	if err != nil {
		return nil, err
	}
	o.modelDir = filepath.Join(o.Dir, "models")
	return newRegion(o, driven)
}

// newRegion makes the agent that drives a runtime, which is closed where that
// fails.
func newRegion(o RegionOptions, driven runtime.Runtime) (*Region, error) {
	var err error
	r := &Region{name: o.Name, runtime: driven}
	options := agent.Options{
		Region: o.Name, Runtime: driven, Server: remote{o.Client},
		Clock: o.Clock, Log: o.Log, LongPoll: o.LongPoll,
	}
	if o.modelDir != "" {
		if r.models, err = openCache(o); err != nil {
			return nil, errors.Join(err, driven.Close())
		}
		options.Models = r.models
	}
	if replicas, ok := driven.(runtime.Replicas); ok {
		options.Replicas = replicas
	}
	if o.Gateway.Listen != "" || o.Listener != nil {
		if r.doorway, err = openDoorway(doorwayOptions{
			region: o.Name, config: o.Gateway, listener: o.Listener, client: o.Client,
			health: func(ctx context.Context) api.Health { return r.agent.Health(ctx) }, clock: o.Clock, log: o.Log,
		}); err != nil {
			return nil, errors.Join(err, r.Close())
		}
		options.Routes, options.Loads, options.GatewayAddress = r.doorway.apply, r.doorway.loads, r.doorway.address
	}
	r.agent = agent.New(options)
	return r, nil
}

// GatewayAddress is where the region's gateway is reached; empty is nowhere.
func (r *Region) GatewayAddress() string {
	if r.doorway == nil {
		return ""
	}
	return r.doorway.address
}

// Run drives the region until ctx ends, and closes it. What runs then runs on
// until its lease ends or another agent takes it over.
func (r *Region) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.agent.Run(ctx) })
	if r.doorway != nil {
		group.Go(func() error { return r.doorway.run(ctx) })
	}
	err := group.Wait()
	if err != nil {
		err = fmt.Errorf("driving region %s: %w", r.name, err)
	}
	return errors.Join(err, r.Close())
}

// Close stops driving.
func (r *Region) Close() error {
	var errs []error
	if r.doorway != nil {
		errs = append(errs, r.doorway.close())
	}
	if r.models != nil {
		errs = append(errs, r.models.Close())
	}
	return errors.Join(append(errs, r.runtime.Close())...)
}
