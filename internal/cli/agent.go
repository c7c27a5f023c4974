package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/daemon"
)

// What --runtime may be.
const runtimeLocal = "local"

var runtimes = []string{runtimeLocal, "kube"}

type agentOptions struct {
	daemonOptions
	region      string
	runtime     string
	kubeconfig  string
	kubeContext string
	checkpoints string
	gateway     string
	gatewayPort int
	probes      string
	laptop      bool
	withParent  bool
}

func newAgent(p *Program, run func(context.Context, *agentOptions) error) *cobra.Command {
	opts := &agentOptions{daemonOptions: daemonOptions{Program: p}}
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run the agent of one region",
		Long: `Agent drives one region: it asks the control plane for work, applies it to the
region's runtime, and reports. It needs an outgoing connection only, unless the
region serves endpoints: then its gateway has to be reached, too.

The local runtime runs the containers of jobs as processes of this host, as this
user. It pulls no images and isolates nothing, so it has to be asked for.

The Kubernetes runtime, kube, makes a Job of a cluster of each. Any number of
agents may be started for a cluster: one drives it, the others stand by. What
stands under regions.NAME.kubernetes in gco.yaml is for it; see docs/kubernetes.md.`,
		Example: `  gco tokens create us-east-1-agent --role agent --region us-east-1 > agent.token
  gco agent --region us-east-1 --runtime local --addr https://gco.example.com --token-file agent.token --dir /var/lib/gco-agent
  gco agent --region us-east-1 --runtime kube --kubeconfig cluster.yaml --addr https://gco.example.com --token-file agent.token`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opts.check(cmd); err != nil {
				return err
			}
			if opts.region == "" {
				return usagef(cmd, "--region is needed: the name of the region to drive")
			}
			if !slices.Contains(runtimes, opts.runtime) {
				return usagef(cmd, "--runtime %q: kube or local expected: kube runs jobs on a Kubernetes cluster, local as processes of this host", opts.runtime)
			}
			return run(cmd.Context(), opts)
		},
	}
	opts.register(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&opts.region, "region", "", "`NAME` of the region")
	flags.StringVar(&opts.runtime, "runtime", "", "what runs the jobs, `kube|local`: a Kubernetes cluster, or processes of this host")
	flags.StringVar(&opts.kubeconfig, "kubeconfig", "", "`FILE` that says how to reach the cluster (default this pod's credentials, or else as kubectl finds it)")
	flags.StringVar(&opts.kubeContext, "context", "", "`CONTEXT` of that file (default its current one)")
	flags.StringVar(&opts.checkpoints, "checkpoint-dir", "", "`DIRECTORY` for checkpoints, shared by the regions of a host (default checkpoints in --dir)")
	flags.StringVar(&opts.gateway, "gateway", "", "`ADDRESS` and port of the region's gateway, which serves its endpoints (default none)")
	flags.StringVar(&opts.probes, "probes", "", "`ADDRESS` and port of /healthz, which tells whether the process is alive, also while it stands by (default none)")
	flags.IntVar(&opts.gatewayPort, "gateway-fd", 0, "serve the gateway on the listening socket that is this file descriptor")
	flags.BoolVar(&opts.laptop, "laptop", false, "use the times of gco up")
	flags.BoolVar(&opts.withParent, "with-parent", false, "end when standard input ends")
	for _, hidden := range []string{"gateway-fd", "laptop", "with-parent"} {
		if err := flags.MarkHidden(hidden); err != nil {
			panic("cli: " + err.Error())
		}
	}
	complete(cmd, "runtime", runtimes...)
	completeWith(cmd, "region", p.regionNames())
	opts.completions(cmd)
	return cmd
}

func runAgent(ctx context.Context, opts *agentOptions) error {
	c, err := opts.load()
	if err != nil {
		return err
	}
	if opts.gateway != "" {
		c.Gateway.Listen = opts.gateway
		if err := c.Validate(); err != nil {
			return err
		}
	}
	dir := ""
	if opts.runtime == runtimeLocal {
		if c.Server.Dir == "" {
			return errors.New("the agent needs a directory for what it runs: pass --dir")
		}
		if dir, err = stateDir(c.Server.Dir); err != nil {
			return err
		}
	}
	executable, err := opts.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	server, err := opts.connect()
	if err != nil {
		return err
	}
	times, level := config.TimingInProduction, slog.LevelInfo
	if opts.laptop {
		times, level = config.TimingOnLaptop, slog.LevelWarn
		c.Gateway.DrainTimeout = min(c.Gateway.DrainTimeout, laptopDrain)
	}
	log := opts.log(c, level)
	checkpoints := opts.checkpoints
	if checkpoints == "" {
		checkpoints = filepath.Join(dir, "checkpoints")
	}
	listener, err := opts.inherited()
	if err != nil {
		return err
	}
	if opts.withParent {
		ctx = opts.untilParentEnds(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	if err := opts.serveProbes(ctx, group); err != nil {
		return err
	}
	region, err := opts.open(ctx, c.Timing.Or(times).Trust, daemon.RegionOptions{
		Name: opts.region, Region: regionOf(c, opts.region), Dir: dir, CheckpointDir: checkpoints,
		Executable: executable, EndReplicas: opts.withParent, Gateway: c.Gateway, Listener: listener, Client: server, LongPoll: c.Timing.Or(times).Poll(), Clock: opts.Clock, Log: log,
	})
	if err != nil {
		cancel()
		return errors.Join(err, group.Wait())
	}
	log.Info("driving", "region", opts.region, "server", server.Addr(), "dir", dir, "gateway", region.GatewayAddress())
	group.Go(func() error { return region.Run(ctx) })
	group.Go(func() error { return region.Watch(ctx) })
	if c.Server.Debug != "" {
		group.Go(func() error { return daemon.Debug(ctx, c.Server.Debug) })
	}
	return group.Wait()
}

// serveProbes serves probes from before the region is open, which may take for
// as long as another agent drives its cluster.
func (o *agentOptions) serveProbes(ctx context.Context, group *errgroup.Group) error {
	if o.probes == "" {
		return nil
	}
	listener, err := daemon.OpenProbes(o.probes)
	if err != nil {
		return err
	}
	group.Go(func() error { return daemon.ServeProbes(ctx, listener) })
	return nil
}

// inherited is the listening socket that gco up handed over; nil is none.
func (o *agentOptions) inherited() (net.Listener, error) {
	if o.gatewayPort == 0 {
		return nil, nil //nolint:nilnil // there need not be one
	}
	file := os.NewFile(uintptr(o.gatewayPort), "gateway")
	defer file.Close()
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("taking over the port of the gateway: %w", err)
	}
	return listener, nil
}

// open takes what drives the region.
func (o *agentOptions) open(ctx context.Context, trust time.Duration, r daemon.RegionOptions) (*daemon.Region, error) {
	if o.runtime == runtimeLocal {
		return daemon.OpenRegion(r)
	}
	k := &r.Region.Kubernetes
	k.Kubeconfig, k.Context = cmp.Or(o.kubeconfig, k.Kubeconfig), cmp.Or(o.kubeContext, k.Context)
	return daemon.OpenKubeRegion(ctx, r, trust)
}

// untilParentEnds returns a context that ends when the other end of standard
// input goes, so that no agent of gco up is left behind however that ends.
func (o *agentOptions) untilParentEnds(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, o.In)
	}()
	return ctx
}
