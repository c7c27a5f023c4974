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

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/template"
)

func TestPipelineGoesOnByItself(t *testing.T) {
	w := newWorld(t)
	request := document("prepare train<prepare report<train")
	request.Steps[1].Manifest = runs("train", "train --rows {{steps.prepare.outputs.n}} --note '{{steps.prepare.outputs.text}}'")
	id := w.submit(request)
	w.round()
	w.want("at first", w.states(id), "prepare:running train:waiting report:waiting")
	w.finish(id, "prepare:succeeded")
	w.want("after a step", w.states(id), "prepare:succeeded train:running report:waiting")
	text, err := w.data.Manifest(t.Context(), w.jobOf(id, "train"))
	if err != nil || !strings.Contains(string(text), `train --rows 3 --note 'a \"b\"'`) {
		t.Errorf("%s, %v", text, err)
	}
	w.finish(id, "train:succeeded report:succeeded")
	p := w.pipeline(id)
	if p.State != pipeline.Succeeded || p.FinishedAt.IsZero() {
		t.Errorf("%s, finished %s", p.State, p.FinishedAt)
	}
	for _, j := range w.jobs() {
		if j.Spec.SubmittedBy != "someone" || j.Spec.Namespace != "default" {
			t.Errorf("job %s is of %s, in %s", j.Spec.Name, j.Spec.SubmittedBy, j.Spec.Namespace)
		}
	}
	w.pass(pipeline.Keep)
	if _, err := w.data.Pipeline(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a week after its end: %v", err)
	}
}

// TestPipelineOutlivesEveryDeath kills the process at every write of a
// pipeline's life.
func TestPipelineOutlivesEveryDeath(t *testing.T) {
	var id pipeline.ID
	goOn := func(w *world) {
		for range 20 {
			w.round()
			for _, s := range w.pipeline(id).Steps {
				if s.State == pipeline.StepRunning {
					j, err := w.data.Job(w.Context(), s.Job)
					if err != nil {
						w.Fatal(err)
					}
					if !j.State.Terminal() {
						w.end(s.Job, map[bool]job.Event{true: {Kind: job.Failure}, false: {Kind: job.Finished}}[s.Name == "c"])
					}
				}
			}
			w.clock.Step(time.Second)
		}
	}
	eachDeath(t, func(w *world) {
		// The submission itself is answered, or not at all.
		writes := w.store.writes
		w.store.writes = -1
		id = w.submit(document("a b<a c<a d<c:failed e<c"))
		w.store.writes = writes
		goOn(w)
	}, func(w *world) {
		w.restart()
		goOn(w)
		w.want("the steps", w.states(id), "a:succeeded b:succeeded c:failed d:succeeded e:skipped")
		w.want("the jobs", w.names(), "a b c d")
	})
}

// TestCancelOutlivesEveryDeath: whatever was submitted is cancelled, also
// where the record did not say so yet.
func TestCancelOutlivesEveryDeath(t *testing.T) {
	var id pipeline.ID
	eachDeath(t, func(w *world) {
		writes := w.store.writes
		w.store.writes = -1
		id = w.submit(document("a b c<a"))
		w.store.writes = writes
		w.round()
		w.clock.Step(time.Second)
		_, err := w.flow.CancelPipeline(w.Context(), id)
		if err != nil && !errors.Is(err, errDead) {
			w.Fatal(err)
		}
		w.round()
	}, func(w *world) {
		w.restart()
		if _, err := w.flow.CancelPipeline(w.Context(), id); err != nil && !isNotAllowed(err) {
			w.Fatal(err)
		}
		w.pass(time.Second)
		w.pass(time.Second)
		p := w.pipeline(id)
		if p.State != pipeline.Cancelled {
			w.Errorf("it is %s: %s", p.State, w.states(id))
		}
		for _, j := range w.jobs() {
			if j.State != job.Cancelled {
				w.Errorf("job %s is %s", j.Spec.Name, j.State)
			}
		}
	})
}

func isNotAllowed(err error) bool {
	_, ok := errors.AsType[*pipeline.NotAllowed](err)
	return ok
}

