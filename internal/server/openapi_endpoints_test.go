package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/store"
)

func (b brokenStore) PutEndpoint(ctx context.Context, e endpoint.Endpoint) error {
	if b.down.Load() {
		return fmt.Errorf("writing: %w", store.ErrUnavailable)
	}
	return b.Store.PutEndpoint(ctx, e)
}

// richEndpoint uses every field.
func richEndpoint(name string) api.NewEndpoint {
	return api.NewEndpoint{Kind: "Endpoint", Name: name, EndpointSpec: api.EndpointSpec{
		Image: "registry.example/echo:1", Command: []string{"serve"}, Args: []string{"--port=$(PORT)"}, Env: map[string]string{"MODE": "test"},
		Port: 8080, Resources: map[string]string{"cpu": "500m"}, Model: "llm@prod", HealthPath: "/ready", CapacityType: "on-demand",
		Autoscaling: &api.EndpointAutoscaling{
			Min: 1, Max: 3, Metric: "gauge", Gauge: "depth", Target: 2.5, Window: "30s", ScaleDownDelay: "2m", IdleTime: "3m",
		},
		Regions: &api.EndpointRegions{Names: []string{testRegion}}, DrainTime: "1s", ReadyTimeout: "1m",
		Canary: &api.EndpointCanary{Weight: 5, Regions: []string{testRegion}, Steps: []int{5, 50, 100}, Analysis: &api.EndpointAnalysis{
			Window: "1m", MinRequests: 10, MaxErrorRate: 0.02, MaxLatencyRatio: 2, Percentiles: []float64{50, 95},
		}},
		Limits:     &api.EndpointLimits{RequestsPerSecond: 10, Concurrent: 5, BodyBytes: 1 << 20, TokenRequired: true},
		ModelNames: map[string]string{"gpt": "llm"},
	}}
}

func plainEndpoint(name string) api.NewEndpoint {
	return api.NewEndpoint{Name: name, EndpointSpec: api.EndpointSpec{
		Image: "registry.example/echo:1", Port: 8080, Replicas: 1, Regions: &api.EndpointRegions{Count: 1},
	}}
}

func (sc *scenario) endpoints() {
	ctx := sc.t.Context()
	rich, err := sc.admin.CreateEndpoint(ctx, richEndpoint("rich"))
	sc.must(err)
	_, err = sc.admin.CreateEndpoint(ctx, richEndpoint("rich"))
	sc.mustFail(409, err)
	plain, err := sc.admin.CreateEndpoint(ctx, plainEndpoint("plain"))
	sc.must(err)
	_, err = sc.admin.Endpoints(ctx, 1, "")
	sc.must(err)
	_, err = sc.admin.Endpoints(ctx, 1, "nonsense")
	sc.mustFail(400, err)
	for _, err := range sc.admin.AllEndpoints(ctx) {
		sc.must(err)
	}
	page, err := sc.admin.Endpoints(ctx, 1, "")
	sc.must(err)
	_, err = sc.admin.Endpoints(ctx, 1, page.NextCursor)
	sc.must(err)
	sc.endpointCanary(rich)
	sc.canaries()
	sc.endpointEdits(plain)
	sc.endpointElsewhere()
	sc.endpointFaults()
}

// serve is one Sync of an agent that has what its targets say, in a phase.
func (sc *scenario) serve(a *agent, name, phase string, restarts int) api.EndpointTarget {
	sc.t.Helper()
	var target api.EndpointTarget
	eventually(sc.t, func() bool {
		for _, t := range a.sync(api.SyncRequest{Endpoints: &api.EndpointReport{Held: map[string]string{}}}).Endpoints {
			if t.Name == name {
				target = t
				return true
			}
		}
		return false
	})
	o := api.EndpointObservation{
		Name: name, UID: target.UID, Target: target.Tag,
		Shortage: &api.CapacityFailure{Resource: "cpu", Kind: "no-capacity", Message: "all nodes are taken"},
	}
	for _, set := range target.Sets {
		for i := range set.Replicas {
			r := api.EndpointReplica{
				ID: fmt.Sprintf("%s-%d-%d", name, set.Revision, i), Revision: set.Revision, Phase: "ready", Address: "127.0.0.1:1",
				Since: time.Now().UTC(), Reason: "probe", Message: "answers",
			}
			if set.Revision > 1 {
				r.Phase, r.Restarts = phase, restarts
			}
			o.Replicas = append(o.Replicas, r)
		}
	}
	a.sync(api.SyncRequest{Endpoints: &api.EndpointReport{
		Held: map[string]string{name: target.Tag}, Observed: []api.EndpointObservation{o}, All: true,
	}})
	return target
}

