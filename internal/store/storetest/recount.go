package storetest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// testRecount drives random lives through a store and, after every step,
// compares everything that can be read with a recount of all jobs.
func testRecount(t *testing.T, open Opener) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{
			client: newClient(rt, open), jobs: map[job.ID]job.Job{}, demands: map[capacity.Class]capacity.Demand{},
			awake: map[job.ID]bool{}, shipped: map[job.AttemptID]job.LogState{}, minutes: map[store.Throughput]int64{},
		}
		rt.Repeat(map[string]func(*rapid.T){
			"submit": m.submitSome,
			"events": m.commitSome,
			"more":   m.commitSome,
			"stale":  m.commitStale,
			"time":   m.letTimePass,
			"logs":   m.shipLogs,
			"delete": m.deleteSome,
			"":       func(*rapid.T) { m.check() },
		})
	})
}

// model is what a store should hold.
type model struct {
	*client
	jobs    map[job.ID]job.Job
	demands map[capacity.Class]capacity.Demand
	// awake are the queued jobs that can be placed.
	awake map[job.ID]bool
	// shipped is what SetLogs said of an attempt.
	shipped map[job.AttemptID]job.LogState
	stream  []job.Transition
	// minutes has the throughput, by a key without a number.
	minutes map[store.Throughput]int64
}

// all returns the jobs that pass a filter, in an order.
func (m *model) all(keep func(job.Job) bool, order func(a, b job.Job) int) []job.Job {
	var out []job.Job
	for _, j := range m.jobs {
		if keep(j) {
			out = append(out, j)
		}
	}
	slices.SortFunc(out, order)
	return out
}

func byID(a, b job.Job) int { return strings.Compare(string(a.ID), string(b.ID)) }

func (m *model) keep(j job.Job, t job.Transition) {
	m.jobs[j.ID] = j
	m.stream = append(m.stream, t)
	if t.Event == job.Submitted || j.State.Terminal() {
		m.minutes[store.Throughput{Minute: t.At.Truncate(time.Minute), State: j.State}]++
	}
	delete(m.awake, j.ID)
	if j.State == job.Queued && !j.NotBefore.After(m.now) {
		m.awake[j.ID] = true
	}
}

func (m *model) submitSome(t *rapid.T) {
	var batch []store.Submission
	for range rapid.IntRange(1, 4).Draw(t, "jobs") {
		cpu := rapid.Int64Range(1, 3).Draw(t, "cpu")
		s := m.submissionOf(cpu, func(s *job.Spec) {
			s.Namespace = rapid.SampledFrom([]string{"team-a", "team-b"}).Draw(t, "namespace")
			s.Priority = rapid.SampledFrom([]int{0, 0, 1, 7}).Draw(t, "priority")
			s.Retries = rapid.IntRange(0, 2).Draw(t, "retries")
			s.Deadline = rapid.SampledFrom([]time.Duration{0, 20 * time.Second}).Draw(t, "deadline")
			s.TTLAfterFinished = rapid.SampledFrom([]time.Duration{10 * time.Second, time.Hour}).Draw(t, "ttl")
			s.OnRegionLost = rapid.SampledFrom([]job.OnRegionLost{job.Requeue, job.Fail, job.Wait}).Draw(t, "onRegionLost")
		})
		m.demands[s.Job.Spec.Class] = s.Demand
		batch = append(batch, s)
	}
	answers, err := m.Insert(m.ctx, batch)
	m.must(err)
	for i, answer := range answers {
		m.must(answer.Err)
		m.keep(batch[i].Job, batch[i].Transition)
	}
}

// events lists what can happen to a job.
var events = []job.Event{
	place("r"), place("q"), place("r"), unplace, claim, claim, applied, started, finished, failure, failure,
	released, lost, stopped, cancel, gone, returned,
	{Kind: job.MoveAsked, Reason: "drained"},
	{Kind: job.StopAsked, StopReason: job.ByDeadline},
}

