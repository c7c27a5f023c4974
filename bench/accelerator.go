package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// The load of (k): so many open connections that each ask and wait, and so
// many that only receive.
const (
	askers        = 64
	receiving     = 8
	questionBytes = 100
	answerBytes   = 1000
	pieceBytes    = 1 << 20
	// pairs is how often the two doors take turns, each time in the other
	// order.
	pairs = 5
)

// frontDoors measures (k): the front door and HAProxy before the same service,
// each a process of its own. Clients and service are this process.
func (b *bench) frontDoors(ctx context.Context) (err error) {
	dir, remove, err := b.fresh("front-doors")
	if err != nil {
		return err
	}
	defer remove()
	service, err := startAnswering()
	if err != nil {
		return err
	}
	defer service.close()
	ours, err := b.openFrontDoor(ctx, dir, service)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.stop()) }()
	theirs, err := openHAProxy(ctx, dir, service)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, theirs.stop()) }()
	direct := &frontDoor{name: "no front door", address: service.socket.Addr().String()}

	requests, err := b.takeTurns(ctx, "requests/s", ours, theirs, askAndWait)
	if err != nil {
		return err
	}
	if err := b.alone(ctx, "requests/s", direct, askAndWait); err != nil {
		return err
	}
	connections, err := b.takeTurns(ctx, "connections/s, one request each", ours, theirs, askOnce)
	if err != nil {
		return err
	}
	bytes, err := b.takeTurns(ctx, "MB/s", ours, theirs, receive)
	if err != nil {
		return err
	}
	if err := b.alone(ctx, "MB/s", direct, receive); err != nil {
		return err
	}
	spliced := &frontDoor{name: "HAProxy with splice-auto", address: theirs.spliced, process: theirs.process}
	if err := b.alone(ctx, "MB/s", spliced, receive); err != nil {
		return err
	}
	b.report.add(connections.ratio, "", "connections/s as a share of HAProxy's, median of %d pairs", b.pairs())
	b.report.atLeast(requests.ratio, 0.8, "requests/s as a share of HAProxy's", requests.beside)
	b.report.atLeast(bytes.ratio, 1, "bytes/s as a share of HAProxy's", bytes.beside)
	return nil
}

func (b *bench) pairs() int {
	if b.sizes.rounds == 1 {
		return 1
	}
	return pairs
}

// comparison is what comes of two doors that take turns: the median of the
// pairs' ratios, and of both.
type comparison struct {
	ratio  float64
	beside string
}

// load is one kind of traffic through a door, for one round: what it measures,
// a second.
type load func(ctx context.Context, round time.Duration, address string) (float64, error)

func (b *bench) takeTurns(ctx context.Context, what string, ours, theirs *frontDoor, run load) (comparison, error) {
	rates := map[*frontDoor][]float64{}
	var ratios []float64
	before := map[*frontDoor]time.Duration{}
	for _, door := range []*frontDoor{ours, theirs} {
		var err error
		if before[door], err = door.process.cpu(); err != nil {
			return comparison{}, err
		}
	}
	for i := range b.pairs() {
		order := []*frontDoor{ours, theirs}
		if i%2 == 1 {
			order = []*frontDoor{theirs, ours}
		}
		for _, door := range order {
			rate, err := run(ctx, b.sizes.round, door.address)
			if err != nil {
				return comparison{}, fmt.Errorf("%s through %s: %w", what, door.name, err)
			}
			rates[door] = append(rates[door], rate)
		}
		ratios = append(ratios, rates[ours][i]/rates[theirs][i])
	}
	for _, door := range []*frontDoor{ours, theirs} {
		after, err := door.process.cpu()
		if err != nil {
			return comparison{}, err
		}
		rate := middle(rates[door])
		b.report.add(rate, "/s", "%s through %s", what, door.name)
		spent := (after - before[door]).Seconds() / b.sizes.round.Seconds() / float64(b.pairs())
		b.report.add(1e6*spent/rate, "µs", "processor time of %s for one of them", door.name)
	}
	return comparison{
		ratio:  middle(ratios),
		beside: fmt.Sprintf("%s to %s", round(middle(rates[ours])), round(middle(rates[theirs]))),
	}, nil
}

// alone measures what is worth knowing and no promise.
func (b *bench) alone(ctx context.Context, what string, door *frontDoor, run load) error {
	rate, err := median(b.sizes.rounds, func() (float64, error) { return run(ctx, b.sizes.round, door.address) })
	if err != nil {
		return fmt.Errorf("%s through %s: %w", what, door.name, err)
	}
	b.report.add(rate, "/s", "%s through %s", what, door.name)
	return nil
}

// frontDoor is one that connections go through.
type frontDoor struct {
	*process

	name    string
	address string
	// spliced is HAProxy's second port, where it may splice.
	spliced string
}

// openFrontDoor runs gco accelerator.
func (b *bench) openFrontDoor(ctx context.Context, dir string, s *answering) (*frontDoor, error) {
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "gco.yaml")
	text := fmt.Sprintf(`
accelerator:
  listeners: [{address: %q}]
  groups: {here: {endpoints: [{address: %q, healthPort: %d}]}}
`, address, s.socket.Addr(), s.healthPort())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return openDoor(ctx, dir, &frontDoor{name: "gco accelerator", address: address}, exec.Command(b.gco, "accelerator", "--config", file))
}

