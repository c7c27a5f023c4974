package e2e

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// linear is an endpoint that needs no image.
func linear(change func(*api.NewEndpoint)) api.NewEndpoint {
	e := api.NewEndpoint{Name: "linear", EndpointSpec: api.EndpointSpec{
		Image: "gco", Command: []string{"$(GCO_EXECUTABLE)", "sample", "linear", "--port", "$(PORT)"},
		Port: 8080, DrainTime: "1s", Resources: map[string]string{"cpu": "100m"},
	}}
	change(&e)
	return e
}

// serves makes an endpoint and waits until it is in a state.
func (s *system) serves(e api.NewEndpoint) {
	s.t.Helper()
	if _, err := s.client.CreateEndpoint(s.t.Context(), e); err != nil {
		s.t.Fatal(err)
	}
	s.endpointIs(e.Name, "ready")
}

func (s *system) endpointIs(name, state string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for {
		e, err := s.client.Endpoint(ctx, name)
		if err == nil && e.State == state {
			return
		}
		if ctx.Err() != nil {
			s.t.Fatalf("endpoint %s is %s and not %s: %s, last error %v", name, e.State, state, e.Message, err)
		}
		pause(20 * time.Millisecond)
	}
}

// door is the front door of gco up.
func (s *system) door() string {
	s.t.Helper()
	found := regexp.MustCompile(`door +(http://[^, ]+)`).FindStringSubmatch(s.text())
	if found == nil {
		s.t.Fatalf("gco up does not say where its front door is:\n%s", s.text())
	}
	return found[1]
}

// failure is a request without a good answer.
type failure struct {
	begun time.Time
	what  string
}

// load sends requests over many connections, at a rate.
type load struct {
	url     string
	clients int
	every   time.Duration

	mu       sync.Mutex
	answers  map[string]int
	failures []failure
}

// run sends until ctx ends.
func (l *load) run(ctx context.Context) {
	var clients sync.WaitGroup
	for i := range l.clients {
		clients.Go(func() {
			connection := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: patience}
			defer connection.CloseIdleConnections()
			ticker := time.NewTicker(l.every)
			defer ticker.Stop()
			for {
				select {
				case <-ticker.C:
					l.send(connection, i%2 == 0)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	clients.Wait()
}

// send makes one request. Half of them may be sent twice, and say so.
func (l *load) send(connection *http.Client, idempotent bool) {
	begun := time.Now()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, l.url, strings.NewReader(`{"inputs":[1,2,3]}`))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if idempotent {
		request.Header.Set("Idempotency-Key", "any")
	}
	response, err := connection.Do(request)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.failures = append(l.failures, failure{begun, err.Error()})
	case response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests:
		l.failures = append(l.failures, failure{begun, response.Status})
	default:
		l.answers[response.Header.Get("Gco-Region")]++
	}
}

// count is how many answers a region gave.
func (l *load) count(region string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers[region]
}

// TestRegionIsKilledUnderLoad kills a region's agent, and so its gateway, under
// 500 requests a second through the front door: nothing fails but what was in
// flight there, and the front door takes the region out.
func TestRegionIsKilledUnderLoad(t *testing.T) {
	const interval, threshold = time.Second, 2
	s := up(t, t.TempDir(), "--region-process")
	t.Cleanup(func() { killReplicas(s.dir) })
	regions := []string{"us-east-1", "us-west-2", "eu-west-1"}
	s.serves(linear(func(e *api.NewEndpoint) {
		e.Regions, e.Replicas = &api.EndpointRegions{Names: regions}, len(regions)
	}))
	l := &load{url: s.door() + "/inference/linear/predict", clients: 50, every: 100 * time.Millisecond, answers: map[string]int{}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.run(ctx)
	}()
	defer func() {
		stop()
		<-ended
	}()
	awaitThat(t, "answers of the nearest region", func() bool { return l.count("us-east-1") > 500 })
	killed := time.Now()
	if err := syscall.Kill(agentPID(t, s, "us-east-1"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	dead := time.Now()
	s.expect(`a region has no healthy endpoint left.*us-east-1`)
	away := time.Since(killed)
	before := l.count("us-west-2")
	awaitThat(t, "answers of the next region", func() bool { return l.count("us-west-2") > before+1000 })
	stop()
	<-ended
	l.mu.Lock()
	defer l.mu.Unlock()
	late := 0
	for _, f := range l.failures {
		if f.begun.After(dead) {
			late++
			t.Errorf("%s after the kill: %s", f.begun.Sub(dead), f.what)
		}
	}
	if len(l.failures) > l.clients {
		t.Errorf("%d requests failed with %d connections", len(l.failures), l.clients)
	}
	if bound := time.Duration(threshold) * interval; away > bound+patience/2 {
		t.Errorf("the front door was away from the region after %s, want %s", away, bound)
	}
	t.Logf("answers %v, %d failed in flight, the front door was away after %s", l.answers, len(l.failures)-late, away.Round(time.Millisecond))
}

// awaitThat waits for what gives no signal.
func awaitThat(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); pause(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
	}
}

// killReplicas ends what a killed agent leaves.
func killReplicas(dir string) {
	for _, pid := range pids() {
		if line := commandLine(pid); strings.Contains(line, " sample linear ") && strings.Contains(workingDirectory(pid), dir) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func workingDirectory(pid int) string {
	dir, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	if err != nil {
		return ""
	}
	return dir
}

// TestRequestWakesAnEndpoint scales to zero and back: a request through any
// door waits, and is answered.
func TestRequestWakesAnEndpoint(t *testing.T) {
	s := up(t, t.TempDir())
	s.serves(linear(func(e *api.NewEndpoint) {
		e.Regions = &api.EndpointRegions{Names: []string{"us-west-2"}}
		e.Autoscaling = &api.EndpointAutoscaling{Min: 0, Max: 2, Target: 4, Window: "10s", ScaleDownDelay: "10s", IdleTime: "10s"}
	}))
	s.endpointIs("linear", "idle")
	door, err := client.New(s.door(), "", client.WithAttempts(1))
	if err != nil {
		t.Fatal(err)
	}
	response, err := door.Invoke(t.Context(), client.Invocation{Endpoint: "linear", Method: http.MethodGet, Path: "/healthz"})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.Header.Get("Gco-Region") != "us-west-2" {
		t.Errorf("%s by %q", response.Status, response.Header.Get("Gco-Region"))
	}
	if e, err := s.client.Endpoint(t.Context(), "linear"); err != nil || e.Replicas != 1 {
		t.Errorf("%d replicas, %v", e.Replicas, err)
	}
}
