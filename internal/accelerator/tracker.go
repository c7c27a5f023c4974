package accelerator

import "sync"

// tracker knows the open connections.
type tracker struct {
	mu   sync.Mutex
	open map[*connection]struct{}
	// done is closed when none is open any more, once someone waits for that.
	done chan struct{}
}

func (t *tracker) add(c *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[*connection]struct{}{}
	}
	t.open[c] = struct{}{}
}

func (t *tracker) remove(c *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
	if t.done != nil && len(t.open) == 0 {
		close(t.done)
	}
}

func (t *tracker) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

// ended returns a channel that is closed when the last connection has ended.
// None may be added any more.
func (t *tracker) ended() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		t.done = make(chan struct{})
		if len(t.open) == 0 {
			close(t.done)
		}
	}
	return t.done
}

// cut ends every connection that is open, and returns their number.
func (t *tracker) cut() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.open {
		c.cut()
	}
	return len(t.open)
}
