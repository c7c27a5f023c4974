package schedule

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

var hour = time.Date(2030, time.January, 2, 3, 0, 0, 0, time.UTC)

func hourly(t testing.TB, alter func(*Spec)) (Schedule, Cron) {
	t.Helper()
	spec := Spec{Cron: "0 * * * *"}
	if alter != nil {
		alter(&spec)
	}
	spec = spec.WithDefaults()
	if faults := spec.Validate(); len(faults) > 0 {
		t.Fatal(faults)
	}
	s := Schedule{Namespace: "team-a", Name: "hourly", Spec: spec, Since: hour}
	return s, clockOf(t, spec.Cron, spec.TimeZone)
}

// runs is what a schedule remembers, oldest first, as in
// "04:00 starting, 05:00 skipped running".
func runs(s Schedule) string {
	var all []string
	for _, r := range slices.Backward(s.Runs) {
		name := r.ID
		if !r.Tick.IsZero() {
			name = r.Tick.Format("15:04")
		}
		all = append(all, strings.TrimSpace(name+" "+string(r.Outcome)+" "+r.Reason))
	}
	return strings.Join(all, ", ")
}

// submit submits what is to start.
func submit(s Schedule) Schedule {
	for _, i := range s.Starting() {
		s = s.Started(i, job.ID("job-"+s.Runs[i].ID), "")
	}
	return s
}

func TestTick(t *testing.T) {
	tests := []struct {
		name  string
		alter func(*Spec)
		after time.Duration
		runs  string
		since string
	}{
		{"before the tick", nil, time.Hour - 1, "", "03:00"},
		{"at the tick", nil, time.Hour, "04:00 starting", "04:00"},
		{"a little late", nil, time.Hour + Grace, "04:00 starting", "04:00"},
		{"missed, once", nil, 5*time.Hour + 2*Grace, "08:00 starting", "08:00"},
		{"missed but for one, once", nil, 5 * time.Hour, "08:00 starting", "08:00"},
		{"missed, skip", func(s *Spec) { s.Missed = MissedSkip }, 5*time.Hour + 2*Grace, "08:00 skipped missed", "08:00"},
		{"missed but for one, skip", func(s *Spec) { s.Missed = MissedSkip }, 5 * time.Hour, "07:00 skipped missed, 08:00 starting", "08:00"},
		{"missed, all, forbid", func(s *Spec) { s.Missed = MissedAll }, 3*time.Hour + 2*Grace, "04:00 starting, 05:00 skipped running, 06:00 skipped running", "06:00"},
		{"missed, all, allow", func(s *Spec) { s.Missed, s.Concurrency = MissedAll, Allow }, 3 * time.Hour, "04:00 starting, 05:00 starting, 06:00 starting", "06:00"},
		{"missed, all, bounded", func(s *Spec) { s.Missed, s.MissedLimit, s.Concurrency = MissedAll, 2, Allow }, 1000*time.Hour + 2*Grace, "18:00 starting, 19:00 starting", "19:00"},
		{"paused", func(s *Spec) { s.Paused = true }, 5 * time.Hour, "", "03:00"},
		{"the clock went back", nil, -5 * time.Hour, "", "03:00"},
	}
	for _, test := range tests {
		s, c := hourly(t, test.alter)
		now := hour.Add(test.after)
		next, changed := s.Tick(c, now)
		if got := runs(next); got != test.runs || next.Since.Format("15:04") != test.since || changed != (test.runs != "") {
			t.Errorf("%s: %s, since %s, changed %t", test.name, got, next.Since.Format("15:04"), changed)
		}
		if again, changed := next.Tick(c, now); changed {
			t.Errorf("%s: a second look makes %s", test.name, runs(again))
		}
		if len(s.Runs) > 0 {
			t.Errorf("%s: the receiver was changed", test.name)
		}
	}
}

