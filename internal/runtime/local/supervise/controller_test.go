package supervise

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

// run is how one run of a container goes.
type run struct {
	takes time.Duration // 0: until it is ended
	code  int
	// deaf ignores requests to end; missing can't be started.
	deaf    bool
	missing bool
}

// world is a host on a clock of its own. Scripts say how the runs of each
// container go, the last one for all later ones.
type world struct {
	t       *testing.T
	scripts map[string][]run
	now     time.Time
	job     *controller
	started map[string]int
	ends    map[*container]ending
	trace   []string
	most    int // containers that ran at once
}

type ending struct {
	at   time.Time
	code int
	deaf bool
}

func newWorld(t *testing.T, plan attempt.Plan, scripts map[string][]run) *world {
	w := &world{t: t, scripts: scripts, now: time.Unix(1000, 0), started: map[string]int{}, ends: map[*container]ending{}}
	if plan.Parallelism == 0 {
		plan.Parallelism = 1
	}
	for i := range plan.Parallelism {
		plan.Slots = append(plan.Slots, attempt.Slot{Node: "node-" + strconv.Itoa(i)})
	}
	names := 0
	record := attempt.Record{Name: "job", Backoff: time.Second, MaxBackoff: 10 * time.Second, Plan: plan}
	w.job = newController(record, w, func() string { names++; return strconv.Itoa(names) }, w.now)
	return w
}

func (w *world) since() string { return w.now.Sub(time.Unix(1000, 0)).String() }

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, w.since()+" "+fmt.Sprintf(format, args...))
}

func (w *world) start(p *pod, c *container) error {
	script := w.scripts[c.template.Name]
	r := script[min(w.started[c.template.Name], len(script)-1)]
	w.started[c.template.Name]++
	if r.missing {
		w.note("missing %s", c.template.Name)
		return errors.New("no such command")
	}
	w.note("start %s/%s", p.name, c.template.Name)
	end := ending{code: r.code, deaf: r.deaf}
	if r.takes > 0 {
		end.at = w.now.Add(r.takes)
	}
	w.ends[c] = end
	w.most = max(w.most, len(w.ends))
	return nil
}

func (w *world) terminate(c *container) {
	w.note("term %s/%s", c.pod.name, c.template.Name)
	if end := w.ends[c]; !end.deaf {
		end.at, end.code = w.now, 143
		w.ends[c] = end
	}
}

func (w *world) destroy(c *container) {
	w.note("kill %s/%s", c.pod.name, c.template.Name)
	end := w.ends[c]
	end.at, end.code = w.now, 137
	w.ends[c] = end
}

func (w *world) event(bool, string, string, string) {}

// play goes on until the job is over, or to the time limit.
func (w *world) play(limit time.Duration) (outcome, bool) {
	stop := w.now.Add(limit)
	for range 100_000 {
		over, wake := w.job.step(w.now)
		if over {
			w.note("over")
			return *w.job.outcome, true
		}
		var next *container
		for c, end := range w.ends {
			if !end.at.IsZero() && (next == nil || end.at.Before(w.ends[next].at) || end.at.Equal(w.ends[next].at) && c.object() < next.object()) {
				next = c
			}
		}
		switch exit := next != nil && (wake.IsZero() || !w.ends[next].at.After(wake)); {
		case exit && w.ends[next].at.After(stop), !exit && wake.After(stop):
			w.now = stop
			return outcome{}, false
		case exit:
			w.advance(w.ends[next].at)
			code := w.ends[next].code
			delete(w.ends, next)
			w.job.exited(next, code, w.now)
		case wake.IsZero():
			return outcome{}, false // it waits for something outside
		default:
			w.advance(wake)
		}
	}
	w.t.Fatal("the job goes on for ever")
	return outcome{}, false
}

func (w *world) advance(to time.Time) {
	if to.After(w.now) {
		w.now = to
	}
}

func podOf(names ...string) attempt.Pod {
	pod := attempt.Pod{Grace: 5 * time.Second}
	for _, name := range names {
		c := attempt.Container{Name: name}
		switch {
		case strings.HasPrefix(name, "init"):
			pod.Init = append(pod.Init, c)
		case strings.HasPrefix(name, "side"):
			c.Sidecar = true
			pod.Init = append(pod.Init, c)
		default:
			pod.Containers = append(pod.Containers, c)
		}
	}
	return pod
}

