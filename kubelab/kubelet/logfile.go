package kubelet

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// maxLine is the longest line that is kept in one piece, in bytes.
const maxLine = 16 << 10

// logFile is the output of one run, in the form that kubelets read: a time,
// the stream, whether the line is whole, and the line.
type logFile struct {
	mu    sync.Mutex
	file  *os.File
	clock clock.PassiveClock
	open  []*stream
}

func openLog(path string, c clock.PassiveClock) (*logFile, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of a container: %w", err)
	}
	return &logFile{file: file, clock: c}, nil
}

// stream is one of the two outputs.
type stream struct {
	log  *logFile
	name string
	rest []byte
}

func (l *logFile) stream(name string) *stream {
	s := &stream{log: l, name: name}
	l.open = append(l.open, s)
	return s
}

// Write keeps whole lines, and what is left for the next call.
func (s *stream) Write(text []byte) (int, error) {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.rest = append(s.rest, text...)
	for {
		end := bytes.IndexByte(s.rest, '\n')
		switch {
		case end >= 0 && end <= maxLine:
			if err := s.log.line(s.name, "F", s.rest[:end]); err != nil {
				return 0, err
			}
			s.rest = s.rest[end+1:]
		case len(s.rest) > maxLine:
			if err := s.log.line(s.name, "P", s.rest[:maxLine]); err != nil {
				return 0, err
			}
			s.rest = s.rest[maxLine:]
		default:
			return len(text), nil
		}
	}
}

func (l *logFile) line(stream, tag string, text []byte) error {
	_, err := fmt.Fprintf(l.file, "%s %s %s %s\n", l.clock.Now().UTC().Format(time.RFC3339Nano), stream, tag, text)
	return err
}

// Close writes what ended without a line's end.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	for _, s := range l.open {
		if len(s.rest) > 0 {
			err = errors.Join(err, l.line(s.name, "F", s.rest))
		}
	}
	return errors.Join(err, l.file.Close())
}
