package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/gco-project/gco/api"
)

const (
	// routingRate is that at which latencies are compared, in requests a second.
	routingRate = 2000
	// routingPath is what a gateway asks the replica /healthz for. HAProxy asks
	// for all of it, which the replica does not know and answers as quickly.
	routingPath = "/inference/bench/healthz"
)

// routing measures (m): the gateway of a region before a replica, beside
// HAProxy in HTTP mode before the same replica, each a process of its own.
// Clients are this process. The replica is the sample that gco has.
func (b *bench) routing(ctx context.Context) (err error) {
	dir, remove, err := b.fresh("routing")
	if err != nil {
		return err
	}
	defer remove()
	if err := b.build(ctx); err != nil {
		return err
	}
	system, err := b.start(ctx, dir, "control-plane/admin.token", "up", "--regions", "here", "--region-process")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, system.stop()) }()
	ours, replica, err := serveSample(ctx, system)
	if err != nil {
		return err
	}
	theirs, err := openHTTPProxy(ctx, dir, replica)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, theirs.stop()) }()
	direct := &frontDoor{name: "no gateway", address: replica}

	saturated, err := b.takeTurns(ctx, "requests/s", ours, theirs, invoke)
	if err != nil {
		return err
	}
	if err := b.alone(ctx, "requests/s", direct, invoke); err != nil {
		return err
	}
	b.report.atLeast(saturated.ratio, 0.8, "requests/s at saturation as a share of HAProxy's in HTTP mode", saturated.beside)
	return b.addedLatency(ctx, ours, direct)
}

