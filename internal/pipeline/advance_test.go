package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gco-project/gco/internal/job"
)

var start = time.Date(2030, time.January, 2, 3, 4, 5, 0, time.UTC)

// world holds the jobs that a pipeline of a test has submitted.
type world struct {
	p    Pipeline
	jobs map[job.ID]job.Job
	now  time.Time
	// submitted lists them as step/run.
	submitted []string
}

func newWorld(graph string) *world {
	return &world{
		p:    Pipeline{ID: "p", State: Running, Run: 1, Steps: steps(graph), DueAt: start},
		jobs: map[job.ID]job.Job{}, now: start,
	}
}

// settle advances until nothing changes, and submits what is to start.
func (w *world) settle() {
	for {
		next, changed := w.p.Advance(w.jobs, w.now)
		w.p = next
		for _, i := range w.p.Starting() {
			s := w.p.Steps[i]
			id := job.ID(fmt.Sprintf("%s/%d", s.Name, s.Run))
			w.submitted = append(w.submitted, string(id))
			w.jobs[id] = job.Job{ID: id, State: job.Queued}
			w.p = w.p.Started(i, id)
			changed = true
		}
		if !changed {
			return
		}
	}
}

// end ends the job of a step in its current run, as in "a:failed".
func (w *world) end(ends string) {
	for word := range strings.FieldsSeq(ends) {
		name, state, _ := strings.Cut(word, ":")
		id := w.p.Steps[w.p.step(name)].Job
		j := w.jobs[id]
		j.State, j.Reason, j.Message = job.State(state), "exit", "exit code 3"
		j.Outputs = job.Outputs{"n": []byte(`1`), "unwanted": []byte(`2`)}
		w.jobs[id] = j
		w.settle()
	}
}

// states is how the steps stand, as in "a:failed b:skipped".
func (w *world) states() string {
	var all []string
	for _, s := range w.p.Steps {
		all = append(all, s.Name+":"+string(s.State))
	}
	return strings.Join(all, " ")
}

func TestAdvance(t *testing.T) {
	tests := []struct{ graph, ends, states, state string }{
		{"a b c<a,b", "", "a:running b:running c:waiting", "running"},
		{"a b c<a,b", "a:succeeded", "a:succeeded b:running c:waiting", "running"},
		{"a b c<a,b", "a:succeeded b:succeeded c:succeeded", "a:succeeded b:succeeded c:succeeded", "succeeded"},
		{"a b<a c<b d<c", "a:failed", "a:failed b:skipped c:skipped d:skipped", "failed"},
		{"a b c<a,b", "a:failed", "a:failed b:running c:skipped", "running"},
		{"a b<a:failed c<a", "a:failed", "a:failed b:running c:skipped", "running"},
		{"a b<a:failed c<a", "a:failed b:succeeded", "a:failed b:succeeded c:skipped", "failed"},
		{"a b<a:failed c<a", "a:succeeded c:succeeded", "a:succeeded b:skipped c:succeeded", "succeeded"},
		{"a b<a c<b:finished", "a:failed", "a:failed b:skipped c:running", "running"},
		{"a b<a:finished", "a:cancelled b:succeeded", "a:cancelled b:succeeded", "failed"},
		{"a b<a:failed", "a:cancelled", "a:cancelled b:skipped", "failed"},
		{"d<c c<b b<a a", "a:failed", "d:skipped c:skipped b:skipped a:failed", "failed"},
	}
	for _, test := range tests {
		w := newWorld(test.graph)
		w.settle()
		w.end(test.ends)
		if w.states() != test.states || string(w.p.State) != test.state {
			t.Errorf("%s after %q: %s, %s; want %s, %s", test.graph, test.ends, w.p.State, w.states(), test.state, test.states)
		}
	}
}