func TestRetryGoesOnFromTheFailedStep(t *testing.T) {
	w := newWorld(t)
	id := w.submit(document("a b<a c<b"))
	w.round()
	w.finish(id, "a:succeeded b:failed")
	if p := w.pipeline(id); p.State != pipeline.Failed || p.Message != "step b failed: exit code 3" {
		t.Errorf("%s: %s", p.State, p.Message)
	}
	before := w.jobOf(id, "a")
	p, err := w.flow.RetryPipeline(t.Context(), id)
	if err != nil || p.Run != 2 {
		t.Fatal(p.Run, err)
	}
	w.round()
	w.want("after the retry", w.states(id), "a:succeeded b:running c:waiting")
	if after := w.jobOf(id, "a"); after != before {
		t.Errorf("step a has job %s instead of %s", after, before)
	}
	w.finish(id, "b:succeeded c:succeeded")
	w.want("at the end", string(w.pipeline(id).State), "succeeded")
	w.want("the jobs", strings.Join(strings.Fields(w.names()), ","), "a,b,b,c")
	if _, err := w.flow.RetryPipeline(t.Context(), id); !isNotAllowed(err) {
		t.Errorf("a retry after success: %v", err)
	}
	if _, err := w.flow.CancelPipeline(t.Context(), pipeline.NewID()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("cancel of none: %v", err)
	}
}

func TestWaitsForJobsOfOthers(t *testing.T) {
	w := newWorld(t)
	other := w.queue.Submit(t.Context(), []queue.Submission{{Request: api.Submission{Manifest: runs("other", "true")}}})[0]
	if other.Err != nil {
		t.Fatal(other.Err)
	}
	request := document("a b")
	request.Steps[0].After = []api.Dependency{{Job: string(other.Job.ID)}}
	request.Steps[1].After = []api.Dependency{{Job: string(other.Job.ID), Condition: "failed"}}
	id := w.submit(request)
	w.round()
	w.want("before its end", w.states(id), "a:waiting b:waiting")
	w.end(other.Job.ID, job.Event{Kind: job.Finished})
	w.round()
	w.want("after its end", w.states(id), "a:running b:skipped")
}

// TestNewLeaderGoesOn: what ended while nobody led is seen, and a process that
// does not lead does nothing.
func TestNewLeaderGoesOn(t *testing.T) {
	w := newWorld(t)
	var all []pipeline.ID
	for range dueLimit + 10 {
		all = append(all, w.submit(document("a b<a")))
	}
	w.queue.leads = false
	w.pass(time.Second)
	if names := w.names(); names != "" {
		t.Fatalf("without a leader: %s", names)
	}
	w.queue.leads = true
	w.round()
	last := all[len(all)-1]
	w.end(w.jobOf(last, "a"), job.Event{Kind: job.Finished})
	w.restart()
	w.clock.Step(time.Second)
	w.round()
	w.want("under a new leader", w.states(last), "a:succeeded b:running")
	w.want("another one", w.states(all[0]), "a:running b:waiting")
}

// TestSweepFindsWhatNoEventTold: an event that nobody read costs time only.
func TestSweepFindsWhatNoEventTold(t *testing.T) {
	w := newWorld(t)
	id := w.submit(document("a b<a"))
	w.round()
	w.end(w.jobOf(id, "a"), job.Event{Kind: job.Finished})
	last, err := w.data.LastEvent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.flow.runner.cursor = last
	w.pass(time.Second)
	w.want("before the sweep", w.states(id), "a:running b:waiting")
	w.pass(pipeline.LookEvery)
	w.want("after it", w.states(id), "a:succeeded b:running")
}

// TestStepWhoseRecordWentEarly: the end of a job is known by its key, too.
func TestStepWhoseRecordWentEarly(t *testing.T) {
	for _, ended := range []job.Event{{Kind: job.Finished, Outputs: job.Outputs{"n": json.RawMessage(`7`)}}, {Kind: job.Failure}} {
		w := newWorld(t)
		request := document("a b<a")
		request.Steps[1].Manifest = runs("b", "echo {{steps.a.outputs.n}}")
		id := w.submit(request)
		w.round()
		gone := w.jobOf(id, "a")
		w.end(gone, ended)
		if err := w.queue.Delete(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		w.restart()
		w.pass(time.Second)
		want := "a:succeeded b:running"
		if ended.Kind == job.Failure {
			want = "a:failed b:skipped"
		}
		w.want("after "+string(ended.Kind), w.states(id), want)
	}
}

func TestRefusedStep(t *testing.T) {
	w := newWorld(t)
	request := document("a b<a c<a d<b:finished")
	request.Steps[1].Manifest = runs("{{steps.a.outputs.text}}", "true")
	request.Steps[2].Manifest = runs("c", "{{steps.a.outputs.missing}}")
	id := w.submit(request)
	w.round()
	w.finish(id, "a:succeeded")
	w.want("after the first step", w.states(id), "a:succeeded b:failed c:failed d:running")
	p := w.pipeline(id)
	if b := p.Steps[1]; b.Reason != "invalid" || !strings.Contains(b.Message, "manifest.metadata.name") {
		t.Errorf("b: %s: %s", b.Reason, b.Message)
	}
	if c := p.Steps[2]; c.Reason != "no-output" || c.Message != "step a has left no output missing" {
		t.Errorf("c: %s: %s", c.Reason, c.Message)
	}
}

// TestFullNamespaceDelays: what the queue refuses for now is tried again.
func TestFullNamespaceDelays(t *testing.T) {
	w := newWorld(t)
	w.queue.Queue = w.newQueue(queue.Limits{QueuedPerNamespace: 1})
	id := w.submit(document("a b"))
	w.round()
	w.want("while there is room for one", w.states(id), "a:running b:starting")
	w.end(w.jobOf(id, "a"), job.Event{Kind: job.Finished})
	w.pass(duePause)
	w.want("when there is room", w.states(id), "a:succeeded b:running")
}

// TestTroubleIsTriedAgain: what fails after its event was read comes again
// with the next round.
func TestTroubleIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	id := w.submit(document("a b<a"))
	w.round()
	w.end(w.jobOf(id, "a"), job.Event{Kind: job.Finished})
	w.store.writes = 0
	w.pass(time.Second)
	w.want("while nothing can be written", w.states(id), "a:running b:waiting")
	w.store.writes, w.store.dead = -1, false
	w.pass(time.Second)
	w.want("afterwards", w.states(id), "a:succeeded b:running")
	if len(w.flow.runner.troubles) != 0 {
		t.Errorf("left are %v", w.flow.runner.troubles)
	}
}

