package queue

import "sync"

// signals tells waiters, by key, that something changed. A signal carries
// nothing: whoever gets one looks again, so that signals may merge.
type signals struct {
	mu      sync.Mutex
	waiters map[string]map[chan struct{}]bool
}

func newSignals() *signals {
	return &signals{waiters: map[string]map[chan struct{}]bool{}}
}

// subscribe returns a channel that holds at most one pending signal.
func (s *signals) subscribe(key string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiters[key] == nil {
		s.waiters[key] = map[chan struct{}]bool{}
	}
	s.waiters[key][ch] = true
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiters[key], ch)
		if len(s.waiters[key]) == 0 {
			delete(s.waiters, key)
		}
	}
}

func (s *signals) notify(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.waiters[key] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
