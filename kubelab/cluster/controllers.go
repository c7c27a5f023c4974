package cluster

import (
	"context"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"
)

// enabled are the controllers that do something where nodes, volumes and
// certificates are not real. The others would only cost memory.
var enabled = []string{
	names.ServiceAccountTokenController, names.ServiceAccountController, names.NamespaceController,
	names.GarbageCollectorController, names.PodGarbageCollectorController, names.ResourceQuotaController,
	names.JobController, names.CronJobController, names.TTLAfterFinishedController,
	names.DeploymentController, names.ReplicaSetController, names.StatefulSetController, names.DaemonSetController,
	names.DisruptionController, names.EndpointSliceController,
	names.NodeLifecycleController, names.TaintEvictionController,
	names.PersistentVolumeClaimProtectionController,
	names.ClusterRoleAggregationController, names.RootCACertificatePublisherController,
}

func (c *Cluster) startControllers() error {
	settings, err := options.NewKubeControllerManagerOptions()
	if err != nil {
		return err
	}
	known, disabled, aliases := app.KnownControllers(), app.ControllersDisabledByDefault(), app.ControllerAliases()
	set := pflag.NewFlagSet("kube-controller-manager", pflag.ContinueOnError)
	for _, some := range settings.Flags(known, disabled, aliases).FlagSets {
		set.AddFlagSet(some)
	}
	if err := set.Parse(flags(c.controllerFlags())); err != nil {
		return err
	}
	if err := settings.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	config, err := settings.Config(c.ctx, known, disabled, aliases)
	if err != nil {
		return err
	}
	c.run("the controller manager", func(ctx context.Context) error { return app.Run(ctx, config.Complete()) })
	return nil
}

func (c *Cluster) controllerFlags() map[string]string {
	return map[string]string{
		"kubeconfig": c.kubeconfig(), "leader-elect": "false", "secure-port": "0",
		"controllers":                      strings.Join(enabled, ","),
		"root-ca-file":                     c.options.Files.CA,
		"service-account-private-key-file": c.options.Files.ServiceAccounts.Key,
		"kube-api-qps":                     unlimited, "kube-api-burst": unlimited,
		"concurrent-job-syncs": "20", "concurrent-gc-syncs": "20", "concurrent-ttl-after-finished-syncs": "5",
		// Nodes say themselves whether they are ready, so that nothing has to
		// be written again and again to keep them so.
		"node-monitor-period": "500ms", "node-monitor-grace-period": "8760h", "node-startup-grace-period": "8760h",
		// Evictions are as slow as in a cluster only where many zones are sick.
		"node-eviction-rate": "100", "secondary-node-eviction-rate": "100", "unhealthy-zone-threshold": "1",
		"profiling": "false",
	}
}
