package daemon

import (
	"runtime"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/manifest"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/queue"
)

// LoadConfig reads gco.yaml as [config.Load] does, and holds its sections
// against the rules of the packages that they are for. Every fault is in the
// one error.
func LoadConfig(path string, overlays ...config.Overlay) (config.Config, error) {
	c, _, err := LoadSettings(path, overlays...)
	return c, err
}

// LoadSettings is [LoadConfig] that also tells where each value came from.
func LoadSettings(path string, overlays ...config.Overlay) (config.Config, config.Sources, error) {
	c, sources, err := config.LoadSources(path, overlays...)
	if err != nil {
		return c, nil, err
	}
	faults := iamFaults(c.Auth)
	for _, found := range [][]job.Fault{manifest.Policy(c.Policy).Validate(), placementPolicy(c).Validate()} {
		for _, fault := range found {
			faults = append(faults, config.Fault{Path: fault.Field, Message: fault.Message})
		}
	}
	if len(faults) > 0 {
		return c, nil, &config.Invalid{File: path, Faults: faults}
	}
	return c, sources, nil
}

func timing(t config.Timing) queue.Timing {
	return queue.Timing{
		Trust: t.Trust, Lease: t.Lease, Takeover: t.Takeover, LongPoll: t.LongPoll,
		Patience: t.Patience, NeverFitsAfter: t.NeverFitsAfter, RecoveryRate: t.RecoveryRate,
	}
}

func placementPolicy(c config.Config) placement.Policy {
	p := placement.DefaultPolicy()
	p.Weights = placement.Weights(c.Placement.Weights)
	p.ReserveAfter, p.ProvisionTime = c.Placement.ReserveAfter, c.Placement.ProvisionTime
	return p
}

func prices(regions config.Regions) map[string]placement.Prices {
	all := map[string]placement.Prices{}
	for name, region := range regions {
		of := placement.Prices{}
		for resource, price := range region.Prices {
			of[resource] = placement.Price(price)
		}
		all[name] = of
	}
	return all
}

// nodes are the empty nodes that a local runtime simulates.
func nodes(region config.Region) []capacity.NodeShape {
	var shapes []capacity.NodeShape
	for _, node := range region.Nodes {
		total := capacity.Resources{}
		for name, quantity := range node.Resources {
			total[name] = quantity.In(name)
		}
		shape := capacity.NodeShape{
			Count: node.Count, Free: total.Clone(), Total: total, Architecture: node.Architecture, Labels: node.Labels,
		}
		if shape.Architecture == "" {
			shape.Architecture = runtime.GOARCH
		}
		for _, taint := range node.Taints {
			shape.Taints = append(shape.Taints, capacity.Taint(taint))
		}
		shapes = append(shapes, shape)
	}
	return shapes
}