// serveSample makes an endpoint, and returns the gateway and the replica.
func serveSample(ctx context.Context, system *process) (ours *frontDoor, replica string, err error) {
	if _, err := system.CreateEndpoint(ctx, api.NewEndpoint{Name: "bench", EndpointSpec: api.EndpointSpec{
		Image: "gco", Command: []string{"$(GCO_EXECUTABLE)", "sample", "linear", "--port", "$(PORT)"}, Port: 8080,
	}}); err != nil {
		return nil, "", fmt.Errorf("making an endpoint: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		e, err := system.Endpoint(ctx, "bench")
		if err == nil && e.Ready > 0 && len(e.Regions) > 0 && len(e.Regions[0].Copies) > 0 {
			replica = e.Regions[0].Copies[0].Address
			break
		}
		if err := errors.Join(err, pause(ctx, 20*time.Millisecond)); err != nil {
			return nil, "", fmt.Errorf("waiting for a replica: %w", err)
		}
	}
	agent, address, err := gatewayOf(system)
	if err != nil {
		return nil, "", err
	}
	return &frontDoor{name: "the gateway", address: address, process: agent}, replica, nil
}

var drivenBy = regexp.MustCompile(`here \(pid (\d+)\)`)

// gatewayOf finds the process of the region's agent and the port on which its
// gateway listens.
func gatewayOf(system *process) (*process, string, error) {
	found := drivenBy.FindStringSubmatch(system.said())
	if found == nil {
		return nil, "", fmt.Errorf("gco up does not say which process drives its region: %s", system.said())
	}
	pid, err := strconv.Atoi(found[1])
	if err != nil {
		return nil, "", err
	}
	running, err := os.FindProcess(pid)
	if err != nil {
		return nil, "", err
	}
	door := regexp.MustCompile(`gateways here ([0-9.:]+)`).FindStringSubmatch(system.said())
	if door == nil {
		return nil, "", errors.New("gco up does not say where the gateway of its region is")
	}
	return &process{command: &exec.Cmd{Process: running}}, door[1], nil
}

// openHTTPProxy runs HAProxy as it comes, in HTTP mode.
func openHTTPProxy(ctx context.Context, dir, replica string) (*frontDoor, error) {
	binary, err := exec.LookPath("haproxy")
	if err != nil {
		return nil, fmt.Errorf("%w; on Debian: apt-get install haproxy", err)
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "haproxy.cfg")
	text := fmt.Sprintf(`
global
  maxconn 2000
defaults
  mode http
  timeout connect 3s
  timeout client 340s
  timeout server 340s
listen plain
  bind %s
  server here %s
`, address, replica)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	door := &frontDoor{name: "HAProxy in HTTP mode", address: address}
	if door.process, err = launch(filepath.Join(dir, "haproxy.log"), exec.Command(binary, "-db", "-f", file)); err != nil {
		return nil, fmt.Errorf("starting HAProxy: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		if _, err = newAsker(ctx, address); err == nil {
			return door, nil
		}
		if pause(ctx, 10*time.Millisecond) != nil {
			return nil, errors.Join(fmt.Errorf("HAProxy does not open: %w; it said: %s", err, door.said()), door.stop())
		}
	}
}

// asker asks over one connection, with as little work as it can.
type asker struct {
	conn net.Conn
	in   *bufio.Reader
}

var routingQuestion = []byte("GET " + routingPath + " HTTP/1.1\r\nHost: gco.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")

func newAsker(ctx context.Context, address string) (*asker, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if deadline, bounded := ctx.Deadline(); bounded {
		_ = conn.SetDeadline(deadline)
	}
	return &asker{conn, bufio.NewReader(conn)}, nil
}

func (a *asker) ask() error {
	if _, err := a.conn.Write(routingQuestion); err != nil {
		return err
	}
	length := 0
	for first := true; ; first = false {
		line, err := a.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.Contains(line, []byte(" 200 ")) && !bytes.Contains(line, []byte(" 404 ")) {
			return fmt.Errorf("answered %q", line)
		}
		if len(line) <= 2 {
			break
		}
		if name, value, found := bytes.Cut(line, []byte(":")); found && http.CanonicalHeaderKey(string(name)) == "Content-Length" {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	_, err := io.CopyN(io.Discard, a.in, int64(length))
	return err
}

func newAskers(ctx context.Context, address string, n int) (all []*asker, shut func(), err error) {
	shut = func() {
		for _, a := range all {
			_ = a.conn.Close()
		}
	}
	for range n {
		a, err := newAsker(ctx, address)
		if err != nil {
			shut()
			return nil, nil, err
		}
		all = append(all, a)
	}
	return all, shut, nil
}

// invoke measures requests over connections that stay open.
func invoke(ctx context.Context, round time.Duration, address string) (float64, error) {
	all, shut, err := newAskers(ctx, address, askers)
	if err != nil {
		return 0, err
	}
	defer shut()
	return perSecond(ctx, round, askers, 1, func(_ context.Context, i int) error { return all[i].ask() })
}

// addedLatency compares requests at a fixed rate through the gateway and
// without it, in turns.
func (b *bench) addedLatency(ctx context.Context, ours, direct *frontDoor) error {
	var added, kept []float64
	for range b.pairs() {
		times := map[*frontDoor]time.Duration{}
		rates := map[*frontDoor]float64{}
		for _, door := range []*frontDoor{direct, ours} {
			took, rate, err := atRate(ctx, b.sizes.round, door.address)
			if err != nil {
				return fmt.Errorf("%d requests/s through %s: %w", routingRate, door.name, err)
			}
			times[door], rates[door] = percentile(took, 99), rate
		}
		added = append(added, milliseconds(times[ours]-times[direct]))
		kept = append(kept, rates[ours]/rates[direct])
	}
	b.report.atMost(middle(added), 1, fmt.Sprintf("ms that the gateway adds at p99, at %d requests/s, median of %d pairs", routingRate, b.pairs()), "")
	b.report.atLeast(middle(kept), 0.99, fmt.Sprintf("of %d requests/s that arrive through the gateway, as a share of those without it", routingRate), "")
	return nil
}

// atRate sends at the rate for a round, and returns how long each took and how
// many there were a second.
func atRate(ctx context.Context, round time.Duration, address string) ([]time.Duration, float64, error) {
	all, shut, err := newAskers(ctx, address, askers)
	if err != nil {
		return nil, 0, err
	}
	defer shut()
	n := int(round.Seconds() * routingRate)
	begun := time.Now()
	free := make(chan *asker, len(all))
	for _, a := range all {
		free <- a
	}
	took, err := each(ctx, n, askers, func(ctx context.Context, i int) error {
		if err := pause(ctx, time.Until(begun.Add(time.Duration(i)*time.Second/routingRate))); err != nil {
			return err
		}
		a := <-free
		defer func() { free <- a }()
		return a.ask()
	})
	return took, float64(n) / time.Since(begun).Seconds(), err
}
