package cost_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/dynamodb"
	"github.com/gco-project/gco/internal/store/dynamodb/cost"
	"github.com/gco-project/gco/internal/store/dynamodb/dynamotest"
)

func TestMain(m *testing.M) { os.Exit(dynamotest.Main(m.Run)) }

// traced is how many jobs a trace has, and begun when they come.
const traced = 48

var begun = time.Date(2026, time.March, 1, 12, 0, 0, 123456789, time.UTC)

// lifeSteps are the steps of a job's life, in order.
var lifeSteps = []string{"submit", "place", "claim", "apply", "start", "succeed", "keep logs", "put in order", "remove"}

// idleSteps are those of a system without jobs.
var idleSteps = []string{"renew a session", "renew the leader's lease", "look for work", "look again", "look for what was placed"}

// trace sends jobs through their whole life on an engine, each by itself.
type trace struct {
	t     *testing.T
	store *dynamodb.Store
	meter *cost.Meter
	now   time.Time
	ids   *rand.Rand

	jobs  []job.Job
	guard store.Guard
}

func newTrace(t *testing.T, name dynamotest.Name) *trace {
	t.Helper()
	e := dynamotest.Start(t, name)
	options := e.Options()
	tr := &trace{t: t, now: begun, ids: rand.New(rand.NewPCG(1, 2)), meter: cost.NewMeter(options.Project, e.Transport)}
	options.Shards, options.Transport, options.Now = dynamodb.DefaultShards, tr.meter, func() time.Time { return tr.now }
	var err error
	if tr.store, err = dynamodb.Open(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.store.Close() })
	tr.openRegion()
	return tr
}

func (tr *trace) must(err error) {
	tr.t.Helper()
	if err != nil {
		tr.t.Fatal(err)
	}
}

const region = "us-east-1"

func (tr *trace) openRegion() {
	tr.t.Helper()
	opened, err := tr.store.OpenSession(tr.t.Context(), region, "cluster", "session", tr.now)
	tr.must(err)
	tr.guard = store.Guard{Region: region, Epoch: opened.Epoch, Lease: opened.Lease}
}

// id is that of a job at the present moment, the same in every run.
func (tr *trace) id() job.ID {
	id := uuid.UUID{}
	ms := tr.now.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	for i := 6; i < len(id); i++ {
		id[i] = byte(tr.ids.Uint32())
	}
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return job.ID(id.String())
}

// submission is a job as people have them: a manifest of some 1.5 KB, a few
// labels.
func (tr *trace) submission() store.Submission {
	spec := job.Spec{
		Namespace: "team-a", Name: "train-resnet-50", SubmittedBy: "arn:aws:iam::111122223333:role/team-a-deploy",
		Labels: map[string]string{"app": "train", "model": "resnet-50", "owner": "team-a"},
	}.WithDefaults()
	demand := capacity.Demand{Pods: []capacity.PodGroup{{
		Count: 1, Pod: capacity.Pod{Requests: capacity.Resources{capacity.CPU: 4000, capacity.Memory: 16 << 30, "nvidia.com/gpu": 1}},
	}}}
	spec.Class = capacity.ClassOf(demand, spec.Placement)
	j, transition := job.New(tr.id(), spec, tr.now)
	noise := make([]byte, 500)
	for i := range noise {
		noise[i] = "abcdefghijklmnopqrstuvwxyz012345"[tr.ids.IntN(32)]
	}
	return store.Submission{
		Job: j, Transition: transition, Demand: demand,
		Manifest: fmt.Appendf(nil, `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"train-resnet-50"},"spec":{"template":{"spec":{"containers":[{"name":"main","image":"ghcr.io/team-a/train:1.2.3","args":[%q],"resources":{"limits":{"cpu":"4","memory":"16Gi","nvidia.com/gpu":"1"}}}]}}}}`, noise),
	}
}

// order lets the log take in what was written: a page for all that happened to
// the jobs, as a busy system fills them.
func (tr *trace) order() {
	tr.t.Helper()
	tr.now = tr.now.Add(time.Second)
	tr.meter.Begin("put in order")
	_, err := tr.store.Counts(tr.t.Context())
	tr.must(err)
}

