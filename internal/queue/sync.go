package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/store"
)

// Bounds of the claims of one answer; what is left out comes with the next one.
const (
	claimPage    = 200
	maxClaimScan = 2000
)

// answerBounds are how much one answer lists, and how many records are read
// at a time for it.
type answerBounds struct{ starts, stops, page int }

var defaultAnswerBounds = answerBounds{starts: 500, stops: 1000, page: 1000}

// Sync is the one call of a region's agent. It is level-triggered: the answer
// holds all that the agent should do and has not reported as done, so that a
// lost request or answer costs nothing but time. In order:
//
//  1. Without a session, one is opened. That raises the epoch, and so ends
//     the right of any earlier session to report.
//  2. The session is renewed, and the capacity that the agent saw is stored;
//     store.ErrStaleSession tells the agent to fence and open a new session.
//  3. A page of inventory is compared with what the region should hold:
//     missing attempts are lost, unknown ones are to be stopped.
//  4. Observations become transitions, under the guard of the epoch.
//  5. What the region sees of endpoints is taken in.
//  6. Placed jobs that fit are claimed.
//  7. The answer is held back until there is something in it, or the wait is
//     over.
func (q *Queue) Sync(ctx context.Context, region string, request api.SyncRequest) (api.SyncResponse, error) {
	if request.Session == "" {
		return q.openSession(ctx, region, request)
	}
	signal, stop := q.regions.subscribe(region)
	defer stop()
	s := &syncCall{
		q: q, region: region, request: request, known: refs(request.Known), strangers: map[job.AttemptID]bool{},
	}
	if err := s.receive(ctx); err != nil {
		return api.SyncResponse{}, err
	}
	end := q.Clock.Now().Add(boundedWait(request.WaitSeconds, q.Timing.LongPoll))
	for {
		response, err := s.answer(ctx)
		left := end.Sub(q.Clock.Now())
		if err != nil || hasWork(response) || left <= 0 {
			return response, err
		}
		timer := q.Clock.NewTimer(left)
		select {
		case <-signal:
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return api.SyncResponse{}, ctx.Err()
		}
		timer.Stop()
	}
}

// boundedWait compares as numbers: a float need not fit into a duration.
func boundedWait(seconds float64, most time.Duration) time.Duration {
	return time.Duration(max(0, min(seconds, most.Seconds())) * float64(time.Second))
}

// hasWork tells whether an answer should not wait. An agent sends its
// inventory as soon as it has one, so to want it is no work.
func hasWork(r api.SyncResponse) bool {
	return len(r.Start)+len(r.Stop)+len(r.Requests)+len(r.Endpoints)+len(r.Models) > 0
}

func (q *Queue) openSession(ctx context.Context, region string, request api.SyncRequest) (api.SyncResponse, error) {
	r, err := q.Store.OpenSession(ctx, region, request.Cluster, q.NewID(), q.Clock.Now())
	if err != nil {
		return api.SyncResponse{}, fmt.Errorf("opening a session of region %s: %w", region, err)
	}
	q.Log.Info("region opened a session", "region", region, "epoch", r.Epoch, "cluster", r.Cluster)
	q.events.notify("")
	// Whatever an earlier session waits for, it waits in vain.
	q.regions.notify(region)
	incarnation, err := q.incarnationID(ctx)
	return api.SyncResponse{
		Session: r.Session, Epoch: r.Epoch, Incarnation: incarnation,
		TrustSeconds: q.Timing.Trust.Seconds(), InventoryWanted: true,
	}, err
}

// syncCall is one Sync within a session.
type syncCall struct {
	q       *Queue
	region  string
	request api.SyncRequest
	known   map[job.AttemptID]bool
	// record is the region as it was after the renewal.
	record capacity.Region
	// superseded attempts are held by the agent, and no longer wanted;
	// strangers is the same as a set.
	superseded []job.AttemptID
	strangers  map[job.AttemptID]bool
	// models are those that the region will need, and does not know of yet.
	models []string
}

// willNeed lets the region fetch the model of a job that waits for room there.
func (s *syncCall) willNeed(model string) {
	if model != "" && !slices.Contains(s.models, model) && !slices.Contains(s.request.Models, model) {
		s.models = append(s.models, model)
	}
}

func (s *syncCall) guard() *store.Guard {
	return &store.Guard{Region: s.region, Epoch: s.request.Epoch, Lease: capacity.LeaseLive}
}

