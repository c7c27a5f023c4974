package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/agent"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/runtime"
)

// instantRegion is an agent over a runtime whose replicas are ready as soon as
// they are asked for. It has no jobs.
type instantRegion struct {
	name  string
	queue *queue.Queue
	agent *agent.Agent

	mu      sync.Mutex
	sets    map[runtime.SetID]runtime.HeldSet
	changed chan struct{}
}

func newInstantRegion(name string, q *queue.Queue) *instantRegion {
	r := &instantRegion{name: name, queue: q, sets: map[runtime.SetID]runtime.HeldSet{}, changed: make(chan struct{}, 1)}
	r.agent = agent.New(agent.Options{Region: name, Runtime: r, Replicas: r, Server: r, LongPoll: 3 * time.Second})
	return r
}

// serves tells whether the region has every endpoint in one revision, and in no
// other.
func (r *instantRegion) serves(revision int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.sets {
		if id.Revision != revision {
			return false
		}
	}
	return len(r.sets) == servedEndpoints
}

func (r *instantRegion) Scale(_ context.Context, set runtime.ReplicaSet) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := runtime.HeldSet{SetID: set.SetID, Count: set.Count}
	for i := range set.Count {
		held.Replicas = append(held.Replicas, endpoint.Replica{
			ID: fmt.Sprintf("%s-%d-%d", set.Endpoint, set.Revision, i), Revision: set.Revision, Phase: endpoint.Ready, Address: "127.0.0.1:1",
		})
	}
	if r.sets[set.SetID] = held; set.Count == 0 {
		delete(r.sets, set.SetID)
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
	return nil
}

func (r *instantRegion) Sets(context.Context) ([]runtime.HeldSet, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]runtime.HeldSet, 0, len(r.sets))
	for _, set := range r.sets {
		all = append(all, set)
	}
	return all, true, nil
}

func (r *instantRegion) SetsChanged() <-chan struct{} { return r.changed }

func (r *instantRegion) Sync(ctx context.Context, region string, request api.SyncRequest) (api.SyncResponse, error) {
	return r.queue.Sync(ctx, region, request)
}

func (*instantRegion) ArchiveLogs(context.Context, string, api.AttemptRef, io.Reader) error {
	return errNoJobs
}

func (*instantRegion) Answer(context.Context, string, api.Request, io.Reader, error) error {
	return errNoJobs
}

var errNoJobs = errors.New("this region runs no jobs")

func (r *instantRegion) Cluster() string                            { return "cluster of " + r.name }
func (*instantRegion) Apply(context.Context, runtime.Attempt) error { return errNoJobs }
func (*instantRegion) Stop(context.Context, job.AttemptID) error    { return runtime.ErrNotFound }
func (*instantRegion) Forget(context.Context, job.AttemptID) error  { return nil }
func (*instantRegion) Changed() <-chan struct{}                     { return nil }
func (*instantRegion) Renew(time.Duration) error                    { return nil }
func (*instantRegion) Fence(context.Context) error                  { return nil }
func (*instantRegion) Close() error                                 { return nil }
func (*instantRegion) Capacity(context.Context) (capacity.Snapshot, error) {
	return capacity.Snapshot{}, nil
}

func (*instantRegion) List(context.Context) ([]runtime.Observation, bool, error) {
	return nil, true, nil
}

func (*instantRegion) Logs(context.Context, job.AttemptID, runtime.LogOptions) (io.ReadCloser, error) {
	return nil, runtime.ErrNotFound
}

func (*instantRegion) Pods(context.Context, job.AttemptID) ([]runtime.Pod, error) { return nil, nil }

func (*instantRegion) ClusterEvents(context.Context, job.AttemptID) ([]runtime.ClusterEvent, error) {
	return nil, nil
}