func TestConcurrency(t *testing.T) {
	for policy, want := range map[Concurrency]string{
		Forbid:  "04:00 submitted, 05:00 skipped running",
		Allow:   "04:00 submitted, 05:00 starting",
		Replace: "04:00 submitted replaced, 05:00 starting",
	} {
		s, c := hourly(t, func(s *Spec) { s.Concurrency = policy })
		s, _ = s.Tick(c, hour.Add(time.Hour))
		s, _ = submit(s).Tick(c, hour.Add(2*time.Hour))
		if got := runs(s); got != want {
			t.Errorf("%s: %s", policy, got)
		}
		if stop := s.ToStop(); (len(stop) == 1) != (policy == Replace) {
			t.Errorf("%s: %v to stop", policy, stop)
		}
		s, changed := submit(s).Observe(map[string]Outcome{tickID(hour.Add(time.Hour)): Failed, "other": Failed})
		if !changed || len(s.ToStop()) != 0 {
			t.Errorf("%s: changed %t, %v to stop after the end", policy, changed, s.ToStop())
		}
		s, _ = submit(s).Observe(map[string]Outcome{tickID(hour.Add(2 * time.Hour)): Succeeded})
		s, _ = s.Tick(c, hour.Add(3*time.Hour))
		if got := runs(s); !strings.HasSuffix(got, ", 06:00 starting") {
			t.Errorf("%s after the ends: %s", policy, got)
		}
	}
}

func TestRunNow(t *testing.T) {
	s, c := hourly(t, nil)
	s, err := s.RunNow("by-hand", "someone", hour.Add(time.Minute))
	if err != nil || runs(s) != "by-hand starting" || s.Runs[0].By != "someone" {
		t.Fatal(runs(s), err)
	}
	if _, err := s.RunNow("again", "someone", hour); err == nil {
		t.Error("a second one beside the first was allowed")
	} else if busy, ok := errors.AsType[*Busy](err); !ok || busy.Run.ID != "by-hand" {
		t.Error(err)
	}
	s, _ = submit(s).Tick(c, hour.Add(time.Hour))
	if got := runs(s); got != "by-hand submitted, 04:00 skipped running" {
		t.Error(got)
	}
	paused, _ := hourly(t, func(s *Spec) { s.Paused = true })
	if paused, err = paused.RunNow("by-hand", "someone", hour); err != nil || len(paused.Starting()) != 1 {
		t.Error("a paused one cannot be run by hand:", err)
	}
}

func TestRevised(t *testing.T) {
	s, c := hourly(t, nil)
	if r := s.Revised(c, hour); !r.DueAt.Equal(hour.Add(time.Hour)) || !r.Next.Equal(r.DueAt) || r.Version != 1 {
		t.Errorf("idle: due %s, next %s, version %d", r.DueAt, r.Next, r.Version)
	}
	s, _ = s.Tick(c, hour.Add(time.Hour))
	if r := s.Revised(c, hour.Add(time.Hour)); !r.DueAt.Equal(hour.Add(time.Hour)) || !r.Next.Equal(hour.Add(2*time.Hour)) {
		t.Errorf("starting: due %s, next %s", r.DueAt, r.Next)
	}
	s = submit(s)
	if r := s.Revised(c, hour.Add(time.Hour)); !r.DueAt.Equal(hour.Add(time.Hour + lookEvery)) {
		t.Errorf("submitted: due %s", r.DueAt)
	}
	s, _ = s.Observe(map[string]Outcome{s.Runs[0].ID: Succeeded})
	s.Spec.Paused = true
	if r := s.Revised(c, hour.Add(time.Hour)); !r.DueAt.IsZero() || !r.Next.IsZero() {
		t.Errorf("paused: due %s, next %s", r.DueAt, r.Next)
	}
}

func TestPinAndRefuse(t *testing.T) {
	s, c := hourly(t, func(s *Spec) { s.Concurrency = Allow })
	s, _ = s.Tick(c, hour.Add(time.Hour))
	s = s.Pin(3)
	s, _ = s.Tick(c, hour.Add(2*time.Hour))
	s = s.Pin(4)
	if s.Runs[1].TemplateVersion != 3 || s.Runs[0].TemplateVersion != 4 {
		t.Errorf("versions %d and %d", s.Runs[1].TemplateVersion, s.Runs[0].TemplateVersion)
	}
	s = s.Refused(1, "invalid", strings.Repeat("x", 1000))
	if got := runs(s); got != "04:00 refused invalid, 05:00 starting" || len(s.Runs[1].Message) != 512 {
		t.Error(got)
	}
}

