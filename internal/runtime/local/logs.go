package local

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/tail"
)

// Logs streams what the containers of an attempt wrote, in the order of time.
// With Follow it ends when the attempt has ended and everything was read.
func (r *Runtime) Logs(ctx context.Context, id job.AttemptID, options runtime.LogOptions) (io.ReadCloser, error) {
	h, err := r.find(ctx, id)
	if err != nil {
		return nil, err
	}
	if names := h.containers(); options.Container != "" && !slices.Contains(names, options.Container) {
		return nil, &runtime.NoContainer{Container: options.Container, Have: names}
	}
	l := &logs{runtime: r, held: h, options: options, files: map[string]*logSource{}, several: h.several(options.Container)}
	if options.Follow {
		if l.changes, l.unfollow, err = r.watch.follow(h.dir.Logs()); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	reader, writer := io.Pipe()
	go func() {
		err := l.stream(ctx, writer)
		l.close()
		writer.CloseWithError(err)
	}()
	return &logStream{reader, cancel}, nil
}

// logStream ends its writer when it is closed.
type logStream struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (s *logStream) Close() error {
	s.cancel()
	return s.PipeReader.Close()
}

// containers names those of one pod.
func (h *held) containers() []string {
	var names []string
	for _, c := range h.record.Plan.Pod.All() {
		names = append(names, c.Name)
	}
	return names
}

// several tells whether more than one log is to be expected.
func (h *held) several(container string) bool {
	plan := h.record.Plan
	pods := plan.Parallelism
	if plan.Completions != nil {
		pods = max(pods, *plan.Completions)
	}
	return pods > 1 || container == "" && len(plan.Pod.All()) > 1
}

// logs is one reading of an attempt's logs.
type logs struct {
	runtime  *Runtime
	held     *held
	options  runtime.LogOptions
	files    map[string]*logSource
	several  bool
	changes  <-chan struct{}
	unfollow func()
}

func (l *logs) close() {
	if l.unfollow != nil {
		l.unfollow()
	}
	for _, source := range l.files {
		source.file.Close()
	}
}

func (l *logs) stream(ctx context.Context, to io.Writer) error {
	last := tail.New(l.options.Tail, to)
	for {
		updated, ended := l.now()
		if err := l.find(); err != nil {
			return err
		}
		if err := l.merge(ctx, last); err != nil {
			return err
		}
		if err := last.Flush(); err != nil {
			return err
		}
		if ended || !l.options.Follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.changes:
		case <-updated:
		}
	}
}

// now tells whether nothing will be written any more, and returns what is
// closed when that may have changed.
func (l *logs) now() (updated <-chan struct{}, ended bool) {
	l.runtime.mu.Lock()
	defer l.runtime.mu.Unlock()
	forgotten := l.runtime.held[l.held.id] != l.held
	return l.runtime.updated, forgotten || l.held.status.Phase.Terminal() || l.runtime.closed
}

// find opens the logs that were not there before.
func (l *logs) find() error {
	entries, err := os.ReadDir(l.held.dir.Logs())
	if errors.Is(err, os.ErrNotExist) {
		return nil // forgotten; what is open can still be read
	}
	if err != nil {
		return fmt.Errorf("reading logs: %w", err)
	}
	for _, entry := range entries {
		pod, container, ok := strings.Cut(entry.Name(), "_")
		if !ok || l.files[entry.Name()] != nil || l.options.Container != "" && l.options.Container != container {
			continue
		}
		file, err := os.Open(l.held.dir.Log(pod, container))
		if err != nil {
			return fmt.Errorf("reading logs: %w", err)
		}
		l.files[entry.Name()] = newLogSource(pod, container, file)
	}
	l.several = l.several || len(l.files) > 1
	return nil
}

// merge writes every line that is there, earliest first.
func (l *logs) merge(ctx context.Context, to *tail.Writer) error {
	var queue logQueue
	for _, source := range l.files {
		if err := source.advance(); err != nil {
			return err
		}
		if source.ready {
			queue = append(queue, source)
		}
	}
	heap.Init(&queue)
	for len(queue) > 0 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		source := queue[0]
		if !source.line.At.Before(l.options.Since) {
			if err := to.WriteLine(l.format(source)); err != nil {
				return err
			}
		}
		if err := source.advance(); err != nil {
			return err
		}
		if source.ready {
			heap.Fix(&queue, 0)
		} else {
			heap.Pop(&queue)
		}
	}
	return nil
}

func (l *logs) format(source *logSource) []byte {
	var out []byte
	if l.several {
		out = fmt.Appendf(out, "[%s/%s] ", source.pod, source.container)
	}
	if l.options.Timestamps {
		out = append(source.line.At.AppendFormat(out, time.RFC3339Nano), ' ')
	}
	return append(append(out, source.line.Text...), '\n')
}
