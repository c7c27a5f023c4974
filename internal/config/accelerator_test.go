package config

import (
	"slices"
	"testing"
	"time"
)

func TestFrontDoorIsRead(t *testing.T) {
	got, err := Parse("gco.yaml", []byte(`
accelerator:
  listeners:
    - address: 127.0.0.1:8080
    - {address: "[::1]:8443", clientAffinity: source-ip}
  healthCheck: {interval: 500ms}
  groups:
    us-east-1:
      latency: 5ms
      endpoints: [{address: 10.0.0.7, ports: {8443: 9443}}, {address: "gate.example.com:80", weight: 0, healthPort: 81}]
    eu-west-1: {trafficDial: 0, endpoints: [{address: "::1"}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	f := got.Accelerator
	us, eu := f.Groups["us-east-1"], f.Groups["eu-west-1"]
	for name, ok := range map[string]bool{
		"affinity":      f.Listeners[0].ClientAffinity == "none" && f.Listeners[1].ClientAffinity == "source-ip",
		"check":         f.HealthCheck == EndpointCheck{"/api/v1/health", 0, 500 * time.Millisecond, 5 * time.Second, 3},
		"dials":         us.TrafficDial == 100 && eu.TrafficDial == 0,
		"weights":       us.Endpoints[0].Weight == 128 && us.Endpoints[1].Weight == 0,
		"ports":         us.Endpoints[0].Ports["8443"] == 9443 && us.Endpoints[1].HealthPort == 81,
		"other bounds":  f.IdleTimeout == 340*time.Second && f.MaxConnections == 10_000,
		"no front door": len(Default().Accelerator.Listeners) == 0,
	} {
		if !ok {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestEndpointsAreHostsWithAndWithoutPorts(t *testing.T) {
	for address, want := range map[string]struct {
		host string
		port int
	}{
		"10.0.0.7":           {"10.0.0.7", 0},
		"10.0.0.7:80":        {"10.0.0.7", 80},
		"gate.example.com":   {"gate.example.com", 0},
		"gate.example.com:1": {"gate.example.com", 1},
		"::1":                {"::1", 0},
		"[::1]:80":           {"::1", 80},
		":80":                {},
		"host:":              {},
		"host:0":             {},
		"host:65536":         {},
		"host:http":          {},
		"a:b:c":              {},
		"[::1":               {},
	} {
		host, port, err := FrontEndpoint{Address: address}.HostPort()
		if host != want.host || port != want.port || (err != nil) != (want.host == "") {
			t.Errorf("%s is %q and %d, %v", address, host, port, err)
		}
	}
}

func TestFaultsOfTheFrontDoorAreNamed(t *testing.T) {
	_, err := Parse("gco.yaml", []byte(`
accelerator:
  listeners: [{address: here}, {address: "127.0.0.1:1"}, {address: "127.0.0.1:1"}]
  healthCheck: {path: health, interval: 1ms}
  metrics: nowhere
  groups:
    US: {trafficDial: 101, endpoints: []}
    one: {endpoints: [{address: "a:b", weight: 256, ports: {x: 1, 8080: 0}}]}
`))
	want := []string{
		`accelerator.groups.US.endpoints: must not be empty; a weight of 0 takes an endpoint out`,
		`accelerator.groups.US.trafficDial: must be at most 100, is 101`,
		`accelerator.groups.US: "US" is not a region name (lower-case letters, digits and hyphens, at most 63)`,
		`accelerator.groups.one.endpoints[0].address: a host, or host and port, such as 10.0.0.7:8080 expected, found "a:b"`,
		`accelerator.groups.one.endpoints[0].ports.8080: a listener's port and the endpoint's expected, such as 8443: 9443`,
		`accelerator.groups.one.endpoints[0].ports.x: a listener's port and the endpoint's expected, such as 8443: 9443`,
		`accelerator.groups.one.endpoints[0].weight: must be at most 255, is 256`,
		`accelerator.healthCheck.interval: must be at least 100ms, is 1ms`,
		`accelerator.healthCheck.path: a path that begins with / expected, found "health"`,
		`accelerator.listeners[0].address: an address such as 127.0.0.1:8080 expected, found "here"`,
		`accelerator.listeners[2].address: duplicate of accelerator.listeners[1].address`,
		`accelerator.metrics: an address such as 127.0.0.1:8420 expected, found "nowhere"`,
	}
	got := messages(t, err)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("faults are %q;\nwant %q", got, want)
	}
	_, err = Parse("gco.yaml", []byte(`accelerator: {listeners: [{address: "127.0.0.1:1"}]}`))
	if got, want := messages(t, err), []string{`accelerator.groups: must not be empty where there are listeners`}; !slices.Equal(got, want) {
		t.Errorf("faults are %q; want %q", got, want)
	}
}