// commitSome applies an event each to some jobs, in one call.
func (m *model) commitSome(t *rapid.T) {
	jobs := m.all(func(j job.Job) bool { return !j.State.Terminal() }, byID)
	var changes []store.Change
	for _, j := range sample(t, jobs, 6) {
		event := rapid.SampledFrom(events).Draw(t, "event")
		if after, transition, err := j.Apply(event, m.now); err == nil {
			changes = append(changes, store.Change{Job: after, Transition: transition})
		}
	}
	errs, err := m.Commit(m.ctx, nil, changes)
	m.must(err)
	for i, change := range changes {
		m.must(errs[i])
		if shipped, ok := m.shipped[change.Job.AttemptID()]; ok {
			change.Job.Logs = shipped
		}
		m.keep(change.Job, change.Transition)
	}
}

// commitStale tries to write over a newer version.
func (m *model) commitStale(t *rapid.T) {
	jobs := m.all(func(j job.Job) bool { return j.Version > 1 && !j.State.Terminal() }, byID)
	for _, j := range sample(t, jobs, 2) {
		j.Version--
		errs, err := m.Commit(m.ctx, nil, []store.Change{m.change(j, job.Event{Kind: aPossible(j)})})
		m.must(err)
		m.want(errs[0], store.ErrConflict)
	}
}

func aPossible(j job.Job) job.EventKind {
	if j.State.Active() {
		return job.Finished
	}
	return job.Failure
}

func (m *model) letTimePass(t *rapid.T) {
	m.pass(rapid.SampledFrom([]time.Duration{time.Millisecond, 3 * time.Second, 7 * time.Second, time.Minute}).Draw(t, "time"))
	next, err := m.Wake(m.ctx, m.now)
	m.must(err)
	var due time.Time
	for _, j := range m.all(func(j job.Job) bool { return j.State == job.Queued && !m.awake[j.ID] }, byID) {
		if !j.NotBefore.After(m.now) {
			m.awake[j.ID] = true
		} else if due.IsZero() || j.NotBefore.Before(due) {
			due = j.NotBefore
		}
	}
	m.same("when the next job is due", next, due)
}

func (m *model) shipLogs(t *rapid.T) {
	jobs := m.all(func(j job.Job) bool { return j.Attempt > 0 }, byID)
	for _, j := range sample(t, jobs, 2) {
		id := j.AttemptID()
		id.Attempt = rapid.IntRange(1, j.Attempt).Draw(t, "attempt")
		m.must(m.SetLogs(m.ctx, id, job.LogsArchived))
		m.shipped[id] = job.LogsArchived
		if id == j.AttemptID() {
			j.Logs = job.LogsArchived
			m.jobs[j.ID] = j
		}
	}
}

func (m *model) deleteSome(t *rapid.T) {
	var doomed []job.ID
	for _, j := range sample(t, m.all(func(job.Job) bool { return true }, byID), 4) {
		doomed = append(doomed, j.ID)
	}
	errs, err := m.Delete(m.ctx, doomed, m.now, 0)
	m.must(err)
	for i, id := range doomed {
		if !m.jobs[id].State.Terminal() {
			m.want(errs[i], store.ErrConflict)
			continue
		}
		m.must(errs[i])
		delete(m.jobs, id)
		m.stream = slices.DeleteFunc(m.stream, func(t job.Transition) bool { return t.Job == id })
	}
}

// sample draws up to n jobs, none twice.
func sample(t *rapid.T, jobs []job.Job, n int) []job.Job {
	if len(jobs) == 0 {
		return nil
	}
	chosen := rapid.SliceOfNDistinct(rapid.IntRange(0, len(jobs)-1), 1, min(n, len(jobs)), rapid.ID[int]).Draw(t, "chosen")
	out := make([]job.Job, len(chosen))
	for i, index := range chosen {
		out[i] = jobs[index]
	}
	return out
}

// check compares everything that can be read.
func (m *model) check() {
	m.checkRecords()
	m.checkCounters()
	m.checkWaiting()
	m.checkRegion("r")
	m.checkRegion("q")
	m.checkTimes()
}

