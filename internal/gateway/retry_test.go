package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// broken is a replica that reads a request and closes the connection, or
// answers nothing at all.
func broken(t *testing.T, hang bool) (address string, got <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	methods := make(chan string, 100)
	ended := make(chan struct{})
	t.Cleanup(func() {
		close(ended)
		_ = l.Close()
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					_, _ = io.ReadAll(r.Body)
					methods <- r.Method
				}
				if hang {
					<-ended
				}
			}()
		}
	}()
	return l.Addr().String(), methods
}

func TestWhatNeverBeganGoesElsewhere(t *testing.T) {
	doors(t, func(t *testing.T, open func(*testing.T, http.Handler) string) {
		r := newReplica(t, says("ok"))
		closed := closedPort(t)
		url := open(t, newGateway(t, Options{}, at(closed, r.address()))) + "/inference/e/"
		for range 4 {
			if got := send(t, http.MethodPost, url, "text"); got.body != "ok" {
				t.Errorf("%d %q", got.status, got.body)
			}
		}
	})
}

func TestOnlySafeRequestsAreSentTwice(t *testing.T) {
	for _, c := range []struct {
		name, method string
		header       []string
		status       int
	}{
		{"GET", http.MethodGet, nil, http.StatusOK},
		{"PUT", http.MethodPut, nil, http.StatusOK},
		{"POST", http.MethodPost, nil, http.StatusBadGateway},
		{"POST that says it may", http.MethodPost, []string{"Idempotency-Key", "k"}, http.StatusOK},
	} {
		for _, hang := range []bool{false, true} {
			name, status := c.name+" closed", c.status
			if hang {
				name = c.name + " hanging"
			}
			if hang && status == http.StatusBadGateway {
				status = http.StatusGatewayTimeout
			}
			t.Run(name, func(t *testing.T) {
				address, got := broken(t, hang)
				r := newReplica(t, says("ok"))
				g := newGateway(t, Options{Patience: 200 * time.Millisecond}, at(address, r.address()))
				// The broken one comes first.
				peers := (*g.routes.Load())["e"].peers
				peers[1].outstanding.Add(1)
				answer := send(t, c.method, open(t, g)+"/inference/e/", "text", c.header...)
				if answer.status != status {
					t.Errorf("%d %q, want %d", answer.status, answer.body, status)
				}
				if seen := receive(t, got, "request"); seen != c.method || len(got) != 0 {
					t.Errorf("the first replica got %s and %d more", seen, len(got))
				}
				if !peers[0].ejected() {
					t.Error("it is asked again at once")
				}
			})
		}
	}
}

// TestReadyReplicaThatHangs keeps answering: what hangs has the most open
// requests, and is left alone once it failed.
func TestReadyReplicaThatHangs(t *testing.T) {
	hanging, _ := broken(t, true)
	r := newReplica(t, says("ok"))
	url := open(t, newGateway(t, Options{Patience: 300 * time.Millisecond}, at(hanging, r.address()))) + "/inference/e/"
	failed := 0
	for range 20 {
		if got := send(t, http.MethodPost, url, "text"); got.status != http.StatusOK {
			failed++
		}
	}
	if failed > 2 {
		t.Errorf("%d of 20 requests failed", failed)
	}
}

func TestConnectionClosedWhileUnusedIsNoFault(t *testing.T) {
	r := newReplica(t, says("ok"))
	g := newGateway(t, Options{}, at(r.address()))
	url := open(t, g) + "/inference/e/"
	for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodPost} {
		if got := send(t, method, url, ""); got.body != "ok" {
			t.Errorf("%s: %d %q", method, got.status, got.body)
		}
		r.CloseClientConnections()
	}
	if (*g.routes.Load())["e"].peers[0].ejected() {
		t.Error("the replica counts as failing")
	}
}

func TestRegionThatHasBegunNothingIsLeftForAnother(t *testing.T) {
	doors(t, func(t *testing.T, open func(*testing.T, http.Handler) string) {
		r := newReplica(t, says("west"))
		east := open(t, newGateway(t, Options{Region: "east", Upstream: &Upstream{Address: closedPort(t)}}, Endpoint{Name: "e", Open: true}))
		west := open(t, newGateway(t, Options{Region: "west", Upstream: &Upstream{Address: closedPort(t)}}, at(r.address())))
		e := Endpoint{Name: "e", Open: true, Replicas: []Replica{{Address: east[len("http://"):], Region: "east"}, {Address: west[len("http://"):], Region: "west"}}}
		url := open(t, newGateway(t, Options{}, e)) + "/inference/e/"
		for range 6 {
			if got := send(t, http.MethodPost, url, "text"); got.body != "west" || got.header.Get("Gco-Region") != "west" {
				t.Fatalf("%d %q", got.status, got.body)
			}
		}
	})
}

func TestFailuresPushAPeerBackFurtherEachTime(t *testing.T) {
	g := newGateway(t, Options{}, at("a:1"))
	p := (*g.routes.Load())["e"].peers[0]
	last := time.Duration(0)
	for range 12 {
		p.failed()
		pause := time.Until(time.Unix(0, p.ejectedUntil.Load()))
		if pause < last-time.Second || pause > maxEjection {
			t.Errorf("%s after %s", pause, last)
		}
		last = pause
	}
	if chosen(t, g, "") != p {
		t.Error("a replica that failed is not asked although there is no other")
	}
	p.answered()
	if p.ejected() {
		t.Error("it works, and is still pushed back")
	}
}
