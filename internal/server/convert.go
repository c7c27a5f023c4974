package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// jobOnWire is the record as the API shows it, without manifest, demand and
// history.
func jobOnWire(j job.Job) api.Job {
	return api.Job{
		ID:                string(j.ID),
		Namespace:         j.Spec.Namespace,
		Name:              j.Spec.Name,
		State:             string(j.State),
		Version:           j.Version,
		Intent:            string(j.Intent),
		StopReason:        string(j.StopReason),
		Priority:          j.Spec.Priority,
		Labels:            j.Spec.Labels,
		Placement:         placementOnWire(j.Spec.Placement),
		Region:            j.Region,
		Attempt:           j.Attempt,
		Failures:          j.Failures,
		Retries:           j.Spec.Retries,
		Losses:            j.Losses,
		Releases:          j.Releases,
		Moves:             j.Moves,
		Reason:            j.Reason,
		Message:           j.Message,
		ExitCode:          j.ExitCode,
		Outputs:           j.Outputs,
		OnRegionLost:      string(j.Spec.OnRegionLost),
		OnRegionLostLimit: durationOnWire(j.Spec.OnRegionLostLimit),
		TTLAfterFinished:  j.Spec.TTLAfterFinished.String(),
		SubmittedBy:       j.Spec.SubmittedBy,
		RetryOf:           string(j.Spec.RetryOf),
		Template:          templateRefOnWire(j.Spec.Template),
		Logs:              string(j.Logs),
		SubmittedAt:       j.SubmittedAt.UTC(),
		UpdatedAt:         j.UpdatedAt.UTC(),
		NotBefore:         timeOnWire(j.NotBefore),
		DeadlineAt:        timeOnWire(j.DeadlineAt),
		Model:             j.Spec.Placement.Model,
		PlacedAt:          timeOnWire(j.PlacedAt),
		ClaimedAt:         timeOnWire(j.ClaimedAt),
		StartedAt:         timeOnWire(j.StartedAt),
		FinishedAt:        timeOnWire(j.FinishedAt),
		ExpiresAt:         timeOnWire(j.ExpiresAt()),
		RegionLostAt:      timeOnWire(j.RegionLostAt),
	}
}

func templateRefOnWire(ref job.TemplateRef) *api.TemplateRef {
	if ref.Name == "" {
		return nil
	}
	return &api.TemplateRef{Name: ref.Name, Version: ref.Version}
}

func placementOnWire(c job.Constraints) *api.Placement {
	if len(c.Regions)+len(c.AvoidRegions) == 0 && c.CapacityType == "" && c.MaxPricePerHour == 0 {
		return nil
	}
	return &api.Placement{
		Regions: c.Regions, AvoidRegions: c.AvoidRegions,
		CapacityType: string(c.CapacityType), MaxPricePerHour: c.MaxPricePerHour,
	}
}

// transitionOnWire fails only on a decision that the queue did not write.
func transitionOnWire(t job.Transition) (api.Transition, error) {
	out := api.Transition{
		Number: t.Number, Type: t.Type, Event: string(t.Event),
		From: string(t.From), To: string(t.To), At: t.At.UTC(),
		Region: t.Region, Attempt: t.Attempt, Intent: string(t.Intent),
		Reason: t.Reason, Message: t.Message, ExitCode: t.ExitCode, Outputs: t.Outputs,
	}
	if len(t.Decision) > 0 {
		out.Decision = new(api.Decision)
		if err := json.Unmarshal(t.Decision, out.Decision); err != nil {
			return out, fmt.Errorf("reading the decision of transition %d of job %s: %w", t.Number, t.Job, err)
		}
	}
	return out, nil
}

// EncodeEvent is an event as the stream shows it, as JSON; webhooks send it.
func EncodeEvent(e store.Event, incarnation string) ([]byte, error) {
	wire, err := eventOnWire(e, eventSource(incarnation))
	if err != nil {
		return nil, err
	}
	return json.Marshal(wire)
}

// eventSource is where events come from; a store that was restored is another
// place.
func eventSource(incarnation string) string { return "/gco/" + incarnation }

// eventOnWire gives an event the attributes of CloudEvents.
func eventOnWire(e store.Event, source string) (api.Event, error) {
	data, err := json.RawMessage(e.Data), error(nil)
	switch kind, _, _ := strings.Cut(e.Type, "."); kind {
	case "job":
		data, err = rewritten(e, transitionOnWire)
	case "schedule":
		data, err = rewritten(e, func(s store.ScheduleEvent) (api.ScheduleEvent, error) {
			return api.ScheduleEvent{Namespace: s.Namespace, Schedule: s.Schedule, Version: s.Version, Runs: runsOnWire(s.Runs)}, nil
		})
	}
	if err != nil {
		return api.Event{}, err
	}
	return api.Event{
		SpecVersion: "1.0", ID: e.ID, Source: source, Type: e.Type, Subject: e.Subject,
		Time: e.At.UTC(), Namespace: e.Namespace, Data: data,
	}, nil
}

// rewritten is the data of an event whose form on the wire is another than in
// the store.
func rewritten[Stored, Wire any](e store.Event, onWire func(Stored) (Wire, error)) (json.RawMessage, error) {
	var stored Stored
	if err := json.Unmarshal(e.Data, &stored); err != nil {
		return nil, fmt.Errorf("reading event %s: %w", e.ID, err)
	}
	wire, err := onWire(stored)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(wire)
	if err != nil {
		return nil, fmt.Errorf("writing event %s: %w", e.ID, err)
	}
	return text, nil
}

// regionOnWire is the record of a region; counts of jobs and promises are
// added by the caller.
func regionOnWire(r capacity.Region) api.Region {
	out := api.Region{
		Name: r.Name, Lease: string(r.Lease), Cordoned: r.Cordoned, Draining: r.Draining,
		Healthy: r.Lease == capacity.LeaseLive && r.Inventoried && r.UnreachableSince.IsZero(),
		Cluster: r.Cluster, Epoch: r.Epoch, Inventoried: r.Inventoried,
		Free: r.Snapshot.Free(), Total: r.Snapshot.Total(), Promised: map[string]int64{}, Jobs: map[string]int64{},
		OpenedAt: timeOnWire(r.OpenedAt), RenewedAt: timeOnWire(r.RenewedAt),
		LostAt: timeOnWire(r.LostAt), UnreachableSince: timeOnWire(r.UnreachableSince), AwaitedSince: timeOnWire(r.AwaitedSince),
	}
	for resource, b := range r.Backoffs {
		if out.Backoffs == nil {
			out.Backoffs = map[string]api.Backoff{}
		}
		out.Backoffs[resource] = api.Backoff{
			Kind: string(b.Kind), Failures: b.Failures, Since: b.Since.UTC(), Until: b.Until.UTC(), Message: b.Message,
		}
	}
	return out
}

func tokenOnWire(t store.Token) api.Token {
	return api.Token{
		ID: t.ID, Name: t.Name, Role: t.Role, Namespaces: t.Namespaces, Region: t.Region,
		Endpoints: t.Endpoints, CreatedAt: t.CreatedAt.UTC(), ExpiresAt: timeOnWire(t.ExpiresAt),
	}
}

func timeOnWire(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func durationOnWire(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}
