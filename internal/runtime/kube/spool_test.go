package kube

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/runtimetest"
)

func TestLogOfWhatWasStoppedIsKept(t *testing.T) {
	f := newFixture(t)
	d := drive(t, f)
	a := d.apply(f.Manifest(t, runtimetest.Program{Lines: []string{"one", "two"}, Hold: true}))
	d.await(a.ID, runtime.PhaseRunning)
	f.AwaitRunning(t, a.ID, 1)
	if err := d.Stop(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	d.await(a.ID, runtime.PhaseStopped)
	read := func(options runtime.LogOptions) string {
		stream, err := d.Logs(t.Context(), a.ID, options)
		if err != nil {
			t.Fatal(err)
		}
		return readAll(t, stream)
	}
	if got := read(runtime.LogOptions{}); got != "one\ntwo\n" {
		t.Errorf("the log is %q", got)
	}
	if got := read(runtime.LogOptions{Container: "main", Tail: 1, Timestamps: true}); !strings.HasSuffix(got, "Z two\n") || strings.Count(got, "\n") != 1 {
		t.Errorf("its last line is %q", got)
	}
	if err := d.Forget(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Logs(t.Context(), a.ID, runtime.LogOptions{}); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("the log of what was forgotten: %v", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.spools != 0 {
		t.Errorf("%d logs are kept", d.spools)
	}
}

func TestLinesOfAKeptLogAreSelected(t *testing.T) {
	const log = "[p/a] 2030-01-01T00:00:01Z one\n[p/b] 2030-01-01T00:00:02Z two\n[p/a] 2030-01-01T00:00:03Z [x] three\n"
	for _, test := range []struct {
		options runtime.LogOptions
		several bool
		want    string
	}{
		{runtime.LogOptions{}, true, "[p/a] one\n[p/b] two\n[p/a] [x] three\n"},
		{runtime.LogOptions{Timestamps: true, Tail: 1}, true, "[p/a] 2030-01-01T00:00:03Z [x] three\n"},
		{runtime.LogOptions{Container: "a"}, false, "one\n[x] three\n"},
		{runtime.LogOptions{Since: time.Date(2030, 1, 1, 0, 0, 2, 0, time.UTC), Container: "b"}, false, "two\n"},
		{runtime.LogOptions{Container: "c"}, true, ""},
	} {
		var got strings.Builder
		if err := selectLines(&got, strings.NewReader(log), test.options, test.several); err != nil || got.String() != test.want {
			t.Errorf("%+v selects %q (%v), want %q", test.options, got.String(), err, test.want)
		}
	}
}

// FuzzSelectLines: whatever a container wrote, reading it back does not panic,
// and asks for no more than there is.
func FuzzSelectLines(f *testing.F) {
	f.Add("[p/a] 2030-01-01T00:00:01Z one\nno time\n[\n\n] ", "a", 1, true)
	f.Fuzz(func(t *testing.T, log, container string, tail int, several bool) {
		var got strings.Builder
		if err := selectLines(&got, strings.NewReader(log), runtime.LogOptions{Container: container, Tail: tail}, several); err != nil {
			t.Fatal(err)
		}
		if got.Len() > len(log) {
			t.Errorf("%d bytes came of %d", got.Len(), len(log))
		}
	})
}
