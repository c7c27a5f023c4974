package accelerator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// acceptBackoff is the wait after a connection could not be taken, for lack of
// descriptors, say.
const acceptBackoff = 50 * time.Millisecond

// maxTries is how many endpoints are tried for one connection.
const maxTries = 4

// listener is one open port.
type listener struct {
	socket   *net.TCPListener
	port     int
	affinity Affinity
	spread   spread
}

func listen(wanted Listener) (*listener, error) {
	// Nor does the dialer ask the kernel to keep connections alive: a dead one
	// is idle, and ends as such.
	socket, err := (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), "tcp", wanted.Address)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", wanted.Address, err)
	}
	tcp, ok := socket.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listening on %s: not TCP", wanted.Address), socket.Close())
	}
	address, err := netip.ParseAddrPort(tcp.Addr().String())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listening on %s: %w", wanted.Address, err), tcp.Close())
	}
	return &listener{socket: tcp, port: int(address.Port()), affinity: wanted.Affinity}, nil
}

// point is where a client's connection falls.
func (l *listener) point(client *net.TCPConn) point {
	if l.affinity == AffinitySourceIP {
		if from, err := netip.ParseAddrPort(client.RemoteAddr().String()); err == nil {
			return pointOf(from.Addr())
		}
	}
	return l.spread.next()
}

// accept takes connections until ctx ends.
func (a *Accelerator) accept(ctx context.Context, l *listener) error {
	for failing := false; ; {
		client, err := l.socket.AcceptTCP()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = client.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("taking connections on %s: %w", l.socket.Addr(), err)
		case err != nil:
			if !failing {
				a.log.Warn("connections cannot be taken for now", "listener", l.socket.Addr().String(), "error", err)
			}
			failing = true
			select {
			case <-a.options.Clock.After(acceptBackoff):
			case <-ctx.Done():
			}
		default:
			failing = false
			a.admit(ctx, l, client)
		}
	}
}

// admit serves a connection as soon as one more may be open.
func (a *Accelerator) admit(ctx context.Context, l *listener, client *net.TCPConn) {
	select {
	case a.slots <- struct{}{}:
	case <-ctx.Done():
		_ = client.Close()
		return
	}
	c := newConnection(ctx, client, a.options.IdleTimeout, a.options.Clock)
	a.connections.add(c)
	go func() {
		defer func() {
			c.end()
			a.connections.remove(c)
			<-a.slots
		}()
		a.serve(l, c)
	}()
}

// serve passes one connection on.
func (a *Accelerator) serve(l *listener, c *connection) {
	t, server := a.connect(l, c)
	if t == nil {
		a.metrics.refused.Inc()
		// A reset tells a client what happened; a plain end would be an empty
		// answer.
		reset(c.client)
		return
	}
	t.connections.Inc()
	t.open.Inc()
	defer t.open.Dec()
	c.forward(server, t)
}

// connect opens a connection to an endpoint: to the one that the rules say,
// or, where that takes none, to the next. Nothing has been sent by then, so a
// try costs nothing but time.
func (a *Accelerator) connect(l *listener, c *connection) (*target, *net.TCPConn) {
	at, now := l.point(c.client), a.current.Load()
	dialer := net.Dialer{Timeout: a.options.DialTimeout, KeepAlive: -1}
	var tried []*target
	for t := now.first(at); t != nil && len(tried) < maxTries; t = now.next(tried, at) {
		opened, err := dialer.DialContext(c.living, "tcp", t.address(l.port))
		if server, ok := opened.(*net.TCPConn); ok {
			return t, server
		}
		if c.living.Err() != nil {
			return nil, nil
		}
		a.log.Debug("an endpoint takes no connection", "region", t.region, "endpoint", t.name, "error", err)
		t.dialFailures.Inc()
		t.doubt()
		tried = append(tried, t)
	}
	return nil, nil
}

// reset ends a connection so that the other side can tell it from a regular
// end.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