func TestTemplateVersionIsFixed(t *testing.T) {
	w := newWorld(t)
	put := func(version int64, command string) {
		text := encode(map[string]any{"manifest": runs("made", command+" {{rows}}")})
		err := w.data.PutTemplate(t.Context(), template.Template{
			Name: "train", Version: version, Job: text, CreatedAt: begin, UpdatedAt: begin,
			Parameters: []template.Parameter{{Name: "rows", Type: template.Integer, Required: true}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	put(1, "old")
	request := document("a b<a c<b")
	for i, rows := range []string{`1`, `"{{steps.a.outputs.n}}"`, `"{{steps.a.outputs.text}}"`} {
		request.Steps[i].Submission = api.Submission{
			Template: &api.TemplateRef{Name: "train"}, Parameters: map[string]json.RawMessage{"rows": json.RawMessage(rows)},
		}
	}
	id := w.submit(request)
	put(2, "new")
	w.round()
	w.finish(id, "a:succeeded b:succeeded")
	w.want("the steps", w.states(id), "a:succeeded b:succeeded c:failed")
	for _, j := range w.jobs() {
		text, err := w.data.Manifest(t.Context(), j.ID)
		if err != nil || !strings.Contains(string(text), "old ") || j.Spec.Template.Version != 1 {
			t.Errorf("%s %v, template %v", text, err, j.Spec.Template)
		}
	}
	if c := w.pipeline(id).Steps[2]; c.Reason != "invalid" || !strings.Contains(c.Message, "parameters.rows") {
		t.Errorf("c: %s: %s", c.Reason, c.Message)
	}
}

func TestSubmitPipelineFindsEveryFault(t *testing.T) {
	w := newWorld(t)
	request := document("a b<a c<x d<c,c")
	request.Name = "Not a name"
	request.Steps[0].Manifest = json.RawMessage(`{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"a","namespace":"other"},"spec":{}}`)
	request.Steps[1].Manifest = runs("b", "{{steps.c.outputs.n}} {{steps.a.output.n}}")
	request.Steps[2].Manifest = encode("kind: Job # {{steps.a.outputs.n}}")
	request.Steps[3].Namespace = "other"
	request.Steps[3].After = append(request.Steps[3].After, api.Dependency{Job: string(job.NewID())}, api.Dependency{Job: "none"})
	request.Steps = append(request.Steps,
		api.NewStep{Name: "e", Submission: api.Submission{Template: &api.TemplateRef{Name: "none"}}},
		api.NewStep{Name: "f", After: []api.Dependency{{Step: "a"}}, Submission: api.Submission{
			Template: &api.TemplateRef{Name: "none"}, Parameters: map[string]json.RawMessage{"x": json.RawMessage(`"{{steps.a.outputs.n}}"`)},
		}},
		api.NewStep{Name: "g"},
	)
	_, _, err := w.flow.SubmitPipeline(t.Context(), Submission{Identity: "someone", Request: request, Faults: []job.Fault{{Field: "early"}}})
	invalid, ok := errors.AsType[*job.Invalid](err)
	if !ok {
		t.Fatal(err)
	}
	var fields []string
	for _, fault := range invalid.Faults {
		fields = append(fields, fault.Field)
	}
	want := []string{
		"early", "name", "steps[2].after[0].step", "steps[3].after[1]",
		"steps[0].manifest.metadata.namespace",
		"steps[1].manifest.spec.template.spec.containers[0].command[2]", "steps[1].manifest.spec.template.spec.containers[0].command[2]",
		"steps[2].manifest", "steps[3].namespace", "steps[3].after[2].job", "steps[3].after[3].job",
		"steps[4].template.name", "steps[5].template.name", "steps[6].manifest",
	}
	for _, field := range want {
		if !slices.Contains(fields, field) {
			t.Errorf("no fault for %s; there are\n%s", field, strings.Join(fields, "\n"))
		}
	}
	if len(fields) < len(want) {
		t.Errorf("%d faults: %q", len(fields), fields)
	}
}

func TestSubmitPipelineWithKeyAndLimits(t *testing.T) {
	w := newWorld(t)
	submit := func(key, graph string, namespaces ...string) (pipeline.Pipeline, bool, error) {
		return w.flow.SubmitPipeline(t.Context(), Submission{Identity: "ci", Key: key, Request: document(graph), Namespaces: namespaces})
	}
	first, created, err := submit("k", "a")
	if err != nil || !created {
		t.Fatal(created, err)
	}
	again, created, err := submit("k", "a")
	if err != nil || created || again.ID != first.ID {
		t.Errorf("again: %s, created %t, %v", again.ID, created, err)
	}
	if _, _, err := submit("k", "b"); !errors.Is(err, store.ErrKeyReused) {
		t.Errorf("another body: %v", err)
	}
	if _, _, err := submit("", "a", "research"); err == nil {
		t.Error("a token of another namespace was let in")
	} else if other, ok := errors.AsType[*queue.NotYourNamespace](err); !ok || other.Namespace != "default" {
		t.Error(err)
	}
}

// TestKeyOfPipelineIsOverItsMeaning: the same pipeline written in another way
// is the same, also when what it names is gone.
func TestKeyOfPipelineIsOverItsMeaning(t *testing.T) {
	w := newWorld(t)
	err := w.data.PutTemplate(t.Context(), template.Template{
		Name: "train", Version: 1, Parameters: []template.Parameter{{Name: "list", Type: template.List}},
		Job: encode(map[string]any{"manifest": runs("train", "true")}),
	})
	if err != nil {
		t.Fatal(err)
	}
	submit := func(text string) (pipeline.Pipeline, bool, error) {
		var request api.NewPipeline
		if err := json.Unmarshal([]byte(text), &request); err != nil {
			t.Fatal(err)
		}
		return w.flow.SubmitPipeline(t.Context(), Submission{Identity: "ci", Key: "k", Request: request})
	}
	const written = `{"name":"p","steps":[{"name":"a","template":{"name":"train"},"parameters":{"list":["x","y"]}},{"name":"b","after":[{"step":"a"}],"manifest":%s}]}`
	const other = `{"steps":[{"template":{"name":"train"},"parameters":{"list":[ "\u0078","y"]},"name":"a","namespace":"default"},` +
		`{"manifest":%s,"name":"b","after":[{"condition":"succeeded","step":"a"}]}],"name":"p","namespace":"default","kind":"Pipeline"}`
	manifest := string(runs("b", "true"))
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(manifest), &members); err != nil {
		t.Fatal(err)
	}
	shuffled := fmt.Sprintf(`{"spec":%s, "metadata":%s, "kind":"Job", "apiVersion":"batch/v1"}`, members["spec"], members["metadata"])
	first, created, err := submit(fmt.Sprintf(written, manifest))
	if err != nil || !created {
		t.Fatal(created, err)
	}
	check := func(when string) {
		t.Helper()
		for _, text := range []string{fmt.Sprintf(written, shuffled), fmt.Sprintf(other, manifest)} {
			again, created, err := submit(text)
			if err != nil || created || again.ID != first.ID {
				t.Errorf("%s: %s, created %t, %v", when, again.ID, created, err)
			}
		}
	}
	check("at once")
	if err := w.data.DeleteTemplate(t.Context(), "train", 1); err != nil {
		t.Fatal(err)
	}
	check("without the template")
	var invalid *job.Invalid
	if _, _, err := submit(strings.Replace(fmt.Sprintf(written, manifest), `"x"`, `"z"`, 1)); !errors.As(err, &invalid) {
		t.Errorf("another body: %v", err)
	}
}

// TestRunStopsWithContext runs the loops as a process does.
func TestRunStopsWithContext(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.flow.Run(ctx) }()
	changed, stop := w.queue.Watch()
	defer stop()
	id := w.submit(document("a"))
	// What the pipeline tells is signalled, and so is the submission of the job.
	for w.names() == "" {
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatal("the loop did not begin")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := w.names(); got != "a" {
		t.Errorf("pipeline %s made the jobs %s", id, fmt.Sprint(got))
	}
}
