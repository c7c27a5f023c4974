package accelerator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clocktesting "k8s.io/utils/clock/testing"
)

// patience is how long a test waits for what has to happen.
const patience = 20 * time.Second

// within waits until a condition holds, by the operating system's time:
// sockets give no signal of what was done with them elsewhere.
func within(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// value is that of one counter or gauge.
func value(metric prometheus.Collector) float64 {
	registry := prometheus.NewRegistry()
	if err := registry.Register(metric); err != nil {
		return math.NaN()
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		return math.NaN()
	}
	one := families[0].GetMetric()[0]
	return one.GetCounter().GetValue() + one.GetGauge().GetValue()
}

// service is an endpoint: a port that says its name to whoever connects and
// ends the line, and one for health checks.
type service struct {
	t        *testing.T
	name     string
	address  string
	health   *http.Server
	checkAt  int
	answer   atomic.Int32
	script   func(check int64) (status int)
	checks   atomic.Int64
	socket   net.Listener
	handle   func(*net.TCPConn)
	accepted atomic.Int64
}

// startService serves handle; nil says the name.
func startService(t *testing.T, name string, handle func(*net.TCPConn)) *service {
	t.Helper()
	s := &service{t: t, name: name, handle: handle}
	if handle == nil {
		s.handle = func(c *net.TCPConn) {
			_, _ = io.WriteString(c, name)
		}
	}
	s.answer.Store(http.StatusOK)
	s.open("127.0.0.1:0")
	s.address = s.socket.Addr().String()
	checks, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.checkAt = checks.Addr().(*net.TCPAddr).Port
	s.health = &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		check := s.checks.Add(1)
		if r.URL.Path != "/health" {
			t.Errorf("a check of %s", r.URL.Path)
		}
		status := int(s.answer.Load())
		if s.script != nil {
			status = s.script(check)
		}
		if status > 0 {
			w.WriteHeader(status)
			return
		}
		<-r.Context().Done() // hangs
	})}
	go func() { _ = s.health.Serve(checks) }()
	t.Cleanup(s.kill)
	return s
}

