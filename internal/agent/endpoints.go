package agent

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/model/cache"
	"github.com/gco-project/gco/internal/runtime"
)

// scalePause is for how long a set is left alone that the runtime did not take.
const scalePause = 5 * time.Second

// measureEvery is how often it is looked at what the gateway measured.
const measureEvery = 5 * time.Second

// maxObserved bounds the endpoints of one report.
const maxObserved = 2000

// endpoints drives the replicas of one region: it takes in targets, lets the
// runtime come to them, tells the gateway where to send requests, and says what
// there is. Replicas are never fenced, so none of this needs the lease.
type endpoints struct {
	region  string
	runtime runtime.Replicas
	models  Models
	routes  func([]endpoint.Route)
	// gateway is its address, and loads what it measured; nil where there is
	// none.
	gateway string
	loads   func() map[string]api.EndpointLoad
	clock   clock.WithTicker
	log     *slog.Logger
	// changed wakes the loop; notice tells the agent's poll of news.
	changed chan struct{}
	notice  func()

	mu sync.Mutex
	// targets are by name; one without sets is to go.
	targets map[string]api.EndpointTarget
	// held is what the runtime held last, by name; synced says that it was all.
	held   map[string][]runtime.HeldSet
	synced bool
	// refused are sets that the runtime did not take.
	refused map[runtime.SetID]refusal
	// reported is what the control plane has been told within this session, and
	// complete says that it has been told of everything.
	reported map[string]api.EndpointObservation
	complete bool
	// told is what the gateway was told last.
	told []endpoint.Route
	// measured is what the gateway had measured at that time.
	measured   map[string]api.EndpointLoad
	measuredAt time.Time
}

// refusal is why the runtime did not take a set, and when that was.
type refusal struct {
	message string
	at      time.Time
}

func newEndpoints(a *Agent) *endpoints {
	return &endpoints{
		region: a.Region, runtime: a.Replicas, models: a.Models, routes: a.Routes, gateway: a.GatewayAddress, loads: a.Loads, clock: a.Clock, log: a.Log,
		changed: make(chan struct{}, 1), notice: a.notice,
		targets: map[string]api.EndpointTarget{}, held: map[string][]runtime.HeldSet{},
		refused: map[runtime.SetID]refusal{}, reported: map[string]api.EndpointObservation{},
	}
}

// run brings the runtime to its targets whenever either changes.
func (e *endpoints) run(ctx context.Context) {
	for ctx.Err() == nil {
		again := e.runOnce(ctx)
		var due <-chan time.Time
		if again > 0 {
			due = e.clock.After(again)
		}
		select {
		case <-e.runtime.SetsChanged():
		case <-e.changed:
		case <-due:
		case <-ctx.Done():
		}
	}
}

// runOnce takes one step with every endpoint, and returns after what time
// something may be tried again; 0 is never.
func (e *endpoints) runOnce(ctx context.Context) (again time.Duration) {
	sets, synced, err := e.runtime.Sets(ctx)
	if err != nil {
		if ctx.Err() == nil {
			e.log.Warn("listing the replicas of endpoints; it will be tried again", "region", e.region, "error", err)
		}
		return scalePause
	}
	e.mu.Lock()
	e.held, e.synced = map[string][]runtime.HeldSet{}, synced
	for _, set := range sets {
		e.held[set.Endpoint] = append(e.held[set.Endpoint], set)
	}
	targets := maps.Clone(e.targets)
	e.mu.Unlock()
	if synced {
		for _, name := range slices.Sorted(maps.Keys(targets)) {
			if e.converge(ctx, targets[name]) {
				again = scalePause
			}
		}
	}
	e.tellGateway()
	e.forget()
	if e.measure() && again == 0 {
		again = measureEvery
	}
	if e.hasNews() {
		e.notice()
	}
	return again
}

// measure looks at what the gateway measured, from time to time, and tells
// whether anybody wants to know.
func (e *endpoints) measure() (wanted bool) {
	if e.loads == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, target := range e.targets {
		wanted = wanted || target.Measure
	}
	now := e.clock.Now()
	if !wanted || now.Sub(e.measuredAt) < measureEvery {
		return wanted
	}
	all := e.loads()
	for name, load := range all {
		// The time alone is no news.
		if before, known := e.measured[name]; known {
			at := load.At
			if load.At = before.At; !reflect.DeepEqual(load, before) {
				load.At = at
			}
			all[name] = load
		}
	}
	e.measured, e.measuredAt = all, now
	return true
}

