package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// idleConnection is how long a connection to a replica is kept unused.
const idleConnection = 90 * time.Second

// maxIdle bounds the unused connections to one peer.
const maxIdle = 512

const wireBuffer = 4 << 10

// wire is one connection to a peer.
type wire struct {
	net.Conn

	in  *bufio.Reader
	out *bufio.Writer
	// reused wires may have been closed by the other side.
	reused bool
	unused time.Time
}

// pool keeps the connections to one peer that are not in use.
type pool struct {
	peer   *peer
	dialer net.Dialer

	mu     sync.Mutex
	idle   []*wire
	closed bool
}

func newPool(p *peer) *pool { return &pool{peer: p, dialer: net.Dialer{Timeout: dialTimeout}} }

// get returns a connection that was used last, or a new one.
func (p *pool) get(ctx context.Context) (*wire, error) {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return p.dial(ctx)
		}
		w := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if w.alive() {
			return w, nil
		}
		_ = w.Close()
	}
}

func (p *pool) dial(ctx context.Context) (*wire, error) {
	start := p.peer.clock.Now()
	c, err := p.dialer.DialContext(ctx, "tcp", p.peer.key.address)
	if err != nil {
		return nil, err
	}
	p.peer.connected(p.peer.clock.Since(start))
	if p.peer.tls {
		host, _, _ := net.SplitHostPort(p.peer.key.address)
		secure := tls.Client(c, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c = secure
	}
	return &wire{Conn: c, in: bufio.NewReaderSize(c, wireBuffer), out: bufio.NewWriterSize(c, wireBuffer)}, nil
}

// put takes a connection back over which everything was said.
func (p *pool) put(w *wire) {
	w.reused, w.unused = true, p.peer.clock.Now()
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < maxIdle
	if keep {
		p.idle = append(p.idle, w)
	}
	p.mu.Unlock()
	if !keep {
		_ = w.Close()
	}
}

// closeIdle closes the connections that were not used since then.
func (p *pool) closeIdle(before time.Time) {
	p.mu.Lock()
	keep := 0
	for keep < len(p.idle) && p.idle[keep].unused.Before(before) {
		keep++
	}
	old := slices.Clone(p.idle[:keep])
	p.idle = slices.Delete(p.idle, 0, keep)
	p.mu.Unlock()
	for _, w := range old {
		_ = w.Close()
	}
}

// close closes every connection, also those that come back later.
func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, w := range idle {
		_ = w.Close()
	}
}

// alive tells whether the other side has neither closed an unused connection
// nor said something that nobody asked for.
func (w *wire) alive() bool {
	if w.in.Buffered() > 0 {
		return false
	}
	c := w.Conn
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	raw, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return false
	}
	silent := false
	var peek [1]byte
	err = control.Control(func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), peek[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		silent = errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && silent
}
