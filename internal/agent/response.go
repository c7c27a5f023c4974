package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/joblog"
	"github.com/gco-project/gco/internal/runtime"
)

// Absorb acts on an answer to a request that was begun at the given time.
func (a *Agent) Absorb(ctx context.Context, request api.SyncRequest, response api.SyncResponse, begun time.Time) {
	if a.otherHistory(request, response) {
		a.Refused(ctx, fmt.Errorf("%w: the control plane's data were restored", ErrStaleSession))
		return
	}
	if !a.renew(request, response, begun) {
		return
	}
	a.acknowledge(request, response)
	if a.endpoints != nil {
		a.endpoints.acknowledge(request.Endpoints)
		a.endpoints.take(response.Endpoints)
	}
	if a.Models != nil {
		a.Models.Prefetch(response.Models)
	}
	a.dropForeign(ctx)
	// Before anything is forgotten that is asked for.
	for _, question := range response.Requests {
		a.answer(question)
	}
	a.finishReported(ctx)
	a.condemn(response.Stop)
	a.stopCondemned(ctx)
	for _, start := range response.Start {
		a.start(start)
	}
}

// otherHistory tells whether the control plane's data are not those with which
// the session began: it may have forgotten what it was told.
func (a *Agent) otherHistory(request api.SyncRequest, response api.SyncResponse) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return request.Session != "" && request.Session == a.id && response.Incarnation != a.incarnation
}

// renew takes the session's news. It returns false for an answer to a session
// that has ended since.
func (a *Agent) renew(request api.SyncRequest, response api.SyncResponse, begun time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if request.Session != a.id {
		return false
	}
	if request.Session == "" {
		a.session = newSession()
		if a.endpoints != nil {
			a.endpoints.beginSession()
		}
		a.id, a.epoch, a.incarnation = response.Session, response.Epoch, response.Incarnation
	}
	a.trust = time.Duration(response.TrustSeconds * float64(time.Second))
	until := begun.Add(a.trust)
	left := until.Sub(a.Clock.Now())
	if left <= 0 {
		return true
	}
	if until.After(a.trustUntil) {
		a.trustUntil = until
	}
	a.fenced = false
	if err := a.Runtime.Renew(left); err != nil {
		// The runtime keeps the deadline that it has, and fences by it.
		a.Log.Error("passing the lease on", "region", a.Region, "error", err)
	}
	return true
}

// acknowledge notes what the control plane knows now.
func (a *Agent) acknowledge(request api.SyncRequest, response api.SyncResponse) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if request.Session == "" {
		return
	}
	if request.Capacity != nil {
		a.capacity = request.Capacity
	}
	for _, o := range request.Observations {
		id := attemptID(o.AttemptRef)
		delete(a.resting, id)
		if _, ok := a.unheld[id]; ok {
			delete(a.unheld, id)
			delete(a.reported, id)
			delete(a.told, id)
			continue
		}
		a.reported[id] = runtime.Phase(o.Phase)
	}
	switch page := request.Inventory; {
	case page != nil && page.Last:
		a.inventoried = true
	case page != nil:
		a.inventoryAfter = page.Through
	case response.InventoryWanted:
		a.inventoried, a.inventoryAfter = false, ""
	}
}

// start applies an attempt, once.
func (a *Agent) start(start api.Start) {
	id := attemptID(start.AttemptRef)
	a.mu.Lock()
	_, over := a.unheld[id]
	skip := over || !a.idle(id) || a.condemned[id] || a.stopping[id] || a.fenced || a.reported[id] != ""
	dir := ""
	if !skip {
		var here bool
		dir, here = a.modelOf(id, start.Model)
		skip = !here
	}
	if !skip {
		a.busy[id] = true
	}
	session, deadline := a.id, a.trustUntil
	attempt := runtime.Attempt{
		ID: id, Incarnation: a.incarnation, Namespace: start.Namespace, Name: start.Name,
		Manifest: start.Manifest, Model: dir, Unfenced: start.Unfenced,
	}
	a.mu.Unlock()
	if skip {
		return
	}
	a.Go(func() {
		// Nothing may be applied after the lease that allowed it.
		ctx, cancel := context.WithTimeout(a.background, deadline.Sub(a.Clock.Now()))
		defer cancel()
		err := a.Runtime.Apply(ctx, attempt)
		a.mu.Lock()
		delete(a.busy, id)
		a.settled = true
		// Also what was applied may take a moment to show.
		a.leave(id, retryPause, err != nil)
		if why, ok := errors.AsType[*runtime.Rejected](err); ok && a.id == session {
			delete(a.resting, id)
			a.unheld[id] = rejected(id, why)
		} else if err != nil {
			a.Log.Warn("apply failed; it will be tried again", "region", a.Region, "job", id.Job, "attempt", id.Attempt, "error", err)
		}
		a.mu.Unlock()
		a.notice()
	})
}

// leave lets an attempt alone for a while; a.mu must be held.
func (a *Agent) leave(id job.AttemptID, pause time.Duration, failed bool) {
	a.resting[id] = rest{a.Clock.Now().Add(pause), failed}
}

// condemn notes what is to be stopped. The control plane does not change its
// mind about that, and need not say it again.
func (a *Agent) condemn(stops []api.Stop) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, stop := range stops {
		a.condemned[attemptID(stop.AttemptRef)] = true
	}
}

// stopCondemned stops what can be stopped now, for no longer than a part of
// the trust: what is left comes after the next call, so that many stops never
// cost the lease. An attempt that is being applied may be about to exist, and
// has to wait.
func (a *Agent) stopCondemned(ctx context.Context) {
	a.mu.Lock()
	ids := sortedIDs(a.condemned)
	ids = slices.DeleteFunc(ids, func(id job.AttemptID) bool { return !a.idle(id) })
	grace := a.grace()
	a.mu.Unlock()
	for end := a.Clock.Now().Add(grace); len(ids) > 0 && a.Clock.Now().Before(end); ids = ids[1:] {
		a.stop(ctx, ids[0], grace)
	}
}