func TestReasonsOfSkippedSteps(t *testing.T) {
	w := newWorld("a b<a c<b d<c e<a:failed f<e")
	w.settle()
	w.end("a:failed")
	w.end("e:cancelled")
	want := map[string]string{
		"a": "exit: exit code 3 ()",
		"b": "dependency: step a failed; this step waits for it to succeed (a)",
		"c": "dependency: step b was skipped, since step a failed (a)",
		"d": "dependency: step c was skipped, since step a failed (a)",
		"f": "dependency: step e was cancelled; this step waits for it to succeed (e)",
	}
	for name, why := range want {
		s := w.p.Steps[w.p.step(name)]
		if got := fmt.Sprintf("%s: %s (%s)", s.Reason, s.Message, s.Cause); got != why {
			t.Errorf("%s: %s; want %s", name, got, why)
		}
	}
	if want := "step a failed: exit code 3"; w.p.Message != want {
		t.Errorf("the pipeline says %q instead of %q", w.p.Message, want)
	}
}

func TestJobsOfOthers(t *testing.T) {
	w := newWorld("a<job/x:finished b<job/x c<job/y")
	w.jobs["x"] = job.Job{ID: "x", State: job.Running}
	w.settle()
	if got := w.states(); got != "a:waiting b:waiting c:skipped" {
		t.Errorf("while the job runs: %s", got)
	}
	if why := w.p.Steps[2].Message; why != "job y is gone; this step waits for it to succeed" {
		t.Errorf("the reason is %q", why)
	}
	if got := w.p.Jobs(); !slices.Equal(got, []job.ID{"x", "x"}) {
		t.Errorf("it looks at %v", got)
	}
	w.jobs["x"] = job.Job{ID: "x", State: job.Failed}
	w.settle()
	delete(w.jobs, "x")
	w.settle()
	if got := w.states(); got != "a:running b:skipped c:skipped" {
		t.Errorf("after the job has failed: %s", got)
	}
}

func TestOutputsAreKept(t *testing.T) {
	w := newWorld("a b<a")
	w.p.Steps[0].Wanted = []string{"n", "none"}
	w.settle()
	w.end("a:succeeded")
	if got := w.p.Steps[0].Outputs; len(got) != 1 || string(got["n"]) != "1" {
		t.Errorf("outputs %v", got)
	}
}

func TestGoneJob(t *testing.T) {
	w := newWorld("a b<a")
	w.settle()
	clear(w.jobs)
	w.settle()
	if got := w.states(); got != "a:failed b:skipped" || w.p.Steps[0].Reason != ReasonGone {
		t.Errorf("%s, reason %s", got, w.p.Steps[0].Reason)
	}
}

func TestCancel(t *testing.T) {
	w := newWorld("a b<a c<b:finished")
	w.settle()
	if jobs := w.p.ToStop(); len(jobs) != 0 {
		t.Errorf("%v are to stop before anybody asked", jobs)
	}
	cancelled, changed, err := w.p.Cancel()
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	w.p = cancelled
	w.settle()
	if got := w.states(); got != "a:running b:skipped c:skipped" || !slices.Equal(w.p.ToStop(), []job.ID{"a/1"}) {
		t.Errorf("%s, %v to stop", got, w.p.ToStop())
	}
	if _, changed, err := w.p.Cancel(); changed || err != nil {
		t.Errorf("cancelled again: %t, %v", changed, err)
	}
	w.end("a:cancelled")
	if w.p.State != Cancelled {
		t.Errorf("it is %s", w.p.State)
	}
	if _, _, err := w.p.Cancel(); !isNotAllowed(err) {
		t.Errorf("cancelled after the end: %v", err)
	}
}

func isNotAllowed(err error) bool {
	_, ok := errors.AsType[*NotAllowed](err)
	return ok
}

// TestCancelTooLate: what had nothing left to cancel ends as it would have.
func TestCancelTooLate(t *testing.T) {
	for _, end := range []State{Succeeded, Failed} {
		w := newWorld("a")
		w.settle()
		w.p, _, _ = w.p.Cancel()
		w.end("a:" + string(end))
		if w.p.State != end {
			t.Errorf("it is %s instead of %s", w.p.State, end)
		}
	}
}

