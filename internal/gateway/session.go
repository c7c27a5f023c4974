package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/gco-project/gco/api"
)

// Bounds of a client's connection.
const (
	headTimeout  = 10 * time.Second
	idleTimeout  = 2 * time.Minute
	writeTimeout = 2 * time.Minute
	// rearm is how often deadlines are set anew at most: each time costs
	// something, and a little less than the whole time does as well.
	rearm        = 15 * time.Second
	maxHeadBytes = 64 << 10
	// maxUnread is how much of a body nobody wanted is read, so that the
	// connection can be used on.
	maxUnread = 256 << 10
	noLimit   = 1 << 62
)

// bounded reads no more than limit from a connection.
type bounded struct {
	net.Conn

	limit int64
}

var errHead = errors.New("the head of the request is too large")

// Read reads up to the limit.
func (b *bounded) Read(p []byte) (int, error) {
	if b.limit <= 0 {
		return 0, errHead
	}
	if int64(len(p)) > b.limit {
		p = p[:b.limit]
	}
	n, err := b.Conn.Read(p)
	b.limit -= int64(n)
	return n, err
}

// session is one client's connection to a [Door].
type session struct {
	door   *Door
	conn   net.Conn
	in     *bounded
	reader *bufio.Reader
	out    *bufio.Writer
	// living ends when the client has gone, or the door cuts it off.
	living context.Context
	end    context.CancelFunc

	readArmed, writeArmed time.Time
	// broken says that what is read next is not the head of a request.
	broken atomic.Bool

	// mu guards idle: between two requests the connection may be closed.
	mu   sync.Mutex
	idle bool
}

func newSession(ctx context.Context, d *Door, conn net.Conn) *session {
	in := &bounded{Conn: conn}
	s := &session{
		door: d, conn: conn, in: in, reader: bufio.NewReaderSize(in, wireBuffer), out: bufio.NewWriterSize(conn, wireBuffer),
	}
	s.living, s.end = context.WithCancel(ctx)
	return s
}

// run serves the requests of a connection, one after the other.
func (s *session) run() {
	defer s.end()
	hijacked := false
	defer func() {
		if !hijacked {
			_ = s.conn.Close()
		}
	}()
	for s.await() {
		request, refusal := s.read()
		if request == nil {
			if refusal != nil {
				s.turnAway(refusal)
			}
			return
		}
		a := &answer{session: s, request: request}
		whole := s.serve(a)
		hijacked = a.hijacked
		if !whole {
			return
		}
		more := a.finish()
		if hijacked || !more && !a.last {
			return
		}
		if s.broken.Load() || !s.drained(request) {
			s.linger()
			return
		}
		if !more {
			return
		}
	}
}

// await waits for the next request.
func (s *session) await() bool {
	s.in.limit = maxHeadBytes
	if s.reader.Buffered() > 0 {
		return true
	}
	now := s.door.clock.Now()
	if now.Sub(s.readArmed) > rearm {
		s.readArmed = now
		_ = s.conn.SetReadDeadline(now.Add(idleTimeout))
	}
	if !s.setIdle(true) {
		return false
	}
	_, err := s.reader.Peek(1)
	s.setIdle(false)
	return err == nil
}

// setIdle notes whether the connection could be closed now. It returns false
// where it should be.
func (s *session) setIdle(idle bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = idle
	return !idle || !s.door.ending.Load()
}

// closeIdle closes the connection if there is no request.
func (s *session) closeIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle {
		_ = s.conn.SetReadDeadline(longAgo)
	}
}

// read reads the head of a request. Neither is set where the client has gone.
func (s *session) read() (*http.Request, *Refusal) {
	if buffered, _ := s.reader.Peek(s.reader.Buffered()); !bytes.Contains(buffered, []byte("\r\n\r\n")) {
		_ = s.conn.SetReadDeadline(s.door.clock.Now().Add(headTimeout))
		s.readArmed = time.Time{}
	}
	request, err := http.ReadRequest(s.reader)
	switch {
	case errors.Is(err, errHead):
		return nil, refuse(http.StatusRequestHeaderFieldsTooLarge, "about:blank", "Head too large", "the head of the request is over %d bytes", maxHeadBytes)
	case err != nil && isNetwork(err):
		return nil, nil
	case err != nil:
		return nil, malformed("the request is not HTTP")
	}
	if refusal := check(request); refusal != nil {
		return nil, refusal
	}
	s.in.limit = noLimit
	if s.readArmed.IsZero() {
		_ = s.conn.SetReadDeadline(time.Time{})
	}
	request.RemoteAddr = s.conn.RemoteAddr().String()
	if request.ContentLength != 0 && httpguts.HeaderValuesContainsToken(request.Header["Expect"], "100-continue") {
		request.Body = &expected{ReadCloser: request.Body, conn: s.conn}
	}
	return request.WithContext(s.living), nil
}

