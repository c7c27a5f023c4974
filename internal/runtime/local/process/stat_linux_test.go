package process

import (
	"os"
	"testing"
)

func TestParseStat(t *testing.T) {
	text := "42 (a) (b) c) S 7 40 39 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3\n"
	got, err := parseStat([]byte(text))
	want := Entry{Process: Process{PID: 42, Start: 987654}, Parent: 7, Group: 40, Session: 39}
	if err != nil || got != want {
		t.Errorf("%+v (%v), want %+v", got, err, want)
	}
}

func FuzzParseStat(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own)
	for _, seed := range []string{"", "1 (x) Z 1 1 1", "1 (x", ")(", "x (x) S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := parseStat(text); err == nil && len(text) < 40 {
			t.Errorf("took %q for a process", text)
		}
	})
}
