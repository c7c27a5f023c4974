package daemon

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/runtime/kube"
)

// OpenKubeRegion takes the region's cluster and what runs there, as soon as it
// can be reached and no other agent drives it; until ctx ends it waits for
// that. trust is how long the agent acts on its own (config.Timing).
func OpenKubeRegion(ctx context.Context, o RegionOptions, trust time.Duration) (*Region, error) {
	k := o.Region.Kubernetes
	reached, err := kube.LoadConfig(k.Kubeconfig, k.Context)
	if err != nil {
		return nil, fmt.Errorf("%w; name a file with --kubeconfig", err)
	}
	driven, err := kube.Open(ctx, kube.Options{
		Config: reached, Region: o.Name, Namespace: k.Namespace, Identity: agentIdentity(), Wait: true,
		Checkpoints: k.Checkpoints, Provisionable: nodes(config.Region{Nodes: k.Provisionable}),
		LeaseDuration: leaseDuration(k, trust), Unschedulable: k.Unschedulable, Unstartable: k.Unstartable,
		Log: o.Log, Clock: o.Clock,
	})
	if err != nil {
		return nil, err
	}
	return newRegion(o, driven)
}

// agentIdentity names this process among the agents of a cluster. A pod has one
// agent at a time, so the next one in it is the same; elsewhere nobody can
// tell.
func agentIdentity() string {
	if pod := os.Getenv("POD_NAME"); pod != "" {
		return pod
	}
	host, err := os.Hostname()
	if err != nil {
		host = "agent"
	}
	return host + "-" + uuid.NewString()
}

// minLease is the least that a Lease can say, and then some.
const minLease = 3 * time.Second

// leaseDuration leaves time for another replica to take over within the trust.
func leaseDuration(k config.Kubernetes, trust time.Duration) time.Duration {
	if k.LeaseDuration > 0 {
		return k.LeaseDuration
	}
	return max(min(kube.DefaultLeaseDuration, trust/6), minLease)
}

// Watch ends with an error when another agent has taken the region's cluster:
// this one must not go on.
func (r *Region) Watch(ctx context.Context) error {
	driven, ok := r.runtime.(*kube.Runtime)
	if !ok {
		return nil
	}
	select {
	case <-driven.Lost():
		return fmt.Errorf("driving region %s: another agent has taken its cluster; start this one again to stand by", r.name)
	case <-ctx.Done():
		return nil
	}
}
