package sim

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

// checks holds what GCO promises against what happened. It looks at the store
// from outside, never through a server.
type checks struct {
	w      *world
	cursor int64
	last   map[job.ID]job.Transition
	epochs map[string]int64
	// waited are the jobs that sit out the loss of their region. To end that is
	// no recovery.
	waited map[job.ID]bool
	// stale says that something was written since the last look.
	stale bool
	// recovered counts what was given back of each region at one instant.
	recovered   map[string]int
	recoveredAt time.Time
}

func newChecks(w *world) *checks {
	return &checks{
		w: w, last: map[job.ID]job.Transition{}, epochs: map[string]int64{}, recovered: map[string]int{},
		waited: map[job.ID]bool{},
	}
}

// afterStep reads the events since the last step, and compares every record
// with its last event.
func (c *checks) afterStep() {
	c.unwanted()
	if !c.stale {
		return
	}
	c.stale = false
	events, next, err := c.w.store.Events(c.w.ctx, store.EventQuery{After: c.cursor, Limit: 1000})
	if err != nil {
		c.w.fail("reading events: %v", err)
	}
	c.cursor = next
	for _, e := range events {
		if strings.HasPrefix(e.Type, "region.") {
			c.regionEvent(e)
		} else {
			c.jobEvent(e)
		}
	}
	c.records()
}

func (c *checks) jobEvent(e store.Event) {
	var t job.Transition
	if err := json.Unmarshal(e.Data, &t); err != nil {
		c.w.fail("event %s: %v", e.ID, err)
	}
	before := c.last[t.Job]
	c.last[t.Job] = t
	c.w.note("%s #%d %s: %s -> %s (%s, attempt %d) %s", t.Job, t.Number, t.Event, t.From, t.To, t.Region, t.Attempt, t.Reason)
	switch {
	case t.Number != before.Number+1:
		c.w.fail("job %s: event %d follows event %d", t.Job, t.Number, before.Number)
	case t.From != before.To:
		c.w.fail("job %s: event %d leaves %s, but the job was %s", t.Job, t.Number, t.From, before.To)
	case before.To.Terminal():
		c.w.fail("job %s: left the terminal state %s", t.Job, before.To)
	case t.Attempt < before.Attempt:
		c.w.fail("job %s: attempt %d after %d", t.Job, t.Attempt, before.Attempt)
	case before.Intent == job.Stop && !t.To.Terminal() && !t.To.Active():
		c.w.fail("job %s: was to stop, and is %s", t.Job, t.To)
	}
	if t.Reason == "region-lost" && t.Event == job.LostEvent && !c.waited[t.Job] {
		c.recovery(t)
	}
	c.waited[t.Job] = t.Event == job.RegionLost || c.waited[t.Job] && t.From == t.To && t.Event != job.RegionReturned
}

// recovery holds the pace: a burst of one second's worth at one instant.
func (c *checks) recovery(t job.Transition) {
	if !t.At.Equal(c.recoveredAt) {
		clear(c.recovered)
		c.recoveredAt = t.At
	}
	c.recovered[t.Region]++
	if n := c.recovered[t.Region]; n > int(timing.RecoveryRate) {
		c.w.fail("region %s: %d attempts recovered at once, at a rate of %g a second", t.Region, n, timing.RecoveryRate)
	}
}

func (c *checks) regionEvent(e store.Event) {
	var r store.RegionEvent
	if err := json.Unmarshal(e.Data, &r); err != nil {
		c.w.fail("event %s: %v", e.ID, err)
	}
	c.w.note("%s %s epoch %d", e.Type, r.Region, r.Epoch)
	if e.Type != "region.opened" {
		return
	}
	if r.Epoch <= c.epochs[r.Region] {
		c.w.fail("region %s: a new session has epoch %d after %d", r.Region, r.Epoch, c.epochs[r.Region])
	}
	c.epochs[r.Region] = r.Epoch
}

// records compares each job with its last event: both are written together or
// not at all, and what was accepted exists.
func (c *checks) records() {
	for key, id := range c.w.clients.accepted {
		if _, ok := c.last[id]; !ok {
			c.w.fail("job %s of %s was accepted, and has no event", id, key)
		}
	}
	ids := make([]job.ID, 0, len(c.last))
	for id := range c.last {
		ids = append(ids, id)
	}
	jobs, err := c.w.store.JobsByID(c.w.ctx, ids)
	if err != nil {
		c.w.fail("reading jobs: %v", err)
	}
	for id, t := range c.last {
		j, ok := jobs[id]
		switch {
		case !ok:
			c.w.fail("job %s is nowhere", id)
		case j.Version != t.Number || j.State != t.To:
			c.w.fail("job %s is %s at version %d, its last event says %s at %d", id, j.State, j.Version, t.To, t.Number)
		}
	}
}

