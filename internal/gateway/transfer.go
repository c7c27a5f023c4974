package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// slowly is how long a replica may take before it is looked whether the client
// is still there. Most requests are answered by then, and pay nothing for it.
const slowly = 50 * time.Millisecond

// streamBuffer is what one read of a long answer takes.
const streamBuffer = 32 << 10

var streams = sync.Pool{New: func() any { return new([streamBuffer]byte) }}

// transfer is one try: a request to one peer over one connection.
type transfer struct {
	*exchange
	peer  *peer
	wire  *wire
	start time.Time

	// sending is closed when a body that is not whole was sent; sendErr is
	// valid then.
	sending chan struct{}
	sendErr error
	// watched says that the client's end is looked for; unwatch ends that and
	// tells whether the connection can be used on.
	watched bool
	unwatch func() bool
	armed   time.Time
	// began says that the client has got a part of the answer.
	began bool
	// silent says that nothing of an answer came.
	silent bool
}

// try sends the request to a peer, and its answer to the client.
func (x *exchange) try(p *peer) outcome {
	for {
		c, err := p.pool.get(x.r.Context())
		if err != nil {
			if x.r.Context().Err() == nil {
				p.failed()
			}
			return outcome{err: fmt.Errorf("connecting to %s: %w", p.what(), err), again: true}
		}
		t := transfer{exchange: x, peer: p, wire: c, start: x.gateway.Clock.Now()}
		o := t.run()
		// A connection may be closed while nobody uses it; that says nothing
		// about the peer.
		stale := t.silent && c.reused && !errors.Is(o.err, errSilent)
		switch {
		case o.err == nil:
			p.answered()
		case stale && o.again:
			p.pool.closeIdle(x.gateway.Clock.Now().Add(time.Hour))
			continue
		case !stale && x.r.Context().Err() == nil && !isRefusal(o.err):
			p.failed()
		}
		return o
	}
}

// isRefusal tells whether an error is an answer, and so no fault of the peer.
func isRefusal(err error) bool {
	_, refusal := errors.AsType[*Refusal](err)
	return refusal
}

// what is the peer in messages.
func (p *peer) what() string {
	if p.relay && p.key.region != "" {
		return "the gateway of region " + p.key.region
	}
	if p.relay {
		return "the control plane"
	}
	return "a replica"
}

// run makes the try, and gives the connection back or closes it.
func (t *transfer) run() outcome {
	reusable, o := t.talk()
	if t.unwatch != nil && !t.unwatch() {
		reusable = false
	}
	if reusable && t.sending != nil {
		select {
		case <-t.sending:
			reusable = t.sendErr == nil
		default:
			reusable = false
		}
	}
	if reusable {
		t.peer.pool.put(t.wire)
	} else if t.wire != nil {
		_ = t.wire.Close()
	}
	if t.sending != nil {
		t.stopSending()
		<-t.sending
	}
	if t.sendErr != nil && o.err != nil && !t.began {
		o.err = t.sendErr
	}
	return o
}

// talk says the request and passes the answer on. reusable tells whether the
// connection can take another request.
func (t *transfer) talk() (reusable bool, o outcome) {
	t.silent = true
	if err := t.send(); err != nil {
		return false, t.failure(fmt.Errorf("sending to %s: %w", t.peer.what(), err))
	}
	if err := t.awaitAnswer(); err != nil {
		return false, t.failure(err)
	}
	t.silent = false
	response, err := t.readHead()
	if err != nil {
		return false, t.failure(err)
	}
	o = outcome{status: response.StatusCode, took: t.gateway.Clock.Since(t.start)}
	if response.StatusCode == http.StatusServiceUnavailable && t.peer.relay && response.Header.Get(notBegunHeader) != "" && t.replayable() {
		// It stays reusable only if its short text is read, which is not worth it.
		return false, outcome{err: notReady("%s has no ready replica", t.peer.what()), again: true}
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		o.err = t.tunnel(response)
		return false, o
	}
	t.began = true
	t.passHeaders(response, t.peer)
	t.w.WriteHeader(response.StatusCode)
	if err := t.passBody(response); err != nil {
		o.err = fmt.Errorf("%w: %w", errCut, err)
		return false, o
	}
	return !response.Close, o
}

