package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/kubelab"
)

// clusterStarts is how long the clusters of gco up may take to serve, on a
// machine that has other things to do.
const clusterStarts = 3 * time.Minute

// agentNamespace is where an agent keeps its Lease (config.Kubernetes).
const agentNamespace = "gco-system"

// startClusters starts a cluster for each region, side by side, and tells the
// regions of them. The function that it returns ends them.
func (l *laptop) startClusters(ctx context.Context) (stop func(), err error) {
	binary, err := kubelab.Find(l.executable)
	if err != nil {
		return nil, err
	}
	clusters := make([]*kubelab.Cluster, len(l.names))
	stop = func() {
		var ended errgroup.Group
		for _, cluster := range clusters {
			if cluster != nil {
				ended.Go(func() error { cluster.Stop(); return nil })
			}
		}
		_ = ended.Wait()
	}
	ctx, cancel := context.WithTimeout(ctx, clusterStarts)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	for i, name := range l.names {
		group.Go(func() (err error) {
			clusters[i], err = l.startCluster(ctx, binary, name)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		stop()
		return nil, err
	}
	for i, name := range l.names {
		region := l.config.Regions[name]
		region.Kubernetes = config.Kubernetes{Kubeconfig: clusters[i].Kubeconfig, Namespace: agentNamespace}
		l.config.Regions[name] = region
	}
	return stop, nil
}

// startCluster starts a cluster whose nodes are those of the region.
func (l *laptop) startCluster(ctx context.Context, binary, name string) (*kubelab.Cluster, error) {
	dir := filepath.Join(l.dir, "regions", name, "kubelab")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the cluster of region %s: %w", name, err)
	}
	nodes := filepath.Join(dir, "nodes.yaml")
	if err := labNodes(l.config.Regions[name]).WriteFile(nodes); err != nil {
		return nil, err
	}
	return kubelab.Start(ctx, kubelab.Options{Binary: binary, Dir: dir, Region: name, Nodes: nodes})
}

// labNodes are the nodes of a region, as a cluster that runs commands has them.
func labNodes(region config.Region) kubelab.Nodes {
	file := kubelab.Nodes{Namespaces: []string{agentNamespace}}
	for i, node := range region.Nodes {
		group := kubelab.Group{
			Name: "node-" + strconv.Itoa(i), Kind: kubelab.Process, Count: node.Count, Arch: node.Architecture,
			Resources: map[string]string{}, Labels: node.Labels,
		}
		for resource, amount := range node.Resources {
			group.Resources[resource] = string(amount)
		}
		for _, taint := range node.Taints {
			group.Taints = append(group.Taints, kubelab.Taint(taint))
		}
		file.Groups = append(file.Groups, group)
	}
	return file
}
