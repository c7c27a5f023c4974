package daemon

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/accelerator"
	"github.com/gco-project/gco/internal/config"
)

// frontDoorConfig is that of a file with the section.
func frontDoorConfig(t *testing.T, section string) config.FrontDoor {
	t.Helper()
	c, err := config.Parse("gco.yaml", []byte("accelerator:\n"+section))
	if err != nil {
		t.Fatal(err)
	}
	return c.Accelerator
}

func TestFrontDoorIsWhatTheConfigurationSays(t *testing.T) {
	got, err := frontDoor(AcceleratorOptions{Config: frontDoorConfig(t, `
  listeners: [{address: "127.0.0.1:1", clientAffinity: source-ip}]
  healthCheck: {path: /x, port: 2, interval: 3s, timeout: 4s, threshold: 5}
  groups:
    b: {latency: 6ms, trafficDial: 7, endpoints: [{address: "h:8", weight: 9, ports: {1: 10}, healthPort: 11}]}
    a: {endpoints: [{address: i}]}
`)})
	if err != nil {
		t.Fatal(err)
	}
	want := accelerator.Options{
		Listeners: []accelerator.Listener{{Address: "127.0.0.1:1", Affinity: accelerator.AffinitySourceIP}},
		Groups: []accelerator.Group{
			{Region: "a", Dial: 100, Endpoints: []accelerator.Endpoint{{Host: "i", Ports: map[int]int{}, Weight: 128}}},
			{Region: "b", Latency: 6 * time.Millisecond, Dial: 7, Endpoints: []accelerator.Endpoint{
				{Host: "h", Port: 8, Ports: map[int]int{1: 10}, HealthPort: 11, Weight: 9},
			}},
		},
		HealthCheck: accelerator.HealthCheck{Path: "/x", Port: 2, Interval: 3 * time.Second, Timeout: 4 * time.Second, Threshold: 5},
		DialTimeout: 3 * time.Second, IdleTimeout: 340 * time.Second, DrainTimeout: 30 * time.Second, MaxConnections: 10_000,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v;\nwant %+v", got, want)
	}
}

func TestAcceleratorServesItsMetrics(t *testing.T) {
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer endpoint.Close()
	a, err := OpenAccelerator(AcceleratorOptions{Config: frontDoorConfig(t, `
  listeners: [{address: "127.0.0.1:0"}]
  metrics: 127.0.0.1:0
  groups: {one: {endpoints: [{address: "`+endpoint.Listener.Addr().String()+`"}]}}
`), Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	get := func(at net.Addr, path string) string {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at.String()+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got := get(a.Addresses()[0], "/"); got != "hello" {
		t.Errorf("the endpoint says %q", got)
	}
	for path, want := range map[string]string{"/metrics": `gco_accelerator_connections_total{region="one"} 1`, "/healthz": "ok"} {
		if got := get(a.MetricsAddress(), path); !strings.Contains(got, want) {
			t.Errorf("%s says %s", path, got)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAcceleratorNamesThePortOfItsMetrics(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = OpenAccelerator(AcceleratorOptions{Config: frontDoorConfig(t, `
  listeners: [{address: "127.0.0.1:0"}]
  metrics: `+taken.Addr().String()+`
  groups: {one: {endpoints: [{address: "127.0.0.1:1"}]}}
`), Clock: clock.RealClock{}})
	if err == nil || !strings.Contains(err.Error(), "for metrics") {
		t.Errorf("the error is %v", err)
	}
}