// The semantics are those of Kubernetes' Job controller and kubelet; each case
// says what runs when, and how the job ends.
func TestJobSemantics(t *testing.T) {
	onFailure := func(p attempt.Pod) attempt.Pod { p.RestartOnFailure = true; return p }
	deadline := func(p attempt.Pod, d time.Duration) attempt.Pod { p.ActiveDeadline = d; return p }
	for _, test := range []struct {
		name    string
		plan    attempt.Plan
		scripts map[string][]run
		phase   attempt.Phase
		reason  string
		code    int // -1: none
		trace   []string
	}{
		{
			name: "one pod", plan: attempt.Plan{Completions: new(1), Pod: podOf("main")},
			scripts: map[string][]run{"main": {{takes: time.Second}}},
			phase:   attempt.Succeeded, reason: "Completed",
			trace: []string{"0s start job-1/main", "1s over"},
		},
		{
			name: "pods are tried again with growing pauses until backoffLimit", plan: attempt.Plan{Completions: new(1), BackoffLimit: 2, Pod: podOf("main")},
			scripts: map[string][]run{"main": {{takes: time.Second, code: 3}}},
			phase:   attempt.Failed, reason: reasonBackoffLimit, code: 3,
			trace: []string{"0s start job-1/main", "2s start job-2/main", "5s start job-3/main", "6s over"},
		},
		{
			name: "a later pod succeeds", plan: attempt.Plan{Completions: new(1), BackoffLimit: 6, Pod: podOf("main")},
			scripts: map[string][]run{"main": {{takes: time.Second, code: 3}, {takes: time.Second}}},
			phase:   attempt.Succeeded, reason: "Completed",
			trace: []string{"0s start job-1/main", "2s start job-2/main", "3s over"},
		},
		{
			name: "restarts in place", plan: attempt.Plan{Completions: new(1), BackoffLimit: 6, Pod: onFailure(podOf("main"))},
			scripts: map[string][]run{"main": {{takes: time.Second, code: 3}, {takes: time.Second, code: 4}, {takes: time.Second}}},
			phase:   attempt.Succeeded, reason: "Completed",
			trace: []string{"0s start job-1/main", "2s start job-1/main", "5s start job-1/main", "6s over"},
		},
		{
			name: "restarts in place up to backoffLimit", plan: attempt.Plan{Completions: new(1), BackoffLimit: 2, Pod: onFailure(podOf("main"))},
			scripts: map[string][]run{"main": {{takes: time.Second, code: 3}}},
			phase:   attempt.Failed, reason: reasonBackoffLimit, code: 3,
			trace: []string{"0s start job-1/main", "2s start job-1/main", "3s over"},
		},
		{
			name: "restarts in place with backoffLimit 0", plan: attempt.Plan{Completions: new(1), Pod: onFailure(podOf("main"))},
			scripts: map[string][]run{"main": {{takes: time.Second, code: 3}}},
			phase:   attempt.Failed, reason: reasonBackoffLimit, code: 3,
			trace: []string{"0s start job-1/main", "1s over"},
		},
		{
			name: "completions in parallel", plan: attempt.Plan{Completions: new(3), Parallelism: 2, Pod: podOf("main")},
			scripts: map[string][]run{"main": {{takes: 2 * time.Second}, {takes: 3 * time.Second}}},
			phase:   attempt.Succeeded, reason: "Completed",
			trace: []string{"0s start job-1/main", "0s start job-2/main", "2s start job-3/main", "5s over"},
		},
		{
			name: "indexed completions, one of them twice", plan: attempt.Plan{Completions: new(3), Parallelism: 2, Indexed: true, BackoffLimit: 1, Pod: podOf("main")},
			scripts: map[string][]run{"main": {{takes: time.Second, code: 1}, {takes: 4 * time.Second}, {takes: time.Second}}},
			phase:   attempt.Succeeded, reason: "Completed",
			trace: []string{"0s start job-0-1/main", "0s start job-1-2/main", "2s start job-0-3/main", "3s start job-2-4/main", "4s over"},
		},
		{
			name: "a work queue ends with the pods that run when one has succeeded", plan: attempt.Plan{Parallelism: 2, Pod: podOf("main")},
			scripts: map[string][]run{"main": {{takes: time.Second}, {takes: 3 * time.Second}}},
			phase:   attempt.Succeeded, reason: "Completed",
			trace: []string{"0s start job-1/main", "0s start job-2/main", "3s over"},
		},
		{
			name: "init containers in order", plan: attempt.Plan{Completions: new(1), Pod: podOf("init1", "init2", "main")},
			scripts: map[string][]run{"init1": {{takes: time.Second}}, "init2": {{takes: time.Second}}, "main": {{takes: time.Second}}},
			phase:   attempt.Succeeded, reason: "Completed",
			trace: []string{"0s start job-1/init1", "1s start job-1/init2", "2s start job-1/main", "3s over"},
		},
		{
			name: "a failing init container fails the pod", plan: attempt.Plan{Completions: new(1), Pod: podOf("init1", "main")},
			scripts: map[string][]run{"init1": {{takes: time.Second, code: 9}}, "main": {{}}},
			phase:   attempt.Failed, reason: reasonBackoffLimit, code: 9,
			trace: []string{"0s start job-1/init1", "1s over"},
		},
		{
			name: "a failing init container is restarted in place", plan: attempt.Plan{Completions: new(1), BackoffLimit: 6, Pod: onFailure(podOf("init1", "main"))},
			scripts: map[string][]run{"init1": {{takes: time.Second, code: 9}, {takes: time.Second}}, "main": {{takes: time.Second}}},
			phase:   attempt.Succeeded, reason: "Completed",
			trace: []string{"0s start job-1/init1", "2s start job-1/init1", "3s start job-1/main", "4s over"},
		},
		{
			name: "sidecars start first and end last, in reverse", plan: attempt.Plan{Completions: new(1), Pod: podOf("side1", "init1", "side2", "main")},
			scripts: map[string][]run{"side1": {{}}, "init1": {{takes: time.Second}}, "side2": {{deaf: true}}, "main": {{takes: time.Second}}},
			phase:   attempt.Succeeded, reason: "Completed",
			trace: []string{
				"0s start job-1/side1", "0s start job-1/init1", "1s start job-1/side2", "1s start job-1/main",
				"2s term job-1/side2", "7s kill job-1/side2", "7s term job-1/side1", "7s over",
			},
		},
		{
			name: "a sidecar that ends is started again, and does not decide", plan: attempt.Plan{Completions: new(1), Pod: podOf("side1", "main")},
			scripts: map[string][]run{"side1": {{takes: time.Second, code: 1}, {}}, "main": {{takes: 4 * time.Second}}},
			phase:   attempt.Succeeded, reason: "Completed",
			trace: []string{"0s start job-1/side1", "0s start job-1/main", "2s start job-1/side1", "4s term job-1/side1", "4s over"},
		},
		{
			name: "a pod waits for all containers, and the first failure counts", plan: attempt.Plan{Completions: new(1), Pod: podOf("a", "b", "c")},
			scripts: map[string][]run{"a": {{takes: 3 * time.Second, code: 5}}, "b": {{takes: time.Second, code: 6}}, "c": {{takes: 4 * time.Second}}},
			phase:   attempt.Failed, reason: reasonBackoffLimit, code: 6,
			trace: []string{"0s start job-1/a", "0s start job-1/b", "0s start job-1/c", "4s over"},
		},
		{
			name: "the job's deadline", plan: attempt.Plan{Completions: new(1), BackoffLimit: 6, ActiveDeadline: 3 * time.Second, Pod: podOf("main")},
			scripts: map[string][]run{"main": {{takes: time.Second, code: 1}, {deaf: true}}},
			phase:   attempt.Failed, reason: reasonDeadline, code: -1,
			trace: []string{"0s start job-1/main", "2s start job-2/main", "3s term job-2/main", "8s kill job-2/main", "8s over"},
		},
		{
			name: "the job's deadline during a pause", plan: attempt.Plan{Completions: new(1), BackoffLimit: 6, ActiveDeadline: 1500 * time.Millisecond, Pod: podOf("main")},
			scripts: map[string][]run{"main": {{takes: time.Second, code: 1}}},
			phase:   attempt.Failed, reason: reasonDeadline, code: -1,
			trace: []string{"0s start job-1/main", "1.5s over"},
		},
		{
			name: "a pod's deadline is a failure of the pod", plan: attempt.Plan{Completions: new(1), BackoffLimit: 1, Pod: deadline(podOf("main"), 2*time.Second)},
			scripts: map[string][]run{"main": {{}, {takes: time.Second}}},
			phase:   attempt.Succeeded, reason: "Completed",
			trace: []string{"0s start job-1/main", "2s term job-1/main", "3s start job-2/main", "4s over"},
		},
		{
			name: "a command that is missing", plan: attempt.Plan{Completions: new(1), BackoffLimit: 1, Pod: podOf("main")},
			scripts: map[string][]run{"main": {{missing: true}}},
			phase:   attempt.Failed, reason: reasonBackoffLimit, code: startErrorCode,
			trace: []string{"0s missing main", "1s missing main", "1s over"},
		},
		{
			name:    "podFailurePolicy FailJob",
			plan:    attempt.Plan{Completions: new(2), Parallelism: 2, BackoffLimit: 6, Pod: podOf("main"), FailureRules: []attempt.FailureRule{{Action: "FailJob", Container: "main", In: true, Codes: []int{42}}}},
			scripts: map[string][]run{"main": {{takes: time.Second, code: 42}, {}}},
			phase:   attempt.Failed, reason: reasonFailurePolicy, code: 42,
			trace: []string{"0s start job-1/main", "0s start job-2/main", "1s term job-2/main", "1s over"},
		},
		{
			name:    "podFailurePolicy Ignore does not count",
			plan:    attempt.Plan{Completions: new(1), Pod: podOf("main"), FailureRules: []attempt.FailureRule{{Action: "Ignore", In: false, Codes: []int{1}}}},
			scripts: map[string][]run{"main": {{takes: time.Second, code: 42}, {takes: time.Second, code: 1}}},
			phase:   attempt.Failed, reason: reasonBackoffLimit, code: 1,
			trace: []string{"0s start job-1/main", "2s start job-2/main", "3s over"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.plan, test.scripts)
			got, over := w.play(time.Hour)
			if !over || got.phase != test.phase || got.reason != test.reason {
				t.Errorf("over %v, %+v", over, got)
			}
			if code := got.exitCode; (code == nil) != (test.code < 0) || code != nil && *code != test.code {
				t.Errorf("exit code %v, want %d", code, test.code)
			}
			if !slices.Equal(w.trace, test.trace) {
				t.Errorf("trace\n%s\nwant\n%s", strings.Join(w.trace, "\n"), strings.Join(test.trace, "\n"))
			}
			if w.most > max(test.plan.Parallelism, 1)*len(test.plan.Pod.All()) {
				t.Errorf("%d containers ran at once", w.most)
			}
		})
	}
}

