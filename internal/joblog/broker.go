package joblog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/api"
)

// Bounds of the Broker.
const (
	// DefaultWait is how long a client waits for the region's agent to pick
	// its request up: more than a long poll, in case one answer was lost.
	DefaultWait = 15 * time.Second
	// offerAgain is after how long an answer to a Sync is taken for lost.
	offerAgain = 3 * time.Second
	// DefaultWaiting is how many clients may wait for one region.
	DefaultWaiting = 500
)

// Broker brings clients' requests to the regions' agents and the answers
// back. Both ends must reach the same Broker; its address travels with the
// request.
type Broker struct {
	clock  clock.WithTicker
	wake   func(region string)
	server string
	wait   time.Duration
	most   int

	mu      sync.Mutex
	waiting map[string][]*waiting
}

// BrokerOptions is what a Broker is made of.
type BrokerOptions struct {
	Clock clock.WithTicker
	// Wake ends the long poll of a region's agent.
	Wake func(region string)
	// Server is the base URL under which agents reach this process; empty
	// means the one that they sync with.
	Server string
	// Wait replaces DefaultWait, and Waiting DefaultWaiting.
	Wait    time.Duration
	Waiting int
}

// NewBroker returns a Broker on which nobody waits.
func NewBroker(options BrokerOptions) *Broker {
	b := &Broker{
		clock: options.Clock, wake: options.Wake, server: options.Server, wait: options.Wait, most: options.Waiting,
		waiting: map[string][]*waiting{},
	}
	if b.clock == nil {
		b.clock = clock.RealClock{}
	}
	if b.wake == nil {
		b.wake = func(string) {}
	}
	if b.wait <= 0 {
		b.wait = DefaultWait
	}
	if b.most <= 0 {
		b.most = DefaultWaiting
	}
	return b
}

// waiting is one client's request that no agent has answered yet.
type waiting struct {
	request api.Request
	offered time.Time
	// answer holds the one answer, whether or not someone still wants it.
	answer chan *Answer
}

// Answer is what the agent sends. Reading it takes it from the agent as it
// comes; it ends with ErrCut where the agent broke off.
type Answer struct {
	ContentType string
	*io.PipeReader
	closed    chan struct{}
	closeOnce sync.Once
}

// Close tells the agent that nobody reads any more.
func (a *Answer) Close() error {
	a.closeOnce.Do(func() { close(a.closed) })
	return a.PipeReader.Close()
}

// Incoming is an agent's answer as it arrives.
type Incoming struct {
	ContentType string
	Body        io.Reader
	// Abort makes a blocked Read of Body return.
	Abort func()
}

// Requests returns what the region's agent should answer. Each request is
// given out once; after a while, again.
func (b *Broker) Requests(region string) []api.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	var requests []api.Request
	for _, w := range b.waiting[region] {
		if w.offered.IsZero() || now.Sub(w.offered) >= offerAgain {
			w.offered = now
			requests = append(requests, w.request)
		}
	}
	return requests
}

// Ask sends a request to a region and waits for the answer to begin. The
// request's ID and server are filled in. Close the answer. Errors are
// ErrRegionSilent, ErrBusy and the context's.
func (b *Broker) Ask(ctx context.Context, region string, request api.Request) (*Answer, error) {
	request.ID, request.Server = uuid.NewString(), b.server
	w := &waiting{request: request, answer: make(chan *Answer, 1)}
	if !b.add(region, w) {
		return nil, fmt.Errorf("asking region %s: %w", region, ErrBusy)
	}
	timer := b.clock.NewTimer(b.wait)
	defer timer.Stop()
	b.wake(region)
	var err error
	select {
	case answer := <-w.answer:
		return answer, nil
	case <-timer.C():
		err = ErrRegionSilent
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if b.take(region, request.ID) == nil {
		// An agent was faster; it has to be told that it came too late.
		(<-w.answer).Close()
	}
	return nil, fmt.Errorf("asking region %s: %w", region, err)
}

// Answer hands an agent's answer to the client who asked. It returns nil when
// the client has read all of it. Errors are ErrNoRequest, ErrClientGone,
// ErrCut and the context's.
func (b *Broker) Answer(ctx context.Context, region, id string, incoming Incoming) error {
	w := b.take(region, id)
	if w == nil {
		return fmt.Errorf("request %s of region %s: %w", id, region, ErrNoRequest)
	}
	reader, writer := io.Pipe()
	answer := &Answer{ContentType: incoming.ContentType, PipeReader: reader, closed: make(chan struct{})}
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(writer, incoming.Body)
		if err != nil && !errors.Is(err, io.ErrClosedPipe) {
			err = fmt.Errorf("%w: %w", ErrCut, err)
		}
		_ = writer.CloseWithError(err)
		copied <- err
	}()
	w.answer <- answer
	var err error
	select {
	case err = <-copied:
		if errors.Is(err, io.ErrClosedPipe) {
			err = ErrClientGone
		}
		return err
	case <-answer.closed:
		err = ErrClientGone
	case <-ctx.Done():
		err = context.Cause(ctx)
		_ = writer.CloseWithError(ErrCut)
	}
	incoming.Abort()
	if sent := <-copied; sent == nil {
		return nil
	}
	return err
}

func (b *Broker) add(region string, w *waiting) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting[region]) >= b.most {
		return false
	}
	b.waiting[region] = append(b.waiting[region], w)
	return true
}

// take removes a waiting request; whoever gets it is the only one.
func (b *Broker) take(region, id string) *waiting {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.waiting[region], func(w *waiting) bool { return w.request.ID == id })
	if i < 0 {
		return nil
	}
	w := b.waiting[region][i]
	b.waiting[region] = slices.Delete(b.waiting[region], i, i+1)
	if len(b.waiting[region]) == 0 {
		delete(b.waiting, region)
	}
	return w
}
