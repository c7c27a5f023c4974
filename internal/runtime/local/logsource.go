package local

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

// maxLine bounds the lines that are put together again from stored pieces, in
// bytes; longer ones come out as several.
const maxLine = 1 << 20

// logSource reads the log of one container, also while that grows.
type logSource struct {
	pod, container string
	file           *os.File
	input          *bufio.Reader
	// rest is a stored line that is not complete yet, parts the pieces of a
	// line of output.
	rest  []byte
	parts attempt.LogLine
	// line is the next one, if ready.
	line  attempt.LogLine
	ready bool
}

func newLogSource(pod, container string, file *os.File) *logSource {
	return &logSource{pod: pod, container: container, file: file, input: bufio.NewReaderSize(file, 64<<10)}
}

// advance goes to the next line; ready is false if there is none yet.
func (s *logSource) advance() error {
	s.ready = false
	for {
		stored, err := s.input.ReadBytes('\n')
		s.rest = append(s.rest, stored...)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the log of %s/%s: %w", s.pod, s.container, err)
		}
		piece, ok := attempt.ParseLogLine(bytes.TrimSuffix(s.rest, []byte("\n")))
		s.rest = nil
		if ok && s.add(piece) {
			return nil
		}
	}
}

// add joins a piece to the line, and tells whether that is complete.
func (s *logSource) add(piece attempt.LogLine) bool {
	if len(s.parts.Text) > 0 {
		piece.At = s.parts.At
		piece.Text = append(s.parts.Text, piece.Text...)
	}
	if !piece.Whole && len(piece.Text) < maxLine {
		s.parts = piece
		return false
	}
	s.line, s.parts, s.ready = piece, attempt.LogLine{}, true
	return true
}

// logQueue is a heap of sources by the time of their next lines.
type logQueue []*logSource

func (q logQueue) Len() int      { return len(q) }
func (q logQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *logQueue) Push(x any)   { *q = append(*q, x.(*logSource)) }

func (q logQueue) Less(i, j int) bool {
	a, b := q[i], q[j]
	if !a.line.At.Equal(b.line.At) {
		return a.line.At.Before(b.line.At)
	}
	return a.pod+a.container < b.pod+b.container
}

func (q *logQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
