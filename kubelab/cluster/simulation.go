package cluster

import (
	"embed"
	"fmt"
	"io/fs"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/client/clientset/versioned"
	"sigs.k8s.io/kwok/pkg/config"
	"sigs.k8s.io/kwok/pkg/kwok/controllers"
	"sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/client"

	"github.com/gco-project/gco/kubelab/nodes"
)

// stages are what a simulated pod goes through.
//
//go:embed stages/*.yaml
var stages embed.FS

// jobPodEnds is the stage whose delay is the running time of a pod.
const jobPodEnds = "pod-ends"

// startSimulation lets kwok play the pods of simulated nodes.
func (c *Cluster) startSimulation() error {
	played, err := c.loadStages()
	if err != nil {
		return err
	}
	settings := controllers.Config{
		Clock: clock.RealClock{}, ID: "kubelab",
		ManageNodesWithLabelSelector: nodes.KindLabel + "=" + string(nodes.Simulated),
		CIDR:                         "10.0.0.1/16",
		NodeIP:                       "127.0.0.1",
		LocalStages:                  played,
		PodPlayStageParallelism:      8, NodePlayStageParallelism: 2, PodsOnNodeSyncParallelism: 4,
	}
	if err := clients(&settings, c.rest, c.kubeconfig()); err != nil {
		return err
	}
	simulation, err := controllers.NewController(settings)
	if err != nil {
		return err
	}
	return simulation.Start(log.NewContext(c.ctx, log.NewLogger(c.options.Log, log.LevelWarn)))
}

// clients fills in every way in which kwok speaks to the API server.
func clients(settings *controllers.Config, at *rest.Config, kubeconfig string) (err error) {
	set, err := client.NewClientset("", kubeconfig)
	if err != nil {
		return err
	}
	settings.ImpersonatingDynamicClient = set.ToImpersonatingDynamicClient()
	settings.ImpersonatingTypedClient = set.ToImpersonatingTypedClient()
	if settings.DynamicClient, err = set.ToDynamicClient(); err != nil {
		return err
	}
	if settings.RESTMapper, err = set.ToRESTMapper(); err != nil {
		return err
	}
	config, err := set.ToRESTConfig()
	if err != nil {
		return err
	}
	if settings.RESTClient, err = rest.RESTClientFor(config); err != nil {
		return err
	}
	if settings.TypedClient, err = kubernetes.NewForConfig(at); err != nil {
		return err
	}
	settings.TypedKwokClient, err = versioned.NewForConfig(at)
	return err
}

// loadStages reads the stages by what they are about.
func (c *Cluster) loadStages() (map[internalversion.StageResourceRef][]*internalversion.Stage, error) {
	files, err := fs.Glob(stages, "stages/*.yaml")
	if err != nil {
		return nil, err
	}
	all := map[internalversion.StageResourceRef][]*internalversion.Stage{}
	for _, file := range files {
		text, err := stages.ReadFile(file)
		if err != nil {
			return nil, err
		}
		stage, err := config.UnmarshalWithType[*internalversion.Stage](text)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		if stage.Name == jobPodEnds {
			runs := c.options.PodRuns.Milliseconds()
			stage.Spec.Delay.DurationMilliseconds = &runs
		}
		all[stage.Spec.ResourceRef] = append(all[stage.Spec.ResourceRef], stage)
	}
	return all, nil
}
