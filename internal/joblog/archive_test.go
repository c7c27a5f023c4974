package joblog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/blob"
	"github.com/gco-project/gco/internal/blob/blobtest"
	"github.com/gco-project/gco/internal/job"
)

var attempt = job.AttemptID{Job: "01999999-0000-7000-8000-0000000000ab", Attempt: 2}

func openArchive(t *testing.T, limit int64) (*Archive, string) {
	t.Helper()
	dir := t.TempDir()
	return archiveAt(t, "file://"+dir, limit), dir
}

func archiveAt(t *testing.T, url string, limit int64) *Archive {
	t.Helper()
	bucket, err := blob.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bucket.Close() })
	return NewArchive(bucket, limit)
}

func lines(sources ...string) string {
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	var text []byte
	for i, source := range sources {
		text = Line{At: at.Add(time.Duration(i) * time.Second), Source: source, Text: fmt.Appendf(nil, "line %d", i)}.Append(text)
	}
	return string(text)
}

func read(t *testing.T, archive *Archive, options Options) string {
	t.Helper()
	var out strings.Builder
	if err := archive.Write(t.Context(), &out, attempt, options); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestArchiveServesLikeARuntime(t *testing.T) {
	t.Run("directory", func(t *testing.T) {
		archive, _ := openArchive(t, 0)
		servesLikeARuntime(t, archive)
	})
	t.Run("s3", func(t *testing.T) {
		servesLikeARuntime(t, archiveAt(t, blobtest.Start(t, true).Bucket(t, "logs"), 0))
	})
}

func servesLikeARuntime(t *testing.T, archive *Archive) {
	t.Helper()
	two := lines("p-0/main", "p-0/side", "p-1/main", "p-0/main")
	if state, err := archive.Put(t.Context(), attempt, strings.NewReader(two), false); err != nil || state != job.LogsArchived {
		t.Fatalf("Put = %q, %v", state, err)
	}
	tests := map[string]struct {
		options Options
		want    string
	}{
		"all":        {Options{}, "[p-0/main] line 0\n[p-0/side] line 1\n[p-1/main] line 2\n[p-0/main] line 3\n"},
		"container":  {Options{Container: "side"}, "line 1\n"},
		"tail":       {Options{Tail: 2}, "[p-1/main] line 2\n[p-0/main] line 3\n"},
		"long tail":  {Options{Tail: 100, Container: "main"}, "line 0\nline 2\nline 3\n"},
		"since":      {Options{Since: time.Date(2026, 3, 1, 10, 0, 2, 0, time.UTC)}, "[p-1/main] line 2\n[p-0/main] line 3\n"},
		"timestamps": {Options{Timestamps: true, Tail: 1}, "[p-0/main] 2026-03-01T10:00:03Z line 3\n"},
		"none yet":   {Options{Container: "side", Since: time.Date(2026, 3, 1, 10, 0, 3, 0, time.UTC)}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := read(t, archive, test.options); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
	for _, tail := range []int{0, 2} {
		err := archive.Write(t.Context(), io.Discard, attempt, Options{Container: "other", Tail: tail})
		if missing, ok := errors.AsType[*NoContainer](err); !ok || missing.Container != "other" || !slices.Equal(missing.Wrote, []string{"main", "side"}) {
			t.Errorf("a container that is not there, tail %d: %+v", tail, err)
		}
	}
	// Sending it again, now from one container, replaces it.
	if _, err := archive.Put(t.Context(), attempt, strings.NewReader(lines("p-0/main")), true); err != nil {
		t.Fatal(err)
	}
	if got := read(t, archive, Options{}); got != "line 0\n" {
		t.Errorf("after the second Put: %q", got)
	}
	if info, err := archive.Stat(t.Context(), attempt); err != nil || !info.Partial || info.Sources != 1 {
		t.Errorf("Stat = %+v, %v", info, err)
	}
}

func TestArchiveCutsAtTheLimit(t *testing.T) {
	archive, _ := openArchive(t, 1000)
	text := lines(strings.Split(strings.Repeat("p-0/main ", 100), " ")[:100]...)
	rest := strings.NewReader(text)
	state, err := archive.Put(t.Context(), attempt, rest, false)
	if err != nil || state != job.LogsPartial {
		t.Fatalf("Put = %q, %v", state, err)
	}
	if rest.Len() > 0 {
		t.Errorf("%d bytes were left unread", rest.Len())
	}
	got := read(t, archive, Options{Timestamps: true})
	if got == "" || len(got) > 1000 || !strings.HasSuffix(got, "\n") || strings.Count(got, "line") != strings.Count(got, "\n") {
		t.Errorf("%d bytes, ending in %q", len(got), got[max(0, len(got)-20):])
	}
}

func TestArchiveIsWholeOrNotThere(t *testing.T) {
	archive, dir := openArchive(t, 0)
	broken := io.MultiReader(strings.NewReader(lines("p/c", "p/c")), failing{})
	if _, err := archive.Put(t.Context(), attempt, broken, false); !errors.Is(err, errBroken) {
		t.Fatalf("Put = %v", err)
	}
	if _, err := archive.Stat(t.Context(), attempt); !errors.Is(err, ErrNotFound) {
		t.Errorf("Stat = %v", err)
	}
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, _ error) error {
		if !entry.IsDir() {
			t.Errorf("%s is left over", path)
		}
		return nil
	})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := archive.Put(cancelled, attempt, strings.NewReader(lines("p/c")), false); err == nil {
		t.Error("a cancelled Put returned nil")
	}
	if _, err := archive.Stat(t.Context(), attempt); !errors.Is(err, ErrNotFound) {
		t.Errorf("Stat after a cancelled Put = %v", err)
	}
}

func TestArchiveNoticesDamage(t *testing.T) {
	archive, dir := openArchive(t, 0)
	if _, err := archive.Put(t.Context(), attempt, strings.NewReader(lines("p/c", "p/c")), false); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, filepath.FromSlash(keyOf(attempt)))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{
		"a changed byte": bytes.Replace(text, []byte("line 1"), []byte("line 7"), 1),
		"a cut end":      text[:len(text)-10],
		"nothing left":   {},
		"a cut start":    text[5:],
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := archive.Write(t.Context(), io.Discard, attempt, Options{}); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Write = %v", err)
			}
		})
	}
}

func TestArchiveDelete(t *testing.T) {
	archive, _ := openArchive(t, 0)
	for _, n := range []int{1, 2, 12} {
		if _, err := archive.Put(t.Context(), job.AttemptID{Job: attempt.Job, Attempt: n}, strings.NewReader(""), false); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Delete(t.Context(), []job.ID{attempt.Job, "unknown"}); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 2, 12} {
		if _, err := archive.Stat(t.Context(), job.AttemptID{Job: attempt.Job, Attempt: n}); !errors.Is(err, ErrNotFound) {
			t.Errorf("attempt %d: %v", n, err)
		}
	}
}

var errBroken = errors.New("broken")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBroken }
