package kube

import (
	"container/heap"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/tail"
)

// reopenPause is how long a stream that broke is left alone, unless something
// is heard of its pod.
const reopenPause = 2 * time.Second

// Logs streams what the containers of an attempt wrote: what there is, in the
// order of time; with Follow also what comes, as it comes, until the attempt
// has ended and everything was read. Of a container that was started again, the
// last life before is there, too.
func (r *Runtime) Logs(ctx context.Context, id job.AttemptID, options runtime.LogOptions) (io.ReadCloser, error) {
	r.mu.Lock()
	h, err := r.find(id)
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	nothing := h.observation.Phase.Terminal() && !slices.ContainsFunc(r.sortedPods(h), r.exists)
	kept := h.spool
	several := h.demand.Count > 1 || h.completions > 1 || options.Container == "" && len(h.containers) > 1
	r.mu.Unlock()
	if options.Container != "" && !slices.Contains(h.containers, options.Container) {
		return nil, &runtime.NoContainer{Container: options.Container, Have: h.containers}
	}
	if nothing && kept != nil {
		return kept.read(ctx, options, several)
	}
	if nothing {
		return nil, fmt.Errorf("%w: its pods are gone, and their logs with them", runtime.ErrNotFound)
	}
	ctx, cancel := context.WithCancel(ctx)
	reader, writer := io.Pipe()
	l := &logs{runtime: r, held: h, options: options, several: several, to: writer, sources: map[string]*logSource{}}
	go func() { writer.CloseWithError(l.stream(ctx)) }()
	return &logStream{reader, cancel}, nil
}

// exists tells whether a pod is still there to be asked; r.mu must be held.
func (r *Runtime) exists(p *pod) bool { return r.pods[p.uid] != nil }

// logStream ends its writer when it is closed.
type logStream struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (s *logStream) Close() error {
	s.cancel()
	return s.PipeReader.Close()
}

// logs is one reading of an attempt's logs.
type logs struct {
	runtime *Runtime
	held    *held
	options runtime.LogOptions
	several bool

	mu      sync.Mutex // guards to
	to      io.Writer
	sources map[string]*logSource
}

func (l *logs) stream(ctx context.Context) error {
	if _, err := l.find(); err != nil {
		return err
	}
	if err := l.merge(ctx); err != nil || !l.options.Follow {
		return err
	}
	return l.follow(ctx)
}

// view is what is known of a source's pod now.
type view struct {
	updated <-chan struct{}
	// ended: nothing will be written any more by the attempt.
	ended bool
	// running tells of each container whether it runs.
	running map[string]bool
	over    map[string]bool
}

// find notes the containers that have begun to write.
func (l *logs) find() (view, error) {
	r := l.runtime
	r.mu.Lock()
	defer r.mu.Unlock()
	v := view{
		updated: r.updated, running: map[string]bool{}, over: map[string]bool{},
		ended: r.held[l.held.id] != l.held || l.held.observation.Phase.Terminal() || r.closed,
	}
	for _, p := range r.sortedPods(l.held) {
		if !r.exists(p) {
			continue
		}
		for _, c := range p.view.Containers {
			if c.State == "waiting" && c.Restarts == 0 || l.options.Container != "" && l.options.Container != c.Name {
				continue
			}
			key := p.view.Name + "/" + c.Name
			v.running[key], v.over[key] = c.State == "running", p.over
			if l.sources[key] == nil {
				l.sources[key] = &logSource{
					client: r.client, namespace: p.namespace, pod: p.view.Name, container: c.Name,
					restarted: c.Restarts > 0, since: l.options.Since, began: p.created,
				}
			}
		}
	}
	l.several = l.several || len(l.sources) > 1
	return v, nil
}

// merge writes what there is, earliest first.
func (l *logs) merge(ctx context.Context) error {
	var queue logQueue
	defer func() {
		for _, s := range l.sources {
			s.close()
		}
	}()
	for _, s := range l.sources {
		if err := s.open(ctx, l.options.Tail, false); err != nil {
			return err
		}
		if err := s.advance(); err != nil {
			return err
		}
		if s.ready {
			queue = append(queue, s)
		}
	}
	heap.Init(&queue)
	last := tail.New(l.options.Tail, l.to)
	for len(queue) > 0 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s := queue[0]
		if err := last.WriteLine(l.format(s)); err != nil {
			return err
		}
		if err := s.advance(); err != nil {
			return err
		}
		if s.ready {
			heap.Fix(&queue, 0)
		} else {
			heap.Pop(&queue)
		}
	}
	return last.Flush()
}

// follow writes what comes until the attempt has ended.
func (l *logs) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	defer all.Wait()
	followed := map[string]bool{}
	for {
		v, err := l.find()
		if err != nil {
			return err
		}
		for key, s := range l.sources {
			if !followed[key] {
				followed[key] = true
				all.Go(func() {
					if err := l.followOne(ctx, key, s); err != nil {
						cancel(err)
					}
				})
			}
		}
		if v.ended {
			all.Wait()
			return context.Cause(ctx)
		}
		select {
		case <-v.updated:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// followOne follows one container through its lives, and through streams that
// break.
func (l *logs) followOne(ctx context.Context, key string, s *logSource) error {
	defer s.close()
	for ctx.Err() == nil {
		v := l.look(key)
		over := v.over[key] || v.ended
		if v.running[key] || over {
			if err := l.drain(ctx, s, !over); err != nil && ctx.Err() == nil {
				l.runtime.options.Log.Debug("following a log; trying again", "pod", s.pod, "container", s.container, "error", err)
			} else if over {
				return nil
			}
		}
		timer := l.runtime.options.Clock.NewTimer(reopenPause)
		select {
		case <-v.updated:
		case <-timer.C():
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return ctx.Err()
}

// look is find for a follower.
func (l *logs) look(key string) view {
	r := l.runtime
	r.mu.Lock()
	defer r.mu.Unlock()
	v := view{updated: r.updated, running: map[string]bool{}, over: map[string]bool{key: true}}
	v.ended = r.held[l.held.id] != l.held || l.held.observation.Phase.Terminal() || r.closed
	for _, p := range r.podsOf[l.held.uid] {
		for _, c := range p.view.Containers {
			if p.view.Name+"/"+c.Name == key {
				v.running[key], v.over[key] = c.State == "running", p.over
			}
		}
	}
	return v
}

// drain writes what a container has written since, and, with follow, what it
// goes on to write.
func (l *logs) drain(ctx context.Context, s *logSource, follow bool) error {
	if err := s.open(ctx, 0, follow); err != nil {
		return err
	}
	defer s.close()
	for {
		if err := s.advance(); err != nil || !s.ready {
			return err
		}
		line := l.format(s)
		l.mu.Lock()
		_, err := l.to.Write(line)
		l.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

func (l *logs) format(s *logSource) []byte {
	var out []byte
	if l.several {
		out = fmt.Appendf(out, "[%s/%s] ", s.pod, s.container)
	}
	if l.options.Timestamps {
		out = append(s.at.AppendFormat(out, time.RFC3339Nano), ' ')
	}
	return append(append(out, s.text...), '\n')
}

// absent tells whether there is no log to be had: the pod is gone, or the
// container has not begun.
func absent(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsBadRequest(err)
}
