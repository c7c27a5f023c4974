package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	"github.com/gco-project/gco/kubelab/pki"
)

// unlimited is more than a cluster for tests is ever asked at once.
const unlimited = "100000"

func (c *Cluster) startAPIServer() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c.inner = listener.Addr().String()
	files := c.options.Files
	c.rest = &rest.Config{
		Host: "https://" + c.inner,
		TLSClientConfig: rest.TLSClientConfig{
			CAFile: files.CA, CertFile: files.Admin.Cert, KeyFile: files.Admin.Key,
		},
		QPS: -1,
	}
	if err := WriteKubeconfig(c.kubeconfig(), c.inner, files); err != nil {
		return err
	}
	settings := options.NewServerRunOptions()
	settings.SecureServing.Listener = listener
	set := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	for _, some := range settings.Flags().FlagSets {
		set.AddFlagSet(some)
	}
	if err := set.Parse(flags(c.apiServerFlags(listener))); err != nil {
		return err
	}
	if err := settings.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	completed, err := settings.Complete(c.ctx)
	if err != nil {
		return err
	}
	for _, err := range completed.Validate() {
		return err
	}
	c.run("the API server", func(ctx context.Context) error { return app.Run(ctx, completed) })
	return c.awaitReady()
}

func (c *Cluster) apiServerFlags(listener net.Listener) map[string]string {
	files := c.options.Files
	toleration := strconv.Itoa(int(c.options.Toleration / time.Second))
	return map[string]string{
		"etcd-servers": c.etcd.url,
		"bind-address": "127.0.0.1", "secure-port": port(listener.Addr()), "advertise-address": "127.0.0.1",
		// An endpoint on the loopback interface is none that Kubernetes accepts.
		"endpoint-reconciler-type": "none",
		"tls-cert-file":            files.Server.Cert, "tls-private-key-file": files.Server.Key,
		"client-ca-file": files.CA, "authorization-mode": "RBAC",
		"service-account-issuer":           "https://kubernetes.default.svc",
		"service-account-key-file":         files.ServiceAccounts.Cert,
		"service-account-signing-key-file": files.ServiceAccounts.Key,
		"service-cluster-ip-range":         "10.96.0.0/16",
		"kubelet-client-certificate":       files.Kubelet.Cert, "kubelet-client-key": files.Kubelet.Key,
		"kubelet-certificate-authority": files.CA, "kubelet-preferred-address-types": "InternalIP",
		"default-not-ready-toleration-seconds": toleration, "default-unreachable-toleration-seconds": toleration,
		// One client at a time puts load on it: sharing it fairly only costs.
		"enable-priority-and-fairness": "false",
		"max-requests-inflight":        unlimited, "max-mutating-requests-inflight": unlimited,
		"profiling": "false",
	}
}

// kubeconfig is the file by which the components find the API server.
func (c *Cluster) kubeconfig() string { return filepath.Join(c.options.Dir, "components.kubeconfig") }

// WriteKubeconfig writes a file with which kubectl may do everything at that
// address. It stands on its own: certificates and key are in it.
func WriteKubeconfig(path, address string, files pki.Files) error {
	var contents [3][]byte
	for i, file := range []string{files.CA, files.Admin.Cert, files.Admin.Key} {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("writing a kubeconfig: %w", err)
		}
		contents[i] = text
	}
	config := kubeconfigOf("https://"+address, contents[0], contents[1], contents[2])
	if err := clientcmd.WriteToFile(config, path); err != nil {
		return fmt.Errorf("writing a kubeconfig: %w", err)
	}
	return nil
}
