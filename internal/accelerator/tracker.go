package accelerator

import "sync"

// tracker knows the open connections.
type tracker struct {
	mu   sync.Mutex
	open map[*connection]struct{}
	// done is closed when none is open any more; then none is taken, either.
	done chan struct{}
}

// add is false once ended was called.
func (t *tracker) add(c *connection) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done != nil {
		return false
	}
	if t.open == nil {
		t.open = map[*connection]struct{}{}
	}
	t.open[c] = struct{}{}
	return true
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
// From now on none is added.
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
