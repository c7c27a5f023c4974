package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// newEndpoint returns a valid one that uses every field.
func (c *client) newEndpoint(name string) endpoint.Endpoint {
	spec := endpoint.Spec{
		Container: endpoint.Container{
			Image: "registry.example/echo:1", Command: []string{"serve"}, Args: []string{"--verbose"}, Env: map[string]string{"MODE": "test"},
			Port: 8080, Resources: map[string]string{"cpu": "500m"}, Model: "llm@prod", CapacityType: capacity.Spot,
		},
		Autoscaling: &endpoint.Autoscaling{Min: 1, Max: 9, Target: 2.5},
		Regions:     endpoint.Regions{Names: []string{"us-east-1", "eu-west-1"}},
		Canary:      &endpoint.CanaryPolicy{Regions: []string{"eu-west-1"}, Analysis: &endpoint.Analysis{}},
		Limits:      endpoint.Limits{RequestsPerSecond: 10, Concurrent: 5, TokenRequired: true},
		ModelNames:  map[string]string{"gpt": "llm"},
	}.WithDefaults()
	e := endpoint.New(string(job.NewID()), name, spec, "someone", c.now)
	spec.Image = "registry.example/echo:2"
	e, err := e.Update(spec, "other", c.now.Add(time.Minute))
	c.must(err)
	e.Version = 1
	return e
}

func testEndpoints(t *testing.T, open Opener) {
	c := newClient(t, open)
	e := c.newEndpoint("chat")
	c.must(c.PutEndpoint(c.ctx, e))
	read := func() endpoint.Endpoint {
		found, err := c.Endpoint(c.ctx, "chat")
		c.must(err)
		return found
	}
	c.same("the endpoint", read(), e)
	c.want(c.PutEndpoint(c.ctx, c.newEndpoint("chat")), store.ErrConflict)

	e, err := e.Promote("someone", "", c.now.Add(time.Hour))
	c.must(err)
	c.must(c.PutEndpoint(c.ctx, e))
	c.same("the endpoint after an edit", read(), e)
	c.want(c.PutEndpoint(c.ctx, e), store.ErrConflict)
	e.Version = 4
	c.want(c.PutEndpoint(c.ctx, e), store.ErrConflict)

	missing := c.newEndpoint("missing")
	missing.Version = 2
	c.want(c.PutEndpoint(c.ctx, missing), store.ErrNotFound)
	_, err = c.Endpoint(c.ctx, "missing")
	c.want(err, store.ErrNotFound)
	c.want(c.DeleteEndpoint(c.ctx, "missing", 1), store.ErrNotFound)

	_, err = c.PutPlans(c.ctx, []endpoint.Plan{{Name: "chat", UID: e.UID, Version: 1}})
	c.must(err)
	c.want(c.DeleteEndpoint(c.ctx, "chat", 1), store.ErrConflict)
	c.must(c.DeleteEndpoint(c.ctx, "chat", 2))
	_, err = c.Endpoint(c.ctx, "chat")
	c.want(err, store.ErrNotFound)
	_, err = c.EndpointPlan(c.ctx, "chat")
	c.want(err, store.ErrNotFound)
	again := c.newEndpoint("chat")
	c.must(c.PutEndpoint(c.ctx, again))
	c.same("one of the same name", read(), again)
}

func testEndpointLists(t *testing.T, open Opener) {
	c := newClient(t, open)
	names := []string{"b", "a", "c", "a-b", "ab"}
	for _, name := range names {
		c.must(c.PutEndpoint(c.ctx, c.newEndpoint(name)))
		errs, err := c.PutPlans(c.ctx, []endpoint.Plan{{Name: name, UID: "u", Version: 1}})
		c.must(errors.Join(append(errs, err)...))
	}
	slices.Sort(names)
	for limit := range 7 {
		if limit == 0 {
			continue
		}
		var endpoints, plans []string
		for after := ""; ; {
			page, err := c.Endpoints(c.ctx, after, limit)
			c.must(err)
			for _, e := range page {
				endpoints = append(endpoints, e.Name)
				after = e.Name
			}
			if len(page) < limit {
				break
			}
		}
		for after := ""; ; {
			page, err := c.EndpointPlans(c.ctx, after, limit)
			c.must(err)
			for _, p := range page {
				plans = append(plans, p.Name)
				after = p.Name
			}
			if len(page) < limit {
				break
			}
		}
		c.same(fmt.Sprintf("endpoints by %d", limit), endpoints, names)
		c.same(fmt.Sprintf("plans by %d", limit), plans, names)
	}
}

func testEndpointPlans(t *testing.T, open Opener) {
	c := newClient(t, open)
	plan := endpoint.Plan{
		Name: "chat", UID: "one", Version: 1, Edit: 3, Replicas: 4, Good: 1, Trying: 2, TryingSince: c.now, Message: "no room",
		Targets: []endpoint.Target{{Region: "us-east-1", Sets: []endpoint.Set{{Revision: 2, Replicas: 4, Weight: 100}}}},
		Full:    map[string]time.Time{"eu-west-1": c.now.Add(time.Minute)},
	}
	put := func(plans ...endpoint.Plan) []error {
		errs, err := c.PutPlans(c.ctx, plans)
		c.must(err)
		return errs
	}
	c.must(put(plan)[0])
	found, err := c.EndpointPlan(c.ctx, "chat")
	c.must(err)
	c.same("the plan", found, plan)
	c.want(put(plan)[0], store.ErrConflict)
	_, err = c.EndpointPlan(c.ctx, "missing")
	c.want(err, store.ErrNotFound)

	next := plan
	next.Version, next.Replicas = 2, 5
	stale := plan
	stale.Name, stale.Version = "other", 1
	c.must(put(stale)[0])
	stale.Version = 5
	errs := put(stale, next)
	c.want(errs[0], store.ErrConflict)
	c.must(errs[1])
	found, err = c.EndpointPlan(c.ctx, "chat")
	c.must(err)
	c.same("the plan after a change beside one that conflicts", found, next)
	anew := endpoint.Plan{Name: "chat", UID: "two", Version: 1}
	c.must(put(anew)[0])
	found, err = c.EndpointPlan(c.ctx, "chat")
	c.must(err)
	c.same("the plan of another one of the name", found, anew)
}