// running asserts that no job runs twice. Jobs with onRegionLost wait are
// excepted: they ask not to be fenced. So are clusters that nobody can reach,
// and those that have just come back: what they run is given away after a
// lease, and can only be stopped on their return.
func (c *checks) running() {
	where := map[job.ID]string{}
	for _, r := range c.w.regions {
		for _, id := range r.cluster.ids() {
			a := r.cluster.attempts[id]
			if a.phase.Terminal() || a.Unfenced || c.w.now().Before(r.cluster.awayUntil.Add(settleTime)) {
				continue
			}
			here := fmt.Sprintf("%s (attempt %d)", r.name, id.Attempt)
			if there, twice := where[id.Job]; twice {
				c.w.fail("job %s runs twice: in %s and in %s", id.Job, there, here)
			}
			where[id.Job] = here
		}
	}
}

// unwanted asserts that no attempt runs on which the queue has given up, once
// all agents have had time to hear of it.
func (c *checks) unwanted() {
	if !c.w.calm || c.w.now().Sub(c.w.calmSince) < settleTime {
		return
	}
	for _, r := range c.w.regions {
		for _, id := range r.cluster.ids() {
			t := c.last[id.Job]
			if !r.cluster.attempts[id].phase.Terminal() && (t.To.Terminal() || t.Attempt != id.Attempt) {
				c.w.fail("%s still runs attempt %d of job %s, which is %s on attempt %d", r.name, id.Attempt, id.Job, t.To, t.Attempt)
			}
		}
	}
}

// sync asserts that a call changes nothing unless it comes from the region's
// current session, in order.
func (c *checks) sync(region string, request api.SyncRequest, call func()) {
	before, err := c.w.store.Region(c.w.ctx, region)
	current := err == nil && before.Session == request.Session && before.Epoch == request.Epoch &&
		before.Lease == capacity.LeaseLive && request.Sequence >= before.Sequence
	opening := request.Session == "" && (err != nil || before.Lease != capacity.LeaseLive || before.Cluster == request.Cluster)
	call()
	if current || opening {
		return
	}
	c.w.note("stale sync of %s: session %s epoch %d sequence %d", region, request.Session, request.Epoch, request.Sequence)
	events, _, err := c.w.store.Events(c.w.ctx, store.EventQuery{After: c.cursor, Limit: 1})
	if err != nil {
		c.w.fail("reading events: %v", err)
	}
	if len(events) > 0 {
		c.w.fail("a stale sync of %s (session %s, epoch %d) changed something: %s", region, request.Session, request.Epoch, events[0].Data)
	}
}

// allDone tells whether every job has ended and no cluster holds anything.
func (c *checks) allDone() bool { return c.unfinished() == "" }

func (c *checks) unfinished() string {
	if len(c.w.clients.accepted) < jobCount {
		return fmt.Sprintf("%d of %d jobs accepted", len(c.w.clients.accepted), jobCount)
	}
	for id, t := range c.last {
		if !t.To.Terminal() {
			return fmt.Sprintf("job %s is %s", id, t.To)
		}
	}
	for _, r := range c.w.regions {
		if ids := r.cluster.ids(); len(ids) > 0 {
			return fmt.Sprintf("%s holds %v (%s)", r.name, ids[0], r.cluster.attempts[ids[0]].phase)
		}
	}
	return ""
}

// why adds to what is unfinished what the queue says about it.
func (c *checks) why() string {
	var text strings.Builder
	text.WriteString(c.unfinished())
	s := c.w.anyServer()
	for id, t := range c.last {
		if s == nil || t.To.Terminal() {
			continue
		}
		explanation, err := s.queue.Explain(c.w.ctx, id)
		fmt.Fprintf(&text, "; %s: %s (%v)", id, explanation.Summary, err)
	}
	return text.String()
}

// atEnd asserts what must hold once all is quiet: nothing is promised, and
// the counters agree with the records.
func (c *checks) atEnd() {
	promises, err := c.w.store.Promises(c.w.ctx)
	if err != nil {
		c.w.fail("reading promises: %v", err)
	}
	if len(promises) > 0 {
		c.w.fail("still promised: %+v", promises)
	}
	want := map[job.State]int64{}
	for _, t := range c.last {
		want[t.To]++
	}
	counts, err := c.w.store.Counts(c.w.ctx)
	if err != nil {
		c.w.fail("reading counts: %v", err)
	}
	for _, count := range counts {
		want[count.State] -= count.Jobs
	}
	for state, off := range want {
		if off != 0 {
			c.w.fail("the count of %s jobs is off by %d", state, off)
		}
	}
}