func (s *service) open(address string) {
	socket, err := net.Listen("tcp", address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.socket = socket
	go func() {
		for {
			c, err := socket.Accept()
			if err != nil {
				return
			}
			s.accepted.Add(1)
			go func() {
				defer c.Close()
				s.handle(c.(*net.TCPConn))
			}()
		}
	}()
}

// kill ends both ports at once, as the end of a process does.
func (s *service) kill() {
	_ = s.socket.Close()
	_ = s.health.Close()
}

func (s *service) endpoint() Endpoint {
	at, _ := s.socket.Addr().(*net.TCPAddr)
	return Endpoint{Host: "127.0.0.1", Port: at.Port, HealthPort: s.checkAt, Weight: 1}
}

// regions are groups at a growing distance, one service each.
func regions(services ...*service) []Group {
	var groups []Group
	for i, s := range services {
		groups = append(groups, Group{
			Region: s.name, Latency: time.Duration(i) * time.Millisecond, Dial: 100, Endpoints: []Endpoint{s.endpoint()},
		})
	}
	return groups
}

// door is an open front door of a test.
type door struct {
	*Accelerator

	t       *testing.T
	address string
	log     *syncBuffer
	stop    context.CancelFunc
	ended   chan error
}

type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// openDoor runs a front door before groups, with quick checks.
func openDoor(t *testing.T, groups []Group, change ...func(*Options)) *door {
	t.Helper()
	d := &door{t: t, log: &syncBuffer{}, ended: make(chan error, 1)}
	o := Options{
		Listeners: []Listener{{Address: "127.0.0.1:0"}}, Groups: groups,
		HealthCheck: HealthCheck{Path: "/health", Interval: 200 * time.Millisecond, Timeout: 200 * time.Millisecond, Threshold: 2},
		DialTimeout: patience, IdleTimeout: patience, DrainTimeout: patience, MaxConnections: 1000,
		Log: slog.New(slog.NewTextHandler(d.log, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	if d.Accelerator, err = Open(o); err != nil {
		t.Fatal(err)
	}
	d.address = d.Addresses()[0].String()
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	go func() { d.ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		for c := range d.connections.open {
			t.Errorf("a connection from %s is left", c.client.RemoteAddr())
		}
	})
	t.Cleanup(func() {
		stop()
		if err := d.wait(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *door) wait() error {
	select {
	case err := <-d.ended:
		d.ended <- err
		return err
	case <-time.After(patience):
		return errors.New("the front door does not end")
	}
}

func (d *door) dial() *net.TCPConn {
	d.t.Helper()
	c, err := net.Dial("tcp", d.address)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// ask returns who answers a new connection.
func (d *door) ask() string {
	d.t.Helper()
	c, err := net.Dial("tcp", d.address)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	answer, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return string(answer)
}

func (d *door) healthy(region string) bool {
	for _, t := range d.targets {
		if _, healthy := t.health(); t.region == region && !healthy {
			return false
		}
	}
	return true
}

func TestNearestTakesAndTheNextTakesOver(t *testing.T) {
	near, far := startService(t, "near", nil), startService(t, "far", nil)
	d := openDoor(t, regions(near, far))
	if got := d.ask(); got != "near" {
		t.Fatalf("%s answers", got)
	}
	near.answer.Store(http.StatusServiceUnavailable)
	within(t, "near is unhealthy", func() bool { return !d.healthy("near") })
	if got := d.ask(); got != "far" {
		t.Errorf("%s answers for an unhealthy region", got)
	}
	near.answer.Store(http.StatusOK)
	within(t, "near is healthy", func() bool { return d.healthy("near") })
	if got := d.ask(); got != "near" {
		t.Errorf("%s answers after near is back", got)
	}
	for _, line := range []string{
		`level=WARN msg="an endpoint is unhealthy" region=near endpoint=` + near.address,
		`error="answered 503 Service Unavailable"`,
		`msg="a region has no healthy endpoint left: its connections go elsewhere" region=near`,
		`level=INFO msg="an endpoint is healthy again" region=near`,
	} {
		if strings.Count(d.log.String(), line) != 1 {
			t.Errorf("the log does not say once %s:\n%s", line, d.log)
		}
	}
}

// A killed endpoint costs no new connection anything: the next region has it at
// once, and the checks agree within interval times threshold.
func TestKilledRegionIsLeftWithinIntervalTimesThreshold(t *testing.T) {
	near, far := startService(t, "near", nil), startService(t, "far", nil)
	check := HealthCheck{Path: "/health", Interval: 400 * time.Millisecond, Timeout: 400 * time.Millisecond, Threshold: 3}
	d := openDoor(t, regions(near, far), func(o *Options) { o.HealthCheck = check })
	before := near.checks.Load()
	within(t, "a check, so that the next one is a whole interval away", func() bool { return near.checks.Load() > before })
	near.kill()
	killed := time.Now()
	if got := d.ask(); got != "far" {
		t.Errorf("%s answers right after the kill", got)
	}
	within(t, "near is unhealthy", func() bool {
		if got := d.ask(); got != "far" {
			t.Fatalf("%s answers after the kill", got)
		}
		return !d.healthy("near")
	})
	if took, most := time.Since(killed), check.Interval*time.Duration(check.Threshold); took > most {
		t.Errorf("the front door was away after %s; want at most %s", took, most)
	}
}

// Of many requests, a kill fails those alone that were on their way in the
// killed region: at most one of each caller.
func TestKilledRegionFailsOnlyWhatWasInFlight(t *testing.T) {
	near, far := startService(t, "near", nil), startService(t, "far", nil)
	d := openDoor(t, regions(near, far))
	const callers, calls = 8, 100
	var failed atomic.Int64
	half := make(chan struct{}, callers)
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for call, answers := 0, map[string]int{}; answers["far"] < calls; call++ {
				if call == calls {
					half <- struct{}{}
				}
				switch got := d.ask(); got {
				case "near", "far":
					answers[got]++
				default:
					failed.Add(1)
				}
			}
		})
	}
	for range callers {
		<-half
	}
	near.kill()
	group.Wait()
	if got := failed.Load(); got > callers {
		t.Errorf("%d requests failed; at most %d were on their way", got, callers)
	}
}

// An endpoint that does not answer at all costs the time of a dial, and then
// the next region has the connection.
func TestEndpointThatHangsIsLeftAfterTheDialTimeout(t *testing.T) {
	hangs, far := startService(t, "hangs", nil), startService(t, "far", nil)
	groups := regions(hangs, far)
	groups[0].Endpoints[0].Port = fullPort(t)
	d := openDoor(t, groups, func(o *Options) { o.DialTimeout = 50 * time.Millisecond })
	if got := d.ask(); got != "far" {
		t.Errorf("%s answers", got)
	}
}

// fullPort is a port whose queue is full, so that the kernel leaves further
// connections without an answer.
func fullPort(t *testing.T) int {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := bound.(*syscall.SockaddrInet4).Port
	dialer := net.Dialer{Timeout: 50 * time.Millisecond}
	for range 10 {
		c, err := dialer.DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return port
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the port takes connections without end")
	return 0
}

// An endpoint whose checks fail now and then, but never often enough in a row,
// stays in, and one that passes now and then stays out.
func TestFlappingEndpointStaysAsItIs(t *testing.T) {
	const threshold = 3
	for begins, other := range map[int]int{http.StatusOK: http.StatusInternalServerError, http.StatusInternalServerError: http.StatusOK} {
		one := startService(t, "one", nil)
		one.script = func(check int64) int {
			if check%threshold == 1 {
				return begins
			}
			return other
		}
		now := clocktesting.NewFakeClock(time.Now())
		check := HealthCheck{Path: "/health", Interval: patience, Timeout: patience, Threshold: threshold}
		d := openDoor(t, regions(one), func(o *Options) { o.HealthCheck, o.Clock = check, now })
		for checks := range int64(10 * threshold) {
			within(t, "the next check", func() bool { return one.checks.Load() > checks && now.HasWaiters() })
			now.Step(check.Interval)
		}
		if healthy := d.healthy("one"); healthy != (begins == http.StatusOK) || strings.Count(d.log.String(), "an endpoint is") != 1 {
			t.Errorf("an endpoint that began with %d changes:\n%s", begins, d.log)
		}
	}
}

func TestHangingCheckFails(t *testing.T) {
	near, far := startService(t, "near", nil), startService(t, "far", nil)
	d := openDoor(t, regions(near, far))
	near.answer.Store(0)
	within(t, "near is unhealthy", func() bool { return !d.healthy("near") })
	if got := d.ask(); got != "far" {
		t.Errorf("%s answers for a region that hangs", got)
	}
	if !strings.Contains(d.log.String(), `error="no answer within 200ms"`) {
		t.Errorf("the log does not tell why:\n%s", d.log)
	}
}

func TestAllUnhealthyFailsOpen(t *testing.T) {
	near, far := startService(t, "near", nil), startService(t, "far", nil)
	d := openDoor(t, regions(near, far))
	near.answer.Store(http.StatusInternalServerError)
	far.answer.Store(http.StatusInternalServerError)
	within(t, "both are unhealthy", func() bool { return !d.healthy("near") && !d.healthy("far") })
	within(t, "the metric says so", func() bool { return value(d.metrics.failingOpen) == 1 })
	if got := d.ask(); got != "near" {
		t.Errorf("%s answers where all are unhealthy", got)
	}
	far.answer.Store(http.StatusOK)
	within(t, "far is healthy", func() bool { return value(d.metrics.failingOpen) == 0 })
	if got := d.ask(); got != "far" {
		t.Errorf("%s answers where only far is healthy", got)
	}
	for _, line := range []string{"level=ERROR msg=\"no healthy endpoint in the nearest regions", "there are healthy endpoints again"} {
		if !strings.Contains(d.log.String(), line) {
			t.Errorf("the log does not say %s:\n%s", line, d.log)
		}
	}
}

// The checks pass, and the port takes nothing: the next region has it, and the
// client learns nothing of that.
func TestRefusedConnectionGoesToTheNextRegion(t *testing.T) {
	near, far := startService(t, "near", nil), startService(t, "far", nil)
	d := openDoor(t, regions(near, far))
	_ = near.socket.Close()
	if got := d.ask(); got != "far" {
		t.Errorf("%s answers", got)
	}
	if got := value(d.metrics.dialFailures.WithLabelValues("near")); got != 1 {
		t.Errorf("%v failures are counted", got)
	}
	_ = far.socket.Close()
	if got := d.ask(); !strings.Contains(got, "reset") {
		t.Errorf("where nobody takes it, the client hears %q", got)
	}
	within(t, "it is counted", func() bool { return value(d.metrics.refused) == 1 })
}

func TestListenersHaveTheirOwnPorts(t *testing.T) {
	plain, secure := startService(t, "plain", nil), startService(t, "secure", nil)
	endpoint := plain.endpoint()
	d := openDoor(t, []Group{{Region: "one", Dial: 100, Endpoints: []Endpoint{endpoint}}}, func(o *Options) {
		// The second listener's port has to be known beforehand.
		socket, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at, _ := socket.Addr().(*net.TCPAddr)
		_ = socket.Close()
		o.Listeners = append(o.Listeners, Listener{Address: at.String()})
		o.Groups[0].Endpoints[0].Ports = map[int]int{at.Port: secure.endpoint().Port}
	})
	for i, want := range []string{"plain", "secure"} {
		d.address = d.Addresses()[i].String()
		if got := d.ask(); got != want {
			t.Errorf("%s answers at listener %d", got, i)
		}
	}
}

func TestAffinityKeepsAClientAtItsEndpoint(t *testing.T) {
	var services []*service
	group := Group{Region: "one", Dial: 100}
	for i := range 3 {
		services = append(services, startService(t, fmt.Sprint("s", i), nil))
		group.Endpoints = append(group.Endpoints, services[i].endpoint())
	}
	d := openDoor(t, []Group{group}, func(o *Options) {
		o.Listeners = []Listener{{Address: "127.0.0.1:0", Affinity: AffinitySourceIP}, {Address: "127.0.0.1:0", Affinity: AffinityNone}}
	})
	first := d.ask()
	for range 9 {
		if got := d.ask(); got != first {
			t.Fatalf("%s answers after %s", got, first)
		}
	}
	d.address = d.Addresses()[1].String()
	seen := map[string]bool{}
	for range 9 {
		seen[d.ask()] = true
	}
	if len(seen) != 3 {
		t.Errorf("without affinity %d endpoints of 3 are used", len(seen))
	}
}

// echo answers only when the client has ended: it needs the half-close.
func echo(c *net.TCPConn) {
	all, err := io.ReadAll(c)
	if err == nil {
		_, _ = c.Write(all)
		_ = c.CloseWrite()
	}
}

func TestHalfClosePassesToTheEndpoint(t *testing.T) {
	d := openDoor(t, regions(startService(t, "echo", echo)))
	// Below a buffer, above one, and enough to be a stream.
	for _, size := range []int{1, bufferSize, bufferSize + 1, 20 << 20} {
		sent := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		c := d.dial()
		go func() {
			_, _ = c.Write(sent)
			_ = c.CloseWrite()
		}()
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes come back of %d, %v", len(got), size, err)
		}
	}
}

func TestHalfClosePassesToTheClient(t *testing.T) {
	rest := make(chan string, 1)
	d := openDoor(t, regions(startService(t, "one", func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "hello")
		_ = c.CloseWrite()
		text, _ := io.ReadAll(c)
		rest <- string(text)
	})))
	c := d.dial()
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := io.WriteString(c, "still here"); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if got := <-rest; got != "still here" {
		t.Errorf("after its end the endpoint reads %q", got)
	}
}

// A stream that pauses, and goes on in small pieces, loses nothing.
func TestStreamMayPause(t *testing.T) {
	next := make(chan []byte)
	d := openDoor(t, regions(startService(t, "one", func(c *net.TCPConn) {
		for piece := range next {
			_, _ = c.Write(piece)
		}
	})), func(o *Options) { o.IdleTimeout = 100 * time.Millisecond })
	c := d.dial()
	for i, size := range []int{1 << 20, 10, 3 << 20, 1} {
		piece := bytes.Repeat([]byte{byte(i)}, size)
		got := make([]byte, size)
		next <- piece
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, piece) {
			t.Fatalf("piece %d: %v", i, err)
		}
	}
	close(next)
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Errorf("%d bytes are left over, %v", len(rest), err)
	}
}

