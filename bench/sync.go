package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// cycleSync measures the whole way at a depth of queued jobs: a server in a
// process of its own places them, and agents that run nothing claim them and
// report their success through Sync over HTTP.
func (b *bench) cycleSync(ctx context.Context, depth int) (float64, error) {
	dir, remove, err := b.waiting(ctx, depth)
	if err != nil {
		return 0, err
	}
	defer remove()
	server, err := b.startServer(ctx, dir)
	if err != nil {
		return 0, err
	}
	rate, err := b.syncAgents(ctx, server)
	_, highest, memoryErr := server.megabytes()
	if err == nil && memoryErr == nil {
		b.report.add(highest, "MB", "highest memory of the server while it did the following")
	}
	return rate, errors.Join(err, memoryErr, server.stop())
}

func (b *bench) syncAgents(ctx context.Context, server *process) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	all := make([]*idleAgent, 0, agents)
	defer func() {
		for _, agent := range all {
			agent.server.Close()
		}
	}()
	for i := range agents {
		agent, err := newIdleAgent(ctx, server.Client, regionName(i))
		if err != nil {
			return 0, err
		}
		all = append(all, agent)
	}
	var finished atomic.Int64
	start := time.Now()
	_, err := each(ctx, agents, agents, func(ctx context.Context, i int) error {
		for finished.Load() < int64(b.sizes.cycled) {
			n, err := all[i].sync(ctx)
			if err != nil {
				return err
			}
			finished.Add(int64(n))
		}
		return nil
	})
	return float64(finished.Load()) / time.Since(start).Seconds(), err
}

// idleAgent speaks the agent's protocol and says of every attempt that it has
// succeeded.
type idleAgent struct {
	server  *client.Client
	region  string
	request api.SyncRequest
}

func newIdleAgent(ctx context.Context, admin *client.Client, region string) (*idleAgent, error) {
	token, err := admin.CreateToken(ctx, api.NewToken{Name: "agent-" + region, Role: "agent", Region: region})
	if err != nil {
		return nil, fmt.Errorf("making the token of %s: %w", region, err)
	}
	server, err := client.New(admin.Addr(), token.Secret)
	if err != nil {
		return nil, err
	}
	a := &idleAgent{server: server, region: region, request: api.SyncRequest{Cluster: "cluster-" + region}}
	opened, err := server.Sync(ctx, region, a.request)
	if err != nil {
		return nil, fmt.Errorf("opening the session of %s: %w", region, err)
	}
	snapshot := fleetSnapshot(0)
	a.request.Session, a.request.Epoch = opened.Session, opened.Epoch
	a.request.Capacity, a.request.Inventory = &snapshot, &api.Inventory{Last: true}
	a.request.WaitSeconds = 1
	if _, err := a.sync(ctx); err != nil {
		return nil, fmt.Errorf("sending the inventory of %s: %w", region, err)
	}
	a.request.MaxStart, a.request.Capacity, a.request.Inventory = 500, nil, nil
	return a, nil
}

// sync reports what the last answer wanted started, and returns how many that
// were once the server has taken it in.
func (a *idleAgent) sync(ctx context.Context) (int, error) {
	a.request.Sequence++
	response, err := a.server.Sync(ctx, a.region, a.request)
	if err != nil {
		return 0, err
	}
	reported := len(a.request.Observations)
	a.request.Observations = a.request.Observations[:0:0]
	exit := 0
	for _, start := range response.Start {
		a.request.Observations = append(a.request.Observations, api.Observation{
			AttemptRef: start.AttemptRef, Phase: "succeeded", ExitCode: &exit,
		})
	}
	return reported, nil
}
