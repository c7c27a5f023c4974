package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRequestReachesReplicaAsItIs(t *testing.T) {
	doors(t, func(t *testing.T, open func(*testing.T, http.Handler) string) {
		r := newReplica(t, func(w http.ResponseWriter, q *http.Request) {
			body, _ := io.ReadAll(q.Body)
			w.Header().Set("Connection", "X-Of-Connection")
			w.Header().Set("X-Of-Connection", "1")
			w.Header().Set("X-Kept", "2")
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprintf(w, "%s %s %s|%s|%s|%s|%s|%s", q.Method, q.RequestURI, body, q.Header.Get("Authorization"),
				q.Header.Get("X-Mine"), q.Header.Get("X-Hop"), q.Header.Get("X-Forwarded-For"), q.Header.Get("X-Forwarded-Host"))
		})
		e := at(r.address())
		e.Open = false
		url := open(t, newGateway(t, Options{Region: "east"}, e))
		got := send(t, http.MethodPost, url+"/inference/e/v1/a%2Fb?x=1&y=%20", "body",
			"Authorization", "Bearer secret", "X-Mine", "kept", "Connection", "X-Hop", "X-Hop", "gone", "X-Forwarded-For", "192.0.2.1")
		want := "POST /v1/a%2Fb?x=1&y=%20 body||kept||192.0.2.1, 127.0.0.1|" + strings.TrimPrefix(url, "http://")
		if got.status != http.StatusTeapot || got.body != want {
			t.Errorf("%d %q\nwant %q", got.status, got.body, want)
		}
		if got.header.Get("X-Kept") != "2" || got.header.Get("X-Of-Connection") != "" {
			t.Errorf("headers %v", got.header)
		}
		if got.header.Get("Gco-Region") != "east" || got.header.Get("Gco-Revision") != "1" {
			t.Errorf("headers %v do not say who answered", got.header)
		}
	})
}

func TestTokenStaysWithAnOpenEndpoint(t *testing.T) {
	r := newReplica(t, func(w http.ResponseWriter, q *http.Request) { _, _ = io.WriteString(w, q.Header.Get("Authorization")) })
	url := open(t, newGateway(t, Options{}, at(r.address())))
	if got := send(t, http.MethodGet, url+"/inference/e", "", "Authorization", "Bearer theirs"); got.body != "Bearer theirs" {
		t.Errorf("the replica saw %q", got.body)
	}
}

func TestAnswersComeAsTheyAreWritten(t *testing.T) {
	doors(t, func(t *testing.T, open func(*testing.T, http.Handler) string) {
		next := make(chan string)
		r := newReplica(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("Trailer", "X-Sum")
			_ = http.NewResponseController(w).Flush()
			for event := range next {
				fmt.Fprintf(w, "data: %s\n\n", event)
				_ = http.NewResponseController(w).Flush()
			}
			w.Header().Set("X-Sum", "done")
		})
		url := open(t, newGateway(t, Options{}, at(r.address())))
		response := begin(t, http.MethodGet, url+"/inference/e/events", nil)
		lines := bufio.NewScanner(response.Body)
		for i := range 5 {
			// The next event is written only once this one was read.
			next <- fmt.Sprint(i)
			if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) || !lines.Scan() {
				t.Fatalf("event %d: %q, %v", i, lines.Text(), lines.Err())
			}
		}
		close(next)
		if lines.Scan() || lines.Err() != nil {
			t.Errorf("the end: %q, %v", lines.Text(), lines.Err())
		}
		if got := response.Trailer.Get("X-Sum"); got != "done" {
			t.Errorf("trailer %q", got)
		}
	})
}

func TestBodiesStreamBothWaysAtOnce(t *testing.T) {
	doors(t, func(t *testing.T, open func(*testing.T, http.Handler) string) {
		r := newReplica(t, func(w http.ResponseWriter, q *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			lines := bufio.NewScanner(q.Body)
			for lines.Scan() {
				fmt.Fprintln(w, "echo", lines.Text())
				_ = http.NewResponseController(w).Flush()
			}
		})
		url := open(t, newGateway(t, Options{}, at(r.address())))
		reader, writer := io.Pipe()
		response := begin(t, http.MethodPost, url+"/inference/e/", reader)
		lines := bufio.NewScanner(response.Body)
		for i := range 5 {
			fmt.Fprintln(writer, i)
			if !lines.Scan() || lines.Text() != fmt.Sprintf("echo %d", i) {
				t.Fatalf("line %d: %q, %v", i, lines.Text(), lines.Err())
			}
		}
		_ = writer.Close()
		if lines.Scan() {
			t.Errorf("and then %q", lines.Text())
		}
	})
}

func TestProtocolChanges(t *testing.T) {
	doors(t, func(t *testing.T, open func(*testing.T, http.Handler) string) {
		r := newReplica(t, func(w http.ResponseWriter, q *http.Request) {
			if q.Header.Get("Upgrade") != "websocket" || q.Header.Get("Connection") != "Upgrade" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			c, buffered, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Key: 7\r\n\r\nhello ")
			// It answers when the client has said all, which half a close tells.
			text, _ := io.ReadAll(buffered)
			_, _ = fmt.Fprintf(c, "you said %s", text)
		})
		url := open(t, newGateway(t, Options{}, at(r.address())))
		c, in := dial(t, url)
		_, _ = io.WriteString(c, "GET /inference/e/ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nearly ")
		if response := readAnswer(t, in); response.StatusCode != http.StatusSwitchingProtocols || response.Header.Get("X-Key") != "7" {
			t.Fatal(response)
		}
		_, _ = io.WriteString(c, "late")
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
		if text, err := io.ReadAll(in); err != nil || string(text) != "hello you said early late" {
			t.Errorf("%q, %v", text, err)
		}
	})
}

