// Package serving keeps inference endpoints as their users want them: it takes
// their edits, its loop on the leader decides which region has which replicas,
// and it says what Sync carries of endpoints: targets to the regions, and back
// what they see. It decides nothing by itself: which region has what, and when
// a revision has failed, says endpoint; which region is best says placement. It
// moves no request: that is the gateways' matter. The server calls it for what
// users ask, queue within Sync; daemon runs its loop beside those of the queue.
//
// Everything is level-triggered. What is wanted, what was decided and what was
// observed are records of their own with one writer each, and a decision is a
// function of all three: whoever goes on after a crash comes to the same one,
// and where nothing changes, nothing is written.
package serving

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/store"
)

// unreachableFor is how long an agent may not reach its cluster before what it
// holds counts as lost.
const unreachableFor = time.Minute

// system is who makes the edits that no user makes.
const system = "gco"

// Options is what a Serving is made of. Store, Leading and Wake are required.
type Options struct {
	Store store.Store
	// Leading tells whether this process runs the leader's loops.
	Leading func() bool
	// Wake ends the long poll of a region, so that it hears of its targets.
	Wake      func(region string)
	Placement placement.Policy
	// Prices by region.
	Prices map[string]placement.Prices
	Clock  clock.WithTicker
	Log    *slog.Logger
	// Replicas is how many autoscaling wants of an endpoint; negative where it
	// has no opinion. nil never has one.
	Replicas func(e *endpoint.Endpoint) int
	// Changed is told when something about endpoints may have changed; nil is
	// nobody.
	Changed func()
	// Tick is how often the loop looks at the regions' leases, and at what other
	// processes wrote; 0 is a second.
	Tick time.Duration
	// NewID makes the UIDs of endpoints.
	NewID func() string
}

// Serving serves calls about endpoints, and runs their loop. Its methods may be
// called concurrently.
type Serving struct {
	Options
	view       *view
	reconciler *reconciler
	// news wakes the loop.
	news chan struct{}
}

// New returns a Serving that serves calls at once; its loop starts with Run.
func New(options Options) *Serving {
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
	if o.NewID == nil {
		o.NewID = func() string { return string(job.NewID()) }
	}
	if o.Replicas == nil {
		o.Replicas = func(*endpoint.Endpoint) int { return -1 }
	}
	s := &Serving{Options: o, view: newView(o.Store), news: make(chan struct{}, 1)}
	s.reconciler = &reconciler{s: s}
	return s
}

// Run runs the leader's loop until ctx ends; it does nothing while another
// process leads.
func (s *Serving) Run(ctx context.Context) error { return s.reconciler.run(ctx) }

// Look makes the loop look at once, for whoever knows of something that it
// decides by.
func (s *Serving) Look() {
	select {
	case s.news <- struct{}{}:
	default:
	}
	if s.Changed != nil {
		s.Changed()
	}
}

// Create makes an endpoint. The spec has its defaults and no faults.
// store.ErrConflict: the name is taken.
func (s *Serving) Create(ctx context.Context, name string, spec endpoint.Spec, by string) (endpoint.Endpoint, error) {
	e := endpoint.New(s.NewID(), name, spec, by, s.Clock.Now().UTC())
	if err := s.Store.PutEndpoint(ctx, e); err != nil {
		return e, fmt.Errorf("creating endpoint %s: %w", name, err)
	}
	s.Log.Info("endpoint created", "endpoint", name, "by", by)
	s.Look()
	return e, nil
}

// Edit makes one edit: change turns the record as it is into the next one, or
// says why not; one with the same version is left as it is. Where somebody else was faster, and there is no version that
// the edit is based on (0), it is made again on top of that.
// store.ErrNotFound, store.ErrConflict.
func (s *Serving) Edit(ctx context.Context, name string, version int64, change func(*endpoint.Endpoint, time.Time) (endpoint.Endpoint, error)) (endpoint.Endpoint, error) {
	const tries = 10
	for try := 1; ; try++ {
		e, err := s.Store.Endpoint(ctx, name)
		if err != nil {
			return e, fmt.Errorf("reading endpoint %s: %w", name, err)
		}
		if version != 0 && e.Version != version {
			return e, fmt.Errorf("%w: version %d of endpoint %s", store.ErrConflict, e.Version, name)
		}
		next, err := change(&e, s.Clock.Now().UTC())
		if err != nil || next.Version == e.Version {
			return e, err
		}
		err = s.Store.PutEndpoint(ctx, next)
		if errors.Is(err, store.ErrConflict) && version == 0 && try < tries {
			continue
		}
		if err != nil {
			return e, fmt.Errorf("changing endpoint %s: %w", name, err)
		}
		s.Log.Info("endpoint changed", "endpoint", name, "version", next.Version, "by", next.UpdatedBy)
		s.Look()
		return next, nil
	}
}

// Standing is how an endpoint stands.
type Standing struct {
	Endpoint endpoint.Endpoint
	// Plan is nil before the first.
	Plan  *endpoint.Plan
	State endpoint.State
	// Sites are the regions that say something of it, or should, by name.
	Sites []endpoint.Site
}

// Standing tells how endpoints stand that were just read.
func (s *Serving) Standing(ctx context.Context, endpoints []endpoint.Endpoint) ([]Standing, error) {
	seen, err := s.view.refresh(ctx)
	if err != nil {
		return nil, err
	}
	regions, err := s.Store.Regions(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the regions: %w", err)
	}
	all := make([]Standing, len(endpoints))
	for i, e := range endpoints {
		all[i] = standing(seen, regions, e, s.Clock.Now())
	}
	return all, nil
}

func standing(seen *seen, regions []capacity.Region, e endpoint.Endpoint, now time.Time) Standing {
	out := Standing{Endpoint: e}
	if p := seen.plans[e.Name]; p != nil && p.UID == e.UID {
		out.Plan = p
	}
	var up []endpoint.Observed
	for _, site := range sites(seen, regions, &e, now) {
		said := site.Observed.UID == e.UID
		planned := false
		if out.Plan != nil {
			_, planned = out.Plan.In(site.Region)
		}
		if !said && !planned {
			continue
		}
		if site.Up && said {
			up = append(up, site.Observed)
		}
		out.Sites = append(out.Sites, site)
	}
	out.State = endpoint.StateOf(&e, out.Plan, up)
	return out
}

// sites are all regions as an endpoint sees them, by name.
func sites(seen *seen, regions []capacity.Region, e *endpoint.Endpoint, now time.Time) []endpoint.Site {
	all := make([]endpoint.Site, len(regions))
	for i := range regions {
		r := &regions[i]
		reachable := r.UnreachableSince.IsZero() || now.Sub(r.UnreachableSince) < unreachableFor
		all[i] = endpoint.Site{
			Region: r.Name, Up: r.Lease == capacity.LeaseLive && reachable, Fresh: r.Inventoried,
			Open: !r.Cordoned && !r.Draining && r.UnreachableSince.IsZero(), Leaving: r.Draining,
		}
		if o, found := seen.observed[r.Name].of[e.Name]; found && o.UID == e.UID {
			all[i].Observed = *o
		}
	}
	return all
}