// An endpoint that dies in the middle must not look like one that was done.
func TestBrokenConnectionIsReset(t *testing.T) {
	for _, size := range []int{10, 4 << 20} {
		d := openDoor(t, regions(startService(t, "one", func(c *net.TCPConn) {
			_, _ = c.Write(make([]byte, size))
			_, _ = io.ReadFull(c, make([]byte, 1))
			reset(c)
		})))
		c := d.dial()
		if _, err := io.ReadFull(c, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("x"))
		if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after %d bytes the client hears %v; want a reset", size, err)
		}
	}
}

// An endpoint that answers and ends is heard, whatever the client sends after
// that.
func TestEarlyAnswerArrives(t *testing.T) {
	const question, answer = 1 << 20, "too large"
	ended := make(chan struct{})
	d := openDoor(t, regions(startService(t, "one", func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, question))
		_, _ = io.WriteString(c, answer)
		_ = c.Close()
		close(ended)
	})))
	c := d.dial()
	if _, err := c.Write(make([]byte, question)); err != nil {
		t.Fatal(err)
	}
	<-ended
	if _, err := c.Write(make([]byte, 4*question)); err != nil {
		t.Errorf("sending more: %v", err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != answer {
		t.Errorf("%q, %v", got, err)
	}
}

// An endpoint does not send for long to a client that has gone.
func TestClientThatGoesEndsAStream(t *testing.T) {
	ended := make(chan struct{})
	d := openDoor(t, regions(startService(t, "one", func(c *net.TCPConn) {
		defer close(ended)
		for {
			if _, err := c.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	})))
	c := d.dial()
	if _, err := io.ReadFull(c, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	select {
	case <-ended:
	case <-time.After(patience / 2):
		t.Error("the endpoint still writes")
	}
}

func TestIdleConnectionEnds(t *testing.T) {
	silent := startService(t, "silent", func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	d := openDoor(t, regions(silent), func(o *Options) { o.IdleTimeout = 50 * time.Millisecond })
	begun := time.Now()
	if _, err := io.ReadAll(d.dial()); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client hears %v; want a reset", err)
	}
	if took := time.Since(begun); took < 50*time.Millisecond {
		t.Errorf("it ended after %s already", took)
	}
}

// What moves one way only keeps the other way open, too.
func TestOneWayTrafficIsNotIdle(t *testing.T) {
	const idle = 100 * time.Millisecond
	tick := make(chan struct{})
	d := openDoor(t, regions(startService(t, "one", func(c *net.TCPConn) {
		for range tick {
			_, _ = c.Write([]byte("."))
		}
	})), func(o *Options) { o.IdleTimeout = idle })
	c := d.dial()
	ticker := time.NewTicker(idle / 10)
	defer ticker.Stop()
	for begun := time.Now(); time.Since(begun) < 5*idle; <-ticker.C {
		tick <- struct{}{}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatalf("after %s: %v", time.Since(begun), err)
		}
	}
	close(tick)
}

// A client that never reads does not hold an endpoint for ever, not even one
// that goes on to send.
func TestStalledReaderIsCut(t *testing.T) {
	const idle = 100 * time.Millisecond
	for _, sends := range []bool{false, true} {
		ended := make(chan struct{})
		d := openDoor(t, regions(startService(t, "one", func(c *net.TCPConn) {
			go func() { _, _ = io.Copy(io.Discard, c) }()
			for {
				if _, err := c.Write(make([]byte, 1<<20)); err != nil {
					close(ended)
					return
				}
			}
		})), func(o *Options) { o.IdleTimeout = idle })
		c := d.dial()
		ticker, deadline := time.NewTicker(idle/10), time.After(patience)
		for waiting := true; waiting; {
			select {
			case <-ended:
				waiting = false
			case <-ticker.C:
				if sends {
					_, _ = c.Write([]byte("."))
				}
			case <-deadline:
				t.Fatalf("the endpoint still writes; the client sends: %v", sends)
			}
		}
		ticker.Stop()
	}
}

func TestMoreConnectionsThanMayBeWait(t *testing.T) {
	release := make(chan struct{})
	one := startService(t, "one", func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "x")
		<-release
	})
	d := openDoor(t, regions(one), func(o *Options) { o.MaxConnections = 2 })
	var open []*net.TCPConn
	for range 4 {
		open = append(open, d.dial())
	}
	for _, c := range open[:2] {
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if got := one.accepted.Load(); got != 2 {
		t.Errorf("%d connections reached the endpoint; want 2", got)
	}
	close(release)
	_, _ = open[0].Close(), open[1].Close()
	for _, c := range open[2:] {
		if got, err := io.ReadAll(c); string(got) != "x" || err != nil {
			t.Errorf("one that waited hears %q, %v", got, err)
		}
	}
}

func TestStopDrains(t *testing.T) {
	release := make(chan struct{})
	one := startService(t, "one", func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "x")
		<-release
		_, _ = io.WriteString(c, "done")
	})
	d := openDoor(t, regions(one))
	c := d.dial()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	d.stop()
	within(t, "the listener is closed", func() bool {
		other, err := net.Dial("tcp", d.address)
		if err == nil {
			_ = other.Close()
		}
		return err != nil
	})
	close(release)
	if got, err := io.ReadAll(c); string(got) != "done" || err != nil {
		t.Errorf("while draining the client hears %q, %v", got, err)
	}
	_ = c.Close()
	if err := d.wait(); err != nil {
		t.Error(err)
	}
}

