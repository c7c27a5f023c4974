package config

import (
	"net"
	"time"
)

// Gateway is a region's own door, part of gco agent, and what holds for
// requests to endpoints wherever they come in.
type Gateway struct {
	Listen         string        `json:"listen" doc:"Address and port of the region's gateway. Empty: the agent has none, and its endpoints cannot be reached. gco up chooses its own."`
	Address        string        `json:"address" doc:"Host and port under which the control plane reaches it. Empty: listen."`
	TLS            TLS           `json:"tls" doc:"Certificate of the gateway. The files are read again when they change."`
	AllowPlaintext bool          `json:"allowPlaintext" doc:"Serve without TLS on an address that is not loopback. Tokens then cross the network in the clear, unless something in front of the gateway encrypts."`
	Metrics        string        `json:"metrics" doc:"Address and port of the gateway's /metrics and /healthz. Empty: off."`
	Patience       time.Duration `json:"patience" doc:"How long a replica may take to begin its answer." minimum:"100ms" maximum:"24h"`
	WakeTimeout    time.Duration `json:"wakeTimeout" doc:"How long a request waits for an endpoint that has no replica yet." minimum:"100ms" maximum:"1h"`
	MaxWaiting     int           `json:"maxWaiting" doc:"Requests that may wait for one endpoint." minimum:"1" maximum:"100000"`
	DrainTimeout   time.Duration `json:"drainTimeout" doc:"How long open requests may go on at the end." minimum:"0s" maximum:"1h"`
}

func defaultGateway() Gateway {
	return Gateway{Patience: 10 * time.Minute, WakeTimeout: time.Minute, MaxWaiting: 1000, DrainTimeout: 30 * time.Second}
}

func (g Gateway) validate(path string) []Fault {
	var faults []Fault
	if (g.TLS.Cert == "") != (g.TLS.Key == "") {
		faults = append(faults, faultf(path+".tls", "cert and key are needed together"))
	}
	if g.Listen != "" {
		loopback, err := isLoopback(g.Listen)
		switch {
		case err != nil:
			faults = append(faults, faultf(path+".listen", "%v", err))
		case !loopback && !g.TLS.Enabled() && !g.AllowPlaintext:
			faults = append(faults, faultf(path+".listen", "%s is not loopback: set %[2]s.tls, or %[2]s.allowPlaintext where TLS is terminated in front of the gateway", g.Listen, path))
		}
	}
	if _, _, err := net.SplitHostPort(g.Address); err != nil && g.Address != "" {
		faults = append(faults, faultf(path+".address", "a host and port such as gateway.example.com:8443 expected, found %q", g.Address))
	}
	if g.Metrics != "" {
		if _, err := isLoopback(g.Metrics); err != nil {
			faults = append(faults, faultf(path+".metrics", "%v", err))
		}
	}
	return faults
}