// endpointWhen waits for an endpoint.
func (sc *scenario) endpointWhen(name string, wanted func(api.Endpoint) bool) (e api.Endpoint) {
	sc.t.Helper()
	eventually(sc.t, func() bool {
		var err error
		e, err = sc.admin.Endpoint(sc.t.Context(), name)
		sc.must(err)
		return wanted(e)
	})
	return e
}

// endpointCanary tries a second revision, which fails.
func (sc *scenario) endpointCanary(e api.Endpoint) {
	ctx := sc.t.Context()
	sc.serve(sc.agent, "rich", "ready", 0)
	sc.endpointWhen("rich", func(e api.Endpoint) bool { return e.State == "ready" })
	next := richEndpoint("rich")
	next.Image = "registry.example/echo:2"
	_, err := sc.admin.UpdateEndpoint(ctx, next, "")
	sc.mustFail(428, err)
	_, err = sc.admin.UpdateEndpoint(ctx, next, client.IfVersion(e.Version+1))
	sc.mustFail(412, err)
	updated, err := sc.admin.UpdateEndpoint(ctx, next, client.IfVersion(e.Version))
	sc.must(err)
	if updated.Canary == nil || updated.Canary.Weight != 5 || updated.Revision != 1 {
		sc.t.Errorf("the canary is %+v", updated.Canary)
	}
	_, err = sc.admin.UpdateEndpoint(ctx, next, "")
	sc.must(err)
	_, err = sc.admin.EndpointRevisions(ctx, "rich")
	sc.must(err)
	eventually(sc.t, func() bool { return len(sc.serve(sc.agent, "rich", "failed", 5).Sets) == 2 })
	back := sc.endpointWhen("rich", func(e api.Endpoint) bool { return e.Canary == nil })
	if back.Reason == "" || back.UpdatedBy != "gco" || back.Spec.Image != "registry.example/echo:1" {
		sc.t.Errorf("rolled back to %s by %s: %s", back.Spec.Image, back.UpdatedBy, back.Reason)
	}
	_, err = sc.admin.ScaleEndpoint(ctx, "rich", 3, "")
	sc.mustFail(409, err)
	_, err = sc.admin.EndpointRevisions(ctx, "rich")
	sc.must(err)
}

// endpointEdits makes every edit there is.
func (sc *scenario) endpointEdits(e api.Endpoint) {
	ctx := sc.t.Context()
	whatever := client.AnyVersion
	for _, edit := range []func(ifMatch string) (api.Endpoint, error){
		func(m string) (api.Endpoint, error) { return sc.admin.ScaleEndpoint(ctx, "plain", 900, m) },
		func(m string) (api.Endpoint, error) { return sc.admin.StopEndpoint(ctx, "plain", m) },
		func(m string) (api.Endpoint, error) { return sc.admin.StartEndpoint(ctx, "plain", m) },
	} {
		_, err := edit(client.IfVersion(e.Version + 100))
		sc.mustFail(412, err)
		_, err = edit(whatever)
		sc.must(err)
	}
	sc.endpointWhen("plain", func(e api.Endpoint) bool { return e.Message != "" || e.State == "starting" })
	changed := plainEndpoint("plain")
	changed.Image = "registry.example/echo:2"
	updated, err := sc.admin.UpdateEndpoint(ctx, changed, whatever)
	sc.must(err)
	_, err = sc.admin.RollbackEndpoint(ctx, "plain", 9, "")
	sc.mustFail(409, err)
	_, err = sc.admin.RollbackEndpoint(ctx, "plain", 1, client.IfVersion(updated.Version+1))
	sc.mustFail(412, err)
	_, err = sc.admin.RollbackEndpoint(ctx, "plain", 1, client.IfVersion(updated.Version))
	sc.must(err)
}

// endpointElsewhere has a region that says something, and is lost.
func (sc *scenario) endpointElsewhere() {
	ctx := sc.t.Context()
	crowded := sc.openRegion("ap-south-1")
	crowded.sync(api.SyncRequest{Inventory: &api.Inventory{Items: []api.AttemptRef{}, Last: true}})
	far := plainEndpoint("far")
	far.Regions = &api.EndpointRegions{Names: []string{"ap-south-1"}}
	far.Replicas = 2
	_, err := sc.admin.CreateEndpoint(ctx, far)
	sc.must(err)
	sc.serve(crowded, "far", "ready", 0)
	sc.endpointWhen("far", func(e api.Endpoint) bool { return e.Ready == 2 })
	record, err := sc.store.Region(ctx, "ap-south-1")
	sc.must(err)
	_, err = sc.store.ExpireSession(ctx, record.Name, record.Epoch, record.Renewals, time.Now())
	sc.must(err)
	lost := sc.endpointWhen("far", func(e api.Endpoint) bool { return e.Ready == 0 && e.Message != "" })
	if len(lost.Regions) != 1 || !lost.Regions[0].Silent {
		sc.t.Errorf("the regions are %+v", lost.Regions)
	}
	deleting, err := sc.admin.DeleteEndpoint(ctx, "far", client.IfVersion(lost.Version))
	sc.must(err)
	if deleting.State != "deleting" {
		sc.t.Errorf("it is %s", deleting.State)
	}
}