// failure is the outcome of a try without an answer. Only what is safe is tried
// again: a request that changes nothing, or says that it may come twice, and
// can be sent once more.
func (t *transfer) failure(err error) outcome {
	status := http.StatusBadGateway
	if errors.Is(err, errSilent) {
		status = http.StatusGatewayTimeout
	}
	return outcome{err: err, again: !t.began && t.replayable() && idempotent(t.r), status: status, took: t.gateway.Clock.Since(t.start)}
}

// replayable tells whether the body can be sent once more.
func (t *transfer) replayable() bool { return t.whole }

// idempotent tells whether a request may reach a replica twice (RFC 9110,
// section 9.2.2).
func idempotent(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return r.Header.Get("Idempotency-Key") != ""
}

// awaitAnswer waits for the first byte of the answer.
func (t *transfer) awaitAnswer() error {
	_ = t.wire.SetReadDeadline(t.start.Add(slowly))
	_, err := t.wire.in.Peek(1)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.watch()
		t.bound(t.start.Add(t.gateway.Patience))
		_, err = t.wire.in.Peek(1)
	}
	switch {
	case err == nil:
		return nil
	case t.r.Context().Err() != nil:
		return t.r.Context().Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSilent
	default:
		return fmt.Errorf("%s closed the connection: %w", t.peer.what(), err)
	}
}

// watch ends the try when the client goes.
func (t *transfer) watch() {
	if t.watched {
		return
	}
	t.watched = true
	c := t.wire
	forget := context.AfterFunc(t.r.Context(), func() { _ = c.SetDeadline(longAgo) })
	stop := func() {}
	if a, ours := t.w.(*answer); ours && t.sending == nil {
		stop = a.watchClient()
	}
	t.unwatch = func() bool {
		stop()
		return forget()
	}
}

// readHead reads the first part of the answer, and passes informational ones
// on.
func (t *transfer) readHead() (*http.Response, error) {
	for {
		if buffered, _ := t.wire.in.Peek(t.wire.in.Buffered()); !bytes.Contains(buffered, []byte("\r\n\r\n")) {
			t.watch()
			t.bound(t.gateway.Clock.Now().Add(t.gateway.Patience))
		}
		response, err := http.ReadResponse(t.wire.in, t.r)
		if err != nil {
			return nil, fmt.Errorf("reading the answer of %s: %w", t.peer.what(), err)
		}
		status := response.StatusCode
		if status == http.StatusSwitchingProtocols && upgradeOf(t.r.Header) == "" {
			return nil, fmt.Errorf("%s changed the protocol unasked", t.peer.what())
		}
		if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
			return response, nil
		}
	}
}

// passBody gives the client the body of an answer.
func (t *transfer) passBody(response *http.Response) error {
	length := response.ContentLength
	if length == 0 || t.r.Method == http.MethodHead {
		return nil
	}
	in := t.wire.in
	if length > 0 && length <= int64(in.Buffered()) {
		// All of it is here.
		whole, _ := in.Peek(int(length))
		_, err := t.w.Write(whole)
		_, _ = in.Discard(int(length))
		return err
	}
	return t.stream(response)
}

// stream passes on what comes when it comes.
func (t *transfer) stream(response *http.Response) error {
	buffer, _ := streams.Get().(*[streamBuffer]byte)
	defer streams.Put(buffer)
	controller := http.NewResponseController(t.w)
	t.watch()
	if t.wire.in.Buffered() == 0 {
		// The client may wait for the head alone.
		if err := controller.Flush(); err != nil {
			return err
		}
	}
	for {
		t.arm()
		n, err := response.Body.Read(buffer[:])
		if n > 0 {
			if _, err := t.w.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			for name, values := range response.Trailer {
				t.w.Header()[http.TrailerPrefix+name] = values
			}
			return nil
		}
		if err != nil {
			return err
		}
		if err := controller.Flush(); err != nil {
			return err
		}
	}
}

// arm bounds the next reads, from time to time.
func (t *transfer) arm() {
	now := t.gateway.Clock.Now()
	if now.Sub(t.armed) < t.gateway.Patience/4 {
		return
	}
	t.armed = now
	t.bound(now.Add(t.gateway.Patience))
}

// longAgo is the deadline of what is to end now.
var longAgo = time.Unix(1, 0)

// bound sets until when the replica may take to say something. The watch may
// have ended the try just before, and that stands.
func (t *transfer) bound(until time.Time) {
	_ = t.wire.SetReadDeadline(until)
	if t.r.Context().Err() != nil {
		_ = t.wire.SetReadDeadline(longAgo)
	}
}
