// Package cluster is one real Kubernetes control plane in this process: etcd,
// the API server, the controller manager and the scheduler, with kwok to play
// the pods of simulated nodes. It starts them, says when they are ready, and
// ends with the process: the controller manager can start only once in one. It
// knows nothing of faults and of what runs commands. The kubelab command calls
// it.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/version"

	"github.com/gco-project/gco/kubelab/pki"
)

// Options is what a Cluster is made of.
type Options struct {
	// Dir keeps the cluster's objects; a cluster that is opened there again
	// has them still.
	Dir   string
	Files pki.Files
	// Toleration is how long pods stay on a node that is not ready.
	Toleration time.Duration
	// PodRuns is how long a simulated pod of a job runs that does not say it.
	PodRuns time.Duration
	// Log receives what the components say.
	Log *os.File
}

// Cluster is a running control plane.
type Cluster struct {
	options Options
	etcd    *store
	// inner is where the components find the API server.
	inner string
	rest  *rest.Config
	group *errgroup.Group
	ctx   context.Context //nolint:containedctx // that of the components, which outlives Start
}

// Start starts every component and returns when they serve. They run until
// ctx ends; Wait says how that went.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	group, ctx := errgroup.WithContext(ctx)
	c := &Cluster{options: o, group: group, ctx: ctx}
	etcd, err := openStore(ctx, filepath.Join(o.Dir, "etcd"), o.Log.Name())
	if err != nil {
		return nil, err
	}
	c.etcd = etcd
	group.Go(func() error { return etcd.run(ctx) })
	if err := c.startAPIServer(); err != nil {
		return nil, fmt.Errorf("starting the API server: %w", err)
	}
	if err := c.startControllers(); err != nil {
		return nil, fmt.Errorf("starting the controller manager: %w", err)
	}
	if err := c.startScheduler(); err != nil {
		return nil, fmt.Errorf("starting the scheduler: %w", err)
	}
	if err := c.startSimulation(); err != nil {
		return nil, fmt.Errorf("starting the simulation of nodes: %w", err)
	}
	return c, nil
}

// Inner is the address of the API server that nothing stands before.
func (c *Cluster) Inner() string { return c.inner }

// Client speaks to the API server as one who may do everything.
func (c *Cluster) Client() (*kubernetes.Clientset, error) { return kubernetes.NewForConfig(c.rest) }

// Version is that of Kubernetes.
func (c *Cluster) Version() string { return version.Get().GitVersion }

// Wait waits for the first component to fail, or for the end of the context
// that Start was given.
func (c *Cluster) Wait() error {
	err := c.group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// run runs a component until the cluster's context ends.
func (c *Cluster) run(name string, component func(context.Context) error) {
	c.group.Go(func() error {
		if err := component(c.ctx); c.ctx.Err() == nil {
			return fmt.Errorf("%s has ended: %w", name, err)
		}
		return nil
	})
}

// readyWithin is how long the API server may take to serve.
const readyWithin = 2 * time.Minute

// awaitReady waits until the API server says that it is ready.
func (c *Cluster) awaitReady() error {
	transport, err := rest.TransportFor(c.rest)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	said := "it did not answer"
	err = wait.PollUntilContextTimeout(c.ctx, 50*time.Millisecond, readyWithin, true, func(ctx context.Context) (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.rest.Host+"/readyz", http.NoBody)
		if err != nil {
			return false, err
		}
		response, err := client.Do(request)
		if err != nil {
			said = err.Error()
			return false, nil //nolint:nilerr // it is not there yet
		}
		said = response.Status
		return response.StatusCode == http.StatusOK, response.Body.Close()
	})
	if err != nil {
		return fmt.Errorf("waiting until it is ready (%s; its log is %s): %w", said, c.options.Log.Name(), errors.Join(err, context.Cause(c.ctx)))
	}
	return nil
}

// flags writes a component's settings as its command line has them, which is
// where they are documented.
func flags(settings map[string]string) []string {
	args := make([]string, 0, len(settings))
	for name, value := range settings {
		args = append(args, "--"+name+"="+value)
	}
	return args
}

func port(address net.Addr) string {
	return strconv.Itoa(address.(*net.TCPAddr).Port) //nolint:forcetypeassert // of a TCP listener
}
