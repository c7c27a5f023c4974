package cluster

import (
	"context"

	"github.com/spf13/pflag"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

func (c *Cluster) startScheduler() error {
	settings := options.NewOptions()
	set := pflag.NewFlagSet("kube-scheduler", pflag.ContinueOnError)
	for _, some := range settings.Flags.FlagSets {
		set.AddFlagSet(some)
	}
	if err := set.Parse(flags(map[string]string{
		"kubeconfig": c.kubeconfig(), "leader-elect": "false", "secure-port": "0",
		"kube-api-qps": unlimited, "kube-api-burst": unlimited,
		"profiling": "false",
	})); err != nil {
		return err
	}
	if err := settings.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	config, scheduler, err := app.Setup(c.ctx, settings)
	if err != nil {
		return err
	}
	c.run("the scheduler", func(ctx context.Context) error { return app.Run(ctx, config, scheduler) })
	return nil
}
