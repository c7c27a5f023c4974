package kube

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxLine bounds the lines of a log, in bytes; longer ones come out as several.
const maxLine = 1 << 20

// logSource reads the log of one container, line by line. It can be opened
// again where it was left: a line is known by its time, and by how many there
// were of that time before it.
type logSource struct {
	client                    *client
	namespace, pod, container string
	// since leaves out what was written before, began is when the pod was made.
	since, began time.Time

	// restarted: an earlier life is still to be read.
	restarted bool
	stream    io.ReadCloser
	input     *bufio.Reader
	// current opens what follows an earlier life.
	current func() (io.ReadCloser, error)

	// last is the time of the line that was read last, count how many there
	// were of it; skip is how many of them are still to be left out.
	last        time.Time
	count, skip int

	// at and text are the next line, if ready.
	at    time.Time
	text  []byte
	ready bool
}

// open begins to read after the line that was read last; tail of 0 is all.
func (s *logSource) open(ctx context.Context, tail int, follow bool) error {
	s.close()
	options := corev1.PodLogOptions{Container: s.container, Timestamps: true, Follow: follow}
	if tail > 0 {
		lines := int64(tail)
		options.TailLines = &lines
	}
	if from := s.from(); !from.IsZero() {
		options.SinceTime = &metav1.Time{Time: from.Truncate(time.Second)}
	}
	s.skip = s.count
	s.current = func() (io.ReadCloser, error) {
		return s.client.podLogs(ctx, s.namespace, s.pod, &options)
	}
	if !s.restarted {
		return s.next()
	}
	s.restarted = false
	before := options
	before.Previous, before.Follow = true, false
	stream, err := s.client.podLogs(ctx, s.namespace, s.pod, &before)
	if absent(err) {
		return s.next()
	}
	if err != nil {
		return s.failed(err)
	}
	s.read(stream)
	return nil
}

func (s *logSource) from() time.Time {
	if s.last.After(s.since) {
		return s.last
	}
	return s.since
}

// next goes from an earlier life to the current one.
func (s *logSource) next() error {
	open := s.current
	s.close()
	stream, err := open()
	if absent(err) {
		return nil
	}
	if err != nil {
		return s.failed(err)
	}
	s.read(stream)
	return nil
}

func (s *logSource) read(stream io.ReadCloser) {
	s.stream, s.input = stream, bufio.NewReaderSize(stream, 32<<10)
}

func (s *logSource) failed(err error) error {
	return fmt.Errorf("reading the log of %s/%s: %w", s.pod, s.container, err)
}

func (s *logSource) close() {
	if s.stream != nil {
		s.stream.Close()
	}
	s.stream, s.input, s.current = nil, nil, nil
}

// advance goes to the next line; ready is false if there is none.
func (s *logSource) advance() error {
	s.ready = false
	for s.input != nil {
		line, err := s.line()
		if errors.Is(err, io.EOF) {
			if s.current == nil {
				return nil
			}
			if err := s.next(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return s.failed(err)
		}
		if s.take(line); s.ready {
			return nil
		}
	}
	return nil
}

// take reads a line, unless it was read before. One without a time is what the
// cluster itself has to say of the log; it counts as one of the time before.
func (s *logSource) take(line []byte) {
	stamp, text, _ := bytes.Cut(line, []byte(" "))
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		at, text = s.last, line
		if at.IsZero() {
			at = s.began
		}
	}
	switch {
	case at.Before(s.since), at.Before(s.last):
		return
	case at.Equal(s.last) && s.skip > 0:
		s.skip--
		return
	case at.Equal(s.last):
		s.count++
	default:
		s.last, s.count, s.skip = at, 1, 0
	}
	s.at, s.text, s.ready = at, slices.Clone(text), true
}

// line reads up to the end of a line, or of what has been written of it when
// the stream ends.
func (s *logSource) line() ([]byte, error) {
	var whole []byte
	for {
		part, err := s.input.ReadSlice('\n')
		if room := maxLine - len(whole); room > 0 {
			whole = append(whole, part[:min(len(part), room)]...)
		}
		switch {
		case err == nil, errors.Is(err, io.EOF) && len(whole) > 0:
			return bytes.TrimSuffix(whole, []byte("\n")), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// logQueue is a heap of sources by the time of their next lines.
type logQueue []*logSource

func (q logQueue) Len() int      { return len(q) }
func (q logQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *logQueue) Push(x any)   { *q = append(*q, x.(*logSource)) }

func (q logQueue) Less(i, j int) bool {
	a, b := q[i], q[j]
	if !a.at.Equal(b.at) {
		return a.at.Before(b.at)
	}
	return a.pod+a.container < b.pod+b.container
}

func (q *logQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
