// Package kubelet stands in for the kubelets of nodes that run commands: the
// containers of a pod are processes of this host, each in a session of its
// own, with runtime/local's handling of processes. It pulls no images, mounts
// nothing and isolates nothing. It reports pods as a kubelet does, and serves
// the logs of all nodes of a cluster. Package lab calls it.
package kubelet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/runtime/local/process"
)

// Options is what a Kubelet is made of.
type Options struct {
	// Dir has a directory for each pod; what is in it from an earlier start is
	// removed.
	Dir    string
	Client kubernetes.Interface
	// Cert and Key are the server's, CA vouches for its clients.
	Cert, Key, CA string
	Clock         clock.WithTicker
}

// Kubelet runs the pods of some nodes.
type Kubelet struct {
	options  Options
	listener net.Listener
	server   *http.Server

	mu     sync.Mutex
	pods   map[types.UID]*pod
	silent map[string]bool
	// heard is closed, and made anew, when a node is silent no more.
	heard chan struct{}
	work  sync.WaitGroup
}

// Open listens for the API server, and ends what an earlier kubelet of the
// same directory left behind.
func Open(o Options) (*Kubelet, error) {
	if err := endAll(o.Clock, marker(o.Dir, "")); err != nil {
		return nil, fmt.Errorf("ending what is left of pods: %w", err)
	}
	if err := os.RemoveAll(o.Dir); err != nil {
		return nil, fmt.Errorf("removing what is left of pods: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of pods: %w", err)
	}
	k := &Kubelet{options: o, pods: map[types.UID]*pod{}, silent: map[string]bool{}, heard: make(chan struct{})}
	return k, k.listen()
}

func (k *Kubelet) listen() error {
	certificate, err := tls.LoadX509KeyPair(k.options.Cert, k.options.Key)
	if err != nil {
		return fmt.Errorf("reading the kubelet's certificate: %w", err)
	}
	ca, err := os.ReadFile(k.options.CA)
	if err != nil {
		return fmt.Errorf("reading the kubelet's CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return errors.New("reading the kubelet's CA: there is no certificate in it")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening for the API server: %w", err)
	}
	k.listener = tls.NewListener(listener, &tls.Config{
		Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	})
	k.server = &http.Server{Handler: k.routes(), ReadHeaderTimeout: 10 * time.Second}
	return nil
}

// Port is where the API server finds the kubelet.
func (k *Kubelet) Port() int32 {
	return int32(k.listener.Addr().(*net.TCPAddr).Port) //nolint:forcetypeassert // a TCP listener's port
}

// Silence keeps what happens on a node from the API server, and what that
// wants from the node; commands that run there run on.
func (k *Kubelet) Silence(node string, silent bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.silent[node] && !silent {
		close(k.heard)
		k.heard = make(chan struct{})
	}
	k.silent[node] = silent
}

// Run serves, and runs the pods of those nodes, until ctx ends. Then it ends
// what runs.
func (k *Kubelet) Run(ctx context.Context, nodes []string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := k.server.Serve(k.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving logs: %w", err)
		}
		return nil
	})
	for _, node := range nodes {
		group.Go(func() error { return k.watch(ctx, node) })
	}
	group.Go(func() error { <-ctx.Done(); return k.server.Close() })
	err := group.Wait()
	k.work.Wait()
	return errors.Join(err, endAll(k.options.Clock, marker(k.options.Dir, "")))
}

// Close is for a kubelet that never ran.
func (k *Kubelet) Close() error { return k.listener.Close() }

// watch follows the pods of one node.
func (k *Kubelet) watch(ctx context.Context, node string) error {
	source := cache.NewListWatchFromClient(k.options.Client.CoreV1().RESTClient(), "pods", corev1.NamespaceAll,
		fields.OneTermEqualSelector("spec.nodeName", node))
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: source, ObjectType: &corev1.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { k.see(ctx, object) },
			UpdateFunc: func(_, object any) { k.see(ctx, object) },
			DeleteFunc: k.miss,
		},
	})
	informer.RunWithContext(ctx)
	return nil
}

// see takes notice of a pod as it is now.
func (k *Kubelet) see(ctx context.Context, object any) {
	seen, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	k.mu.Lock()
	p, known := k.pods[seen.UID]
	if !known {
		p = newPod(k, seen)
		k.pods[seen.UID] = p
		k.work.Go(func() { p.run(ctx) })
	}
	k.mu.Unlock()
	if seen.DeletionTimestamp != nil {
		p.delete(graceOf(seen))
	}
}

// miss takes notice of a pod that is no more: it was deleted without waiting
// for its node.
func (k *Kubelet) miss(object any) {
	if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = last.Obj
	}
	gone, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	k.mu.Lock()
	p := k.pods[gone.UID]
	k.mu.Unlock()
	if p != nil {
		p.delete(0)
		close(p.gone)
	}
}

// forget removes what is left of a pod that is no more.
func (k *Kubelet) forget(p *pod) {
	k.mu.Lock()
	delete(k.pods, p.object.UID)
	k.mu.Unlock()
	_ = os.RemoveAll(p.dir)
}

// audible waits until a node may be heard.
func (k *Kubelet) audible(ctx context.Context, node string) error {
	for {
		k.mu.Lock()
		silent, heard := k.silent[node], k.heard
		k.mu.Unlock()
		if !silent {
			return nil
		}
		select {
		case <-heard:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func graceOf(pod *corev1.Pod) time.Duration {
	if pod.DeletionGracePeriodSeconds == nil {
		return 0
	}
	return time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
}

// marker is in the environment of every process of a pod, and its beginning,
// without a UID, in that of all pods of a kubelet.
func marker(dir string, uid types.UID) string { return "KUBELAB_POD=" + dir + "/" + string(uid) }

// endAll kills every process with that marker.
func endAll(c clock.Clock, marker string) error {
	for {
		table, err := process.Table()
		if err != nil {
			return err
		}
		left := process.Left(table, nil, marker)
		if len(left) == 0 {
			return nil
		}
		for _, one := range left {
			if err := one.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, process.ErrGone) {
				return err
			}
		}
		c.Sleep(time.Millisecond)
	}
}
