package config

import (
	"net"
	"strconv"
	"testing"
)

// What is taken for an address can be connected to: it has a host, and a port
// where it names one.
func FuzzEndpointAddress(f *testing.F) {
	for _, seed := range []string{"10.0.0.7", "10.0.0.7:80", "gate.example.com:1", "::1", "[::1]:80", ":80", "host:", "host:65536", "a:b:c", "[::1", "[]:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		host, port, err := FrontEndpoint{Address: address}.HostPort()
		if err != nil || address == "" {
			return
		}
		if host == "" || port < 0 || port > 65535 {
			t.Fatalf("%q is %q and %d", address, host, port)
		}
		again, text, err := net.SplitHostPort(net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil || again != host || text != strconv.Itoa(port) {
			t.Errorf("%q is %q and %d, which no address has: %v", address, host, port, err)
		}
	})
}