// receive takes in all that the request says.
func (s *syncCall) receive(ctx context.Context) error {
	renewal := store.Renewal{
		Region: s.region, Session: s.request.Session, Epoch: s.request.Epoch, Sequence: s.request.Sequence,
		Snapshot: s.request.Capacity, Unreachable: s.request.Unreachable,
	}
	// The snapshot is stored before the reports that belong to it: between
	// the two writes an attempt counts twice, never not at all.
	if err := s.renew(ctx, renewal); err != nil {
		return err
	}
	for _, failure := range s.request.CapacityFailures {
		if err := s.backOff(ctx, failure); err != nil {
			return err
		}
	}
	if err := s.report(ctx); err != nil {
		return err
	}
	// Before the inventory ends: a region that has sent it has said all.
	if s.endpoints() {
		if err := s.q.Endpoints.Report(ctx, *s.guard(), *s.request.Endpoints); err != nil {
			return err
		}
	}
	if page := s.request.Inventory; page != nil {
		if err := s.compareInventory(ctx, *page); err != nil {
			return err
		}
		if page.Last && !s.record.Inventoried {
			renewal.Inventoried = true
			if err := s.renew(ctx, renewal); err != nil {
				return err
			}
			if err := s.q.census.arrived(ctx); err != nil {
				return err
			}
		}
	}
	if s.request.Capacity != nil || s.record.Inventoried {
		s.q.wakePlacer()
	}
	return nil
}

// endpoints tells whether the agent serves any, and so does this process.
func (s *syncCall) endpoints() bool { return s.q.Endpoints != nil && s.request.Endpoints != nil }

func (s *syncCall) renew(ctx context.Context, renewal store.Renewal) error {
	record, err := s.q.Store.Renew(ctx, renewal, s.q.Clock.Now())
	if err != nil {
		return fmt.Errorf("renewing the session of region %s: %w", s.region, err)
	}
	s.record = record
	return nil
}

// answer claims what fits and lists all that the agent should do.
func (s *syncCall) answer(ctx context.Context) (api.SyncResponse, error) {
	incarnation, err := s.q.incarnationID(ctx)
	if err != nil {
		return api.SyncResponse{}, err
	}
	response := api.SyncResponse{
		Session: s.request.Session, Epoch: s.request.Epoch, Incarnation: incarnation,
		TrustSeconds:    s.q.Timing.Trust.Seconds(),
		InventoryWanted: !s.record.Inventoried && s.request.Inventory == nil,
		Requests:        s.q.Requests(s.region),
	}
	if s.endpoints() {
		if response.Endpoints, err = s.q.Endpoints.Targets(ctx, s.region, s.request.Endpoints.Held); err != nil {
			return api.SyncResponse{}, err
		}
	}
	if response.Stop, err = s.stops(ctx); err != nil {
		return api.SyncResponse{}, err
	}
	if !s.record.Inventoried || s.request.Unreachable {
		return response, nil
	}
	if missing, err := s.q.census.awaited(ctx); err != nil || len(missing) > 0 {
		return response, err
	}
	s.models = nil
	if err := s.claim(ctx); err != nil {
		return api.SyncResponse{}, err
	}
	for _, model := range s.q.ahead.of(s.record) {
		s.willNeed(model)
	}
	response.Models = s.models
	response.Start, err = s.starts(ctx)
	return response, err
}

