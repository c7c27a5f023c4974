// Package traffic is the control plane's side of requests to endpoints: it tells
// the server's gateway which regions have ready replicas, and draws from what
// the regions' gateways measure what becomes of canaries (package canary) and how
// many replicas there should be (package autoscale).
//
// It keeps no record: what regions measured stands in what they say of their
// endpoints, and what follows from it becomes edits and plans, which are
// serving's. daemon runs it beside serving.
package traffic

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/gateway"
	"github.com/gco-project/gco/internal/serving"
)

// system is who makes the edits that no user makes.
const system = "gco"

// judgeEvery is how often canaries and numbers of replicas are looked at; what
// regions measured comes about as often.
const judgeEvery = 5 * time.Second

// wakeAgain is how long an endpoint that was woken is not woken again.
const wakeAgain = 5 * time.Second

// Options is what a Traffic is made of. Serving, Gateway and Leading are
// required.
type Options struct {
	Serving *serving.Serving
	Gateway *gateway.Gateway
	// Leading tells whether this process runs the leader's loops.
	Leading func() bool
	Clock   clock.WithTicker
	Log     *slog.Logger
	// Tick is how often it is looked at what other processes wrote; 0 is a
	// second.
	Tick time.Duration
}

// Traffic follows the endpoints. Its methods may be called concurrently.
type Traffic struct {
	Options
	// news wakes the loop.
	news chan struct{}

	mu sync.Mutex
	// standings are those of the last look, by name.
	standings map[string]serving.Standing
	// wanted is what autoscaling found, by the UID of the endpoint.
	wanted map[string]int

	// Only the loop uses these; trials and scalings are by the UID of the
	// endpoint.
	mark     serving.Mark
	judgedAt time.Time
	trials   map[string]*trial
	scalings map[string]*scaling
}

// New returns a Traffic that does nothing until Run.
func New(options Options) *Traffic {
	o := options
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Tick == 0 {
		o.Tick = time.Second
	}
	return &Traffic{
		Options: o, news: make(chan struct{}, 1),
		wanted: map[string]int{}, trials: map[string]*trial{}, scalings: map[string]*scaling{},
	}
}

// Look makes the loop look at once, for whoever knows of a change.
func (t *Traffic) Look() {
	select {
	case t.news <- struct{}{}:
	default:
	}
}

// Run follows the endpoints until ctx ends.
func (t *Traffic) Run(ctx context.Context) error {
	ticker := t.Clock.NewTicker(t.Tick)
	defer ticker.Stop()
	for {
		if err := t.runOnce(ctx); err != nil && ctx.Err() == nil {
			t.Log.Warn("following the endpoints; it will be tried again", "error", err)
		}
		select {
		case <-ticker.C():
		case <-t.news:
		case <-ctx.Done():
			return nil
		}
	}
}

// runOnce looks at what has changed, and acts on it.
func (t *Traffic) runOnce(ctx context.Context) error {
	standings, mark, err := t.Serving.All(ctx, t.mark)
	if err != nil {
		return fmt.Errorf("reading the endpoints: %w", err)
	}
	if mark != t.mark {
		t.take(standings, mark)
	}
	now := t.Clock.Now().UTC()
	if now.Sub(t.judgedAt) < judgeEvery && !t.judgedAt.IsZero() {
		return nil
	}
	t.judgedAt = now
	if !t.Leading() {
		clear(t.trials)
		clear(t.scalings)
		return nil
	}
	t.judge(ctx, now)
	t.scale(now)
	return nil
}

// take notes how the endpoints stand, and routes by it.
func (t *Traffic) take(standings []serving.Standing, mark serving.Mark) {
	byName := make(map[string]serving.Standing, len(standings))
	table := gateway.Table{Endpoints: make([]gateway.Endpoint, len(standings))}
	for i := range standings {
		byName[standings[i].Endpoint.Name] = standings[i]
		table.Endpoints[i] = routed(&standings[i])
	}
	t.mu.Lock()
	t.standings = byName
	t.mu.Unlock()
	t.mark = mark
	t.Gateway.Apply(table)
}

// routed is an endpoint in the words of the gateway: behind it are the gateways
// of the regions that have a ready replica.
func routed(s *serving.Standing) gateway.Endpoint {
	e := &s.Endpoint
	out := gateway.Endpoint{
		Name: e.Name, Stopped: e.Stopped || e.Deleting, Open: !e.Spec.Limits.TokenRequired,
		Limits: gateway.Limits{BodyBytes: e.Spec.Limits.BodyBytes},
	}
	for _, site := range s.Sites {
		if site.Up && site.Observed.UID == e.UID && site.Observed.Ready(0) > 0 && site.Observed.Gateway != "" {
			out.Replicas = append(out.Replicas, gateway.ReplicaIn(site.Region, site.Observed.Gateway))
		}
	}
	return out
}

// Wake asks for a replica of an endpoint that has none, because a request
// waits for it. It is an edit, so that the leader hears of it wherever it is.
func (t *Traffic) Wake(ctx context.Context, name string) {
	t.mu.Lock()
	s, known := t.standings[name]
	t.mu.Unlock()
	if !known || s.Endpoint.Spec.Autoscaling == nil || s.Plan == nil || s.Plan.Replicas > 0 {
		return
	}
	_, err := t.Serving.Edit(ctx, name, 0, func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) {
		if now.Sub(e.WokenAt) < wakeAgain {
			return *e, errAwake
		}
		return e.Wake(system, now)
	})
	if err != nil && ctx.Err() == nil && !isAwake(err) {
		t.Log.Warn("waking an endpoint; it will be tried again", "endpoint", name, "error", err)
	}
}

// Replicas is how many autoscaling wants of an endpoint; negative where it has
// no opinion.
func (t *Traffic) Replicas(e *endpoint.Endpoint) int {
	if e.Spec.Autoscaling == nil {
		return -1
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n, found := t.wanted[e.UID]; found {
		return n
	}
	return -1
}
