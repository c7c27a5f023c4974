package endpoint

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2030, time.January, 2, 3, 0, 0, 0, time.UTC)

// world is an endpoint in some regions, whose agents do as the plan says.
type world struct {
	endpoint Endpoint
	plan     Plan
	now      time.Time
	regions  []string
	down     map[string]bool
	leaving  map[string]bool
	room     map[string]int
	broken   map[int]bool // revisions that never become ready
	crashing map[int]bool
	observed map[string]Observed
	failure  string
	gone     bool
	due      time.Time
	stale    string // a region that has not said what it has
}

func newWorld(t testing.TB, alter func(*Spec)) *world {
	t.Helper()
	spec := Spec{Container: Container{Image: "echo", Port: 80}, Replicas: 4, Regions: Regions{Names: []string{"a", "b"}}}
	if alter != nil {
		alter(&spec)
	}
	spec = spec.WithDefaults()
	if faults := spec.Validate(); len(faults) > 0 {
		t.Fatal(faults)
	}
	return &world{
		endpoint: New("uid", "chat", spec, "someone", start), now: start, regions: []string{"a", "b", "c", "d"},
		down: map[string]bool{}, leaving: map[string]bool{}, room: map[string]int{}, broken: map[int]bool{}, crashing: map[int]bool{},
		observed: map[string]Observed{},
	}
}

// decide makes one decision, and applies a rollback.
func (w *world) decide() {
	s := Situation{Endpoint: &w.endpoint, Plan: &w.plan, Now: w.now, Replicas: -1}
	for _, name := range w.regions {
		s.Sites = append(s.Sites, Site{Region: name, Up: !w.down[name], Fresh: name != w.stale, Open: !w.leaving[name], Leaving: w.leaving[name], Observed: w.observed[name]})
	}
	s.Rank = func(int) []string {
		return slices.DeleteFunc(slices.Clone(w.regions), func(name string) bool { return w.down[name] || w.leaving[name] })
	}
	d := Decide(s)
	d.Plan.Version = w.plan.Version + 1
	w.plan, w.failure, w.gone, w.due = d.Plan, d.Failure, d.Gone, d.Due
	if d.Failure != "" {
		to := w.plan.Good
		if w.endpoint.Canary != nil {
			to = 0
		}
		w.endpoint, _ = w.endpoint.Rollback(to, "gco", d.Failure, w.now)
	}
}

// act lets each region that is there take one step.
func (w *world) act() {
	for _, name := range w.regions {
		if w.down[name] {
			continue
		}
		target, _ := w.plan.In(name)
		o := Observed{Region: name, Name: "chat", UID: "uid", Target: "t"}
		counts := Roll(target.Sets, w.observed[name].Replicas)
		total := 0
		for revision, n := range counts {
			for i := range n {
				if room, limited := w.room[name]; limited && total >= room {
					o.Shortage = &Shortage{Resource: "cpu"}
					break
				}
				total++
				r := Replica{ID: fmt.Sprint(revision, "-", i), Revision: revision, Phase: Ready}
				if w.broken[revision] {
					r.Phase = Starting
				}
				if w.crashing[revision] {
					r.Phase, r.Restarts, r.Message = Failed, maxRestarts, "exit code 1"
				}
				o.Replicas = append(o.Replicas, r)
			}
		}
		if len(target.Sets) == 0 && len(o.Replicas) == 0 {
			o.Target = ""
		}
		w.observed[name] = o
	}
}

func (w *world) settle() {
	for range 20 {
		w.decide()
		w.act()
	}
	w.decide()
}

