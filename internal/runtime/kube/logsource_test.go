package kube

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"time"
)

// reading is a source that reads a text.
func reading(text string, began time.Time) *logSource {
	s := &logSource{began: began}
	s.stream = io.NopCloser(strings.NewReader(text))
	s.input = bufio.NewReaderSize(s.stream, 16)
	return s
}

func lines(t *testing.T, s *logSource) []string {
	t.Helper()
	var all []string
	for {
		if err := s.advance(); err != nil {
			t.Fatal(err)
		}
		if !s.ready {
			return all
		}
		all = append(all, s.at.Format(time.TimeOnly)+" "+string(s.text))
	}
}

func TestLogIsReadOnWhereItWasLeft(t *testing.T) {
	const first = "2030-01-01T00:00:01Z one\n2030-01-01T00:00:02.5Z two\n2030-01-01T00:00:02.5Z three\n"
	s := reading(first, time.Time{})
	if got := strings.Join(lines(t, s), ","); got != "00:00:01 one,00:00:02 two,00:00:02 three" {
		t.Fatalf("read %s", got)
	}
	again := reading(first+"2030-01-01T00:00:02.5Z four\n2030-01-01T00:00:03Z five", time.Time{})
	again.last, again.count, again.skip = s.last, s.count, s.count
	if got := strings.Join(lines(t, again), ","); got != "00:00:02 four,00:00:03 five" {
		t.Errorf("then read %s", got)
	}
}

func TestLinesWithoutTimeAreKept(t *testing.T) {
	began := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s := reading("no log is to be had\n2030-01-01T00:00:01Z one\nunable to go on\n", began)
	if got := strings.Join(lines(t, s), ","); got != "00:00:00 no log is to be had,00:00:01 one,00:00:01 unable to go on" {
		t.Errorf("read %s", got)
	}
}

func TestLongLinesAreCut(t *testing.T) {
	s := reading("2030-01-01T00:00:01Z "+strings.Repeat("x", 2*maxLine)+"\n2030-01-01T00:00:02Z end\n", time.Time{})
	got := lines(t, s)
	if len(got) != 2 || len(got[0]) > maxLine || !strings.HasSuffix(got[1], " end") {
		t.Errorf("%d lines, the first of %d bytes", len(got), len(got[0]))
	}
}

// FuzzLogSource: whatever a cluster sends, what comes out is in the order of
// time, and every line comes out once.
func FuzzLogSource(f *testing.F) {
	f.Add("2030-01-01T00:00:01Z one\n2030-01-01T00:00:02Z two\n")
	f.Add("no time\n\n2030-01-01T00:00:01Z\n 2030-01-01T00:00:00Z late\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := reading(text, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
		last := time.Time{}
		for count := 0; ; count++ {
			if err := s.advance(); err != nil {
				t.Fatal(err)
			}
			if !s.ready {
				return
			}
			if s.at.Before(last) || count > strings.Count(text, "\n") {
				t.Fatalf("line %d of %s after %s", count, s.at, last)
			}
			last = s.at
		}
	})
}
