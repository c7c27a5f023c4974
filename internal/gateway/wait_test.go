package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"
)

// asleep is an endpoint without replicas, and its gateway.
func asleep(t *testing.T, o Options) (*Gateway, *route, chan string) {
	t.Helper()
	woken := make(chan string, 100)
	o.Wake = func(endpoint string) { woken <- endpoint }
	g := newGateway(t, o, Endpoint{Name: "e", Open: true})
	return g, (*g.routes.Load())["e"], woken
}

// waiting asks for a peer in the background, and returns when it is in the
// queue.
func waiting(ctx context.Context, t *testing.T, r *route) <-chan error {
	t.Helper()
	before := queued(r)
	got := make(chan error, 1)
	go func() {
		_, err := r.acquire(ctx, want{})
		got <- err
	}()
	until(t, func() bool { return queued(r) > before || len(got) > 0 }, "a request in the queue")
	return got
}

func queued(r *route) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting)
}

// until waits for what gives no signal.
func until(t *testing.T, holds func() bool, what string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %s", what, patience)
		}
		<-time.After(time.Millisecond)
	}
}

func TestRequestWakesAndWaits(t *testing.T) {
	doors(t, func(t *testing.T, open func(*testing.T, http.Handler) string) {
		g, route, woken := asleep(t, Options{})
		url := open(t, g) + "/inference/e/"
		got := make(chan string, 1)
		go func() {
			got <- send(t, http.MethodPost, url, "").body
		}()
		if name := receive(t, woken, "wake"); name != "e" {
			t.Errorf("woke %q", name)
		}
		if n := g.Load()["e"].Waiting; n != 1 {
			t.Errorf("%d wait", n)
		}
		r := newReplica(t, says("awake"))
		g.Apply(Table{Endpoints: []Endpoint{at(r.address())}})
		if text := receive(t, got, "answer"); text != "awake" {
			t.Errorf("%q", text)
		}
		if queued(route) != 0 {
			t.Error("something still waits")
		}
	})
}

// TestOthersQueueBehindFairly shows that whoever came first is served first,
// one at a time where a replica takes one at a time.
func TestOthersQueueBehindFairly(t *testing.T) {
	g, r, _ := asleep(t, Options{})
	const n = 20
	var mu sync.Mutex
	var order []int
	served := make(chan *peer, n)
	for i := range n {
		before := queued(r)
		go func() {
			p, err := r.acquire(t.Context(), want{})
			if err != nil {
				t.Errorf("request %d: %v", i, err)
			}
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
			served <- p
		}()
		until(t, func() bool { return queued(r) > before }, "a request in the queue")
	}
	e := at("a:1")
	e.Limits.PerReplica = 1
	g.Apply(Table{Endpoints: []Endpoint{e}})
	for i := range n {
		p := receive(t, served, "turn")
		if open := p.outstanding.Load(); open != 1 {
			t.Errorf("%d requests are at a replica that takes one", open)
		}
		if left := queued(r); left != n-1-i {
			t.Errorf("%d wait after %d were served", left, i+1)
		}
		r.release(p)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.IsSorted(order) {
		t.Errorf("the order was %v", order)
	}
}

func TestNobodyOvertakesTheQueue(t *testing.T) {
	g, r, _ := asleep(t, Options{})
	e := at("a:1")
	e.Limits.PerReplica = 1
	first := waiting(t.Context(), t, r)
	second := waiting(t.Context(), t, r)
	g.Apply(Table{Endpoints: []Endpoint{e}})
	if err := receive(t, first, "first turn"); err != nil {
		t.Fatal(err)
	}
	third := waiting(t.Context(), t, r)
	r.release(r.peers[0])
	if err := receive(t, second, "second turn"); err != nil {
		t.Fatal(err)
	}
	if len(third) != 0 {
		t.Error("the third came with the second")
	}
	r.release(r.peers[0])
	if err := receive(t, third, "third turn"); err != nil {
		t.Fatal(err)
	}
}

// TestStopDuringWakeFromZero ends every request that waits, at once.
func TestStopDuringWakeFromZero(t *testing.T) {
	for name, c := range map[string]struct {
		table  Table
		status int
	}{
		"stopped": {Table{Endpoints: []Endpoint{{Name: "e", Open: true, Stopped: true}}}, http.StatusServiceUnavailable},
		"deleted": {Table{}, http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			g, r, _ := asleep(t, Options{})
			first, second := waiting(t.Context(), t, r), waiting(t.Context(), t, r)
			g.Apply(c.table)
			for _, got := range []<-chan error{first, second} {
				refusal, ok := errors.AsType[*Refusal](receive(t, got, "answer"))
				if !ok || refusal.Status != c.status {
					t.Errorf("%v", refusal)
				}
			}
			if _, err := r.acquire(t.Context(), want{}); err == nil {
				t.Error("a request afterwards gets a replica")
			}
		})
	}
}

