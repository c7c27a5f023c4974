package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	var times []time.Duration
	for i := range 200 {
		times = append(times, time.Duration(200-i))
	}
	for p, want := range map[float64]time.Duration{0: 1, 50: 100, 99: 198, 99.5: 199, 100: 200} {
		if got := percentile(times, p); got != want {
			t.Errorf("p%g is %d; want %d", p, got, want)
		}
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("p50 of nothing is %d", got)
	}
}

func TestMiddle(t *testing.T) {
	for want, values := range map[float64][]float64{0: nil, 2: {3, 1, 2}, 2.5: {4, 1, 2, 3}} {
		if got := middle(values); got != want {
			t.Errorf("the median of %v is %v; want %v", values, got, want)
		}
	}
}

func TestRound(t *testing.T) {
	for value, want := range map[float64]string{
		0: "0.00", 0.256: "0.26", 12.34: "12.3", 123.4: "123", 1234.5: "1,235", 1234567: "1,234,567", -1234: "-1,234", 1000001: "1,000,001",
	} {
		if got := round(value); got != want {
			t.Errorf("%v is written %s; want %s", value, got, want)
		}
	}
}

func TestPerSecondReturnsTheFirstError(t *testing.T) {
	wrong := errors.New("wrong")
	_, err := perSecond(t.Context(), time.Minute, 4, 1, func(context.Context, int) error { return wrong })
	if !errors.Is(err, wrong) {
		t.Errorf("the error is %v", err)
	}
}

func TestEachCallsEachOnce(t *testing.T) {
	calls := make([]int, 100)
	times, err := each(t.Context(), len(calls), 4, func(_ context.Context, i int) error {
		calls[i]++
		return nil
	})
	if err != nil || len(times) != len(calls) {
		t.Fatalf("%d times, %v", len(times), err)
	}
	for i, n := range calls {
		if n != 1 {
			t.Errorf("call %d was made %d times", i, n)
		}
	}
}

func TestTheSummarySaysWhatDoesNotHold(t *testing.T) {
	var out strings.Builder
	r := newReport(&out)
	r.begin("x", "Something")
	r.atLeast(3, 2, "enough", "3 to 1")
	if !r.summary() {
		t.Error("a promise that holds is counted as broken")
	}
	r.atMost(3, 2, "too much", "")
	if r.summary() || !strings.Contains(out.String(), "(x) too much: 3.00, must be at most 2.00: DOES NOT HOLD") {
		t.Errorf("a broken promise is not reported:\n%s", out.String())
	}
}

func TestFiguresReplaceThoseInADocument(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newReport(io.Discard)
	r.begin("x", "Something")
	r.add(12, "jobs/s", "speed")
	r.atLeast(3, 4, "enough", "3 to 1")
	write("before\n" + documentBegin + "\nstale line\n" + documentEnd + "\nafter\n")
	if err := r.document(path, true); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"before\n", "\nafter\n", "| x | speed | 12.0 jobs/s |", "| x | enough | 3.00 | at least 4.00 | **no** | 3 to 1 |"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the document lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "stale line") {
		t.Error("the old figures are still there")
	}
	if err := r.document(path, false); err == nil {
		t.Error("a part of the figures is written")
	}
	write("nothing")
	if err := r.document(path, true); err == nil {
		t.Error("a document without marks is written")
	}
}

func TestSelectParts(t *testing.T) {
	if all, err := selectParts(""); err != nil || len(all) != len(parts) {
		t.Errorf("nothing selects %d parts, %v", len(all), err)
	}
	some, err := selectParts("c,a")
	if err != nil || len(some) != 2 || some[0].key != "a" {
		t.Errorf("c,a selects %v, %v", some, err)
	}
	if _, err := selectParts("a,z"); err == nil {
		t.Error("a part that does not exist is accepted")
	}
}

func TestEveryClassOfTheLoadIsItsOwn(t *testing.T) {
	sources, err := newTemplates()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i := range classes * namespaces {
		submission := sources.submission(i, time.Unix(0, 0))
		if faults := submission.Job.Spec.Validate(); len(faults) > 0 {
			t.Fatal(faults)
		}
		seen[string(submission.Job.Spec.Class)] = true
	}
	if len(seen) != classes {
		t.Errorf("%d classes; want %d", len(seen), classes)
	}
}

// TestRace also holds the statements for the store's own rows to its schema.
func TestRace(t *testing.T) {
	sources, err := newTemplates()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{
		dir: t.TempDir(), report: newReport(io.Discard), sizes: sizes{depths: []int{1000}, cycled: 4000, turns: 2},
		loaded: map[int]string{}, sources: sources,
	}
	racers, err := b.enterAll(t.Context())
	if err == nil {
		err = b.race(t.Context(), racers)
	}
	for _, r := range racers {
		err = errors.Join(err, r.close())
		if len(r.rates) != 2 || slices.Min(r.rates) <= 0 {
			t.Errorf("%s: %v jobs a second", r.name, r.rates)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(b.dir); err != nil || len(left) != 1 {
		t.Errorf("the race left %v, %v; want the loaded database only", left, err)
	}
}

// A watcher's sum tells what it saw from anything else.
func TestWatcherSeesWhatIsMissing(t *testing.T) {
	stream := func(ids ...int) string {
		var text strings.Builder
		for _, id := range ids {
			fmt.Fprintf(&text, ": heartbeat\nid: h\n\nid: %d\nevent: job.queued\ndata: {\"time\":\"2026-03-01T10:00:00Z\"}\n\n", id)
		}
		return text.String()
	}
	read := func(text string) *watcher {
		w := &watcher{body: io.NopCloser(strings.NewReader(text)), want: 100}
		w.run()
		return w
	}
	whole := read(stream(1, 2, 3))
	if whole.seen != 3 {
		t.Errorf("saw %d events of 3", whole.seen)
	}
	for _, ids := range [][]int{{1, 3}, {1, 2, 2, 3}, {2, 1, 3}, {1, 2, 4}} {
		if w := read(stream(ids...)); w.seen == whole.seen && w.sum == whole.sum {
			t.Errorf("%v has the sum of 1, 2, 3", ids)
		}
	}
	late := &watcher{want: 1}
	late.measure([]byte(`{"id":"x","time":"2026-03-01T10:00:00.5Z","data":{}}`))
	if len(late.delays) != 1 || late.delays[0] < time.Hour {
		t.Errorf("the delays are %v", late.delays)
	}
}
