package accelerator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
)

// bufferSize is what one read takes. A read that fills it is the sign of a
// stream, which the kernel moves better by itself.
const bufferSize = 32 << 10

// streamPause is how long a stream may pause and still be one.
const streamPause = time.Second

// buffers are held while there is something in them only: 10,000 connections
// that wait cost no memory here.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// errIdle ends a connection over which nothing moves.
var errIdle = errors.New("nothing moved in time")

// errRead is an error of the side that is read from. It breaks the whole
// connection. An error of the other side does not: the answer to what it did
// not want to read to its end may still be on its way.
var errRead = errors.New("reading")

// connection is one client's connection and, later, that to its endpoint.
type connection struct {
	client *net.TCPConn
	idle   time.Duration
	clock  clock.PassiveClock
	// living ends when the connection is cut.
	living context.Context
	end    context.CancelFunc
	// moved counts bytes of both ways.
	moved atomic.Uint64

	// mu guards what cut needs.
	mu     sync.Mutex
	server *net.TCPConn
}

// newConnection outlives ctx: it is drained, or cut.
func newConnection(ctx context.Context, client *net.TCPConn, idle time.Duration, clock clock.PassiveClock) *connection {
	c := &connection{client: client, idle: idle, clock: clock}
	c.living, c.end = context.WithCancel(context.WithoutCancel(ctx))
	return c
}

// cut ends the connection at once.
func (c *connection) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
	reset(c.client)
	if c.server != nil {
		reset(c.server)
	}
}

// forward copies both ways until both ends have said that they are done, one
// broke off, or nothing moves. It closes both.
func (c *connection) forward(server *net.TCPConn, t *target) {
	c.mu.Lock()
	c.server = server
	if c.living.Err() != nil {
		reset(server)
	}
	c.mu.Unlock()
	var group sync.WaitGroup
	group.Go(func() { c.copy(server, c.client, t.in) })
	c.copy(c.client, server, t.out)
	group.Wait()
	_ = c.client.Close()
	_ = server.Close()
}

// copy moves bytes one way, to the end, and passes that on: the other way is
// left open, since many protocols answer only then.
func (c *connection) copy(to, from *net.TCPConn, bytes prometheus.Counter) {
	raw, err := from.SyscallConn()
	if err == nil {
		err = (&way{connection: c, to: to, from: from, raw: raw, bytes: bytes}).run()
	}
	switch {
	case err == nil:
		_ = to.CloseWrite()
	case errors.Is(err, errRead), errors.Is(err, errIdle):
		reset(to)
		reset(from)
	default:
		c.discard(from)
	}
}

// lastWords is how long a side may still send what nobody takes any more.
const lastWords = time.Second

// discard reads that for a moment: closing a connection with something unread
// resets it, and the other side may not have read its answer yet.
func (c *connection) discard(from *net.TCPConn) {
	_ = from.SetReadDeadline(c.clock.Now().Add(lastWords))
	_, _ = io.Copy(io.Discard, from)
}

// way is one direction of a connection.
type way struct {
	*connection
	to, from *net.TCPConn
	raw      syscall.RawConn
	bytes    prometheus.Counter

	// What fill read: the buffer is there only if n is above 0.
	buffer *[bufferSize]byte
	n      int
	err    error
}

// run moves bytes until the reading side ends, which is no error.
//
// Deadlines are set once for many reads: when one passes, it is looked whether
// anything moved meanwhile, on either way. The deadline of writing is later,
// since a read comes to its own at the latest with the first one after it.
func (w *way) run() error {
	seen := w.arm()
	for {
		full, err := w.step()
		if err == nil && full {
			if err = w.stream(); err == nil {
				seen = w.arm()
				continue
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case w.moved.Load() == seen:
			return errIdle
		default:
			seen = w.arm()
		}
	}
}

// arm sets the deadlines anew and returns what has moved by then.
func (w *way) arm() (moved uint64) {
	now := w.clock.Now()
	_ = w.from.SetReadDeadline(now.Add(w.idle))
	_ = w.to.SetWriteDeadline(now.Add(2 * w.idle))
	return w.moved.Load()
}

func (w *way) count(n int64) {
	if n > 0 {
		w.moved.Add(uint64(n))
		w.bytes.Add(float64(n))
	}
}

// step waits for something to read, and writes it. full says that there may be
// much more.
func (w *way) step() (full bool, err error) {
	w.n, w.err = 0, nil
	if err := w.raw.Read(w.fill); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false, err
		}
		return false, fmt.Errorf("%w: %w", errRead, err)
	}
	if w.err != nil {
		return false, fmt.Errorf("%w: %w", errRead, w.err)
	}
	if w.n == 0 {
		return false, io.EOF
	}
	defer func() {
		buffers.Put(w.buffer)
		w.buffer = nil
	}()
	n, err := w.to.Write(w.buffer[:w.n])
	w.count(int64(n))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false, errIdle
	}
	return w.n == bufferSize, err
}

// fill reads what is there, into a buffer that it takes only for that. It is
// called when the socket can be read, and says whether it was.
func (w *way) fill(fd uintptr) (done bool) {
	buffer, _ := buffers.Get().(*[bufferSize]byte)
	for {
		w.n, w.err = syscall.Read(int(fd), buffer[:])
		if w.err != syscall.EINTR { //nolint:errorlint // the bare number of a system call
			break
		}
	}
	if w.n > 0 {
		w.buffer = buffer
		return true
	}
	w.n = 0
	buffers.Put(buffer)
	return w.err != syscall.EAGAIN //nolint:errorlint // the bare number of a system call
}

// stream lets the kernel move bytes from socket to socket (splice, on Linux),
// until there is a pause. That takes two descriptors, so it is for those who
// use it.
func (w *way) stream() error {
	for {
		now := w.clock.Now()
		_ = w.from.SetReadDeadline(now.Add(min(streamPause, w.idle)))
		_ = w.to.SetWriteDeadline(now.Add(2 * w.idle))
		n, err := w.to.ReadFrom(w.from)
		w.count(n)
		switch {
		case err == nil:
			return io.EOF
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return w.blame(err)
		case w.clock.Since(now) >= 2*w.idle:
			return errIdle
		case n == 0:
			return nil
		}
	}
}

// blame tells whether an error of moving from socket to socket is one of the
// side that was read: then there is nothing to read there any more.
func (w *way) blame(err error) error {
	var peek [1]byte
	readable := false
	controlErr := w.raw.Control(func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), peek[:], syscall.MSG_PEEK)
		readable = n > 0 || err == syscall.EAGAIN
	})
	if controlErr != nil || !readable {
		return fmt.Errorf("%w: %w", errRead, err)
	}
	return err
}
