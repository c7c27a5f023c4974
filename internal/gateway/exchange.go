package gateway

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// maxReplay is how much of a body is kept, so that the request can be sent
// once more.
const maxReplay = 64 << 10

// exchange is one request and its answer.
type exchange struct {
	gateway *Gateway
	route   *route
	w       http.ResponseWriter
	r       *http.Request
	// target is what a replica is asked for; relays get what the client asked.
	target string
	// keepToken passes the client's token on to replicas.
	keepToken bool
	// via is what relays are told about where the request came from.
	via    string
	limits Limits

	// body is the whole of it, if whole; else it is read from the client once.
	body   []byte
	whole  bool
	buffer *[maxReplay]byte
	begun  time.Time
}

var replays = sync.Pool{New: func() any { return new([maxReplay]byte) }}

// end gives back what the exchange took.
func (x *exchange) end() {
	if x.buffer != nil {
		replays.Put(x.buffer)
	}
}

// serve takes a request through the endpoint's rules, and on.
func (r *route) serve(w http.ResponseWriter, request *http.Request) {
	x := exchange{gateway: r.gateway, route: r, w: w, r: request, begun: r.gateway.Clock.Now()}
	defer x.end()
	e, err := r.enter(request.ContentLength)
	if err == nil {
		defer r.leave()
		err = x.prepare(e)
	}
	if err != nil {
		x.refuse(err)
		return
	}
	want := want{via: request.Header.Get(viaHeader)}
	x.forward(func(tried []*peer) (*peer, error) {
		want.tried = tried
		return r.acquire(request.Context(), want)
	})
}

// refuse answers for the replicas.
func (x *exchange) refuse(err error) {
	p := problemOf(err)
	if x.route != nil {
		x.route.traffic.refused(p.Status)
	}
	write(x.w, p)
}

// prepare checks the caller and reads what has to be read before a replica is
// chosen.
func (x *exchange) prepare(e Endpoint) error {
	if !e.Open && x.gateway.Access != nil {
		if err := x.gateway.Access.Allow(x.r.Context(), x.r.Header.Get("Authorization"), e.Name); err != nil {
			return err
		}
	}
	x.keepToken = e.Open
	x.via, x.limits = x.gateway.viaName(), e.Limits
	x.target = strings.TrimPrefix(x.r.URL.RequestURI(), Prefix+e.Name)
	if !strings.HasPrefix(x.target, "/") {
		x.target = "/" + x.target
	}
	if len(e.Models) > 0 && named(x.r) {
		return x.rename(e.Models)
	}
	return x.readBody(e.Limits.BodyBytes)
}

// viaName is what a gateway calls itself.
func (g *Gateway) viaName() string {
	if g.Region == "" {
		return "control-plane"
	}
	return g.Region
}

// readBody keeps a small body; one of more than limit bytes is refused, where
// its length is known. 0 is no limit.
func (x *exchange) readBody(limit int64) error {
	length := x.r.ContentLength
	switch {
	case limit > 0 && length > limit:
		return tooLarge(limit)
	case length == 0:
		x.whole = true
	case length > 0 && length <= maxReplay:
		x.buffer, _ = replays.Get().(*[maxReplay]byte)
		x.body, x.whole = x.buffer[:length], true
		if _, err := io.ReadFull(x.r.Body, x.body); err != nil {
			return errClient
		}
	}
	return nil
}

// errClient says that the client broke off.
var errClient = refuse(http.StatusBadRequest, "about:blank", "Request broken off", "the body could not be read to its end")

// outcome is what came of one try.
type outcome struct {
	// err is nil when the client got an answer, whichever.
	err error
	// again says that another peer may try.
	again bool
	// status is that of the answer, which began after took.
	status int
	took   time.Duration
}

// forward tries peers until one has answered, or it would not be safe to try
// another one.
func (x *exchange) forward(acquire func(tried []*peer) (*peer, error)) {
	var tried []*peer
	var last error
	for {
		p, err := acquire(tried)
		if err != nil || p == nil {
			x.fail(err, last)
			return
		}
		if len(tried) > 0 && tried[len(tried)-1] == p {
			// There is no other.
			x.release(p)
			x.fail(last, last)
			return
		}
		o := x.try(p)
		x.release(p)
		x.record(p, o)
		if o.err == nil {
			return
		}
		if !o.again || x.r.Context().Err() != nil {
			x.fail(o.err, o.err)
			return
		}
		last = o.err
		if x.waitsFor(p, o) {
			last = nil
		} else {
			tried = append(tried, p)
		}
		x.gateway.metrics.retries.Inc()
	}
}

// waitsFor tells whether a request should wait for a replica after all: a
// region that was said to have one has none any more.
func (x *exchange) waitsFor(p *peer, o outcome) bool {
	refusal, refused := errors.AsType[*Refusal](o.err)
	if !refused || !refusal.notReady || p == x.gateway.upstream || x.gateway.Clock.Since(x.begun) > x.gateway.WakeTimeout {
		return false
	}
	p.emptied()
	return true
}

func (x *exchange) release(p *peer) {
	if x.route != nil && p != x.gateway.upstream {
		x.route.release(p)
		return
	}
	p.outstanding.Add(-1)
}

// record counts a try of a replica. A client that broke off says nothing about
// it.
func (x *exchange) record(p *peer, o outcome) {
	if x.route == nil || p.relay || x.r.Context().Err() != nil {
		return
	}
	x.route.traffic.answered(p.key.revision, o)
}

// fail answers when no peer did; last is why the last one did not.
func (x *exchange) fail(err, last error) {
	if x.r.Context().Err() != nil {
		// Nobody listens.
		panic(http.ErrAbortHandler)
	}
	if last != nil {
		err = last
	}
	if errors.Is(err, errCut) {
		// The answer has begun and must not look whole.
		panic(http.ErrAbortHandler)
	}
	x.refuse(err)
}

// The ways in which a try fails.
var (
	// errCut: the answer had begun.
	errCut = errors.New("the answer was cut off")
	// errSilent: nothing came in time.
	errSilent = errors.New("the replica did not begin to answer in time")
)
