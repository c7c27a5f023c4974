package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// DoorOptions is what a Door is made of. Handler is required.
type DoorOptions struct {
	Handler http.Handler
	// DrainTimeout is how long requests may go on when Run is told to end.
	DrainTimeout time.Duration
	Clock        clock.WithTicker
	Log          *slog.Logger
}

// Door serves HTTP/1.1 on a listener. It does what http.Server does with less
// for each request, which is what a gateway is measured by: see
// docs/decisions/gateway-own-door.md. A handler's request context ends with the
// client's connection only once the handler asks whether the client is still
// there, as a [Gateway] does for answers that take long.
type Door struct {
	handler http.Handler
	drain   time.Duration
	clock   clock.WithTicker
	log     *slog.Logger

	ending   atomic.Bool
	mu       sync.Mutex
	sessions map[*session]struct{}
	open     sync.WaitGroup
}

// NewDoor returns a Door that serves nothing until Run.
func NewDoor(o DoorOptions) *Door {
	d := &Door{handler: o.Handler, drain: o.DrainTimeout, clock: o.Clock, log: o.Log, sessions: map[*session]struct{}{}}
	if d.clock == nil {
		d.clock = clock.RealClock{}
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	return d
}

// Run serves until ctx ends, gives open requests their time to end, and closes
// the listener.
func (d *Door) Run(ctx context.Context, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() {
		d.ending.Store(true)
		_ = listener.Close()
	})
	defer stop()
	// Sessions outlive ctx: they are drained, or cut.
	living, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	err := d.accept(ctx, living, listener)
	d.close(cut)
	return err
}

// acceptPause is how long is waited where no connection can be taken, as when
// there are no descriptors left.
const acceptPause = 20 * time.Millisecond

func (d *Door) accept(ctx, living context.Context, listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		switch {
		case ctx.Err() != nil:
			if conn != nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("taking connections: %w", err)
		case err != nil:
			d.log.Warn("taking a connection failed", "error", err)
			select {
			case <-d.clock.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		s := newSession(living, d, conn)
		d.add(s)
		go func() {
			defer d.remove(s)
			s.run()
		}()
	}
}

func (d *Door) add(s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sessions[s] = struct{}{}
	d.open.Add(1)
}

func (d *Door) remove(s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sessions, s)
	d.open.Done()
}

// close ends what is open: what is idle at once, the rest in time.
func (d *Door) close(cut func()) {
	d.each((*session).closeIdle)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.open.Wait()
	}()
	timer := d.clock.NewTimer(d.drain)
	defer timer.Stop()
	select {
	case <-ended:
		return
	case <-timer.C():
	}
	cut()
	d.each(func(s *session) { _ = s.conn.Close() })
	<-ended
}

func (d *Door) each(do func(*session)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for s := range d.sessions {
		do(s)
	}
}