// claim takes the region's placed jobs in their order, as far as they fit
// beside what was claimed and does not show in the capacity report yet.
func (s *syncCall) claim(ctx context.Context) error {
	if s.request.MaxStart <= 0 {
		return nil
	}
	placed, err := s.q.Store.Placed(ctx, s.region, store.Position{}, 1)
	if err != nil || len(placed) == 0 {
		return err
	}
	record, err := s.q.Store.Region(ctx, s.region)
	if err != nil {
		return fmt.Errorf("reading region %s: %w", s.region, err)
	}
	if record.Cordoned {
		return nil
	}
	room := placement.NewRoom(record.Snapshot)
	claimed, err := s.claimed(ctx)
	if err != nil {
		return err
	}
	demands := map[capacity.Class]capacity.Demand{}
	demandOf := func(class capacity.Class) (capacity.Demand, error) {
		if demand, ok := demands[class]; ok {
			return demand, nil
		}
		demand, err := s.q.Store.Demand(ctx, class)
		demands[class] = demand
		return demand, err
	}
	for _, j := range claimed {
		demand, err := demandOf(j.Spec.Class)
		if err != nil {
			return fmt.Errorf("reading the demand of job %s: %w", j.ID, err)
		}
		room.Take(demand)
	}
	left := s.request.MaxStart
	var after store.Position
	for scanned := 0; left > 0 && scanned < maxClaimScan; {
		page, err := s.q.Store.Placed(ctx, s.region, after, claimPage)
		if err != nil {
			return fmt.Errorf("listing what was placed in %s: %w", s.region, err)
		}
		var changes []store.Change
		for _, j := range page {
			after = store.Position{Priority: j.Spec.Priority, ID: j.ID}
			demand, err := demandOf(j.Spec.Class)
			if err != nil {
				return fmt.Errorf("reading the demand of job %s: %w", j.ID, err)
			}
			if len(changes) == left || !room.Take(demand) {
				s.willNeed(j.Spec.Placement.Model)
				continue
			}
			next, transition, err := j.Apply(job.Event{Kind: job.Claim}, s.q.Clock.Now())
			if err != nil {
				return err
			}
			changes = append(changes, store.Change{Job: next, Transition: transition})
		}
		// A change that someone else made meanwhile is his; the next Sync
		// sees what became of the job.
		if _, err := s.q.commit(ctx, s.guard(), changes); err != nil {
			return fmt.Errorf("claiming for region %s: %w", s.region, err)
		}
		left -= len(changes)
		scanned += len(page)
		if len(page) < claimPage {
			break
		}
	}
	return nil
}

// claimed lists all that the region has claimed and not yet applied.
func (s *syncCall) claimed(ctx context.Context) ([]job.Job, error) {
	var all []job.Job
	err := s.each(ctx, s.q.Store.Claimed, func(j job.Job) bool {
		all = append(all, j)
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("listing what %s has claimed: %w", s.region, err)
	}
	return all, nil
}

// each calls f for the region's jobs in a list, until f has enough.
func (s *syncCall) each(ctx context.Context, list func(context.Context, string, job.ID, int) ([]job.Job, error), f func(job.Job) bool) error {
	for after := job.ID(""); ; {
		page, err := list(ctx, s.region, after, s.q.bounds.page)
		if err != nil {
			return err
		}
		for _, j := range page {
			if !f(j) {
				return nil
			}
			after = j.ID
		}
		if len(page) < s.q.bounds.page {
			return nil
		}
	}
}

// starts lists every claimed attempt that the agent is not busy with.
func (s *syncCall) starts(ctx context.Context) ([]api.Start, error) {
	claimed, err := s.claimed(ctx)
	if err != nil {
		return nil, err
	}
	var starts []api.Start
	for _, j := range claimed {
		if s.known[j.AttemptID()] || j.Intent != job.Run || len(starts) == s.q.bounds.starts {
			continue
		}
		text, err := s.q.Store.Manifest(ctx, j.ID)
		if err != nil {
			return nil, fmt.Errorf("reading the manifest of job %s: %w", j.ID, err)
		}
		starts = append(starts, api.Start{
			AttemptRef: ref(j.AttemptID()), Namespace: j.Spec.Namespace, Name: j.Spec.Name,
			Manifest: text, Model: j.Spec.Placement.Model, Unfenced: j.Spec.OnRegionLost == job.Wait,
		})
	}
	return starts, nil
}

// stops lists every attempt that the agent should stop and is not busy with.
func (s *syncCall) stops(ctx context.Context) ([]api.Stop, error) {
	var stops []api.Stop
	err := s.each(ctx, s.q.Store.Unwanted, func(j job.Job) bool {
		if s.known[j.AttemptID()] {
			return true
		}
		reason := string(j.StopReason)
		if j.Intent == job.Move {
			reason = "move"
		}
		stops = append(stops, api.Stop{AttemptRef: ref(j.AttemptID()), Reason: reason})
		return len(stops) < s.q.bounds.stops
	})
	if err != nil {
		return nil, fmt.Errorf("listing what %s should stop: %w", s.region, err)
	}
	for _, id := range s.superseded {
		stops = append(stops, api.Stop{AttemptRef: ref(id), Reason: "superseded"})
	}
	return stops, nil
}

func ref(id job.AttemptID) api.AttemptRef {
	return api.AttemptRef{JobID: string(id.Job), Attempt: id.Attempt}
}

func attemptID(ref api.AttemptRef) job.AttemptID {
	return job.AttemptID{Job: job.ID(ref.JobID), Attempt: ref.Attempt}
}

func refs(list []api.AttemptRef) map[job.AttemptID]bool {
	set := make(map[job.AttemptID]bool, len(list))
	for _, r := range list {
		set[attemptID(r)] = true
	}
	return set
}
