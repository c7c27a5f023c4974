package client

import "context"

// link is a stream's connection, which is opened again when it breaks.
type link struct {
	client *Client
	ctx    context.Context
	cancel context.CancelFunc
	// lost is called when the stream broke and the server does not take it up
	// again at once, back when it goes on after that; each may be nil.
	lost func(error)
	back func()
	// passing tells which refusals may be gone the next time.
	passing func(error) bool
	// failures since something came.
	failures int
}

// again tries until a connection stands, or the server says no.
func (l *link) again(err error, connect func() error) error {
	lost := false
	for {
		l.failures++
		if l.failures > 1 || !l.passing(err) {
			pause := l.client.pause.before(min(l.failures, 10), err)
			if waitErr := l.client.pause.wait(l.ctx, pause); waitErr != nil {
				return waitErr
			}
		}
		if err = connect(); err == nil || !l.passing(err) {
			if err == nil && lost && l.back != nil {
				l.back()
			}
			return err
		}
		if !lost && l.lost != nil {
			l.lost(err)
		}
		lost = true
	}
}