func (m *model) checkRecords() {
	everything := m.all(func(job.Job) bool { return true }, byID)
	found, err := m.JobsByID(m.ctx, ids(everything))
	m.must(err)
	m.same("the jobs", found, m.jobs)
	m.same("the list", m.list(store.ListQuery{Limit: 1000}), reversed(ids(everything)))
	// One state a step, since all of them would take half of the time.
	state := job.States[len(m.stream)%len(job.States)]
	jobs := m.all(func(j job.Job) bool { return j.State == state }, byID)
	m.same("the list of "+string(state), m.list(store.ListQuery{States: []job.State{state}, Limit: 1000}), reversed(ids(jobs)))
	var stream []string
	for _, e := range m.events(store.EventQuery{Limit: 1000}) {
		stream = append(stream, string(e.Data))
	}
	var want []string
	for _, t := range m.stream {
		want = append(want, text(t))
	}
	m.same("the stream", stream, want)
}

func (m *model) checkCounters() {
	counts := map[store.Count]int64{}
	for _, j := range m.jobs {
		counts[store.Count{Namespace: j.Spec.Namespace, Region: j.Region, State: j.State}]++
	}
	var want []store.Count
	for key, jobs := range counts {
		key.Jobs = jobs
		want = append(want, key)
	}
	got, err := m.Counts(m.ctx)
	m.must(err)
	m.same("counts", byNamespace(got), byNamespace(want))

	type promised struct {
		region string
		class  capacity.Class
	}
	sums := map[promised]int{}
	for _, j := range m.jobs {
		if j.State == job.Placed || j.State == job.Claimed {
			sums[promised{j.Region, j.Spec.Class}]++
		}
	}
	var wantPromises []store.Promise
	for key, jobs := range sums {
		wantPromises = append(wantPromises, store.Promise{Region: key.region, Class: key.class, Demand: m.demands[key.class], Count: jobs})
	}
	gotPromises, err := m.Promises(m.ctx)
	m.must(err)
	m.same("promises", byRegion(gotPromises), byRegion(wantPromises))

	var minutes []store.Throughput
	for key, jobs := range m.minutes {
		key.Jobs = jobs
		minutes = append(minutes, key)
	}
	gotMinutes, err := m.Throughput(m.ctx, start.Truncate(time.Minute))
	m.must(err)
	m.same("throughput", byMinute(gotMinutes), byMinute(minutes))
}

func byNamespace(counts []store.Count) []store.Count {
	return slices.SortedFunc(slices.Values(counts), func(a, b store.Count) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Region, b.Region), cmp.Compare(a.State, b.State))
	})
}

func byMinute(minutes []store.Throughput) []store.Throughput {
	return slices.SortedFunc(slices.Values(minutes), func(a, b store.Throughput) int {
		return cmp.Or(a.Minute.Compare(b.Minute), cmp.Compare(a.State, b.State))
	})
}

func (m *model) checkWaiting() {
	waiting := m.all(func(j job.Job) bool { return m.awake[j.ID] }, byPosition)
	heads := map[capacity.Class]store.WaitingClass{}
	byClass := map[capacity.Class][]job.Job{}
	for _, j := range waiting {
		class := j.Spec.Class
		if _, ok := heads[class]; !ok {
			heads[class] = store.WaitingClass{
				Class: class, Demand: m.demands[class], Constraints: j.Spec.Placement,
				Head: positionOf(j), Since: j.SubmittedAt,
			}
		}
		byClass[class] = append(byClass[class], j)
	}
	want := slices.SortedFunc(maps.Values(heads), func(a, b store.WaitingClass) int {
		return cmp.Or(cmp.Compare(b.Head.Priority, a.Head.Priority), strings.Compare(string(a.Head.ID), string(b.Head.ID)))
	})
	got, err := m.WaitingClasses(m.ctx, store.Position{}, 10)
	m.must(err)
	m.same("waiting classes", got, want)
	for class := range m.demands {
		jobs, err := m.Waiting(m.ctx, class, store.Position{}, 1000)
		m.must(err)
		m.same("waiting jobs of a class", ids(jobs), ids(byClass[class]))
	}
	for i, j := range waiting {
		ahead, err := m.Ahead(m.ctx, positionOf(j), 1000)
		m.must(err)
		if ahead != i {
			m.Errorf("%d jobs are ahead of waiting job %d", ahead, i)
		}
	}
	queued := m.all(func(j job.Job) bool { return j.State == job.Queued }, func(a, b job.Job) int { return a.SubmittedAt.Compare(b.SubmittedAt) })
	oldest, err := m.OldestWaiting(m.ctx)
	m.must(err)
	var wantOldest time.Time
	if len(queued) > 0 {
		wantOldest = queued[0].SubmittedAt
	}
	m.same("the oldest waiting job", oldest, wantOldest)
}

