package placement

import (
	"maps"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

const gpu = "nvidia.com/gpu"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// gpuNodes are nodes of 8 GPUs, 96 cores and 1 TiB, of which some GPUs, and as
// large a part of the rest, are free.
func gpuNodes(count int, freeGPUs int64) capacity.NodeShape {
	return capacity.NodeShape{
		Count: count, Architecture: "amd64",
		Free:  capacity.Resources{"cpu": 12_000 * freeGPUs, "memory": freeGPUs * 128 << 30, gpu: freeGPUs, "pods": 110},
		Total: capacity.Resources{"cpu": 96_000, "memory": 1 << 40, gpu: 8, "pods": 110},
	}
}

// cpuNodes are nodes of 16 cores and 64 GiB, of which some cores are free.
func cpuNodes(count int, freeCores int64) capacity.NodeShape {
	return capacity.NodeShape{
		Count: count, Architecture: "amd64",
		Free:  capacity.Resources{"cpu": freeCores * 1000, "memory": 64 << 30, "pods": 110},
		Total: capacity.Resources{"cpu": 16_000, "memory": 64 << 30, "pods": 110},
	}
}

func labelled(shape capacity.NodeShape, labels ...string) capacity.NodeShape {
	shape.Labels = maps.Clone(shape.Labels)
	if shape.Labels == nil {
		shape.Labels = map[string]string{}
	}
	for i := 0; i < len(labels); i += 2 {
		shape.Labels[labels[i]] = labels[i+1]
	}
	return shape
}

func tainted(shape capacity.NodeShape, key, value, effect string) capacity.NodeShape {
	shape.Taints = append(shape.Taints, capacity.Taint{Key: key, Value: value, Effect: effect})
	return shape
}

// live is a healthy region.
func live(name string, nodes ...capacity.NodeShape) Input {
	return Input{Region: capacity.Region{
		Name: name, Lease: capacity.LeaseLive, Inventoried: true, Snapshot: capacity.Snapshot{Nodes: nodes},
	}}
}

// with changes an input's region.
func with(input Input, change func(*capacity.Region)) Input {
	change(&input.Region)
	return input
}

// podsOf is a demand of equal pods.
func podsOf(count int, requests capacity.Resources) capacity.Demand {
	return capacity.Demand{Pods: []capacity.PodGroup{{Count: count, Pod: capacity.Pod{Requests: requests}}}}
}

func gpuPods(count int, gpus int64) capacity.Demand {
	return podsOf(count, capacity.Resources{"cpu": 1000 * gpus, gpu: gpus})
}

func decide(t *testing.T, request Request, inputs ...Input) Decision {
	t.Helper()
	return Decide(request, NewFleet(inputs), DefaultPolicy(), noon)
}

// freeOf lists what a region of the fleet has left, by shape.
func freeOf(f *Fleet, name string) []shape {
	r := f.regions[f.byName[name]]
	return append(append([]shape{}, r.nodes...), r.spare...)
}

func constrained(demand capacity.Demand, change func(*job.Constraints)) Request {
	request := Request{Demand: demand}
	change(&request.Constraints)
	request.Demand = demand.OfType(request.Constraints.CapacityType)
	return request
}
