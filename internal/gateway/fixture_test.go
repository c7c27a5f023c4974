package gateway

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// replica is a server that answers as it is told.
type replica struct {
	*httptest.Server

	served atomic.Int64
}

func newReplica(t *testing.T, handler http.HandlerFunc) *replica {
	t.Helper()
	r := &replica{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.served.Add(1)
		handler(w, q)
	}))
	t.Cleanup(r.Close)
	return r
}

// says answers everything with a text.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func (r *replica) address() string { return r.Listener.Addr().String() }

// closedPort is an address at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func newGateway(t *testing.T, o Options, endpoints ...Endpoint) *Gateway {
	t.Helper()
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	g.Apply(Table{Endpoints: endpoints})
	return g
}

// at makes an endpoint that is open, with the replicas at some addresses.
func at(addresses ...string) Endpoint {
	e := Endpoint{Name: "e", Open: true}
	for _, address := range addresses {
		e.Replicas = append(e.Replicas, Replica{Address: address, Revision: 1})
	}
	return e
}

// open serves a handler at a door, and returns its URL.
func open(t *testing.T, handler http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	door := NewDoor(DoorOptions{Handler: handler})
	go func() { ended <- door.Run(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the door: %v", err)
		}
	})
	return "http://" + listener.Addr().String()
}

// doors runs a test behind each server that a gateway can stand behind.
func doors(t *testing.T, test func(t *testing.T, open func(*testing.T, http.Handler) string)) {
	t.Run("door", func(t *testing.T) { test(t, open) })
	t.Run("http.Server", func(t *testing.T) {
		test(t, func(t *testing.T, h http.Handler) string {
			server := httptest.NewServer(h)
			t.Cleanup(server.Close)
			return server.URL
		})
	})
}

// answered is what a client got.
type answered struct {
	status int
	body   string
	header http.Header
}

// send makes a request, over a connection of its own.
func send(t *testing.T, method, url, body string, headers ...string) answered {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return answered{response.StatusCode, string(text), response.Header}
}

// dial opens a bare connection to a URL.
func dial(t *testing.T, url string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := (&net.Dialer{Timeout: patience}).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c, bufio.NewReader(c)
}

// receive waits for a signal.
func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(patience):
		t.Fatalf("no %s within %s", what, patience)
		panic("not reached")
	}
}

// reply is an answer whose body the test's end closes.
type reply struct{ *http.Response }

// readAnswer reads the next answer from a bare connection.
func readAnswer(t *testing.T, in *bufio.Reader) reply {
	t.Helper()
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return reply{response}
}

// begin makes a request whose answer is still to be read.
func begin(t *testing.T, method, url string, body io.Reader) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return reply{response}
}
