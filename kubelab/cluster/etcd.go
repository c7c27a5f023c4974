package cluster

import (
	"context"
	"fmt"
	"net/url"

	"go.etcd.io/etcd/server/v3/embed"
)

// store is the etcd that keeps the cluster's objects.
type store struct {
	server *embed.Etcd
	url    string
}

// openStore starts etcd on a free port. What it acknowledges survives the end
// of the process, and not that of the host: nothing is synced.
func openStore(ctx context.Context, dir, logFile string) (*store, error) {
	anyPort := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	config := embed.NewConfig()
	config.Name = "kubelab"
	config.Dir = dir
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{anyPort}, []url.URL{anyPort}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{anyPort}, []url.URL{anyPort}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.LogLevel, config.LogOutputs = "warn", []string{logFile}
	config.UnsafeNoFsync, config.EnableGRPCGateway = true, false
	config.AutoCompactionMode, config.AutoCompactionRetention = "periodic", "10m"
	config.QuotaBackendBytes = 4 << 30
	server, err := embed.StartEtcd(config)
	if err != nil {
		return nil, fmt.Errorf("starting etcd: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	select {
	case <-server.Server.ReadyNotify():
	case err := <-server.Err():
		return nil, fmt.Errorf("starting etcd: %w", err)
	case <-ctx.Done():
		server.Close()
		return nil, fmt.Errorf("starting etcd: it is not ready: %w", ctx.Err())
	}
	return &store{server: server, url: "http://" + server.Clients[0].Addr().String()}, nil
}

// run closes the store when ctx ends.
func (s *store) run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		s.server.Close()
		return nil
	case err := <-s.server.Err():
		return fmt.Errorf("etcd has ended: %w", err)
	}
}