// converge takes one step with one endpoint, and tells whether the runtime did
// not take something.
func (e *endpoints) converge(ctx context.Context, target api.EndpointTarget) (failed bool) {
	held := map[runtime.SetID]runtime.HeldSet{}
	var have []endpoint.Replica
	for _, set := range e.held[target.Name] {
		held[set.SetID] = set
		if set.UID == target.UID {
			have = append(have, set.Replicas...)
		}
	}
	specs := map[int]api.EndpointSpec{}
	var wanted []endpoint.Set
	for _, set := range target.Sets {
		specs[set.Revision] = set.Spec
		wanted = append(wanted, endpoint.Set{Revision: set.Revision, Replicas: set.Replicas})
	}
	scales := map[runtime.SetID]int{}
	for id := range held {
		scales[id] = 0
	}
	for revision, count := range endpoint.Roll(wanted, have) {
		scales[runtime.SetID{Endpoint: target.Name, UID: target.UID, Revision: revision}] = count
	}
	for _, id := range slices.SortedFunc(maps.Keys(scales), newerFirst) {
		set, known := held[id]
		if known && set.Count == scales[id] || !known && scales[id] == 0 {
			continue
		}
		failed = !e.scale(ctx, runtime.ReplicaSet{
			SetID: id, Count: scales[id], Container: containerOf(specs[id.Revision]),
			DrainTime: time.Duration(target.DrainSeconds * float64(time.Second)),
		}) || failed
	}
	return failed
}

// newerFirst puts what starts before what ends.
func newerFirst(a, b runtime.SetID) int {
	if a.Revision != b.Revision {
		return b.Revision - a.Revision
	}
	if a.UID < b.UID {
		return -1
	}
	return 1
}

// scale tells the runtime, unless it refused the same set just now, and returns
// whether it took it.
func (e *endpoints) scale(ctx context.Context, set runtime.ReplicaSet) bool {
	e.mu.Lock()
	before, known := e.refused[set.SetID]
	e.mu.Unlock()
	if known && e.clock.Since(before.at) < scalePause {
		return false
	}
	err := e.findModel(&set)
	if err == nil {
		err = e.runtime.Scale(ctx, set)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		delete(e.refused, set.SetID)
		return true
	}
	if ctx.Err() == nil && !errors.Is(err, cache.ErrFetching) {
		e.log.Warn("scaling an endpoint; it will be tried again", "region", e.region, "endpoint", set.Endpoint, "revision", set.Revision, "error", err)
	}
	message := ""
	if why, ok := errors.AsType[*runtime.Rejected](err); ok {
		message = why.Error()
	}
	e.refused[set.SetID] = refusal{message, e.clock.Now()}
	return false
}

// findModel says where the model of a set is. Until it is here, there are no
// replicas.
func (e *endpoints) findModel(set *runtime.ReplicaSet) (err error) {
	switch {
	case set.Container.Model == "" || set.Count == 0:
	case e.models == nil:
		err = &runtime.Rejected{Reason: reasonModel, Message: "this region keeps no models"}
	default:
		set.Model, err = e.models.Path(set.Container.Model)
	}
	return err
}

// take takes in the targets of an answer.
func (e *endpoints) take(targets []api.EndpointTarget) {
	if len(targets) == 0 {
		return
	}
	e.mu.Lock()
	for _, target := range targets {
		e.targets[target.Name] = target
	}
	e.mu.Unlock()
	e.wake()
}

func (e *endpoints) wake() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// beginSession forgets what an earlier session was told.
func (e *endpoints) beginSession() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reported, e.complete = map[string]api.EndpointObservation{}, false
}

// report is what the next request says. whole tells whether it could say
// everything.
func (e *endpoints) report() (report *api.EndpointReport, whole bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	report = &api.EndpointReport{Held: map[string]string{}}
	for name := range e.held {
		report.Held[name] = ""
	}
	for name, target := range e.targets {
		report.Held[name] = target.Tag
	}
	if e.synced {
		report.All = !e.complete
		report.Observed = e.news()
	}
	return report, e.synced
}

// ready tells whether everything that is held could be reported.
func (e *endpoints) ready() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.synced
}

// says tells whether a report says anything.
func says(report *api.EndpointReport) bool {
	return report != nil && (report.All || len(report.Observed) > 0)
}

// hasNews tells whether a report would say something that was not said before.
func (e *endpoints) hasNews() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.synced && (!e.complete || len(e.news()) > 0)
}

// acknowledge notes what the control plane knows now.
func (e *endpoints) acknowledge(report *api.EndpointReport) {
	if !says(report) {
		return
	}
	e.mu.Lock()
	for _, o := range report.Observed {
		if empty(o) {
			delete(e.reported, o.Name)
		} else {
			e.reported[o.Name] = o
		}
	}
	e.complete = e.complete || report.All
	e.mu.Unlock()
	e.forget()
}

