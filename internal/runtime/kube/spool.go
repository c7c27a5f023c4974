package kube

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/tail"
)

// Bounds of what is kept of the logs of attempts that are being stopped: of
// each, in bytes, and how many at a time. A pod's logs go with it, so they are
// read while it ends.
const (
	maxSpool  = 16 << 20
	maxSpools = 64
)

// spool is the log of an attempt that was stopped. Its file has no name, and
// goes with this process.
type spool struct {
	file *os.File
	done chan struct{} // closed when everything was read
	once sync.Once
}

// keepLogs begins to read the logs of an attempt that is about to be stopped.
// Where that can't be, they are lost, and the stop is not held up.
func (r *Runtime) keepLogs(h *held) {
	r.mu.Lock()
	if h.spool != nil || r.spools >= maxSpools || h.observation.StartedAt.IsZero() {
		r.mu.Unlock()
		return
	}
	s := &spool{done: make(chan struct{})}
	h.spool = s
	r.spools++
	r.mu.Unlock()
	err := s.begin(r, h)
	if err == nil {
		return
	}
	close(s.done)
	r.options.Log.Warn("keeping the log of an attempt that is stopped", "job", h.id.Job, "attempt", h.id.Attempt, "error", err)
}

func (s *spool) begin(r *Runtime, h *held) error {
	file, err := os.CreateTemp("", "gco-log-")
	if err != nil {
		return err
	}
	if err := os.Remove(file.Name()); err != nil {
		return errors.Join(err, file.Close())
	}
	stream, err := r.Logs(r.background, h.id, runtime.LogOptions{Follow: true, Timestamps: true})
	if err != nil {
		return errors.Join(err, file.Close())
	}
	s.file = file
	r.loops.Go(func() {
		defer close(s.done)
		defer stream.Close()
		if _, err := io.Copy(file, io.LimitReader(stream, maxSpool)); err != nil && r.background.Err() == nil {
			r.options.Log.Warn("reading the log of an attempt that is stopped", "job", h.id.Job, "attempt", h.id.Attempt, "error", err)
		}
	})
	return nil
}

// dropSpool forgets the log; r.mu must be held.
func (r *Runtime) dropSpool(h *held) {
	if h.spool == nil {
		return
	}
	h.spool.once.Do(func() {
		r.spools--
		if h.spool.file != nil {
			h.spool.file.Close()
		}
	})
}

// read streams what the options ask for of a log that was kept.
func (s *spool) read(ctx context.Context, options runtime.LogOptions, several bool) (io.ReadCloser, error) {
	select {
	case <-s.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.file == nil {
		return nil, fmt.Errorf("%w: its pods are gone, and their logs with them", runtime.ErrNotFound)
	}
	info, err := s.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading a log that was kept: %w", err)
	}
	reader, writer := io.Pipe()
	go func() {
		writer.CloseWithError(selectLines(writer, io.NewSectionReader(s.file, 0, info.Size()), options, several))
	}()
	return reader, nil
}

// selectLines copies those lines of a log that options ask for. The log has
// times, and sources where there is more than one; several says that what is
// asked for has sources, too.
func selectLines(to io.Writer, from io.Reader, options runtime.LogOptions, several bool) error {
	last := tail.New(options.Tail, to)
	input := bufio.NewReaderSize(from, 64<<10)
	for {
		line, err := input.ReadBytes('\n')
		if len(line) > 0 {
			if line = selectLine(line, options, several); line != nil {
				if err := last.WriteLine(line); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return last.Flush()
		}
		if err != nil {
			return err
		}
	}
}

func selectLine(line []byte, options runtime.LogOptions, several bool) []byte {
	source := []byte(nil)
	rest := line
	if end := bytes.Index(line, []byte("] ")); line[0] == '[' && end > 0 {
		source, rest = line[:end+2], line[end+2:]
		if options.Container != "" && !strings.HasSuffix(string(source), "/"+options.Container+"] ") {
			return nil
		}
	}
	stamp, text, _ := bytes.Cut(rest, []byte(" "))
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil || at.Before(options.Since) {
		return nil
	}
	if !several {
		source = nil
	}
	if !options.Timestamps {
		rest = text
	}
	return append(bytes.Clone(source), rest...)
}