// TestCancelBetweenDecisionAndSubmission: the job may exist already, so the
// step is not skipped.
func TestCancelBetweenDecisionAndSubmission(t *testing.T) {
	w := newWorld("a b<a")
	w.p, _ = w.p.Advance(nil, w.now)
	w.p, _, _ = w.p.Cancel()
	w.settle()
	if got := w.states(); got != "a:running b:skipped" || len(w.p.ToStop()) != 1 {
		t.Errorf("%s", got)
	}
}

func TestRetry(t *testing.T) {
	w := newWorld("a b<a c<a d<b,c e<b:finished f<a:failed g<f:finished")
	w.settle()
	if _, err := w.p.Retry(); !isNotAllowed(err) {
		t.Errorf("retried while it runs: %v", err)
	}
	w.end("a:succeeded b:failed c:succeeded e:succeeded g:succeeded")
	if got := w.states(); got != "a:succeeded b:failed c:succeeded d:skipped e:succeeded f:skipped g:succeeded" || w.p.State != Failed {
		t.Fatalf("%s, %s", w.p.State, got)
	}
	again, err := w.p.Retry()
	if err != nil {
		t.Fatal(err)
	}
	w.p, w.submitted = again, nil
	w.settle()
	if got := w.states(); got != "a:succeeded b:running c:succeeded d:waiting e:waiting f:skipped g:succeeded" {
		t.Errorf("after a retry: %s", got)
	}
	b := w.p.Steps[1]
	if b.Run != 2 || !slices.Equal(b.Earlier, []job.ID{"b/1"}) || !slices.Equal(w.submitted, []string{"b/2"}) {
		t.Errorf("run %d, earlier %v, submitted %v", b.Run, b.Earlier, w.submitted)
	}
	w.end("b:succeeded d:succeeded e:succeeded")
	if w.p.State != Succeeded {
		t.Errorf("it is %s: %s", w.p.State, w.states())
	}
	if _, err := w.p.Retry(); !isNotAllowed(err) {
		t.Errorf("retried after success: %v", err)
	}
}

func TestRetryAfterCancel(t *testing.T) {
	w := newWorld("a b<a c<b")
	w.settle()
	w.end("a:succeeded")
	w.p, _, _ = w.p.Cancel()
	w.settle()
	w.end("b:cancelled")
	w.p, _ = w.p.Retry()
	w.settle()
	if got := w.states(); got != "a:succeeded b:running c:waiting" {
		t.Errorf("%s", got)
	}
}

func TestRefused(t *testing.T) {
	w := newWorld("a b<a:failed")
	w.p, _ = w.p.Advance(nil, w.now)
	w.p = w.p.Refused(0, "invalid", strings.Repeat("x", 1000), w.now)
	w.settle()
	if got := w.states(); got != "a:failed b:running" || len(w.p.Steps[0].Message) > maxMessage+3 {
		t.Errorf("%s, message %q", got, w.p.Steps[0].Message)
	}
}

func TestRevised(t *testing.T) {
	w := newWorld("a")
	if p := w.p.Revised(w.now); p.Version != 1 || !p.DueAt.Equal(w.now.Add(LookEvery)) {
		t.Errorf("waiting: version %d, due %s", p.Version, p.DueAt)
	}
	w.p, _ = w.p.Advance(nil, w.now)
	if p := w.p.Revised(w.now); !p.DueAt.Equal(w.now) {
		t.Errorf("starting: due %s", p.DueAt)
	}
	w.settle()
	w.end("a:succeeded")
	if p := w.p.Revised(w.now.Add(time.Hour)); !p.DueAt.Equal(w.now.Add(Keep)) {
		t.Errorf("finished: due %s", p.DueAt)
	}
}

