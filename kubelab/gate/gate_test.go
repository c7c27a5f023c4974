package gate_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/kubelab/gate"
)

// echo answers every line with itself until the test ends.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer connection.Close()
				_, _ = io.Copy(connection, connection)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		work.Wait()
	})
	return listener.Addr().String()
}

func open(t *testing.T, target string) *gate.Gate {
	t.Helper()
	g, err := gate.Open("127.0.0.1:0", target, clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return connection
}

func say(t *testing.T, connection net.Conn) {
	t.Helper()
	if _, err := io.WriteString(connection, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(connection).ReadString('\n'); err != nil || line != "hello\n" {
		t.Fatalf("the answer is %q, %v", line, err)
	}
}

func TestGateLetsThrough(t *testing.T) {
	say(t, dial(t, open(t, echo(t)).Address()))
}

func TestAStoppedGateRefusesAndCuts(t *testing.T) {
	g := open(t, echo(t))
	connection := dial(t, g.Address())
	say(t, connection)
	g.Stop()
	if _, err := connection.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("reading from a connection that was cut: %v", err)
	}
	if _, err := net.Dial("tcp", g.Address()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialling a gate that is stopped: %v", err)
	}
	if stopped, _ := g.State(); !stopped {
		t.Error("it does not say that it is stopped")
	}
	for range 2 { // the second one finds nothing to do
		if err := g.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	say(t, dial(t, g.Address()))
}

func TestADelayHoldsBackWhatClientsSend(t *testing.T) {
	g := open(t, echo(t))
	connection := dial(t, g.Address())
	say(t, connection)
	const delay = 300 * time.Millisecond
	g.Delay(delay)
	before := time.Now()
	say(t, connection)
	if took := time.Since(before); took < delay {
		t.Errorf("an answer took %s, less than the delay of %s", took, delay)
	}
	g.Delay(0)
	if _, d := g.State(); d != 0 {
		t.Errorf("the delay is %s after its end", d)
	}
	say(t, connection)
}

func TestAGateWithoutServerCutsItsClients(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	connection, err := net.Dial("tcp", open(t, nobody).Address())
	if err != nil {
		return // cut before it was there
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := connection.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading: %v", err)
	}
}

func TestAClosedGateStaysClosed(t *testing.T) {
	g := open(t, echo(t))
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.Resume(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", g.Address()); err == nil {
		t.Error("it lets clients through")
	}
}