func TestLargeBodiesAndNone(t *testing.T) {
	doors(t, func(t *testing.T, open func(*testing.T, http.Handler) string) {
		r := newReplica(t, func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodDelete {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			w.Header().Set("X-Length", fmt.Sprint(q.ContentLength))
			body, _ := io.ReadAll(q.Body)
			_, _ = w.Write(body)
		})
		url := open(t, newGateway(t, Options{}, at(r.address()))) + "/inference/e/"
		for _, size := range []int{0, 1, 4 << 10, maxReplay, maxReplay + 1, 3 << 20} {
			body := strings.Repeat("x", size)
			if got := send(t, http.MethodPost, url, body); got.body != body || got.header.Get("X-Length") != fmt.Sprint(size) {
				t.Errorf("%d bytes: %d came back, of %s", size, len(got.body), got.header.Get("X-Length"))
			}
		}
		if got := send(t, http.MethodDelete, url, ""); got.status != http.StatusNoContent || got.body != "" {
			t.Errorf("DELETE: %d %q", got.status, got.body)
		}
		if got := send(t, http.MethodHead, url, ""); got.status != http.StatusOK {
			t.Errorf("HEAD: %d", got.status)
		}
	})
}

func TestReplicaLearnsThatClientHasGone(t *testing.T) {
	doors(t, func(t *testing.T, open func(*testing.T, http.Handler) string) {
		begun, gone := make(chan struct{}), make(chan struct{})
		r := newReplica(t, func(_ http.ResponseWriter, q *http.Request) {
			close(begun)
			<-q.Context().Done()
			close(gone)
		})
		url := open(t, newGateway(t, Options{}, at(r.address())))
		c, _ := dial(t, url)
		_, _ = io.WriteString(c, "GET /inference/e/ HTTP/1.1\r\nHost: x\r\n\r\n")
		receive(t, begun, "request at the replica")
		_ = c.Close()
		receive(t, gone, "end of it")
	})
}

func TestCutAnswerDoesNotLookWhole(t *testing.T) {
	doors(t, func(t *testing.T, open func(*testing.T, http.Handler) string) {
		r := newReplica(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		url := open(t, newGateway(t, Options{}, at(r.address())))
		response := begin(t, http.MethodGet, url+"/inference/e/", nil)
		if text, err := io.ReadAll(response.Body); err == nil {
			t.Errorf("%q looks whole", text)
		}
	})
}

func TestOthersGoToTheControlPlane(t *testing.T) {
	plane := newReplica(t, func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		fmt.Fprintf(w, "%s %s %s %s", q.RequestURI, q.Header.Get("Authorization"), q.Header.Get("Gco-Via"), body)
	})
	g := newGateway(t, Options{Region: "east", Upstream: &Upstream{Address: plane.address()}}, Endpoint{Name: "empty", Open: true})
	url := open(t, g)
	for path, want := range map[string]string{
		"/api/v1/jobs?limit=2":  "/api/v1/jobs?limit=2 Bearer t  text",
		"/inference/other/v1/x": "/inference/other/v1/x Bearer t east text",
		"/inference/empty/v1/x": "/inference/empty/v1/x Bearer t east text",
	} {
		if got := send(t, http.MethodPost, url+path, "text", "Authorization", "Bearer t"); got.body != want {
			t.Errorf("%s: %d %q, want %q", path, got.status, got.body, want)
		}
	}
	if got := send(t, http.MethodGet, url+"/inference/empty/", "", "Gco-Via", "control-plane"); got.status != http.StatusServiceUnavailable || got.header.Get(notBegunHeader) == "" {
		t.Errorf("a request that came from there: %d %v", got.status, got.header)
	}
	if got := send(t, http.MethodGet, open(t, newGateway(t, Options{}))+"/inference/none/", ""); got.status != http.StatusNotFound {
		t.Errorf("unknown everywhere: %d", got.status)
	}
}

func TestConnectionsAreUsedAgainAndClosedWhenIdle(t *testing.T) {
	r := newReplica(t, says("ok"))
	g := newGateway(t, Options{}, at(r.address()))
	url := open(t, g)
	for range 5 {
		send(t, http.MethodGet, url+"/inference/e/", "")
	}
	p := (*g.routes.Load())["e"].peers[0]
	if n := len(p.pool.idle); n != 1 {
		t.Errorf("%d connections after one request at a time", n)
	}
	g.sweep(time.Now().Add(-idleConnection))
	if n := len(p.pool.idle); n != 1 {
		t.Errorf("%d connections after a sweep too early", n)
	}
	g.sweep(time.Now().Add(time.Second))
	if n := len(p.pool.idle); n != 0 {
		t.Errorf("%d connections after a sweep", n)
	}
}