// news lists what the control plane has not been told. e.mu is held.
func (e *endpoints) news() []api.EndpointObservation {
	var news []api.EndpointObservation
	names := map[string]bool{}
	for name := range e.targets {
		names[name] = true
	}
	for name := range e.held {
		names[name] = true
	}
	for name := range e.reported {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		now := e.observe(name)
		before, known := e.reported[name]
		if known && reflect.DeepEqual(now, before) || !known && empty(now) {
			continue
		}
		if news = append(news, now); len(news) == maxObserved {
			break
		}
	}
	return news
}

// empty tells whether nothing is left of an endpoint.
func empty(o api.EndpointObservation) bool {
	return o.Target == "" && len(o.Replicas) == 0 && o.Shortage == nil
}

// observe is what there is of an endpoint. e.mu is held.
func (e *endpoints) observe(name string) api.EndpointObservation {
	target := e.targets[name]
	o := api.EndpointObservation{Name: name, UID: target.UID}
	if len(target.Sets) > 0 {
		o.Target, o.Gateway = target.Tag, e.gateway
	}
	if load, known := e.measured[name]; known && target.Measure {
		o.Load = &load
	}
	for _, set := range e.held[name] {
		if o.UID == "" {
			o.UID = set.UID
		}
		if set.UID != o.UID {
			// Of one that had the name before; it is going.
			continue
		}
		for _, r := range set.Replicas {
			o.Replicas = append(o.Replicas, api.EndpointReplica{
				ID: r.ID, Revision: r.Revision, Phase: string(r.Phase), Address: r.Address,
				Restarts: r.Restarts, Reason: r.Reason, Message: cut(r.Message), Since: r.Since,
			})
		}
		if s := set.Shortage; s != nil && o.Shortage == nil {
			o.Shortage = &api.CapacityFailure{Resource: s.Resource, Kind: string(s.Kind), Message: cut(s.Message)}
		}
	}
	for _, set := range target.Sets {
		refused := e.refused[runtime.SetID{Endpoint: name, UID: target.UID, Revision: set.Revision}]
		if refused.message != "" && o.Shortage == nil {
			o.Shortage = &api.CapacityFailure{Kind: string(capacity.NeverFits), Message: cut(refused.message)}
		}
	}
	return o
}

// forget drops targets that say that all is to go, once it has gone and the
// control plane knows.
func (e *endpoints) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, target := range e.targets {
		if _, known := e.reported[name]; len(target.Sets) == 0 && len(e.held[name]) == 0 && !known {
			delete(e.targets, name)
		}
	}
	maps.DeleteFunc(e.refused, func(id runtime.SetID, _ refusal) bool {
		target, known := e.targets[id.Endpoint]
		return !known || target.UID != id.UID
	})
}

// tellGateway hands over the routes if they have changed.
func (e *endpoints) tellGateway() {
	if e.routes == nil {
		return
	}
	e.mu.Lock()
	var routes []endpoint.Route
	for _, name := range slices.Sorted(maps.Keys(e.targets)) {
		if target := e.targets[name]; len(target.Sets) > 0 {
			routes = append(routes, routeOf(target, e.held[name]))
		}
	}
	changed := !reflect.DeepEqual(routes, e.told)
	e.told = routes
	e.mu.Unlock()
	if changed {
		e.routes(routes)
	}
}

// routeOf divides an endpoint's replicas among the shares of its target. Those
// of earlier revisions serve beside the first one until they have gone.
func routeOf(target api.EndpointTarget, held []runtime.HeldSet) endpoint.Route {
	route := endpoint.Route{
		Name: target.Name, UID: target.UID, ModelNames: target.ModelNames,
		DrainTime: time.Duration(target.DrainSeconds * float64(time.Second)),
	}
	if target.Limits != nil {
		route.Limits = endpoint.Limits(*target.Limits)
	}
	for _, set := range target.Sets {
		route.Shares = append(route.Shares, endpoint.Share{Revision: set.Revision, Weight: set.Weight})
	}
	for _, set := range held {
		if set.UID != target.UID {
			continue
		}
		share := max(0, slices.IndexFunc(route.Shares, func(s endpoint.Share) bool { return s.Revision == set.Revision }))
		for _, r := range set.Replicas {
			if (r.Phase == endpoint.Ready || r.Phase == endpoint.Draining) && r.Address != "" {
				route.Shares[share].Backends = append(route.Shares[share].Backends, endpoint.Backend{
					ID: r.ID, Revision: r.Revision, Address: r.Address, Draining: r.Phase == endpoint.Draining,
				})
			}
		}
	}
	return route
}

func containerOf(s api.EndpointSpec) endpoint.Container {
	return endpoint.Container{
		Image: s.Image, Command: s.Command, Args: s.Args, Env: s.Env, Port: s.Port, Resources: s.Resources,
		Model: s.Model, HealthPath: s.HealthPath, CapacityType: capacity.Type(s.CapacityType),
	}
}