func TestStopCutsWhatDoesNotEnd(t *testing.T) {
	silent := startService(t, "silent", func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	d := openDoor(t, regions(silent), func(o *Options) { o.DrainTimeout = time.Millisecond })
	c := d.dial()
	within(t, "it is open", func() bool { return silent.accepted.Load() == 1 && value(d.targets[0].open) == 1 })
	d.stop()
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client hears %v; want a reset", err)
	}
	if err := d.wait(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(d.log.String(), "connections were cut") {
		t.Errorf("the log does not say so:\n%s", d.log)
	}
}

// descriptors is how many this process has open.
func descriptors(t *testing.T) int {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestTenThousandConnectionsLeaveNothing(t *testing.T) {
	d := openDoor(t, regions(startService(t, "echo", echo)))
	call := func() error {
		c, err := net.Dial("tcp", d.address)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write([]byte("hello")); err != nil {
			return err
		}
		_ = c.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(c)
		if err == nil && string(got) != "hello" {
			err = fmt.Errorf("%q comes back", got)
		}
		return err
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	const callers, calls = 20, 500
	var group sync.WaitGroup
	var failed atomic.Int64
	for range callers {
		group.Go(func() {
			for range calls {
				if err := call(); err != nil && failed.Add(1) == 1 {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	// A check may be under way, on either side of it.
	const checks = 8
	within(t, fmt.Sprintf("%d goroutines and %d descriptors again", goroutines, files), func() bool {
		return runtime.NumGoroutine() <= goroutines+checks && descriptors(t) <= files+checks
	})
	if got := value(d.targets[0].connections); got != callers*calls+1 {
		t.Errorf("%v connections are counted", got)
	}
}

func TestTooFewDescriptorsAreToldOf(t *testing.T) {
	d := openDoor(t, regions(startService(t, "one", nil)), func(o *Options) { o.MaxConnections = 1 << 30 })
	if !strings.Contains(d.log.String(), "the limit of open files") {
		t.Errorf("the log does not say so:\n%s", d.log)
	}
}

func TestPortsThatAreTakenAreNamed(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = Open(Options{Listeners: []Listener{{Address: "127.0.0.1:0"}, {Address: taken.Addr().String()}}, MaxConnections: 1})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("the error is %v", err)
	}
}

func TestMetricsAreTheGuides(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	one := startService(t, "one", echo)
	d := openDoor(t, regions(one), func(o *Options) { o.Metrics = registry })
	c := d.dial()
	_, _ = io.WriteString(c, "hello")
	_ = c.CloseWrite()
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	for direction, want := range map[string]float64{"in": 5, "out": 5} {
		if got := value(d.metrics.bytes.WithLabelValues("one", direction)); got != want {
			t.Errorf("%v bytes %s; want %v", got, direction, want)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../../docs/accelerator.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if !strings.Contains(string(guide), "| `"+family.GetName()+"` |") {
			t.Errorf("docs/accelerator.md does not list %s", family.GetName())
		}
	}
	if listed := strings.Count(string(guide), "\n| `gco_accelerator_"); listed != len(families) {
		t.Errorf("docs/accelerator.md lists %d metrics; there are %d", listed, len(families))
	}
}
