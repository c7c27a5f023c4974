package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/gco-project/gco/internal/store"
)

// pool lends sessions to readers. In memory there is one session, and the
// writer borrows it too.
type pool struct {
	idle   chan *session
	closed chan struct{}
}

func newPool(sessions ...*session) *pool {
	p := &pool{make(chan *session, len(sessions)), make(chan struct{})}
	for _, s := range sessions {
		p.idle <- s
	}
	return p
}

// use lends a session to f.
func (p *pool) use(ctx context.Context, f func(*session) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-p.closed:
		return errClosed
	default:
	}
	select {
	case s := <-p.idle:
		defer func() { p.idle <- s }()
		return f(s)
	case <-p.closed:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close lends nothing more, and closes each session when it has come back.
func (p *pool) close() error {
	close(p.closed)
	var all error
	for range cap(p.idle) {
		all = errors.Join(all, (<-p.idle).close())
	}
	return all
}

var errClosed = fmt.Errorf("%w: the database is closed", store.ErrUnavailable)