// TestAnyGraphComesToAnEnd draws graphs and fates, with cancels and retries in
// between: every pipeline ends; no step begins before its time or twice in a
// run; what was skipped has a reason.
func TestAnyGraphComesToAnEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "steps")
		var words []string
		for i := range n {
			word := fmt.Sprintf("s%d", i)
			var after []string
			for k := range i {
				if rapid.IntRange(0, 2).Draw(t, "edge") == 0 {
					after = append(after, fmt.Sprintf("s%d:%s", k, rapid.SampledFrom(Conditions).Draw(t, "condition")))
				}
			}
			if len(after) > 0 {
				word += "<" + strings.Join(after, ",")
			}
			words = append(words, word)
		}
		w := newWorld(strings.Join(rapid.Permutation(words).Draw(t, "order"), " "))
		if faults := Check(w.p.Steps); len(faults) > 0 {
			t.Fatalf("a graph without circles has faults: %v", faults)
		}
		w.settle()
		for retries := 0; ; {
			var running []string
			for _, s := range w.p.Steps {
				if s.State == StepRunning {
					running = append(running, s.Name)
				}
			}
			if w.p.State.Terminal() != (len(running) == 0) {
				t.Fatalf("it is %s: %s", w.p.State, w.states())
			}
			if w.p.State.Terminal() {
				again, err := w.p.Retry()
				if (err == nil) == (w.p.State == Succeeded) {
					t.Fatalf("a retry of one that is %s: %v", w.p.State, err)
				}
				if retries++; err != nil || retries > 2 {
					break
				}
				w.p = again
				w.settle()
				continue
			}
			if rapid.IntRange(0, 9).Draw(t, "cancel") == 0 {
				w.p, _, _ = w.p.Cancel()
				w.settle()
			}
			w.end(rapid.SampledFrom(running).Draw(t, "who") + ":" + rapid.SampledFrom([]string{"succeeded", "failed", "cancelled"}).Draw(t, "end"))
			w.checkSteps(t)
		}
	})
}

func (w *world) checkSteps(t *rapid.T) {
	if once := slices.Compact(slices.Sorted(slices.Values(w.submitted))); len(once) != len(w.submitted) {
		t.Fatalf("submitted twice: %v", w.submitted)
	}
	for _, s := range w.p.Steps {
		if s.State == StepSkipped && (s.Reason == "" || s.Message == "") {
			t.Fatalf("%s was skipped without a reason", s.Name)
		}
		if s.State == StepWaiting || s.State == StepSkipped {
			continue
		}
		for _, d := range s.After {
			if met, _ := w.p.met(d); !met {
				t.Fatalf("%s is %s, but %s is %s", s.Name, s.State, d.Step, w.p.Steps[w.p.step(d.Step)].State)
			}
		}
	}
}

// TestRecordStaysSmall fills a record with as much as the limits allow.
func TestRecordStaysSmall(t *testing.T) {
	w := newWorld("")
	w.p.Steps = nil
	name := func(i int) string { return fmt.Sprintf("%s-%03d", strings.Repeat("n", 59), i) }
	for i := range MaxSteps {
		s := Step{Name: name(i), State: StepSkipped, Job: job.NewID(), Reason: "dependency", Cause: name(0), Message: strings.Repeat("m", maxMessage+3)}
		for range maxEarlier {
			s.Earlier = append(s.Earlier, job.NewID())
		}
		for k := range MaxDependencies / MaxSteps {
			s.After = append(s.After, Dependency{Step: name(k), Condition: OnSuccess})
		}
		if i < MaxSources {
			s.Outputs = job.Outputs{"k": []byte(`"` + strings.Repeat("v", job.MaxResult-4) + `"`)}
		}
		w.p.Steps = append(w.p.Steps, s)
	}
	for i := range MaxWanted {
		w.p.Steps[i%MaxSources].Wanted = append(w.p.Steps[i%MaxSources].Wanted, strings.Repeat("k", 63))
	}
	const most = 350_000
	if text, err := json.Marshal(w.p); err != nil || len(text) > most {
		t.Errorf("the record has %d bytes, %v; want at most %d", len(text), err, most)
	}
}