// Stopped at any moment, the job ends as stopped and starts nothing more.
func TestStopAtEveryMoment(t *testing.T) {
	plan := attempt.Plan{Completions: new(3), Parallelism: 2, BackoffLimit: 6, Pod: podOf("side1", "init1", "main")}
	scripts := map[string][]run{
		"side1": {{}},
		"init1": {{takes: time.Second}, {takes: time.Second, code: 1}, {takes: time.Second}},
		"main":  {{takes: 2 * time.Second, deaf: true}},
	}
	for at := time.Duration(0); at < 12*time.Second; at += 250 * time.Millisecond {
		w := newWorld(t, plan, scripts)
		if _, over := w.play(at); over {
			continue
		}
		before := len(w.trace)
		w.job.end(outcome{phase: attempt.Stopped, reason: "Stopped"})
		got, over := w.play(time.Hour)
		if !over || got.phase != attempt.Stopped || len(w.ends) != 0 {
			t.Errorf("stopped at %s: over %v, %+v, %d containers left", at, over, got, len(w.ends))
		}
		for _, line := range w.trace[before:] {
			if strings.Contains(line, " start ") {
				t.Errorf("stopped at %s, and then: %s", at, line)
			}
		}
	}
}

// Many pods keep little.
func TestManyCompletions(t *testing.T) {
	const pods = 2000
	w := newWorld(t, attempt.Plan{Completions: new(pods), Parallelism: 10, Pod: podOf("main")}, map[string][]run{"main": {{takes: time.Second}}})
	got, over := w.play(time.Hour)
	if !over || got.phase != attempt.Succeeded || w.started["main"] != pods || w.most != 10 {
		t.Errorf("over %v, %+v after %d pods, %d at once", over, got, w.started["main"], w.most)
	}
	if len(w.job.ended) != keptPods {
		t.Errorf("%d pods are kept, want %d", len(w.job.ended), keptPods)
	}
}