func (m *model) checkRegion(region string) {
	here := func(keep func(job.Job) bool) func(job.Job) bool {
		return func(j job.Job) bool { return j.Region == region && keep(j) }
	}
	active := func(j job.Job) bool { return j.State.Active() }
	for _, list := range []struct {
		what string
		read func() ([]job.Job, error)
		want []job.Job
	}{
		{
			"placed",
			func() ([]job.Job, error) { return m.Placed(m.ctx, region, store.Position{}, 1000) },
			m.all(here(func(j job.Job) bool { return j.State == job.Placed }), byPosition),
		},
		{
			"attempts",
			func() ([]job.Job, error) { return m.Attempts(m.ctx, region, "", 1000) },
			m.all(here(active), byID),
		},
		{
			"attempts by priority",
			func() ([]job.Job, error) { return m.AttemptsByPriority(m.ctx, region, 1000) },
			m.all(here(func(j job.Job) bool { return active(j) && j.RegionLostAt.IsZero() }), byPosition),
		},
		{
			"claimed",
			func() ([]job.Job, error) { return m.Claimed(m.ctx, region, "", 1000) },
			m.all(here(func(j job.Job) bool { return j.State == job.Claimed }), byID),
		},
		{
			"unwanted",
			func() ([]job.Job, error) { return m.Unwanted(m.ctx, region, "", 1000) },
			m.all(here(func(j job.Job) bool { return active(j) && j.Intent != job.Run }), byID),
		},
	} {
		got, err := list.read()
		m.must(err)
		m.same(list.what, ids(got), ids(list.want))
	}
}

func (m *model) checkTimes() {
	later := m.now.Add(time.Nanosecond)
	for _, list := range []struct {
		what string
		read func(time.Time, int) ([]job.Job, error)
		keep func(job.Job) bool
	}{
		{
			"placed since",
			func(at time.Time, limit int) ([]job.Job, error) { return m.PlacedSince(m.ctx, at, limit) },
			func(j job.Job) bool { return j.State == job.Placed && j.PlacedAt.Before(later) },
		},
		{
			"suspended",
			func(at time.Time, limit int) ([]job.Job, error) { return m.Suspended(m.ctx, at, limit) },
			func(j job.Job) bool { return !j.RegionLostAt.IsZero() && j.WaitEndsAt().Before(later) },
		},
		{
			"overdue",
			func(at time.Time, limit int) ([]job.Job, error) { return m.Overdue(m.ctx, at, limit) },
			func(j job.Job) bool {
				return !j.State.Terminal() && j.Intent != job.Stop && !j.DeadlineAt.IsZero() && j.DeadlineAt.Before(later)
			},
		},
	} {
		got, err := list.read(later, 1000)
		m.must(err)
		slices.SortFunc(got, byID)
		m.same(list.what, ids(got), ids(m.all(list.keep, byID)))
	}
	expired, err := m.Expired(m.ctx, later, 1000)
	m.must(err)
	slices.Sort(expired)
	m.same("expired", expired, ids(m.all(func(j job.Job) bool {
		return j.State.Terminal() && j.ExpiresAt().Before(later)
	}, byID)))
}
