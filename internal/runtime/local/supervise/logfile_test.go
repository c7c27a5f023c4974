package supervise

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

// stored writes output through a log file and returns what it holds.
func stored(t *testing.T, path string, limit int64, output []byte) []byte {
	t.Helper()
	log, err := openLog(path, limit)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = log.write.Write(output)
		_ = log.closeWriter()
	}()
	log.copy()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// text puts stored lines together again.
func text(t *testing.T, stored []byte) string {
	t.Helper()
	var out bytes.Buffer
	for line := range bytes.Lines(stored) {
		piece, ok := attempt.ParseLogLine(bytes.TrimSuffix(line, []byte("\n")))
		if !ok {
			t.Fatalf("%q is no stored line", line)
		}
		out.Write(piece.Text)
		if piece.Whole {
			out.WriteByte('\n')
		}
	}
	return out.String()
}

func FuzzLogFile(f *testing.F) {
	f.Add([]byte("one\ntwo"), 1)
	f.Add([]byte("\n\n\x00\xff"), 1)
	f.Add([]byte("0123456789abcdef"), 1500)
	f.Fuzz(func(t *testing.T, output []byte, times int) {
		output = bytes.Repeat(output, min(max(times, 1), 2000))
		got := text(t, stored(t, filepath.Join(t.TempDir(), "log"), 1<<30, output))
		want := string(output)
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
		if got != want {
			t.Errorf("%d bytes became %d", len(want), len(got))
		}
	})
}

// The limit holds over restarts, and is told once.
func TestLogFileLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	line := []byte(strings.Repeat("x", 99) + "\n")
	for range 3 {
		stored(t, path, 5000, bytes.Repeat(line, 30))
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := text(t, kept)
	if len(kept) > 5000+200 || strings.Count(got, "was reached") != 1 || strings.Count(got, string(line)) < 30 {
		t.Errorf("%d bytes are kept: %q", len(kept), got)
	}
}
