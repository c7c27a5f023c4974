// Package gate stands before a cluster's API server and lets clients through,
// late, or not at all: to them the server is slow or down, while the cluster
// behind goes on. It copies bytes and reads none of them. The kubelab command
// opens it and carries out faults on it.
package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Gate forwards connections to one address.
type Gate struct {
	address string
	target  string
	clock   clock.Clock

	mu       sync.Mutex
	listener net.Listener
	open     map[net.Conn]struct{}
	delay    time.Duration
	closed   bool
	copies   sync.WaitGroup
}

// Open listens on an address, whose port may be 0, and forwards to target.
func Open(address, target string, c clock.Clock) (*Gate, error) {
	g := &Gate{address: address, target: target, clock: c, open: map[net.Conn]struct{}{}}
	if err := g.listen(); err != nil {
		return nil, err
	}
	g.address = g.listener.Addr().String()
	return g, nil
}

// Address is where clients connect; it stays the same over Stop and Resume.
func (g *Gate) Address() string { return g.address }

// Stop refuses connections and cuts those there are, as a server does that
// was killed.
func (g *Gate) Stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop()
}

func (g *Gate) stop() {
	if g.listener != nil {
		_ = g.listener.Close()
		g.listener = nil
	}
	for connection := range g.open {
		cut(connection)
	}
}

// Resume ends what Stop began.
func (g *Gate) Resume() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.listener != nil {
		return nil
	}
	return g.listen()
}

// Delay holds back what clients send by that much; 0 is not at all.
func (g *Gate) Delay(delay time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.delay = delay
}

// State tells whether connections are refused, and what they are delayed by.
func (g *Gate) State() (stopped bool, delay time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.listener == nil, g.delay
}

// Close stops for good.
func (g *Gate) Close() error {
	g.mu.Lock()
	g.closed = true
	g.stop()
	g.mu.Unlock()
	g.copies.Wait()
	return nil
}

func (g *Gate) listen() error {
	listener, err := net.Listen("tcp", g.address)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", g.address, err)
	}
	g.listener = listener
	g.copies.Go(func() { g.accept(listener) })
	return nil
}

func (g *Gate) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		g.copies.Go(func() { g.forward(client) })
	}
}

// forward copies both ways until either side ends. TLS has its own end of
// data, so that a half-closed connection carries nothing more worth waiting for.
func (g *Gate) forward(client net.Conn) {
	defer client.Close()
	server, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(context.Background(), "tcp", g.target)
	if err != nil {
		cut(client)
		return
	}
	defer server.Close()
	if !g.keep(client, server) {
		return
	}
	defer g.drop(client, server)
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	})
	_, _ = io.Copy(delayed{server, g}, client)
	_ = server.Close()
	back.Wait()
}

func (g *Gate) keep(connections ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener == nil {
		return false
	}
	for _, connection := range connections {
		g.open[connection] = struct{}{}
	}
	return true
}

func (g *Gate) drop(connections ...net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, connection := range connections {
		delete(g.open, connection)
	}
}

// delayed writes to a server, late.
type delayed struct {
	server net.Conn
	gate   *Gate
}

func (d delayed) Write(p []byte) (int, error) {
	if _, delay := d.gate.State(); delay > 0 {
		d.gate.clock.Sleep(delay)
	}
	return d.server.Write(p)
}

// cut ends a connection at once and tells the other side so.
func cut(connection net.Conn) {
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = connection.Close()
}
