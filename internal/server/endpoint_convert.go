package server

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/serving"
)

// durations reads durations and gathers those that are none.
type durations struct{ faults []job.Fault }

func (d *durations) read(field, text string) time.Duration {
	if text == "" {
		return 0
	}
	length, err := time.ParseDuration(text)
	if err != nil || length < 0 {
		d.faults = append(d.faults, job.Fault{Field: field, Message: fmt.Sprintf("%q is not a duration, such as 90s or 1h30m", shorten([]byte(text)))})
		return 0
	}
	return length
}

// endpointSpecOf is a spec with its defaults, and lists what can't be read.
func endpointSpecOf(s api.EndpointSpec) (endpoint.Spec, []job.Fault) {
	d := &durations{}
	spec := endpoint.Spec{
		Container: endpoint.Container{
			Image: s.Image, Command: slices.Clone(s.Command), Args: slices.Clone(s.Args), Env: maps.Clone(s.Env), Port: s.Port,
			Resources: maps.Clone(s.Resources), Model: s.Model, HealthPath: s.HealthPath, CapacityType: capacity.Type(s.CapacityType),
		},
		Replicas: s.Replicas, DrainTime: d.read("drainTime", s.DrainTime), ReadyTimeout: d.read("readyTimeout", s.ReadyTimeout),
		ModelNames: maps.Clone(s.ModelNames),
	}
	if s.Regions != nil {
		spec.Regions = endpoint.Regions{Names: slices.Clone(s.Regions.Names), Count: s.Regions.Count}
	}
	if s.Limits != nil {
		spec.Limits = endpoint.Limits(*s.Limits)
	}
	if a := s.Autoscaling; a != nil {
		spec.Autoscaling = &endpoint.Autoscaling{
			Min: a.Min, Max: a.Max, Metric: endpoint.Metric(a.Metric), Target: a.Target, Gauge: a.Gauge, Window: d.read("autoscaling.window", a.Window),
			ScaleDownDelay: d.read("autoscaling.scaleDownDelay", a.ScaleDownDelay), IdleTime: d.read("autoscaling.idleTime", a.IdleTime),
		}
	}
	if p := s.Canary; p != nil {
		spec.Canary = &endpoint.CanaryPolicy{Weight: p.Weight, Regions: slices.Clone(p.Regions), Steps: slices.Clone(p.Steps)}
		if a := p.Analysis; a != nil {
			spec.Canary.Analysis = &endpoint.Analysis{
				Window: d.read("canary.analysis.window", a.Window), MinRequests: a.MinRequests, MaxErrorRate: a.MaxErrorRate,
				MaxLatencyRatio: a.MaxLatencyRatio, Percentiles: slices.Clone(a.Percentiles),
			}
		}
	}
	return spec.WithDefaults(), d.faults
}

func endpointSpecOnWire(s endpoint.Spec) api.EndpointSpec {
	out := serving.ContainerOnWire(s.Container)
	out.Replicas, out.DrainTime, out.ReadyTimeout = s.Replicas, s.DrainTime.String(), s.ReadyTimeout.String()
	out.Regions = &api.EndpointRegions{Names: s.Regions.Names, Count: s.Regions.Count}
	limits := api.EndpointLimits(s.Limits)
	out.Limits, out.ModelNames = &limits, s.ModelNames
	if a := s.Autoscaling; a != nil {
		out.Autoscaling = &api.EndpointAutoscaling{
			Min: a.Min, Max: a.Max, Metric: string(a.Metric), Target: a.Target, Gauge: a.Gauge,
			Window: a.Window.String(), ScaleDownDelay: a.ScaleDownDelay.String(), IdleTime: a.IdleTime.String(),
		}
	}
	if p := s.Canary; p != nil {
		out.Canary = &api.EndpointCanary{Weight: p.Weight, Regions: p.Regions, Steps: p.Steps}
		if a := p.Analysis; a != nil {
			out.Canary.Analysis = &api.EndpointAnalysis{
				Window: a.Window.String(), MinRequests: a.MinRequests, MaxErrorRate: a.MaxErrorRate,
				MaxLatencyRatio: a.MaxLatencyRatio, Percentiles: a.Percentiles,
			}
		}
	}
	return out
}

// endpointOnWire shows how an endpoint stands; with copies replica by replica.
func endpointOnWire(s serving.Standing, copies bool) api.Endpoint {
	e := s.Endpoint
	out := api.Endpoint{
		Name: e.Name, Version: e.Version, Spec: endpointSpecOnWire(e.Spec), Stopped: e.Stopped, State: string(s.State), Revision: e.Revision,
		Regions: []api.EndpointRegion{}, CreatedAt: e.CreatedAt.UTC(), CreatedBy: e.CreatedBy,
		UpdatedAt: e.UpdatedAt.UTC(), UpdatedBy: e.UpdatedBy, Reason: e.Reason,
	}
	if e.Canary != nil {
		out.Canary = &api.EndpointCanaryState{Revision: e.Canary.Revision, Weight: e.Canary.Weight, Since: e.Canary.Since.UTC()}
	}
	if s.Plan != nil {
		out.Replicas, out.Message = s.Plan.Replicas, s.Plan.Message
	}
	for _, site := range s.Sites {
		region := endpointRegionOnWire(s.Plan, site, copies)
		if site.Up {
			out.Ready += region.Ready
		}
		out.Regions = append(out.Regions, region)
	}
	return out
}

func endpointRegionOnWire(p *endpoint.Plan, site endpoint.Site, copies bool) api.EndpointRegion {
	out := api.EndpointRegion{Region: site.Region, Ready: site.Observed.Ready(0), Silent: !site.Up}
	if p != nil {
		if target, planned := p.In(site.Region); planned && !target.Lost && !target.Held {
			out.Replicas = target.Replicas()
		}
	}
	if shortage := site.Observed.Shortage; shortage != nil {
		out.Message = shortage.Message
	}
	for _, r := range site.Observed.Replicas {
		if !copies {
			break
		}
		out.Copies = append(out.Copies, api.EndpointReplica{
			ID: r.ID, Revision: r.Revision, Phase: string(r.Phase), Address: r.Address, Restarts: r.Restarts,
			Reason: r.Reason, Message: r.Message, Since: r.Since.UTC(),
		})
	}
	return out
}
