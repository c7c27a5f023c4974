package flow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/manifest"
	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/schedule"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/sqlite"
)

var begin = time.Date(2030, time.January, 2, 3, 4, 5, 0, time.UTC)

// world is a database, and a process on it that may die.
type world struct {
	*testing.T
	data  *sqlite.Store
	clock *testclock.FakeClock
	// store is what the process sees of the database.
	store *mortal
	queue *leading
	flow  *Flow
}

// leading is a queue whose leadership the test decides.
type leading struct {
	*queue.Queue
	leads bool
}

func (l *leading) Leading() bool { return l.leads }

func newWorld(t *testing.T) *world {
	t.Helper()
	data, err := sqlite.OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := data.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{T: t, data: data, clock: testclock.NewFakeClock(begin)}
	w.restart()
	return w
}

// restart begins a new process that leads at once.
func (w *world) restart() {
	w.store = &mortal{Store: w.data, writes: -1}
	w.queue = &leading{Queue: w.newQueue(queue.Limits{}), leads: true}
	w.flow = New(Options{Store: w.store, Queue: w.queue, Clock: w.clock})
}

func (w *world) newQueue(limits queue.Limits) *queue.Queue {
	return queue.New(queue.Options{Store: w.store, Clock: w.clock, Admission: manifest.DefaultPolicy(), Limits: limits})
}

var errDead = errors.New("the process is dead")

// mortal is a store whose process dies at a write: before it or after it.
// What a dead process asks for fails.
type mortal struct {
	store.Store
	// writes is how many are left; negative is without end.
	writes int
	after  bool
	dead   bool
}

func (m *mortal) write(do func() error) error {
	if m.dead {
		return errDead
	}
	if m.writes == 0 {
		m.dead = true
		if m.after {
			_ = do()
		}
		return errDead
	}
	m.writes--
	return do()
}

func (m *mortal) Insert(ctx context.Context, submissions []store.Submission) (out []store.Inserted, err error) {
	err = m.write(func() (err error) { out, err = m.Store.Insert(ctx, submissions); return err })
	return out, err
}

func (m *mortal) Commit(ctx context.Context, guard *store.Guard, changes []store.Change) (out []error, err error) {
	err = m.write(func() (err error) { out, err = m.Store.Commit(ctx, guard, changes); return err })
	return out, err
}

func (m *mortal) InsertPipeline(ctx context.Context, p store.NewPipeline) (out pipeline.Pipeline, created bool, err error) {
	err = m.write(func() (err error) { out, created, err = m.Store.InsertPipeline(ctx, p); return err })
	return out, created, err
}

func (m *mortal) UpdatePipeline(ctx context.Context, p pipeline.Pipeline) error {
	return m.write(func() error { return m.Store.UpdatePipeline(ctx, p) })
}

func (m *mortal) PutSchedule(ctx context.Context, s schedule.Schedule, document []byte) error {
	return m.write(func() error { return m.Store.PutSchedule(ctx, s, document) })
}

// runs is a Job that runs a command.
func runs(name, command string) json.RawMessage {
	return encode(map[string]any{
		"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			"restartPolicy": "Never",
			"containers": []any{map[string]any{
				"name": "main", "image": "busybox", "command": []string{"sh", "-c", command},
				"resources": map[string]any{"requests": map[string]string{"cpu": "1"}},
			}},
		}}},
	})
}

// document reads a graph such as "a b<a c<a,b:failed".
func document(graph string) api.NewPipeline {
	p := api.NewPipeline{Name: "nightly"}
	for word := range strings.FieldsSeq(graph) {
		name, after, _ := strings.Cut(word, "<")
		s := api.NewStep{Name: name, Submission: api.Submission{Manifest: runs(name, "true")}}
		for part := range strings.SplitSeq(after, ",") {
			if on, condition, _ := strings.Cut(part, ":"); on != "" {
				s.After = append(s.After, api.Dependency{Step: on, Condition: condition})
			}
		}
		p.Steps = append(p.Steps, s)
	}
	return p
}

// submit submits a pipeline, which must be accepted.
func (w *world) submit(request api.NewPipeline) pipeline.ID {
	w.Helper()
	p, created, err := w.flow.SubmitPipeline(w.Context(), Submission{Identity: "someone", Request: request})
	if err != nil || !created {
		w.Fatalf("created %t, %v", created, err)
	}
	return p.ID
}