func (sc *scenario) endpointFaults() {
	ctx := sc.t.Context()
	wrong := richEndpoint("rich")
	wrong.Port, wrong.DrainTime, wrong.Name = 0, "soon", "Not A Name"
	_, err := sc.admin.CreateEndpoint(ctx, wrong)
	sc.mustFail(422, err)
	if refused, ok := errors.AsType[*client.Error](err); !ok || len(refused.Problem.Errors) != 3 {
		sc.t.Errorf("three faults are %v", err)
	}
	_, err = sc.admin.ScaleEndpoint(ctx, "plain", 0, "")
	sc.mustFail(422, err)
	for _, call := range []func(name string) error{
		func(name string) error { _, err := sc.admin.Endpoint(ctx, name); return err },
		func(name string) error { _, err := sc.admin.EndpointRevisions(ctx, name); return err },
		func(name string) error { _, err := sc.admin.UpdateEndpoint(ctx, plainEndpoint(name), "*"); return err },
		func(name string) error { _, err := sc.admin.StartEndpoint(ctx, name, ""); return err },
		func(name string) error { _, err := sc.admin.StopEndpoint(ctx, name, ""); return err },
		func(name string) error { _, err := sc.admin.ScaleEndpoint(ctx, name, 1, ""); return err },
		func(name string) error { _, err := sc.admin.RollbackEndpoint(ctx, name, 0, ""); return err },
		func(name string) error { _, err := sc.admin.DeleteEndpoint(ctx, name, ""); return err },
	} {
		sc.mustFail(404, call("none"))
	}
	for _, verb := range []string{"start", "stop"} {
		response, text := sc.raw(post, "/api/v1/endpoints/plain/"+verb, nil, "a body")
		sc.want(400, response, text)
	}
	_, err = sc.admin.DeleteEndpoint(ctx, "plain", client.IfVersion(1))
	sc.mustFail(412, err)
	sc.endpointsDown()
	_, err = sc.admin.CreateEndpoint(ctx, plainEndpoint("gone"))
	sc.must(err)
	sc.hold("gone")
	_, err = sc.admin.DeleteEndpoint(ctx, "gone", "")
	sc.must(err)
	_, err = sc.admin.DeleteEndpoint(ctx, "gone", "")
	sc.must(err)
	changed := plainEndpoint("gone")
	changed.Port++
	for _, call := range []func() error{
		func() error { _, err := sc.admin.UpdateEndpoint(ctx, changed, "*"); return err },
		func() error { _, err := sc.admin.StartEndpoint(ctx, "gone", ""); return err },
		func() error { _, err := sc.admin.StopEndpoint(ctx, "gone", ""); return err },
	} {
		sc.mustFail(409, call())
	}
}

// hold has the region say that it has a replica, so that a deletion waits.
func (sc *scenario) hold(name string) {
	e, err := sc.store.Endpoint(sc.t.Context(), name)
	sc.must(err)
	sc.agent.sync(api.SyncRequest{Endpoints: &api.EndpointReport{Held: map[string]string{name: ""}, Observed: []api.EndpointObservation{{
		Name: name, UID: e.UID, Replicas: []api.EndpointReplica{{ID: "r", Revision: 1, Phase: "draining", Since: time.Now().UTC()}},
	}}}})
}

// endpointsDown has every change fail where the store can't write.
func (sc *scenario) endpointsDown() {
	ctx := sc.t.Context()
	sc.down.Store(true)
	defer sc.down.Store(false)
	changed := plainEndpoint("plain")
	changed.Port++
	for _, call := range []func() error{
		func() error { _, err := sc.admin.CreateEndpoint(ctx, plainEndpoint("new")); return err },
		func() error { _, err := sc.admin.UpdateEndpoint(ctx, changed, "*"); return err },
		func() error { _, err := sc.admin.StartEndpoint(ctx, "plain", ""); return err },
		func() error { _, err := sc.admin.StopEndpoint(ctx, "plain", ""); return err },
		func() error { _, err := sc.admin.ScaleEndpoint(ctx, "plain", 1, ""); return err },
		func() error { _, err := sc.admin.RollbackEndpoint(ctx, "plain", 2, ""); return err },
		func() error { _, err := sc.admin.DeleteEndpoint(ctx, "plain", ""); return err },
	} {
		sc.mustFail(http.StatusServiceUnavailable, call())
	}
}
