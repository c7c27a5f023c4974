package agent

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

// Prepare builds the next request from what the runtime holds now.
func (a *Agent) Prepare(ctx context.Context) (api.SyncRequest, error) {
	held, synced, listErr := a.Runtime.List(ctx)
	snapshot, capacityErr := a.snapshot(ctx)
	if ctx.Err() != nil {
		return api.SyncRequest{}, ctx.Err()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	request := api.SyncRequest{Cluster: a.Runtime.Cluster()}
	if a.id == "" {
		return request, nil
	}
	a.endRests()
	a.sequence++
	request.Session, request.Epoch, request.Sequence = a.id, a.epoch, a.sequence
	if listErr != nil || capacityErr != nil {
		a.Log.Warn("the cluster does not answer", "region", a.Region, "list", listErr, "capacity", capacityErr)
		request.Unreachable = true
		request.Known = a.known()
		request.WaitSeconds = a.patience().Seconds()
		// Meanwhile the control plane may give away what runs here, so it
		// hears of all of it again.
		clear(a.reported)
		return request, nil
	}
	if a.endpoints != nil {
		var whole bool
		request.Endpoints, whole = a.endpoints.report()
		// Who has the inventory takes it that all has been said.
		synced = synced && whole
	}
	if a.Models != nil {
		request.Models = a.Models.Known()
	}
	if !a.inventoried && synced {
		request.Inventory = a.inventoryPage(held)
	}
	a.noticeVanished(held, synced)
	request.Observations = a.news(held)
	for _, o := range request.Observations {
		a.told[attemptID(o.AttemptRef)] = true
	}
	changed := !sameCapacity(a.capacity, snapshot)
	if changed && (len(request.Observations) > 0 || a.capacityRest() == 0) {
		// Until the answer comes, nobody knows which one the control plane
		// has.
		request.Capacity, a.capacity, a.capacityAt = &snapshot, nil, a.Clock.Now()
	}
	if request.Capacity == nil && request.Inventory == nil && len(request.Observations) == 0 && !says(request.Endpoints) {
		// Only a call that says nothing may be held back, and so only such a
		// call is ever given up for the sake of news.
		patience := a.patience()
		if changed {
			patience = min(patience, a.capacityRest())
		}
		request.WaitSeconds = patience.Seconds()
	}
	a.forgetEnded(held)
	request.Known = a.known()
	if a.inventoried {
		request.MaxStart = max(0, a.MaxStart-len(a.busy)-a.failing())
	}
	return request, nil
}

// snapshot is what the region could take, and the models that it has.
func (a *Agent) snapshot(ctx context.Context) (capacity.Snapshot, error) {
	snapshot, err := a.Runtime.Capacity(ctx)
	if a.Models != nil {
		snapshot.Models = a.Models.Present()
	}
	return snapshot, err
}

// hasNews tells whether Prepare would say something that was not said before:
// now, or after a while.
func (a *Agent) hasNews(ctx context.Context) (news bool, after time.Duration) {
	held, synced, err := a.Runtime.List(ctx)
	if err != nil {
		return false, 0
	}
	snapshot, err := a.snapshot(ctx)
	if err != nil {
		return false, 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.endpoints != nil {
		synced = synced && a.endpoints.ready()
	}
	a.noticeVanished(held, synced)
	switch {
	case a.id == "":
		return false, 0
	case a.endpoints != nil && a.endpoints.hasNews():
		return true, 0
	case a.settled || len(a.news(held)) > 0 || !a.inventoried && synced:
		return true, 0
	case !sameCapacity(a.capacity, snapshot):
		return true, a.capacityRest()
	default:
		return false, 0
	}
}

// capacityRest is for how long a change of the capacity alone is kept back.
func (a *Agent) capacityRest() time.Duration {
	if a.capacity == nil {
		return 0
	}
	return max(0, capacityPause-a.Clock.Since(a.capacityAt))
}

// news lists what the control plane has not been told yet.
func (a *Agent) news(held []runtime.Observation) []api.Observation {
	var news []api.Observation
	words := 0
	add := func(o api.Observation) (more bool) {
		o.Reason, o.Message = cut(o.Reason), cut(o.Message)
		news = append(news, o)
		words += len(o.Reason) + len(o.Message) + len(o.Result)
		return len(news) < maxObservations && words < maxWordsInAll
	}
	for _, o := range held {
		if a.foreign(o) || a.reported[o.ID] == o.Phase {
			continue
		}
		if !add(wire(o)) {
			return news
		}
	}
	for _, id := range sortedIDs(a.unheld) {
		if !add(a.unheld[id]) {
			return news
		}
	}
	return news
}

// cut shortens what a cluster says.
func cut(words string) string {
	if len(words) <= maxWords {
		return words
	}
	return strings.ToValidUTF8(words[:maxWords], "") + "..."
}

// noticeVanished finds attempts that the control plane may take for alive and
// that the runtime no longer holds: somebody removed them behind our back.
func (a *Agent) noticeVanished(held []runtime.Observation, synced bool) {
	if !synced {
		return
	}
	here := make(map[job.AttemptID]bool, len(held))
	for _, o := range held {
		here[o.ID] = true
	}
	for id := range a.told {
		_, over := a.unheld[id]
		ended := a.reported[id] != "" && a.reported[id].Terminal()
		if !here[id] && !over && !ended {
			a.unheld[id] = api.Observation{
				AttemptRef: ref(id), Phase: string(runtime.PhaseLost), Reason: "vanished",
				Message: "the region's cluster no longer has it",
			}
		}
	}
}

// foreign attempts belong to another history of the control plane's data.
func (a *Agent) foreign(o runtime.Observation) bool { return o.Incarnation != a.incarnation }

// inventoryPage lists what is held after what was listed before. A page never
// splits the attempts of one job.
func (a *Agent) inventoryPage(held []runtime.Observation) *api.Inventory {
	page := &api.Inventory{After: a.inventoryAfter, Items: []api.AttemptRef{}, Last: true}
	for _, o := range held {
		if a.foreign(o) || string(o.ID.Job) <= a.inventoryAfter {
			continue
		}
		if n := len(page.Items); n >= maxInventory && page.Items[n-1].JobID != string(o.ID.Job) {
			page.Last, page.Through = false, page.Items[n-1].JobID
			break
		}
		page.Items = append(page.Items, ref(o.ID))
	}
	return page
}

// endRests forgets the rests that are over, and with them all that a request
// before this one called known.
func (a *Agent) endRests() {
	now := a.Clock.Now()
	maps.DeleteFunc(a.resting, func(_ job.AttemptID, r rest) bool { return !now.Before(r.until) })
	a.settled = false
}

// patience is how long a call may be held back: until there is something that
// the agent can try again.
func (a *Agent) patience() time.Duration {
	now, patience := a.Clock.Now(), a.poll()
	for _, rest := range a.resting {
		patience = min(patience, rest.until.Sub(now))
	}
	for id := range a.condemned {
		if a.idle(id) {
			return 0
		}
	}
	return max(patience, 0)
}

// idle tells whether something may be tried on an attempt now.
func (a *Agent) idle(id job.AttemptID) bool {
	return !a.busy[id] && !a.Clock.Now().Before(a.resting[id].until)
}

// failing counts the attempts on which something was tried in vain just now.
func (a *Agent) failing() int {
	count := 0
	for _, rest := range a.resting {
		if rest.failed {
			count++
		}
	}
	return count
}

// forgetEnded drops what need not be remembered of attempts that are over.
func (a *Agent) forgetEnded(held []runtime.Observation) {
	running := make(map[job.AttemptID]bool, len(held))
	for _, o := range held {
		if !o.Phase.Terminal() {
			running[o.ID] = true
		}
	}
	maps.DeleteFunc(a.stopping, func(id job.AttemptID, _ bool) bool { return !running[id] })
}

// known lists what the agent is still busy with, or will try again by itself,
// so that the control plane need not repeat it.
func (a *Agent) known() []api.AttemptRef {
	all := map[job.AttemptID]bool{}
	maps.Copy(all, a.busy)
	maps.Copy(all, a.condemned)
	maps.Copy(all, a.stopping)
	for id := range a.resting {
		all[id] = true
	}
	var known []api.AttemptRef
	for _, id := range sortedIDs(all) {
		if len(known) < maxKnown {
			known = append(known, ref(id))
		}
	}
	return known
}

func sameCapacity(reported *capacity.Snapshot, now capacity.Snapshot) bool {
	return reported != nil && reflect.DeepEqual(*reported, now)
}

func ref(id job.AttemptID) api.AttemptRef {
	return api.AttemptRef{JobID: string(id.Job), Attempt: id.Attempt}
}

func attemptID(ref api.AttemptRef) job.AttemptID {
	return job.AttemptID{Job: job.ID(ref.JobID), Attempt: ref.Attempt}
}

func wire(o runtime.Observation) api.Observation {
	out := api.Observation{
		AttemptRef: ref(o.ID), Phase: string(o.Phase), Reason: o.Reason, Message: o.Message,
		ExitCode: o.ExitCode, Result: o.Result, StartedAt: timePointer(o.StartedAt), FinishedAt: timePointer(o.FinishedAt),
	}
	if c := o.Capacity; c != nil {
		out.CapacityFailure = &api.CapacityFailure{Resource: c.Resource, Kind: string(c.Kind), Message: c.Message}
	}
	return out
}

func timePointer(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func sortedIDs[V any](m map[job.AttemptID]V) []job.AttemptID {
	ids := make([]job.AttemptID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(x, y job.AttemptID) int {
		if c := strings.Compare(string(x.Job), string(y.Job)); c != 0 {
			return c
		}
		return x.Attempt - y.Attempt
	})
	return ids
}

// rejected is the observation of an attempt that the runtime refused.
func rejected(id job.AttemptID, why *runtime.Rejected) api.Observation {
	o := api.Observation{
		AttemptRef: ref(id), Phase: string(runtime.PhaseFailed), Reason: why.Reason, Message: why.Message,
	}
	if c := why.Capacity; c != nil {
		o.Phase = string(runtime.PhaseReleased)
		o.CapacityFailure = &api.CapacityFailure{Resource: c.Resource, Kind: string(c.Kind), Message: c.Message}
		o.Message = fmt.Sprintf("%s: %s", c.Resource, c.Message)
	}
	return o
}
