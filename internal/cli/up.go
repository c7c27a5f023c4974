package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/daemon"
	"github.com/gco-project/gco/internal/job"
)

type upOptions struct {
	daemonOptions
	storeFlags
	regions       []string
	listen        string
	frontDoor     string
	regionProcess bool
	kubernetes    bool
}

func newUp(p *Program, run func(context.Context, *upOptions) error) *cobra.Command {
	opts := &upOptions{daemonOptions: daemonOptions{Program: p}}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the whole system on this machine",
		Long: `Up runs a control plane and a few regions on this machine, with no account, no
cluster and no container engine. Each region has its own agent, which talks to
the control plane over HTTP as it would from far away. Jobs run as processes of
this host, as you: their images are not pulled, and nothing isolates them.

Each region has a gateway, which serves its endpoints, and one front door is
before them all. With the API on its usual port, 8420, the front door is on 8421
and the gateways are on 8431 and those after it; else all are on free ports.

With --kubernetes each region is a real Kubernetes control plane of its own, in
a process (see docs/kubelab.md); jobs become Jobs there, whose commands run on
this host all the same. A region takes about 300 MB then.

It writes your config file, so that every other command finds it. What it keeps
is in --dir, and is there again at the next start.`,
		Example: `  gco up
  gco up --regions us-east-1,eu-west-1 --listen 127.0.0.1:0
  gco up --region-process    # then kill one agent, and watch its jobs move
  gco up --kubernetes        # three clusters that kubectl can talk to
  gco up --config examples/gco.yaml --dir /tmp/gco
  gco up --store dynamodb --endpoint-url http://127.0.0.1:8000`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opts.daemonOptions.check(cmd); err != nil {
				return err
			}
			if err := opts.storeFlags.check(cmd); err != nil {
				return err
			}
			for i, name := range opts.regions {
				if !job.ValidRegionName(name) {
					return usagef(cmd, "--regions: %q is not a region name (lower-case letters, digits and hyphens)", name)
				}
				if slices.Contains(opts.regions[:i], name) {
					return usagef(cmd, "--regions: %s is there twice", name)
				}
			}
			return run(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	opts.daemonOptions.register(flags)
	opts.storeFlags.register(flags)
	flags.StringSliceVar(&opts.regions, "regions", nil, "`NAMES` of the regions (default those of the configuration, or "+strings.Join(config.LaptopRegionNames, ",")+")")
	flags.StringVar(&opts.listen, "listen", "", "`ADDRESS` and port of the API (default 127.0.0.1:8420); port 0 picks a free one")
	flags.StringVar(&opts.frontDoor, "front-door", "", "`ADDRESS` and port of the front door (default 127.0.0.1:8421, or a free port)")
	flags.BoolVar(&opts.regionProcess, "region-process", false, "run each region's agent as a process of its own, so that one can be killed")
	flags.BoolVar(&opts.kubernetes, "kubernetes", false, "make each region a Kubernetes cluster on this machine; make kubelab builds what that needs")
	opts.daemonOptions.completions(cmd)
	opts.storeFlags.completions(cmd)
	return cmd
}

// How long gco up waits for its regions before it says hello all the same, and
// how often it looks.
const (
	regionsOpen = 5 * time.Second
	lookAgain   = 20 * time.Millisecond
)

// laptop is one run of gco up.
type laptop struct {
	*upOptions
	config     config.Config
	names      []string
	dir        string
	executable string
	log        *slog.Logger
	plane      *daemon.ControlPlane
	doors      doors
	admin      string
}

func runUp(ctx context.Context, opts *upOptions) error {
	l, err := opts.prepare(ctx)
	if err != nil {
		return err
	}
	// The control plane outlives the regions, so that they can say goodbye.
	planeCtx, stopPlane := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPlane()
	served := make(chan error, 1)
	regionsCtx, stopRegions := context.WithCancel(ctx)
	defer stopRegions()
	go func() {
		defer stopRegions()
		served <- l.plane.Run(planeCtx)
	}()
	err = l.runRegions(regionsCtx)
	stopPlane()
	if ctx.Err() != nil && opts.Terminal {
		fmt.Fprintf(opts.Out, "\nStopped. Jobs that still run are ended within %s, and begin again at the next gco up.\n", l.config.Timing.Trust)
	}
	return errors.Join(err, <-served)
}

// prepare opens the control plane and everything that the regions need.
func (o *upOptions) prepare(ctx context.Context) (*laptop, error) {
	c, err := daemon.LoadConfig(o.configFile, o.storeFlags.overlays()...)
	if err != nil {
		return nil, err
	}
	if err := atStandIn(c); err != nil {
		return nil, err
	}
	o.override(&c)
	if o.listen != "" {
		c.Server.Listen = o.listen
	}
	l := &laptop{upOptions: o, names: o.regions}
	if len(l.names) == 0 {
		l.names = slices.Sorted(maps.Keys(c.Regions))
	}
	if len(l.names) == 0 {
		l.names = config.LaptopRegionNames
	}
	regions := config.Regions{}
	for _, name := range l.names {
		regions[name] = regionOf(c, name)
	}
	c.Regions, c.Timing = regions, c.Timing.Or(config.TimingOnLaptop)
	if len(c.Webhooks.AllowNetworks) == 0 {
		c.Webhooks.AllowNetworks = config.LoopbackNetworks
	}
	// The agents and the user are on this machine, where a certificate for a
	// public name would only be in the way.
	c.Server.TLS = config.TLS{}
	if !c.Server.OnLoopback() && !c.Server.AllowPlaintext {
		return nil, fmt.Errorf("gco up speaks plain HTTP, and %s is not a loopback address: use one such as 127.0.0.1:8420, or run gco server with TLS", c.Server.Listen)
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	l.config, l.log = c, o.log(c, slog.LevelWarn)
	if l.executable, err = o.Executable(); err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	if l.dir, err = o.upDir(c); err != nil {
		return nil, err
	}
	return l, l.open(ctx)
}

// upDir is where everything is kept.
func (o *upOptions) upDir(c config.Config) (string, error) {
	dir := c.Server.Dir
	if dir == "" {
		home, err := o.UserStateDir()
		if err != nil {
			return "", fmt.Errorf("finding your directory for state: %w; pass --dir", err)
		}
		dir = filepath.Join(home, "gco")
	}
	return stateDir(dir)
}

func (l *laptop) open(ctx context.Context) (err error) {
	l.plane, err = daemon.OpenControlPlane(ctx, daemon.ControlPlaneOptions{
		Config: l.config, Dir: filepath.Join(l.dir, "control-plane"), RenewAdmin: true,
		Version: thisVersion(), Clock: l.Clock, Log: l.log, Deleted: l.deleteCheckpoints,
	})
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; is another gco up running? Use --listen 127.0.0.1:0 and a --dir of its own for a second one", err)
	}
	if err != nil {
		return err
	}
	text, err := os.ReadFile(l.plane.AdminTokenFile)
	if err != nil {
		return errors.Join(fmt.Errorf("reading the admin token: %w", err), l.plane.Close())
	}
	l.admin = strings.TrimSpace(string(text))
	if err := l.openDoors(); err != nil {
		return errors.Join(err, l.plane.Close())
	}
	return nil
}

// runRegions starts the agents, says hello, and waits until ctx ends.
func (l *laptop) runRegions(ctx context.Context) error {
	admin, err := client.New(l.plane.URL, l.admin, client.WithUserAgent("gco-up"))
	if err != nil {
		return err
	}
	defer admin.Close()
	if l.kubernetes {
		stop, err := l.startClusters(ctx)
		if err != nil {
			return err
		}
		defer stop()
	}
	group, ctx := errgroup.WithContext(ctx)
	started := make([]string, 0, len(l.names))
	for _, name := range l.names {
		dir := filepath.Join(l.dir, "regions", name)
		token, err := daemon.AgentToken(ctx, admin, name, dir)
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		start := l.startHere
		if l.regionProcess {
			start = l.startProcess
		}
		said, run, err := start(ctx, name, dir, token)
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		started = append(started, said)
		group.Go(func() error { return run(ctx) })
	}
	l.awaitRegions(ctx, admin)
	group.Go(func() error { return l.doors.front.Run(ctx) })
	if err := l.hello(started); err != nil {
		return errors.Join(err, group.Wait())
	}
	// With region processes, all of them may have ended.
	group.Go(func() error { <-ctx.Done(); return nil })
	return group.Wait()
}

// awaitRegions waits until every region has opened its session, so that what
// is tried next finds them. One that takes long is not waited for.
func (l *laptop) awaitRegions(ctx context.Context, admin *client.Client) {
	ctx, cancel := context.WithTimeout(ctx, regionsOpen)
	defer cancel()
	ticker := l.Clock.NewTicker(lookAgain)
	defer ticker.Stop()
	for {
		if list, err := admin.Regions(ctx); err == nil && l.allLive(list) {
			return
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return
		}
	}
}

func (l *laptop) allLive(list api.RegionList) bool {
	live := 0
	for _, region := range list.Items {
		if slices.Contains(l.names, region.Name) && region.Lease == "live" && region.Inventoried {
			live++
		}
	}
	return live == len(l.names)
}

// startHere opens a region in this process.
func (l *laptop) startHere(ctx context.Context, name, dir, tokenFile string) (said string, run func(context.Context) error, err error) {
	secret, err := os.ReadFile(tokenFile)
	if err != nil {
		return "", nil, fmt.Errorf("reading the token of region %s: %w", name, err)
	}
	server, err := client.New(l.plane.URL, strings.TrimSpace(string(secret)), client.WithUserAgent("gco-agent"))
	if err != nil {
		return "", nil, err
	}
	region, err := l.openRegion(ctx, daemon.RegionOptions{
		Name: name, Region: l.config.Regions[name], Dir: filepath.Join(dir, "runtime"), CheckpointDir: l.checkpoints(),
		Executable: l.executable, EndReplicas: true, Gateway: l.config.Gateway, Listener: l.doors.gateways[name], Client: server, LongPoll: l.config.Timing.Poll(), Clock: l.Clock, Log: l.log,
	})
	if err != nil {
		return "", nil, err
	}
	return name, func(ctx context.Context) error {
		defer server.Close()
		return region.Run(ctx)
	}, nil
}

// openRegion takes what drives a region.
func (l *laptop) openRegion(ctx context.Context, o daemon.RegionOptions) (*daemon.Region, error) {
	if l.kubernetes {
		return daemon.OpenKubeRegion(ctx, o, l.config.Timing.Trust)
	}
	return daemon.OpenRegion(o)
}

func (l *laptop) checkpoints() string { return filepath.Join(l.dir, "checkpoints") }

// deleteCheckpoints removes what jobs kept whose record is gone.
func (l *laptop) deleteCheckpoints(ids []job.ID) {
	for _, id := range ids {
		if err := os.RemoveAll(filepath.Join(l.checkpoints(), string(id))); err != nil {
			l.log.Warn("deleting checkpoints", "job", id, "error", err)
		}
	}
}

// hello says where everything is, and writes the user's config.
func (l *laptop) hello(regions []string) error {
	path, err := l.userConfigPath()
	if err != nil {
		return err
	}
	saved, err := l.saveUserConfig(path)
	if err != nil {
		return err
	}
	w := l.Out
	fmt.Fprintf(w, "GCO is up at %s\n", l.plane.URL)
	fmt.Fprintf(w, "  regions  %s\n", strings.Join(regions, ", "))
	fmt.Fprintf(w, "  door     http://%s, before the gateways of the regions\n", l.doors.front.Addresses()[0])
	fmt.Fprintf(w, "  gateways %s\n", l.gatewayAddresses())
	for _, name := range l.names {
		if file := l.config.Regions[name].Kubernetes.Kubeconfig; l.kubernetes {
			fmt.Fprintf(w, "  cluster  KUBECONFIG=%s\n", file)
		}
	}
	fmt.Fprintf(w, "  token    %s\n", l.plane.AdminTokenFile)
	fmt.Fprintf(w, "  data     %s\n", l.dir)
	if saved {
		fmt.Fprintf(w, "  config   %s\n\n", path)
	} else {
		fmt.Fprintf(w, "  config   %s is yours and stays as it is; for this system set\n", path)
		fmt.Fprintf(w, "           export GCO_ADDR=%s GCO_TOKEN_FILE=%s\n\n", l.plane.URL, l.plane.AdminTokenFile)
	}
	_, err = fmt.Fprint(w, `Try, in another terminal:
  gco submit examples/hello.yaml --wait --logs
  gco jobs list
  gco regions list
  gco top

Jobs run as processes of this host, as you. Ctrl-C stops everything.
`)
	return err
}

const writtenByUp = "gco up"

// saveUserConfig writes the user's config file, unless that is the user's own.
func (l *laptop) saveUserConfig(path string) (saved bool, err error) {
	present, err := readUserConfig(path)
	if err != nil {
		return false, err
	}
	if present != (UserConfig{}) && present.WrittenBy != writtenByUp {
		return false, nil
	}
	return true, writeUserConfig(path, UserConfig{Address: l.plane.URL, Token: l.admin, WrittenBy: writtenByUp})
}