func TestWaitIsBounded(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	_, r, woken := asleep(t, Options{Clock: clock, WakeTimeout: 10 * time.Second, MaxWaiting: 2})
	first, second := waiting(t.Context(), t, r), waiting(t.Context(), t, r)
	_, err := r.acquire(t.Context(), want{})
	if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Status != http.StatusTooManyRequests {
		t.Errorf("one too many: %v", err)
	}
	receive(t, woken, "wake")
	until(t, func() bool { return clock.Waiters() == 4 }, "both with their timers")
	clock.Step(wakePause)
	receive(t, woken, "second wake")
	clock.Step(10 * time.Second)
	for _, got := range []<-chan error{first, second} {
		refusal, ok := errors.AsType[*Refusal](receive(t, got, "answer"))
		if !ok || refusal.Status != http.StatusServiceUnavailable || refusal.RetryAfter == 0 {
			t.Errorf("%v", refusal)
		}
	}
	if queued(r) != 0 {
		t.Error("they are still in the queue")
	}
}

func TestClientThatLeavesTheQueueLeavesItsPlace(t *testing.T) {
	g, r, _ := asleep(t, Options{})
	ctx, leave := context.WithCancel(t.Context())
	first, second := waiting(ctx, t, r), waiting(t.Context(), t, r)
	leave()
	if err := receive(t, first, "end"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	e := at("a:1")
	e.Limits.PerReplica = 1
	g.Apply(Table{Endpoints: []Endpoint{e}})
	if err := receive(t, second, "turn"); err != nil {
		t.Error(err)
	}
}

// TestTurnOfOneWhoLeftGoesOn covers the moment between being handed a replica
// and taking it.
func TestTurnOfOneWhoLeftGoesOn(t *testing.T) {
	g, r, _ := asleep(t, Options{})
	left := &waiter{given: make(chan *peer, 1)}
	r.mu.Lock()
	r.waiting = append(r.waiting, left)
	r.mu.Unlock()
	next := waiting(t.Context(), t, r)
	e := at("a:1")
	e.Limits.PerReplica = 1
	g.Apply(Table{Endpoints: []Endpoint{e}})
	if err := r.abandon(left, context.Canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := receive(t, next, "turn"); err != nil {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	begun, goOn := make(chan struct{}, 10), make(chan struct{})
	r := newReplica(t, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/hold" {
			begun <- struct{}{}
			<-goOn
		}
		_, _ = io.Copy(io.Discard, q.Body)
		fmt.Fprint(w, "ok")
	})
	e := at(r.address())
	e.Limits = Limits{RequestsPerSecond: 3, Concurrent: 1, BodyBytes: 100_000}
	g := newGateway(t, Options{Clock: clock}, e)
	url := open(t, g) + "/inference/e"
	held := make(chan answered, 1)
	go func() { held <- send(t, http.MethodGet, url+"/hold", "") }()
	receive(t, begun, "request at the replica")
	if got := send(t, http.MethodGet, url, ""); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
		t.Errorf("a second one at the same time: %d %v", got.status, got.header)
	}
	close(goOn)
	receive(t, held, "end of the first")
	nobody := func() bool {
		route := (*g.routes.Load())["e"]
		route.mu.Lock()
		defer route.mu.Unlock()
		return route.open == 0
	}
	until(t, nobody, "end of the request in the gateway")
	large := string(make([]byte, 100_001))
	if got := send(t, http.MethodPost, url, large); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body over the limit: %d", got.status)
	}
	if response := begin(t, http.MethodPost, url, &endless{left: 300_000}); response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a body over the limit that does not say so: %d", response.StatusCode)
	}
	until(t, nobody, "end of the request in the gateway")
	if got := send(t, http.MethodGet, url, ""); got.status != http.StatusOK {
		t.Errorf("the third in a second: %d", got.status)
	}
	until(t, nobody, "end of the request in the gateway")
	if got := send(t, http.MethodGet, url, ""); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") != "1" {
		t.Errorf("the fourth in a second: %d", got.status)
	}
	clock.Step(400 * time.Millisecond)
	if got := send(t, http.MethodGet, url, ""); got.status != http.StatusOK {
		t.Errorf("a third of a second later: %d", got.status)
	}
}

// endless is a body of unknown length.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left, 1000)
	e.left -= n
	return n, nil
}

// TestRegionThatHasNoneAnyMore lets the request wait, as if there had been no
// region at all, and go on once there is one.
func TestRegionThatHasNoneAnyMore(t *testing.T) {
	region := newGateway(t, Options{Region: "east", Upstream: &Upstream{Address: closedPort(t)}})
	east := open(t, region)[len("http://"):]
	woken := make(chan string, 100)
	e := Endpoint{Name: "e", Open: true, Replicas: []Replica{{Address: east, Region: "east"}}}
	plane := newGateway(t, Options{Wake: func(name string) { woken <- name }}, e)
	url := open(t, plane) + "/inference/e/"
	got := make(chan answered, 1)
	go func() { got <- send(t, http.MethodPost, url, "text") }()
	receive(t, woken, "wake")
	r := newReplica(t, says("here"))
	region.Apply(Table{Endpoints: []Endpoint{at(r.address())}})
	plane.Apply(Table{Endpoints: []Endpoint{e}})
	if a := receive(t, got, "answer"); a.status != http.StatusOK || a.body != "here" {
		t.Errorf("%d %q", a.status, a.body)
	}
}