// round makes one round of both loops.
func (w *world) round() {
	w.Helper()
	for _, once := range []func(context.Context) error{w.flow.ticker.runOnce, w.flow.runner.runOnce} {
		if err := once(w.Context()); err != nil && !errors.Is(err, errDead) {
			w.Fatal(err)
		}
	}
}

// pass lets time go by, and makes a round.
func (w *world) pass(d time.Duration) {
	w.Helper()
	w.clock.Step(d)
	w.round()
}

func (w *world) pipeline(id pipeline.ID) pipeline.Pipeline {
	w.Helper()
	p, err := w.data.Pipeline(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// states is how the steps of a pipeline stand, as in "a:failed b:skipped".
func (w *world) states(id pipeline.ID) string {
	w.Helper()
	var all []string
	for _, s := range w.pipeline(id).Steps {
		all = append(all, s.Name+":"+string(s.State))
	}
	return strings.Join(all, " ")
}

// jobs lists all jobs, oldest first.
func (w *world) jobs() []job.Job {
	w.Helper()
	page, err := w.data.List(w.Context(), store.ListQuery{Limit: 1000})
	if err != nil {
		w.Fatal(err)
	}
	slices.Reverse(page.Jobs)
	return page.Jobs
}

// names lists the names of all jobs, sorted.
func (w *world) names() string {
	w.Helper()
	var all []string
	for _, j := range w.jobs() {
		all = append(all, j.Spec.Name)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// told lists the types of the events of pipelines and schedules, oldest first.
func (w *world) told() string {
	w.Helper()
	events, _, err := w.data.Events(w.Context(), store.EventQuery{Types: []string{"pipeline.*", "schedule.*"}, Limit: 1000})
	if err != nil {
		w.Fatal(err)
	}
	var all []string
	for _, e := range events {
		all = append(all, e.Type)
	}
	return strings.Join(all, " ")
}

// end takes a job to an end that a region reports.
func (w *world) end(id job.ID, last job.Event) {
	w.Helper()
	j, err := w.data.Job(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	for _, event := range []job.Event{{Kind: job.Place, Region: "r"}, {Kind: job.Claim}, {Kind: job.Started}, last} {
		next, transition, err := j.Apply(event, w.clock.Now())
		if err != nil {
			w.Fatal(err)
		}
		errs, err := w.data.Commit(w.Context(), nil, []store.Change{{Job: next, Transition: transition}})
		if err = errors.Join(append(errs, err)...); err != nil {
			w.Fatal(err)
		}
		j = next
	}
}

// finish ends the jobs of steps, as in "a:succeeded b:failed", a round after
// each.
func (w *world) finish(id pipeline.ID, ends string) {
	w.Helper()
	for word := range strings.FieldsSeq(ends) {
		name, end, _ := strings.Cut(word, ":")
		event := job.Event{Kind: job.Finished, Outputs: job.Outputs{"n": json.RawMessage(`3`), "text": json.RawMessage(`"a \"b\""`)}}
		if end == "failed" {
			event = job.Event{Kind: job.Failure, Reason: "exit", Message: "exit code 3"}
		}
		w.end(w.jobOf(id, name), event)
		w.pass(time.Second)
	}
}

func (w *world) jobOf(id pipeline.ID, step string) job.ID {
	w.Helper()
	for _, s := range w.pipeline(id).Steps {
		if s.Name == step && s.Job != "" {
			return s.Job
		}
	}
	w.Fatalf("step %s has no job: %s", step, w.states(id))
	return ""
}

// want fails unless both are the same.
func (w *world) want(what, got, want string) {
	w.Helper()
	if got != want {
		w.Errorf("%s: %s; want %s", what, got, want)
	}
}

// eachDeath runs a story again and again, whose process dies at another write
// each time, before it or after it; tell returns when the story is told. Then
// a new process goes on, and check looks at the end.
func eachDeath(t *testing.T, tell func(*world), check func(*world)) {
	t.Helper()
	for _, after := range []bool{false, true} {
		for writes := 0; ; writes++ {
			deaths := 0
			t.Run(fmt.Sprintf("%d writes, after %t", writes, after), func(t *testing.T) {
				w := newWorld(t)
				w.store.writes, w.store.after = writes, after
				tell(w)
				if w.store.dead {
					deaths++
				}
				check(w)
			})
			if deaths == 0 {
				if writes == 0 {
					t.Error("the story writes nothing")
				}
				break
			}
			if writes > 100 {
				t.Fatal("the story never ends")
			}
		}
	}
}
