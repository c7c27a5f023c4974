package config

import (
	"fmt"
	"net"
	"net/netip"
)

// Server is the control plane's process: where it listens and keeps its state.
type Server struct {
	Listen         string `json:"listen" doc:"Address and port of the API. Loopback by default; another address needs tls, or allowPlaintext where something in front of the server terminates TLS." minLength:"1"`
	Dir            string `json:"dir" doc:"Directory of the database, the log archive and the first admin token. Empty: gco in the user's directory for state or caches for gco up; gco server needs one, here or by --dir."`
	Bucket         string `json:"bucket" doc:"Where archived logs and large manifests are kept: s3://BUCKET/PREFIX?region=REGION, or file:///DIR. Empty: in dir." pattern:"^(s3://[a-z0-9][a-z0-9.-]+[a-z0-9]([/?].*)?|file:///.*)$" patternDescription:"a URL such as s3://BUCKET/PREFIX?region=us-east-2 or file:///var/lib/gco/objects"`
	Models         string `json:"models" doc:"Where the model registry is kept: s3://BUCKET/PREFIX?region=REGION, or file:///DIR. Empty: in bucket, or without one in dir." pattern:"^(s3://[a-z0-9][a-z0-9.-]+[a-z0-9]([/?].*)?|file:///.*)$" patternDescription:"a URL such as s3://BUCKET/PREFIX?region=us-east-2 or file:///var/lib/gco/objects"`
	TLS            TLS    `json:"tls" doc:"Certificate of the API. The files are read again when they change."`
	AllowPlaintext bool   `json:"allowPlaintext" doc:"Serve without TLS on an address that is not loopback. Tokens then cross the network in the clear, unless something in front of the server encrypts."`
	Debug          string `json:"debug" doc:"Loopback address and port of Go's profiler (pprof). Empty: off."`
	Log            Log    `json:"log" doc:"The process's own log, on standard error."`
}

// TLS names the files of a certificate and its key, both PEM.
type TLS struct {
	Cert string `json:"cert" doc:"File of the certificate chain, PEM. Needs key."`
	Key  string `json:"key" doc:"File of the private key, PEM. Needs cert."`
}

// Enabled tells whether both files are named.
func (t TLS) Enabled() bool { return t.Cert != "" && t.Key != "" }

// Log is the process's own log.
type Log struct {
	Level  string `json:"level" doc:"Least severity that is written. auto: info, in gco up warn." enum:"auto,debug,info,warn,error"`
	Format string `json:"format" doc:"auto writes text to a terminal and JSON elsewhere." enum:"auto,text,json"`
}

func defaultServer() Server {
	return Server{
		Listen: "127.0.0.1:8420",
		Log:    Log{Level: "auto", Format: "auto"},
	}
}

func (s Server) validate(path string) []Fault {
	var faults []Fault
	if (s.TLS.Cert == "") != (s.TLS.Key == "") {
		faults = append(faults, faultf(path+".tls", "cert and key are needed together"))
	}
	if s.Listen != "" {
		loopback, err := isLoopback(s.Listen)
		switch {
		case err != nil:
			faults = append(faults, faultf(path+".listen", "%v", err))
		case !loopback && !s.TLS.Enabled() && !s.AllowPlaintext:
			faults = append(faults, faultf(path+".listen", "%s is not loopback: set %[2]s.tls, or %[2]s.allowPlaintext where TLS is terminated in front of the server", s.Listen, path))
		}
	}
	if s.Debug != "" {
		if loopback, err := isLoopback(s.Debug); err != nil {
			faults = append(faults, faultf(path+".debug", "%v", err))
		} else if !loopback {
			faults = append(faults, faultf(path+".debug", "%s is not loopback, and profiles show the process's memory", s.Debug))
		}
	}
	return faults
}

// OnLoopback tells whether the API is only reachable from this host.
func (s Server) OnLoopback() bool {
	loopback, err := isLoopback(s.Listen)
	return err == nil && loopback
}

// isLoopback tells whether an address of the form host:port is only reachable
// from this host.
func isLoopback(address string) (bool, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false, fmt.Errorf("an address such as 127.0.0.1:8420 expected, found %q", address)
	}
	if host == "localhost" {
		return true, nil
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback(), nil
}
