package local

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// watch tells of files that appear in the directory of statuses, and of
// changes in the log directories that somebody follows, with one watcher for
// all.
type watch struct {
	watcher  *fsnotify.Watcher
	statuses string
	written  func(name string)
	log      *slog.Logger

	mu        sync.Mutex
	followers map[string]map[chan struct{}]bool // by directory
}

func newWatch(statuses string, written func(name string), log *slog.Logger) (*watch, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watching for changes: %w", err)
	}
	if err := watcher.Add(statuses); err != nil {
		return nil, errors.Join(fmt.Errorf("watching %s: %w", statuses, err), watcher.Close())
	}
	w := &watch{watcher: watcher, statuses: statuses, written: written, log: log, followers: map[string]map[chan struct{}]bool{}}
	go w.run()
	return w, nil
}

func (w *watch) close() error { return w.watcher.Close() }

func (w *watch) run() {
	for {
		select {
		case event, open := <-w.watcher.Events:
			if !open {
				return
			}
			w.tell(event)
		case err, open := <-w.watcher.Errors:
			if !open {
				return
			}
			w.missed(err)
		}
	}
}

func (w *watch) tell(event fsnotify.Event) {
	dir, name := filepath.Split(event.Name)
	dir = filepath.Clean(dir)
	if dir == w.statuses {
		w.written(name)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for follower := range w.followers[dir] {
		poke(follower)
	}
}

// missed is called where the kernel dropped changes: everything may have
// changed.
func (w *watch) missed(err error) {
	if !errors.Is(err, fsnotify.ErrEventOverflow) {
		w.log.Error("watching for changes", "error", err)
		return
	}
	w.written(anyStatus)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, followers := range w.followers {
		for follower := range followers {
			poke(follower)
		}
	}
}

// follow returns a channel that is signalled after something in dir changed.
func (w *watch) follow(dir string) (changes <-chan struct{}, stop func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.followers[dir]) == 0 {
		if err := w.watcher.Add(dir); err != nil {
			return nil, nil, fmt.Errorf("watching %s: %w", dir, err)
		}
		w.followers[dir] = map[chan struct{}]bool{}
	}
	follower := make(chan struct{}, 1)
	w.followers[dir][follower] = true
	return follower, func() { w.unfollow(dir, follower) }, nil
}

func (w *watch) unfollow(dir string, follower chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.followers[dir], follower)
	if len(w.followers[dir]) > 0 {
		return
	}
	delete(w.followers, dir)
	// The directory may be gone, and the watch with it.
	if err := w.watcher.Remove(dir); err != nil && !errors.Is(err, fsnotify.ErrNonExistentWatch) {
		w.log.Error("watching for changes", "error", err)
	}
}

func poke(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}
