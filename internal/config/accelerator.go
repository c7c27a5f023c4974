package config

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FrontDoor is what gco accelerator runs: listeners, and groups of endpoints by
// region.
type FrontDoor struct {
	Listeners      []FrontListener          `json:"listeners" doc:"Ports that take connections. Empty: there is no front door."`
	Groups         map[string]EndpointGroup `json:"groups" doc:"Endpoints by region."`
	HealthCheck    EndpointCheck            `json:"healthCheck" doc:"How endpoints are asked whether they are well: HTTP, where a status from 200 to 299 passes."`
	DialTimeout    time.Duration            `json:"dialTimeout" doc:"How long one endpoint may take to take a connection before another one is tried." minimum:"10ms" maximum:"1m"`
	IdleTimeout    time.Duration            `json:"idleTimeout" doc:"After how long a connection is ended over which nothing moves." minimum:"1s" maximum:"24h"`
	DrainTimeout   time.Duration            `json:"drainTimeout" doc:"How long open connections may go on at the end." minimum:"0s" maximum:"1h"`
	MaxConnections int                      `json:"maxConnections" doc:"Connections that may be open. More wait until one ends." minimum:"1" maximum:"1000000"`
	Metrics        string                   `json:"metrics" doc:"Address and port of /metrics and /healthz. Empty: off."`
}

// FrontListener is one port of the front door.
type FrontListener struct {
	Address        string `json:"address" doc:"Address and port." minLength:"1"`
	ClientAffinity string `json:"clientAffinity" doc:"source-ip sends all connections of a client's address to one endpoint." enum:"none,source-ip"`
}

func (l *FrontListener) setDefaults() { *l = FrontListener{ClientAffinity: "none"} }

// EndpointGroup is the endpoints of one region.
type EndpointGroup struct {
	Latency     time.Duration   `json:"latency" doc:"The way from here to the region: the nearest healthy one gets a connection." minimum:"0s" maximum:"1m"`
	TrafficDial float64         `json:"trafficDial" doc:"Percent of the connections that come to the group that it takes; the rest goes on to the next. Failover ignores it." minimum:"0" maximum:"100"`
	Endpoints   []FrontEndpoint `json:"endpoints" doc:"Where the region takes connections."`
}

func (g *EndpointGroup) setDefaults() { *g = EndpointGroup{TrafficDial: 100} }

// FrontEndpoint is one address behind the front door.
type FrontEndpoint struct {
	Address    string         `json:"address" doc:"Host, or host and port. Without a port it is the listener's." minLength:"1"`
	Weight     int            `json:"weight" doc:"Share within the group. 0 takes the endpoint out, of failover too." minimum:"0" maximum:"255"`
	Ports      map[string]int `json:"ports" doc:"Other ports for some listeners, by the listener's port."`
	HealthPort int            `json:"healthPort" doc:"Port of its health checks. 0: that of healthCheck." minimum:"0" maximum:"65535"`
}

func (e *FrontEndpoint) setDefaults() { *e = FrontEndpoint{Weight: 128} }

// EndpointCheck is how endpoints are asked whether they are well.
type EndpointCheck struct {
	Path      string        `json:"path" doc:"Path that is asked for." minLength:"1" pattern:"^/" patternDescription:"a path that begins with /"`
	Port      int           `json:"port" doc:"Port that is asked. 0: the one that takes the connections of the first listener." minimum:"0" maximum:"65535"`
	Interval  time.Duration `json:"interval" doc:"Time from one check of an endpoint to the next." minimum:"100ms" maximum:"5m"`
	Timeout   time.Duration `json:"timeout" doc:"How long an answer may take; at most interval." minimum:"10ms" maximum:"5m"`
	Threshold int           `json:"threshold" doc:"Checks in a row that have to contradict an endpoint's state to change it." minimum:"1" maximum:"10"`
}

func defaultFrontDoor() FrontDoor {
	return FrontDoor{
		HealthCheck:    EndpointCheck{Path: "/api/v1/health", Interval: 10 * time.Second, Timeout: 5 * time.Second, Threshold: 3},
		DialTimeout:    3 * time.Second,
		IdleTimeout:    340 * time.Second,
		DrainTimeout:   30 * time.Second,
		MaxConnections: 10_000,
	}
}

// HostPort is the endpoint's address in parts; port is 0 where there is none.
func (e FrontEndpoint) HostPort() (host string, port int, err error) {
	if net.ParseIP(e.Address) != nil || !strings.ContainsAny(e.Address, ":[]") {
		return e.Address, 0, nil
	}
	host, text, err := net.SplitHostPort(e.Address)
	if err == nil {
		port, err = portOf(text)
	}
	if err != nil || host == "" {
		return "", 0, fmt.Errorf("a host, or host and port, such as 10.0.0.7:8080 expected, found %q", e.Address)
	}
	return host, port, nil
}

// portOf reads the number of a port that can be connected to.
func portOf(text string) (int, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err == nil && port == 0 {
		err = strconv.ErrRange
	}
	return int(port), err
}

func (f FrontDoor) validate(path string) []Fault {
	var faults []Fault
	if len(f.Listeners) > 0 && len(f.Groups) == 0 {
		faults = append(faults, faultf(path+".groups", "must not be empty where there are listeners"))
	}
	seen := map[string]int{}
	for i, l := range f.Listeners {
		at := fmt.Sprintf("%s.listeners[%d].address", path, i)
		if _, _, err := net.SplitHostPort(l.Address); err != nil && l.Address != "" {
			faults = append(faults, faultf(at, "an address such as 127.0.0.1:8080 expected, found %q", l.Address))
		}
		if first, twice := seen[l.Address]; twice {
			faults = append(faults, faultf(at, "duplicate of %s.listeners[%d].address", path, first))
		}
		seen[l.Address] = i
	}
	for _, region := range slices.Sorted(maps.Keys(f.Groups)) {
		at := joinPath(path+".groups", region)
		if !regionName.MatchString(region) {
			faults = append(faults, faultf(at, "%q is not a region name (lower-case letters, digits and hyphens, at most 63)", region))
		}
		if len(f.Groups[region].Endpoints) == 0 {
			faults = append(faults, faultf(at+".endpoints", "must not be empty; a weight of 0 takes an endpoint out"))
		}
		for i, e := range f.Groups[region].Endpoints {
			faults = append(faults, e.faults(fmt.Sprintf("%s.endpoints[%d]", at, i))...)
		}
	}
	if f.Metrics != "" {
		if _, err := isLoopback(f.Metrics); err != nil {
			faults = append(faults, faultf(path+".metrics", "%v", err))
		}
	}
	return faults
}

func (e FrontEndpoint) faults(path string) []Fault {
	var faults []Fault
	if _, _, err := e.HostPort(); err != nil && e.Address != "" {
		faults = append(faults, faultf(path+".address", "%v", err))
	}
	for _, listener := range slices.Sorted(maps.Keys(e.Ports)) {
		if _, err := portOf(listener); err != nil || e.Ports[listener] < 1 || e.Ports[listener] > 65535 {
			faults = append(faults, faultf(joinPath(path+".ports", listener), "a listener's port and the endpoint's expected, such as 8443: 9443"))
		}
	}
	return faults
}