// each commits an event of every job.
func (tr *trace) each(step string, guard *store.Guard, event job.Event) {
	tr.t.Helper()
	for i, j := range tr.jobs {
		tr.now = tr.now.Add(time.Millisecond)
		after, transition, err := j.Apply(event, tr.now)
		tr.must(err)
		tr.meter.Begin(step)
		errs, err := tr.store.Commit(tr.t.Context(), guard, []store.Change{{Job: after, Transition: transition}})
		tr.must(errors.Join(append(errs, err)...))
		tr.jobs[i] = after
	}
}

// live is the whole life of all jobs.
func (tr *trace) live() {
	tr.t.Helper()
	ctx := tr.t.Context()
	for range traced {
		tr.now = tr.now.Add(time.Millisecond)
		s := tr.submission()
		tr.meter.Begin("submit")
		answers, err := tr.store.Insert(ctx, []store.Submission{s})
		tr.must(err)
		tr.must(answers[0].Err)
		tr.jobs = append(tr.jobs, answers[0].Job)
	}
	decision := []byte(`{"region":"us-east-1","score":0.8125,"candidates":[{"region":"us-east-1","score":0.8125,"terms":{"expectedWait":0.9,"freeShare":0.6,"price":0.8,"locality":0.5,"recentFailures":1}},{"region":"eu-west-1","score":0.61}],"rejected":[{"region":"us-west-2","reasons":["nvidia.com/gpu: 8 free on 1 node"]}]}`)
	tr.each("place", nil, job.Event{Kind: job.Place, Region: region, Decision: decision})
	tr.each("claim", &tr.guard, job.Event{Kind: job.Claim})
	tr.each("apply", &tr.guard, job.Event{Kind: job.Applied})
	tr.each("start", &tr.guard, job.Event{Kind: job.Started})
	zero := 0
	tr.each("succeed", &tr.guard, job.Event{Kind: job.Finished, ExitCode: &zero})
	tr.order()
	for _, j := range tr.jobs {
		tr.meter.Begin("keep logs")
		tr.must(tr.store.SetLogs(ctx, j.AttemptID(), job.LogsArchived))
	}
	for _, j := range tr.jobs {
		tr.meter.Begin("remove")
		tr.now = j.ExpiresAt().Add(time.Second)
		errs, err := tr.store.Delete(ctx, []job.ID{j.ID}, tr.now, 24*time.Hour)
		tr.must(errors.Join(append(errs, err)...))
	}
	tr.order()
}

// idle is what a system without jobs does, once each.
func (tr *trace) idle() {
	tr.t.Helper()
	ctx := tr.t.Context()
	tr.meter.Begin("renew a session")
	_, err := tr.store.Renew(ctx, store.Renewal{Region: region, Session: "session", Epoch: tr.guard.Epoch, Sequence: 1}, tr.now)
	tr.must(err)
	lease, err := tr.store.LeaderLease(ctx, "queue")
	tr.must(err)
	tr.meter.Begin("renew the leader's lease")
	_, err = tr.store.TakeLease(ctx, "queue", "holder", lease.Renewals)
	tr.must(err)
	for _, look := range []string{"look for work", "look again"} {
		tr.now = tr.now.Add(time.Second)
		tr.meter.Begin(look)
		_, err = tr.store.Counts(ctx)
		tr.must(err)
		_, err = tr.store.WaitingClasses(ctx, store.Position{}, 100)
		tr.must(err)
		_, err = tr.store.DuePipelines(ctx, tr.now, 100)
		tr.must(err)
		_, err = tr.store.DueSchedules(ctx, tr.now, 100)
		tr.must(err)
	}
	tr.meter.Begin("look for what was placed")
	_, err = tr.store.Placed(ctx, region, store.Position{}, 100)
	tr.must(err)
}

// shards is how many keys a family has that all jobs of a trace share.
func shards(family string) int {
	s := dynamodb.DefaultShards
	for prefix, n := range map[string]int{
		"jobs/": s.Index, "state list#": s.List, "state guard#": s.Guard, "events tail#": s.Tail, "events page#": 16,
	} {
		if strings.HasPrefix(family, prefix) {
			return n
		}
	}
	return 1
}