func testObserved(t *testing.T, open Opener) {
	c := newClient(t, open)
	region := c.open("us-east-1")
	guard := store.Guard{Region: "us-east-1", Epoch: region.Epoch, Lease: capacity.LeaseLive}
	observed := func(name string) endpoint.Observed {
		return endpoint.Observed{
			Region: "us-east-1", Name: name, UID: "u", Target: "t",
			Replicas: []endpoint.Replica{{
				ID: "r", Revision: 2, Phase: endpoint.Ready, Address: "127.0.0.1:80", Restarts: 1, Reason: "r", Message: "m", Since: c.now,
			}},
			Shortage: &endpoint.Shortage{Resource: "cpu", Kind: capacity.NoCapacity, Message: "no"},
		}
	}
	read := func() []endpoint.Observed {
		all, err := c.Observed(c.ctx, "us-east-1")
		c.must(err)
		return all
	}
	a, b := observed("a"), observed("b")
	c.must(c.PutObserved(c.ctx, guard, []endpoint.Observed{b, a}, false))
	c.same("what it says", read(), []endpoint.Observed{a, b})
	a.Replicas = nil
	c.must(c.PutObserved(c.ctx, guard, []endpoint.Observed{a}, false))
	c.same("after a change of one", read(), []endpoint.Observed{a, b})
	c.must(c.PutObserved(c.ctx, guard, []endpoint.Observed{{Region: "us-east-1", Name: "a", UID: "u"}}, false))
	c.same("after one became empty", read(), []endpoint.Observed{b})
	many := make([]endpoint.Observed, 120)
	for i := range many {
		many[i] = observed(fmt.Sprintf("e%03d", i))
	}
	c.must(c.PutObserved(c.ctx, guard, many, true))
	c.same("all of it", read(), many)
	other, err := c.Observed(c.ctx, "eu-west-1")
	c.must(err)
	if len(other) != 0 {
		t.Errorf("another region says %v", other)
	}
	stale := guard
	stale.Epoch--
	c.want(c.PutObserved(c.ctx, stale, nil, true), store.ErrStaleSession)
	c.same("after a stale session", read(), many)
	c.must(c.PutObserved(c.ctx, guard, nil, true))
	if left := read(); len(left) != 0 {
		t.Errorf("it says %v after it said nothing", left)
	}
}

func testEndpointMarks(t *testing.T, open Opener) {
	c := newClient(t, open)
	region := c.open("us-east-1")
	last, err := c.EndpointMarks(c.ctx)
	c.must(err)
	moved := func(after string, wanted, observed bool) {
		marks, err := c.EndpointMarks(c.ctx)
		c.must(err)
		if (marks.Wanted != last.Wanted) != wanted || (marks.Observed["us-east-1"] != last.Observed["us-east-1"]) != observed {
			t.Errorf("after %s the marks went from %v to %v", after, last, marks)
		}
		last = marks
	}
	moved("nothing", false, false)
	e := c.newEndpoint("chat")
	c.must(c.PutEndpoint(c.ctx, e))
	moved("an endpoint", true, false)
	_, err = c.PutPlans(c.ctx, []endpoint.Plan{{Name: "chat", UID: "u", Version: 1}})
	c.must(err)
	moved("a plan", true, false)
	guard := store.Guard{Region: "us-east-1", Epoch: region.Epoch, Lease: capacity.LeaseLive}
	c.must(c.PutObserved(c.ctx, guard, []endpoint.Observed{{Region: "us-east-1", Name: "chat", Target: "t"}}, false))
	moved("an observation", false, true)
	c.must(c.DeleteEndpoint(c.ctx, "chat", 1))
	moved("a deletion", true, false)
}

// testRaceForEndpoint has many edits of one version: one of them wins.
func testRaceForEndpoint(t *testing.T, open Opener) {
	c := newClient(t, open)
	e := c.newEndpoint("chat")
	c.must(c.PutEndpoint(c.ctx, e))
	const editors = 16
	errs := make([]error, editors)
	var group sync.WaitGroup
	for i := range editors {
		group.Go(func() {
			next, err := e.SetStopped(true, fmt.Sprintf("editor-%d", i), c.now)
			if err == nil {
				err = c.PutEndpoint(c.ctx, next)
			}
			errs[i] = err
		})
	}
	group.Wait()
	found, err := c.Endpoint(c.ctx, "chat")
	c.must(err)
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			won++
			if found.UpdatedBy != fmt.Sprintf("editor-%d", i) {
				t.Errorf("editor %d was told that it won, and %s did", i, found.UpdatedBy)
			}
		case !errors.Is(err, store.ErrConflict):
			t.Error(err)
		}
	}
	if won != 1 || found.Version != 2 {
		t.Errorf("%d edits of one version were taken; version %d is stored", won, found.Version)
	}
}
