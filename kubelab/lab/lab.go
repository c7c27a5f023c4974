// Package lab is the composition root of kubelab: it starts the control plane,
// registers the nodes, puts the gate before the API server and serves the
// faults. The kubelab command is all that calls it.
package lab

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/kubelab/cluster"
	"github.com/gco-project/gco/kubelab/gate"
	"github.com/gco-project/gco/kubelab/kubelet"
	"github.com/gco-project/gco/kubelab/nodes"
	"github.com/gco-project/gco/kubelab/pki"
)

// Options is what one run is made of.
type Options struct {
	// Dir keeps objects, certificates, the log and the pods' directories.
	Dir string
	// Kubeconfig is the file that is written for clients.
	Kubeconfig string
	// Listen and Control are loopback addresses of the API server and of the
	// faults.
	Listen, Control string
	Nodes           nodes.File
	// Toleration is how long pods stay on a node that is not ready; PodRuns is
	// how long a simulated pod runs that does not say it.
	Toleration, PodRuns time.Duration
	Clock               clock.WithTicker
	// Ready receives one line when everything serves.
	Ready io.Writer
}

// Endpoints is that line.
type Endpoints struct {
	Server     string `json:"server"`
	Kubeconfig string `json:"kubeconfig"`
	Control    string `json:"control"`
	Version    string `json:"version"`
	Log        string `json:"log"`
}

func (o *Options) complete() error {
	if o.Dir == "" {
		return errors.New("--dir is needed: a directory for everything that is kept")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	o.Dir = dir
	if o.Kubeconfig == "" {
		o.Kubeconfig = filepath.Join(dir, "kubeconfig")
	}
	for name, address := range map[string]string{"listen": o.Listen, "control": o.Control} {
		host, _, err := net.SplitHostPort(address)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			return fmt.Errorf("--%s %s: an address of the loopback interface is needed, such as 127.0.0.1:0", name, address)
		}
	}
	return nil
}

// Run runs a cluster until ctx ends.
func Run(ctx context.Context, o Options) error {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("making the directory: %w", err)
	}
	log, err := openLog(filepath.Join(o.Dir, "kubelab.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	files, err := pki.Open(filepath.Join(o.Dir, "pki"), o.Clock.Now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running, err := cluster.Start(ctx, cluster.Options{
		Dir: o.Dir, Files: files, Toleration: o.Toleration, PodRuns: o.PodRuns, Log: log,
	})
	if err != nil {
		return err
	}
	around, ctx := errgroup.WithContext(ctx)
	failed := make(chan error, 1)
	go func() {
		failed <- running.Wait()
		cancel()
	}()
	if err := o.open(ctx, around, running, files, log.Name()); err != nil {
		cancel()
		return errors.Join(err, around.Wait())
	}
	around.Go(func() error { <-ctx.Done(); return nil })
	err = around.Wait()
	// The components take seconds to say goodbye to clients that are going,
	// too; what they acknowledged is kept without it.
	select {
	case ended := <-failed:
		err = errors.Join(err, ended)
	default:
	}
	return err
}

// open starts what stands around the cluster.
func (o Options) open(ctx context.Context, group *errgroup.Group, running *cluster.Cluster, files pki.Files, log string) error {
	client, err := running.Client()
	if err != nil {
		return err
	}
	let, err := kubelet.Open(kubelet.Options{
		Dir: filepath.Join(o.Dir, "pods"), Client: client,
		Cert: files.Server.Cert, Key: files.Server.Key, CA: files.CA, Clock: o.Clock,
	})
	if err != nil {
		return err
	}
	at := nodes.Endpoint{Address: "127.0.0.1", Port: let.Port(), Version: running.Version()}
	hosts := registry{client: client, kubelet: let, clock: o.Clock}
	if err := hosts.makeNamespaces(ctx, o.Nodes.Namespaces); err != nil {
		return errors.Join(err, let.Close())
	}
	commanded, err := hosts.register(ctx, o.Nodes.Nodes(at, o.Clock.Now()))
	if err != nil {
		return errors.Join(err, let.Close())
	}
	group.Go(func() error { return let.Run(ctx, commanded) })
	door, err := gate.Open(o.Listen, running.Inner(), o.Clock)
	if err != nil {
		return err
	}
	group.Go(func() error { <-ctx.Done(); return door.Close() })
	if err := cluster.WriteKubeconfig(o.Kubeconfig, door.Address(), files); err != nil {
		return err
	}
	control, err := net.Listen("tcp", o.Control)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", o.Control, err)
	}
	server := &http.Server{Handler: newControl(door, hosts), ReadHeaderTimeout: 10 * time.Second}
	group.Go(func() error {
		if err := server.Serve(control); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving faults: %w", err)
		}
		return nil
	})
	group.Go(func() error { <-ctx.Done(); return server.Close() })
	return json.NewEncoder(o.Ready).Encode(Endpoints{
		Server: "https://" + door.Address(), Kubeconfig: o.Kubeconfig,
		Control: "http://" + control.Addr().String(), Version: running.Version(), Log: log,
	})
}

// openLog sends what the components of Kubernetes say to a file.
func openLog(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	set := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(set)
	if err := errors.Join(set.Set("logtostderr", "false"), set.Set("one_output", "true"), set.Set("stderrthreshold", "FATAL"), set.Set("alsologtostderr", "false")); err != nil {
		return nil, fmt.Errorf("setting up the log: %w", err)
	}
	klog.SetOutput(file)
	return file, nil
}
