package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// echo answers with what it was asked.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, body)
})

func TestDoorAnswersRequestsInOrder(t *testing.T) {
	c, in := dial(t, open(t, echo))
	_, _ = io.WriteString(c, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcPOST /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n")
	for _, want := range []string{"GET /1 ", "POST /2 abc", "POST /3 de"} {
		response := readAnswer(t, in)
		text, err := io.ReadAll(response.Body)
		if err != nil || string(text) != want || response.Header.Get("Date") == "" {
			t.Errorf("%q, %v, want %q", text, err, want)
		}
	}
}

func TestDoorRefusesWhatIsAmbiguous(t *testing.T) {
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"no host":            {"GET / HTTP/1.1\r\n\r\n", 400},
		"two lengths":        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
		"unknown coding":     {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400},
		"space before colon": {"GET / HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n", 400},
		"no HTTP":            {"hello\r\n\r\n", 400},
		"HTTP/2":             {"PRI * HTTP/2.0\r\n\r\n", 505},
		"large head":         {"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", maxHeadBytes) + "\r\n\r\n", 431},
	} {
		t.Run(name, func(t *testing.T) {
			conn, in := dial(t, open(t, echo))
			_, _ = io.WriteString(conn, c.request)
			response := readAnswer(t, in)
			if response.StatusCode != c.status || !response.Close {
				t.Errorf("%d, closed %t", response.StatusCode, response.Close)
			}
			if _, err := io.ReadAll(in); err != nil {
				t.Errorf("the end: %v", err)
			}
		})
	}
}

// TestLengthBesideChunksCountsForNothing keeps what one client sends from being
// taken for the request of another.
func TestLengthBesideChunksCountsForNothing(t *testing.T) {
	r := newReplica(t, func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		fmt.Fprintf(w, "%s %d %s", q.Method, q.ContentLength, body)
	})
	c, in := dial(t, open(t, newGateway(t, Options{}, at(r.address()))))
	_, _ = io.WriteString(c, "POST /inference/e/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
	response := readAnswer(t, in)
	if text, err := io.ReadAll(response.Body); err != nil || string(text) != "POST -1 ab" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestDoorSaysContinueWhenTheBodyIsWanted(t *testing.T) {
	c, in := dial(t, open(t, echo))
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("%q, %v", line, err)
	}
	_, _ = in.ReadString('\n')
	_, _ = io.WriteString(c, "ab")
	response := readAnswer(t, in)
	if text, _ := io.ReadAll(response.Body); string(text) != "POST / ab" {
		t.Errorf("%q", text)
	}
}

func TestDoorEndsConnectionsThatAskForIt(t *testing.T) {
	for _, request := range []string{"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"} {
		c, in := dial(t, open(t, echo))
		_, _ = io.WriteString(c, request)
		response := readAnswer(t, in)
		if text, err := io.ReadAll(response.Body); err != nil || string(text) != "GET / " {
			t.Errorf("%q, %v", text, err)
		}
		if _, err := in.ReadByte(); err != io.EOF {
			t.Errorf("%q: the connection is open: %v", request, err)
		}
	}
}

func TestDoorSurvivesPanics(t *testing.T) {
	url := open(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a fault") }))
	for range 2 {
		c, in := dial(t, url)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := in.ReadByte(); err != io.EOF {
			t.Errorf("an answer after a panic: %v", err)
		}
	}
}

func TestBodyIsAsLongAsItsHeaderSays(t *testing.T) {
	url := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "3")
		if _, err := io.WriteString(w, r.URL.Query().Get("text")); err != nil {
			panic(http.ErrAbortHandler)
		}
	}))
	for _, text := range []string{"ab", "abcd"} {
		c, in := dial(t, url)
		fmt.Fprintf(c, "GET /?text=%s HTTP/1.1\r\nHost: x\r\n\r\n", text)
		if answer, err := io.ReadAll(in); err != nil || bytes.Contains(answer, []byte("abcd")) {
			t.Errorf("%q, %v", answer, err)
		}
	}
}

// TestDoorDrains lets a request end that had begun, and closes what is idle.
func TestDoorDrains(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	door := NewDoor(DoorOptions{DrainTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			close(begun)
			<-goOn
		}
		_, _ = io.WriteString(w, "ok")
	})})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- door.Run(ctx, listener) }()
	url := "http://" + listener.Addr().String()
	idle, idleIn := dial(t, url)
	_, _ = io.WriteString(idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	readAnswer(t, idleIn)
	busy, busyIn := dial(t, url)
	_, _ = io.WriteString(busy, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
	receive(t, begun, "request")
	stop()
	if _, err := io.ReadAll(idleIn); err != nil {
		t.Errorf("the idle connection: %v", err)
	}
	if _, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", listener.Addr().String()); err == nil {
		t.Error("a new connection is taken")
	}
	close(goOn)
	if response := readAnswer(t, busyIn); !response.Close {
		t.Errorf("the request that had begun: %v", response)
	}
	if err := receive(t, ended, "end of the door"); err != nil {
		t.Error(err)
	}
}

// TestDoorCutsWhatTakesTooLong does not wait longer than it was told.
func TestDoorCutsWhatTakesTooLong(t *testing.T) {
	begun := make(chan struct{})
	door := NewDoor(DoorOptions{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	})})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- door.Run(ctx, listener) }()
	c, _ := dial(t, "http://"+listener.Addr().String())
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	receive(t, begun, "request")
	stop()
	if err := receive(t, ended, "end of the door"); err != nil {
		t.Error(err)
	}
}

// FuzzDoor sends anything to a door: it answers in HTTP or closes.
// A connection that is closed while its client still sends is reset, and the
// answer may go with it.
func TestClientMaySendItsBodyToTheEnd(t *testing.T) {
	refuse := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) })
	c, in := dial(t, open(t, refuse))
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 300000\r\n\r\n")
	if response := readAnswer(t, in); response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("the answer is %s", response.Status)
	}
	for range 300 {
		if _, err := c.Write(make([]byte, 1000)); err != nil {
			t.Fatalf("sending the body: %v", err)
		}
	}
	if rest, err := io.ReadAll(in); err != nil || string(rest) != "0\r\n\r\n" {
		t.Errorf("after the answer's head: %q, %v", rest, err)
	}
}

func FuzzDoor(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n",
		"GET / HTTP/1.0\n\n", "\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	door := NewDoor(DoorOptions{Handler: echo})
	f.Fuzz(func(t *testing.T, request []byte) {
		c := &script{in: bytes.NewReader(request)}
		newSession(t.Context(), door, c).run()
		for in := bufio.NewReader(&c.out); ; {
			_, err := in.Peek(1)
			if errors.Is(err, io.EOF) {
				return
			}
			response, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("the answer to %q is no HTTP: %v", request, err)
			}
			if response.StatusCode == http.StatusContinue {
				continue
			}
			_, err = io.Copy(io.Discard, response.Body)
			if err = errors.Join(err, response.Body.Close()); err != nil {
				t.Fatalf("the answer to %q is not whole: %v", request, err)
			}
		}
	})
}

// script is a connection over which all was said already.
type script struct {
	net.Conn

	in  *bytes.Reader
	out bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