// stop asks the runtime to end an attempt; one that it does not hold counts
// as stopped. Answers come one at a time and list only what the control plane
// has not seen end, so neither can come back once its end was acknowledged.
func (a *Agent) stop(ctx context.Context, id job.AttemptID, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := a.Runtime.Stop(ctx, id)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case errors.Is(err, runtime.ErrNotFound):
		delete(a.condemned, id)
		if _, over := a.unheld[id]; !over {
			a.unheld[id] = api.Observation{AttemptRef: ref(id), Phase: string(runtime.PhaseStopped)}
		}
		a.notice()
	case err != nil:
		a.leave(id, retryPause, true)
		a.Log.Warn("stop failed; it will be tried again", "region", a.Region, "job", id.Job, "attempt", id.Attempt, "error", err)
	default:
		delete(a.condemned, id)
		a.stopping[id] = true
		a.leave(id, retryPause, false)
	}
}

// dropForeign ends what belongs to another history of the control plane's
// data: nobody can report on it any more.
func (a *Agent) dropForeign(ctx context.Context) {
	held, synced, err := a.Runtime.List(ctx)
	if err != nil || !synced {
		return
	}
	for _, o := range held {
		a.mu.Lock()
		drop := a.foreign(o) && a.idle(o.ID)
		if drop {
			// Until it is gone, no attempt of the same name can be applied.
			a.leave(o.ID, retryPause, false)
		}
		a.mu.Unlock()
		if !drop {
			continue
		}
		if o.Phase.Terminal() {
			err = a.Runtime.Forget(ctx, o.ID)
		} else {
			err = a.Runtime.Stop(ctx, o.ID)
		}
		if err != nil && !errors.Is(err, runtime.ErrNotFound) {
			a.Log.Warn("dropping an attempt of another incarnation", "region", a.Region, "job", o.ID.Job, "error", err)
		}
	}
}

// closing is how far an attempt is on its way out.
type closing int

// What becomes of an attempt whose end the control plane knows.
const (
	// shipping: its logs are on their way to the archive.
	shipping closing = iota + 1
	// shipped: they are there, and a client is still being told of it.
	shipped
	// forgetting: the runtime is removing what is left.
	forgetting
)

// finishReported ships the logs of attempts whose end the control plane
// knows, and forgets them. An attempt is never forgotten before both, nor while
// a client is being told of it.
func (a *Agent) finishReported(ctx context.Context) {
	held, _, err := a.Runtime.List(ctx)
	if err != nil {
		return
	}
	for _, o := range held {
		a.mu.Lock()
		ready := o.Phase.Terminal() && a.reported[o.ID] == o.Phase && a.idle(o.ID) && !a.foreign(o) &&
			(a.closing[o.ID] == 0 || a.closing[o.ID] == shipped && !a.answered(o.ID))
		ship := a.closing[o.ID] == 0
		if ready {
			a.closing[o.ID] = shipping
		}
		a.mu.Unlock()
		if ready {
			a.Go(func() { a.finish(o.ID, ship) })
		}
	}
}

func (a *Agent) finish(id job.AttemptID, ship bool) {
	ctx := a.background
	a.finishing <- struct{}{}
	var err error
	if ship {
		err = a.archive(ctx, id)
	}
	forgotten := false
	if err == nil && a.mayForget(id) {
		err = a.Runtime.Forget(ctx, id)
		forgotten = true
	}
	<-a.finishing
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		delete(a.closing, id)
		a.leave(id, archivePause, false)
		if ctx.Err() == nil {
			a.Log.Warn("closing an attempt; it will be tried again", "region", a.Region, "job", id.Job, "attempt", id.Attempt, "error", err)
		}
		return
	}
	if !forgotten {
		return
	}
	delete(a.closing, id)
	delete(a.condemned, id)
	delete(a.stopping, id)
	delete(a.reported, id)
	delete(a.told, id)
	a.notice()
}

// mayForget takes the decision to forget an attempt whose logs were shipped:
// who asks for it from then on is told that it is not here, and has the
// archive.
func (a *Agent) mayForget(id job.AttemptID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.answered(id) {
		a.closing[id] = shipped
		return false
	}
	a.closing[id] = forgetting
	return true
}

func (a *Agent) archive(ctx context.Context, id job.AttemptID) error {
	lines, err := a.Runtime.Logs(ctx, id, runtime.LogOptions{Timestamps: true})
	if errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lines.Close()
	archive := a.inArchiveFormat(ctx, id, lines)
	defer archive.Close()
	err = a.Server.ArchiveLogs(ctx, a.Region, ref(id), archive)
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}

// inArchiveFormat turns a runtime's lines into those of package joblog. The
// control plane bounds how many it keeps.
func (a *Agent) inArchiveFormat(ctx context.Context, id job.AttemptID, lines io.Reader) io.ReadCloser {
	source := a.onlySource(ctx, id)
	reader, writer := io.Pipe()
	go func() {
		_, err := joblog.Rewrite(writer, lines, source, math.MaxInt64)
		writer.CloseWithError(err)
	}()
	return reader
}

// onlySource names the container whose lines a runtime does not prefix, since
// there is no other.
func (a *Agent) onlySource(ctx context.Context, id job.AttemptID) string {
	pods, err := a.Runtime.Pods(ctx, id)
	if err == nil && len(pods) > 0 && len(pods[0].Containers) > 0 {
		return pods[0].Name + "/" + pods[0].Containers[0].Name
	}
	return "unknown/unknown"
}
