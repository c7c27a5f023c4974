// Package tail keeps the last lines of a log. Runtimes write what they read of
// their logs through it; which lines those are, and how they look, is theirs.
package tail

import (
	"io"
	"slices"
)

// Writer writes the last lines of what it gets before the first Flush, all of
// them if there is no limit, and everything after it.
type Writer struct {
	to    io.Writer
	limit int
	kept  [][]byte
	next  int
}

// New returns a Writer that keeps limit lines; 0 is all.
func New(limit int, to io.Writer) *Writer { return &Writer{to: to, limit: limit} }

// WriteLine takes a line, which must not be changed afterwards.
func (w *Writer) WriteLine(line []byte) error {
	switch {
	case w.limit <= 0:
		_, err := w.to.Write(line)
		return err
	case len(w.kept) < w.limit:
		w.kept = append(w.kept, line)
	default:
		w.kept[w.next] = line
		w.next = (w.next + 1) % w.limit
	}
	return nil
}

// Flush writes what was kept.
func (w *Writer) Flush() error {
	w.limit = 0
	for _, line := range slices.Concat(w.kept[w.next:], w.kept[:w.next]) {
		if _, err := w.to.Write(line); err != nil {
			return err
		}
	}
	w.kept, w.next = nil, 0
	return nil
}