func isNetwork(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

func malformed(format string, args ...any) *Refusal {
	return refuse(http.StatusBadRequest, api.ProblemMalformed, "Malformed request", format, args...)
}

// check refuses what the reader of the standard library lets through, and its
// server does not.
func check(r *http.Request) *Refusal {
	if r.ProtoMajor != 1 {
		return refuse(http.StatusHTTPVersionNotSupported, "about:blank", "Version not supported", "this door speaks HTTP/1.1")
	}
	if r.ProtoAtLeast(1, 1) && r.Host == "" && r.Method != http.MethodConnect || !httpguts.ValidHostHeader(r.Host) {
		return malformed("the header Host is missing or malformed")
	}
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return malformed("a header has a malformed name")
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return malformed("the header %s has a malformed value", name)
			}
		}
	}
	return nil
}

// expected says that a body may come when it is read.
type expected struct {
	io.ReadCloser

	conn net.Conn
	said bool
}

// Read reads the body.
func (e *expected) Read(p []byte) (int, error) {
	if !e.said {
		e.said = true
		if _, err := io.WriteString(e.conn, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return 0, err
		}
	}
	return e.ReadCloser.Read(p)
}

// serve runs the handler. It returns false where the answer is not whole.
func (s *session) serve(a *answer) (whole bool) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		whole = false
		if err, ok := cause.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			s.door.log.Error("a request panicked", "method", a.request.Method, "path", a.request.URL.Path,
				"panic", cause, "stack", string(debug.Stack()))
		}
	}()
	s.door.handler.ServeHTTP(a, a.request)
	return true
}

// drained reads what is left of a body, if that is little.
func (s *session) drained(r *http.Request) bool {
	if r.Body == http.NoBody {
		return true
	}
	if e, waits := r.Body.(*expected); waits && !e.said {
		// The client may or may not send it.
		return false
	}
	n, err := io.CopyN(io.Discard, r.Body, maxUnread+1)
	return n <= maxUnread && errors.Is(err, io.EOF)
}

// turnAway answers what is no request.
func (s *session) turnAway(refusal *Refusal) {
	a := &answer{session: s, request: &http.Request{Method: http.MethodGet, ProtoMajor: 1, ProtoMinor: 1, Close: true}}
	write(a, refusal)
	a.finish()
	s.linger()
}

// linger lets a client that still sends read what it was answered: closed at
// once, the connection would be reset, and the answer with it.
func (s *session) linger() {
	if half, can := s.conn.(interface{ CloseWrite() error }); can && half.CloseWrite() == nil {
		_ = s.conn.SetReadDeadline(s.door.clock.Now().Add(time.Second))
		_, _ = io.CopyN(io.Discard, s.conn, maxUnread)
	}
}

// armWrite bounds the next writes, from time to time.
func (s *session) armWrite() {
	now := s.door.clock.Now()
	if now.Sub(s.writeArmed) > rearm {
		s.writeArmed = now
		_ = s.conn.SetWriteDeadline(now.Add(writeTimeout))
	}
}

// watchClient ends the session's context when the client goes while it waits
// for an answer. The request's body must have been read. stop ends the watch.
func (s *session) watchClient() (stop func()) {
	_ = s.conn.SetReadDeadline(time.Time{})
	done := make(chan struct{})
	var stopping atomic.Bool
	go func() {
		defer close(done)
		_, err := s.reader.Peek(1)
		if err != nil && !stopping.Load() {
			s.end()
		}
	}()
	return func() {
		stopping.Store(true)
		_ = s.conn.SetReadDeadline(longAgo)
		<-done
		s.readArmed = time.Time{}
		_ = s.conn.SetReadDeadline(s.door.clock.Now().Add(idleTimeout))
	}
}
