package serving

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/canary"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/store"
)

// maxTargets bounds one answer; what is left out comes with the next one.
const maxTargets = 500

// What is kept of an agent's words, in bytes.
const (
	maxReason  = 64
	maxMessage = 512
	maxCopies  = 2 * endpoint.MaxReplicas
)

// Report takes in what a region says of its endpoints, under the guard of its
// session; store.ErrStaleSession.
func (s *Serving) Report(ctx context.Context, guard store.Guard, report api.EndpointReport) error {
	observed := make([]endpoint.Observed, 0, len(report.Observed))
	for _, o := range report.Observed {
		if endpoint.ValidName(o.Name) {
			observed = append(observed, observedOf(guard.Region, o))
		}
	}
	if len(observed) == 0 && (!report.All || s.silent(ctx, guard.Region)) {
		return nil
	}
	if err := s.Store.PutObserved(ctx, guard, observed, report.All); err != nil {
		return fmt.Errorf("taking in what region %s says of endpoints: %w", guard.Region, err)
	}
	s.Look()
	return nil
}

// silent tells whether nothing is known of a region, so that nothing need be
// written where it says nothing.
func (s *Serving) silent(ctx context.Context, region string) bool {
	seen, err := s.view.refresh(ctx)
	return err == nil && len(seen.observed[region].of) == 0
}

// Targets lists what a region should know of endpoints and does not: those
// whose target is not the one that it goes by, and those that it holds and that
// have none here.
func (s *Serving) Targets(ctx context.Context, region string, held map[string]string) ([]api.EndpointTarget, error) {
	seen, err := s.view.refresh(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the targets of region %s: %w", region, err)
	}
	targets := seen.targets[region]
	var news []api.EndpointTarget
	for name, tag := range held {
		if targets[name] == nil && tag != gone {
			news = append(news, api.EndpointTarget{Name: name, Tag: gone})
		}
	}
	for name, target := range targets {
		if tag, known := held[name]; target != undecided && (!known || tag != target.Tag) {
			news = append(news, *target)
		}
	}
	slices.SortFunc(news, func(a, b api.EndpointTarget) int { return strings.Compare(a.Name, b.Name) })
	return news[:min(len(news), maxTargets)], nil
}

// undecided stands for the target of a region that was lost. Back again, it is
// told nothing until it has said what it still has, and the next decision has
// been made of that.
var undecided = &api.EndpointTarget{}

// gone is the tag of a target that says that all of an endpoint is to go.
const gone = "gone"

// targetOnWire is what a region should have, with a tag that is made of it.
func targetOnWire(e *endpoint.Endpoint, t endpoint.Target) (*api.EndpointTarget, error) {
	target := &api.EndpointTarget{
		Name: e.Name, UID: e.UID, DrainSeconds: e.Spec.DrainTime.Seconds(), Limits: limitsOnWire(e.Spec.Limits), ModelNames: e.Spec.ModelNames,
	}
	for _, set := range t.Sets {
		revision, found := e.Find(set.Revision)
		if !found {
			continue
		}
		target.Sets = append(target.Sets, api.EndpointSet{
			Revision: set.Revision, Replicas: set.Replicas, Weight: set.Weight, Spec: ContainerOnWire(revision.Container),
		})
	}
	target.Measure = e.Spec.Autoscaling != nil || e.Canary != nil
	text, err := json.Marshal(target)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	target.Tag = hex.EncodeToString(sum[:8])
	return target, nil
}

// ContainerOnWire has the fields of a spec that make a revision.
func ContainerOnWire(c endpoint.Container) api.EndpointSpec {
	return api.EndpointSpec{
		Image: c.Image, Command: slices.Clone(c.Command), Args: slices.Clone(c.Args), Env: maps.Clone(c.Env), Port: c.Port,
		Resources: maps.Clone(c.Resources), Model: c.Model, HealthPath: c.HealthPath, CapacityType: string(c.CapacityType),
	}
}

func limitsOnWire(l endpoint.Limits) *api.EndpointLimits {
	out := api.EndpointLimits(l)
	return &out
}

func observedOf(region string, o api.EndpointObservation) endpoint.Observed {
	out := endpoint.Observed{
		Region: region, Name: o.Name, UID: cut(o.UID, maxReason), Target: cut(o.Target, maxReason),
		Gateway: cut(o.Gateway, maxMessage), Load: loadOf(o.Load),
	}
	if out.Target == gone {
		out.Target = ""
	}
	for _, r := range o.Replicas[:min(len(o.Replicas), maxCopies)] {
		out.Replicas = append(out.Replicas, endpoint.Replica{
			ID: cut(r.ID, maxReason), Revision: r.Revision, Phase: endpoint.Phase(r.Phase), Address: cut(r.Address, maxReason),
			Restarts: r.Restarts, Reason: cut(r.Reason, maxReason), Message: cut(r.Message, maxMessage), Since: r.Since.UTC(),
		})
	}
	if o.Shortage != nil {
		out.Shortage = &endpoint.Shortage{
			Resource: cut(o.Shortage.Resource, maxMessage), Kind: capacity.FailureKind(o.Shortage.Kind), Message: cut(o.Shortage.Message, maxMessage),
		}
	}
	return out
}

// maxRevisions bounds those of a load.
const maxRevisions = 2 * endpoint.KeepRevisions

// loadOf is what a gateway measured; nil is nothing.
func loadOf(l *api.EndpointLoad) *endpoint.Load {
	if l == nil || len(l.Revisions) > maxRevisions {
		return nil
	}
	out := &endpoint.Load{
		Began: l.Began.UTC(), At: l.At.UTC(), Open: l.Open, Waiting: l.Waiting, Busy: l.Busy,
		Revisions: map[int]canary.Sample{},
	}
	for revision, s := range l.Revisions {
		if len(s.Latencies) <= canary.Buckets {
			out.Revisions[revision] = canary.Sample(s)
		}
	}
	return out
}

// cut shortens a text to a number of bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
}