// openHAProxy runs HAProxy as it comes, in TCP mode.
func openHAProxy(ctx context.Context, dir string, s *answering) (*frontDoor, error) {
	binary, err := exec.LookPath("haproxy")
	if err != nil {
		return nil, fmt.Errorf("%w; on Debian: apt-get install haproxy", err)
	}
	plain, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	spliced, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "haproxy.cfg")
	text := fmt.Sprintf(`
global
  maxconn 2000
defaults
  mode tcp
  timeout connect 3s
  timeout client 340s
  timeout server 340s
listen plain
  bind %s
  server here %s
listen spliced
  bind %s
  option splice-auto
  server here %s
`, plain, s.socket.Addr(), spliced, s.socket.Addr())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return openDoor(ctx, dir, &frontDoor{name: "HAProxy", address: plain, spliced: spliced}, exec.Command(binary, "-db", "-f", file))
}

// openDoor starts a door and waits until something answers behind it.
func openDoor(ctx context.Context, dir string, door *frontDoor, command *exec.Cmd) (_ *frontDoor, err error) {
	if door.process, err = launch(filepath.Join(dir, door.name+".log"), command); err != nil {
		return nil, fmt.Errorf("starting %s: %w", door.name, err)
	}
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		if _, err = askOnce(limited, 0, door.address); err == nil {
			return door, nil
		}
		if limited.Err() != nil || pause(limited, 10*time.Millisecond) != nil {
			return nil, errors.Join(fmt.Errorf("%s does not open: %w; it said: %s", door.name, err, door.said()), door.stop())
		}
	}
}

// answering is the service behind the doors: it answers every question of a
// client that begins by asking, and sends to one that does not.
type answering struct {
	socket net.Listener
	health *httptest.Server
}

func startAnswering() (*answering, error) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &answering{socket: socket, health: httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))}
	go func() {
		for {
			c, err := socket.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				answer(c)
			}()
		}
	}()
	return s, nil
}

func (s *answering) healthPort() int {
	at, _ := s.health.Listener.Addr().(*net.TCPAddr)
	return at.Port
}

func (s *answering) close() {
	s.health.Close()
	_ = s.socket.Close()
}

// What a client's connection begins with.
const (
	asks     = 'a'
	receives = 'r'
)

func answer(c net.Conn) {
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		return
	}
	if first[0] == receives {
		piece := make([]byte, pieceBytes)
		for {
			if _, err := c.Write(piece); err != nil {
				return
			}
		}
	}
	question, answer := make([]byte, questionBytes), make([]byte, answerBytes)
	for {
		if _, err := io.ReadFull(c, question); err != nil {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// open opens a connection for what kind says.
func open(ctx context.Context, address string, kind byte) (net.Conn, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if deadline, bounded := ctx.Deadline(); bounded {
		_ = c.SetDeadline(deadline)
	}
	if _, err := c.Write([]byte{kind}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// openAll opens so many.
func openAll(ctx context.Context, address string, kind byte, n int) (all []net.Conn, shut func(), err error) {
	shut = func() {
		for _, c := range all {
			_ = c.Close()
		}
	}
	for range n {
		c, err := open(ctx, address, kind)
		if err != nil {
			shut()
			return nil, nil, err
		}
		all = append(all, c)
	}
	return all, shut, nil
}

func ask(c net.Conn, buffer []byte) error {
	if _, err := c.Write(buffer[:questionBytes]); err != nil {
		return err
	}
	_, err := io.ReadFull(c, buffer[:answerBytes])
	return err
}

// askAndWait measures requests over connections that stay open.
func askAndWait(ctx context.Context, round time.Duration, address string) (float64, error) {
	all, shut, err := openAll(ctx, address, asks, askers)
	if err != nil {
		return 0, err
	}
	defer shut()
	buffers := make([][answerBytes]byte, askers)
	return perSecond(ctx, round, askers, 1, func(_ context.Context, i int) error { return ask(all[i], buffers[i][:]) })
}

// askOnce measures connections that are opened, used once and closed.
func askOnce(ctx context.Context, round time.Duration, address string) (float64, error) {
	once := func(ctx context.Context, _ int) error {
		c, err := open(ctx, address, asks)
		if err != nil {
			return err
		}
		return errors.Join(ask(c, make([]byte, answerBytes)), c.Close())
	}
	if round == 0 {
		return 0, once(ctx, 0)
	}
	return perSecond(ctx, round, askers, 1, once)
}

// receive measures megabytes over a few connections.
func receive(ctx context.Context, round time.Duration, address string) (float64, error) {
	all, shut, err := openAll(ctx, address, receives, receiving)
	if err != nil {
		return 0, err
	}
	defer shut()
	buffers := make([][pieceBytes]byte, receiving)
	bytes, err := perSecond(ctx, round, receiving, pieceBytes, func(_ context.Context, i int) error {
		_, err := io.ReadFull(all[i], buffers[i][:])
		return err
	})
	return bytes / 1e6, err
}