// shape is what the plan says, as in "a:1x2 b:1x2", lost ones in brackets.
func (w *world) shape() string {
	var all []string
	for _, t := range w.plan.Targets {
		var sets []string
		for _, s := range t.Sets {
			sets = append(sets, fmt.Sprintf("%dx%d", s.Revision, s.Replicas))
		}
		text := t.Region + ":" + strings.Join(sets, "+")
		if t.Lost {
			text = "(" + text + ")"
		}
		if t.Held {
			text += "!"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func (w *world) want(t *testing.T, when, shape string) {
	t.Helper()
	if got := w.shape(); got != shape {
		t.Fatalf("%s: %s instead of %s (%s)", when, got, shape, w.plan.Message)
	}
}

func (w *world) edit(t *testing.T, e Endpoint, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	w.endpoint = e
}

func (w *world) update(t *testing.T, alter func(*Spec)) {
	t.Helper()
	spec := w.endpoint.Spec
	alter(&spec)
	e, err := w.endpoint.Update(spec, "someone", w.now)
	w.edit(t, e, err)
}

func TestDecideSpreads(t *testing.T) {
	w := newWorld(t, nil)
	w.settle()
	w.want(t, "at first", "a:1x2 b:1x2")
	if w.plan.Good != 1 || w.plan.Trying != 0 {
		t.Errorf("good %d, trying %d", w.plan.Good, w.plan.Trying)
	}
	e, err := w.endpoint.Scale(7, "someone", w.now)
	w.edit(t, e, err)
	w.settle()
	w.want(t, "scaled up", "a:1x4 b:1x3")
	e, err = w.endpoint.Scale(2, "someone", w.now)
	w.edit(t, e, err)
	w.settle()
	w.want(t, "scaled down", "a:1x1 b:1x1")
	w.update(t, func(s *Spec) { s.Regions.Names, s.Replicas = []string{"b", "c", "d"}, 3 })
	w.decide()
	w.want(t, "other regions, at first", "a:1x1! b:1x1 c:1x1 d:1x1")
	w.settle()
	w.want(t, "other regions", "b:1x1 c:1x1 d:1x1")
	before := w.plan
	w.decide()
	if !before.Same(&w.plan) {
		t.Errorf("another look changed the plan from %+v to %+v", before, w.plan)
	}
}

// TestDecideWaitsForReport has an agent begin a new session: until it says what
// it has, what is known of a region that was there holds, and nothing is
// believed of one that was lost.
func TestDecideWaitsForReport(t *testing.T) {
	w := newWorld(t, nil)
	w.settle()
	w.stale = "a"
	w.decide()
	w.want(t, "a new session", "a:1x2 b:1x2")
	w.down["a"] = true
	w.settle()
	delete(w.down, "a")
	w.decide()
	w.want(t, "a new session after a loss", "(a:1x2) b:1x4")
	w.stale = ""
	w.settle()
	w.want(t, "it has said that it has all", "a:1x2 b:1x2")
}

// TestDecideComesLate has a region of the list be there only later.
func TestDecideComesLate(t *testing.T) {
	w := newWorld(t, nil)
	w.down["b"] = true
	w.settle()
	w.want(t, "without one of two", "a:1x4")
	delete(w.down, "b")
	w.settle()
	w.want(t, "with both", "a:1x2 b:1x2")
}

func TestDecideCount(t *testing.T) {
	w := newWorld(t, func(s *Spec) { s.Regions = Regions{Count: 2} })
	w.settle()
	w.want(t, "two regions", "a:1x2 b:1x2")
	w.down["a"] = true
	w.decide()
	w.want(t, "one is lost", "(a:1x2) b:1x2 c:1x2")
	w.settle()
	delete(w.down, "a")
	w.observed["a"] = Observed{Region: "a", Name: "chat"}
	w.settle()
	w.want(t, "it comes back with nothing", "b:1x2 c:1x2")
	w.leaving["b"] = true
	w.decide()
	w.want(t, "one is drained", "a:1x2 b:1x2! c:1x2")
	w.settle()
	w.want(t, "after the drain", "a:1x2 c:1x2")
	w.room["a"] = 1
	e, err := w.endpoint.Scale(6, "someone", w.now)
	w.edit(t, e, err)
	w.settle()
	if sum := total(&w.plan); sum != 6 {
		t.Errorf("%d of 6 replicas beside a full region: %s", sum, w.shape())
	}
}

func total(p *Plan) int {
	sum := 0
	for _, t := range p.Targets {
		if !t.Lost && !t.Held {
			sum += t.Sets[0].Replicas
		}
	}
	return sum
}

// TestDecideMovesBack has a region come back with all that it had: what stood
// in for it goes, since that costs nothing.
func TestDecideMovesBack(t *testing.T) {
	w := newWorld(t, nil)
	w.settle()
	w.down["a"] = true
	w.settle()
	w.want(t, "lost", "(a:1x2) b:1x4")
	delete(w.down, "a")
	w.settle()
	w.want(t, "back with its replicas", "a:1x2 b:1x2")

	w.down["a"] = true
	w.settle()
	delete(w.down, "a")
	w.observed["a"] = Observed{}
	w.settle()
	w.want(t, "back with nothing", "b:1x4")
	w.update(t, func(s *Spec) { s.Image = "echo:2" })
	w.settle()
	w.want(t, "with the next revision, whose replicas start anyway", "a:2x2 b:2x2")
}

func TestDecideFull(t *testing.T) {
	w := newWorld(t, nil)
	w.room["a"] = 1
	w.settle()
	w.want(t, "one region is full", "a:1x1 b:1x3")
	w.room["b"] = 2
	e, err := w.endpoint.Scale(6, "someone", w.now)
	w.edit(t, e, err)
	w.settle()
	w.want(t, "both are full", "a:1x1 b:1x2")
	if !strings.Contains(w.plan.Message, "no region has room for 3 of 6") {
		t.Errorf("the message is %q", w.plan.Message)
	}
	if w.due.IsZero() {
		t.Fatal("nothing is due")
	}
	w.room, w.now = map[string]int{}, w.due
	w.settle()
	w.want(t, "after there was room again", "a:1x3 b:1x3")
}

func TestDecideRollsBack(t *testing.T) {
	w := newWorld(t, nil)
	w.settle()
	w.broken[2] = true
	w.update(t, func(s *Spec) { s.Image = "echo:2" })
	w.settle()
	w.want(t, "while it is tried", "a:2x2 b:2x2")
	if got := w.observed["a"].Ready(1); got < 2 {
		t.Errorf("%d of the old ones are ready", got)
	}
	w.now = w.due
	w.settle()
	w.want(t, "rolled back", "a:1x2 b:1x2")
	if failed, _ := w.endpoint.Find(2); w.endpoint.Revision != 1 || w.endpoint.Spec.Image != "echo" || failed.Failure == "" {
		t.Errorf("revision %d, image %s, failure %q", w.endpoint.Revision, w.endpoint.Spec.Image, failed.Failure)
	}

	w.crashing[3] = true
	w.update(t, func(s *Spec) { s.Image = "echo:3" })
	w.settle()
	w.want(t, "one that ends again and again is rolled back at once", "a:1x2 b:1x2")
}

func TestDecideFirstFails(t *testing.T) {
	w := newWorld(t, nil)
	w.crashing[1] = true
	w.settle()
	w.want(t, "there is nothing to go back to", "a:1x2 b:1x2")
	if !strings.Contains(w.plan.Message, "exit code 1") || StateOf(&w.endpoint, &w.plan, nil) != StateStarting {
		t.Errorf("the message is %q", w.plan.Message)
	}
}

// TestDecideLostInRollout loses a region while it rolls: the others go on, and
// the clock of the trial begins anew.
func TestDecideLostInRollout(t *testing.T) {
	w := newWorld(t, nil)
	w.settle()
	w.broken[2] = true
	w.update(t, func(s *Spec) { s.Image = "echo:2" })
	w.settle()
	w.now = w.now.Add(9 * time.Minute)
	w.down["a"] = true
	w.settle()
	w.want(t, "lost", "(a:2x2) b:2x4")
	if until := w.now.Add(DefaultReadyTimeout); !w.due.Equal(until) {
		t.Errorf("due at %s instead of %s", w.due, until)
	}
	delete(w.broken, 2)
	w.settle()
	if w.plan.Good != 2 {
		t.Errorf("revision %d is good", w.plan.Good)
	}
}

func TestDecideCanary(t *testing.T) {
	w := newWorld(t, func(s *Spec) { s.Canary = &CanaryPolicy{Weight: 25, Regions: []string{"b"}} })
	w.settle()
	w.update(t, func(s *Spec) { s.Image = "echo:2" })
	w.settle()
	w.want(t, "on trial", "a:1x2 b:1x2+2x1")
	target, _ := w.plan.In("b")
	if target.Sets[0].Weight != 75 || target.Sets[1].Weight != 25 || w.plan.Tried != 2 {
		t.Errorf("weights %v, tried %d", target.Sets, w.plan.Tried)
	}
	promoted, err := w.endpoint.Promote("someone", "", w.now)
	before := w.endpoint
	w.edit(t, promoted, err)
	w.settle()
	w.want(t, "promoted", "a:2x2 b:2x2")

	w.endpoint = before
	w.broken[3] = true
	w.update(t, func(s *Spec) { s.Image = "echo:3" })
	w.settle()
	w.now = w.due
	w.settle()
	if w.endpoint.Canary != nil || w.endpoint.Revision != 1 || w.endpoint.Spec.Image != "echo" {
		t.Errorf("a canary that is not ready is still there: %+v", w.endpoint)
	}
}

func TestDecideEnds(t *testing.T) {
	w := newWorld(t, nil)
	w.settle()
	w.update(t, func(s *Spec) { s.Image = "echo:2" })
	w.decide()
	w.act()
	e, err := w.endpoint.Delete("someone", w.now)
	w.edit(t, e, err)
	w.decide()
	if w.gone {
		t.Error("gone while there are replicas")
	}
	w.settle()
	if !w.gone || w.shape() != "" {
		t.Errorf("gone %t, plan %s", w.gone, w.shape())
	}
}

// TestDecideProperties lets regions come and go at random: what is planned is
// what is wanted, where there is room, and a plan is not changed by looking at
// it once more.
func TestDecideProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(&testing.T{}, func(s *Spec) {
			s.Replicas = rapid.IntRange(1, 9).Draw(t, "replicas")
			s.Regions = Regions{Count: rapid.IntRange(1, 3).Draw(t, "count")}
			if rapid.Bool().Draw(t, "list") {
				s.Regions = Regions{Names: []string{"a", "b", "c"}}
			}
		})
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			region := rapid.SampledFrom(w.regions).Draw(t, "region")
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				w.down[region] = !w.down[region]
			case 1:
				w.leaving[region] = !w.leaving[region]
			case 2:
				w.observed[region] = Observed{}
			case 3:
				w.endpoint, _ = w.endpoint.Scale(rapid.IntRange(1, 9).Draw(t, "scale"), "", w.now)
			case 4:
				spec := w.endpoint.Spec
				spec.Image += "x"
				w.endpoint, _ = w.endpoint.Update(spec, "", w.now)
			}
			w.decide()
			w.act()
		}
		w.down, w.leaving = map[string]bool{}, map[string]bool{}
		w.settle()
		if got := total(&w.plan); got != w.endpoint.Spec.Replicas {
			t.Fatalf("%d replicas are planned, %d wanted: %s", got, w.endpoint.Spec.Replicas, w.shape())
		}
		for _, target := range w.plan.Targets {
			if target.Lost || target.Held || target.Sets[0].Revision != w.endpoint.Revision {
				t.Fatalf("it ends with %s", w.shape())
			}
		}
		before := w.plan
		w.decide()
		if !before.Same(&w.plan) {
			t.Fatalf("another look changed %+v to %+v", before, w.plan)
		}
	})
}