func TestValidate(t *testing.T) {
	for name, test := range map[string]struct {
		spec Spec
		want string
	}{
		"all at once": {
			Spec{Cron: "x", TimeZone: "Mars", Missed: "maybe", Concurrency: "perhaps", MissedLimit: 3},
			"timeZone cron missed concurrency missedLimit",
		},
		"never":        {Spec{Cron: "0 0 30 2 *"}, "cron"},
		"too many":     {Spec{Cron: "@daily", Missed: MissedAll, MissedLimit: 11}, "missedLimit"},
		"negative":     {Spec{Cron: "@daily", Missed: MissedAll, MissedLimit: -1}, "missedLimit"},
		"as it should": {Spec{Cron: "@daily", Missed: MissedAll, MissedLimit: 3}, ""},
	} {
		var fields []string
		for _, f := range test.spec.WithDefaults().Validate() {
			fields = append(fields, f.Field)
		}
		if got := strings.Join(fields, " "); got != test.want {
			t.Errorf("%s: faults in %q", name, got)
		}
	}
}

// TestEveryTickIsDecidedOnce draws looks at random times, runs that end or
// not, and wishes by hand: no tick comes twice, none that is to run is lost,
// and the record stays small.
func TestEveryTickIsDecidedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := Spec{
			Cron:   rapid.SampledFrom([]string{"* * * * *", "*/7 * * * *", "0 * * * *"}).Draw(t, "cron"),
			Missed: rapid.SampledFrom(MissedPolicies).Draw(t, "missed"), Concurrency: rapid.SampledFrom(ConcurrencyPolicies).Draw(t, "concurrency"),
		}.WithDefaults()
		c, err := ParseCron(spec.Cron, spec.TimeZone)
		if err != nil {
			t.Fatal(err)
		}
		s := Schedule{Spec: spec, Since: hour}
		seen := map[string]bool{}
		for now := hour; now.Before(hour.Add(8 * time.Hour)); {
			before := s
			now = now.Add(time.Duration(rapid.IntRange(1, 1200).Draw(t, "seconds")) * time.Second)
			if rapid.IntRange(0, 5).Draw(t, "by hand") == 0 {
				if next, err := s.RunNow(fmt.Sprint("hand ", now), "someone", now); err == nil {
					s = next
				}
			}
			next, changed := s.Tick(c, now)
			if due := c.Next(s.Since); changed != !due.After(now) {
				t.Fatalf("the next tick is %s, now it is %s: changed %t", due, now, changed)
			}
			s = next
			for _, r := range s.Runs {
				isNew := !slices.ContainsFunc(before.Runs, func(b Run) bool { return b.ID == r.ID })
				if isNew && seen[r.ID] {
					t.Fatalf("%s was decided twice", r.ID)
				}
				seen[r.ID] = true
			}
			if s.Since.After(now) || len(s.Runs) > KeepRuns {
				t.Fatalf("since %s, %d runs, at %s", s.Since, len(s.Runs), now)
			}
			if text, _ := json.Marshal(s); len(text) > 32_000 {
				t.Fatalf("the record has %d bytes", len(text))
			}
			if rapid.Bool().Draw(t, "submit") {
				s = submit(s)
			}
			if open := s.Open(); spec.Concurrency == Forbid && len(open)+len(s.Starting()) > 1 {
				t.Fatalf("%d run beside each other", len(open)+len(s.Starting()))
			}
			ends := map[string]Outcome{}
			for _, r := range s.Open() {
				if rapid.Bool().Draw(t, "end") {
					ends[r.ID] = Succeeded
				}
			}
			s, _ = s.Observe(ends)
			s = s.Revised(c, now)
		}
	})
}

// TestTells holds the event of a write against the worst of its runs.
func TestTells(t *testing.T) {
	three := func() Schedule {
		s := Schedule{Spec: Spec{Concurrency: Allow}}
		for range 3 {
			s.run(Run{Outcome: Starting})
		}
		return s
	}
	if s := three(); s.Event != "" || s.News != nil {
		t.Errorf("what is to run is told as %s", s.Event)
	}
	started := three().Started(2, "j", "")
	mixed := started.Refused(1, "invalid", "no").Started(0, "k", "")
	if started.Event != EventSubmitted || len(started.News) != 1 || started.News[0].Job != "j" {
		t.Errorf("%s of %+v", started.Event, started.News)
	}
	if mixed.Event != EventRefused || len(mixed.News) != 3 || mixed.News[1].Reason != "invalid" {
		t.Errorf("%s of %+v", mixed.Event, mixed.News)
	}
}
