package webhook

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"
)

// guard keeps deliveries away from what only this server can reach: other
// processes of its host, its network, the credentials that clouds hand out at
// link-local addresses. It looks at the address of each connection when that
// is made, after the name was resolved, so that no trick with names gets
// around it.
type guard struct {
	// networks are allowed although they are not public.
	networks []netip.Prefix
}

// notPublic are the networks that the special-purpose registries of IANA (RFC
// 6890 and those after it) do not call globally reachable, and those that lead
// to an IPv4 address inside: NAT64, 6to4, Teredo.
var notPublic = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:db8::/32",
	"2002::/16", "2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
)

// globalUnicast is all of IPv6 that was ever given out.
var globalUnicast = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// check says whether a connection to an address may be made, with TLS or
// without.
func (g guard) check(address netip.Addr, tls bool) error {
	address = address.Unmap()
	within := func(network netip.Prefix) bool { return network.Contains(address.WithZone("")) }
	switch {
	case slices.ContainsFunc(g.networks, within):
		return nil
	case address.Zone() != "" || slices.ContainsFunc(notPublic, within) || (address.Is6() && !within(globalUnicast)):
		return fmt.Errorf("the address %s is not public; an administrator can allow its network by webhooks.allowNetworks", address)
	case !tls:
		return fmt.Errorf("the address %s is public, and http would send events over it in the clear; use https", address)
	}
	return nil
}

// control is the check as a net.Dialer asks for it, of a resolved address.
func (g guard) control(tls bool) func(network, address string, c syscall.RawConn) error {
	return func(network, address string, _ syscall.RawConn) error {
		if network != "tcp4" && network != "tcp6" {
			return fmt.Errorf("a connection by %s is not allowed", network)
		}
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("reading the address of a connection: %w", err)
		}
		return g.check(at.Addr(), tls)
	}
}

const (
	connectTimeout   = 5 * time.Second
	handshakeTimeout = 5 * time.Second
	idleTimeout      = 30 * time.Second
	maxHeaderBytes   = 16 << 10
)

// client makes an HTTP client that the guard watches. It follows no redirect,
// asks for no compression (a small answer may hide a large one), and knows no
// proxy: that would connect where the guard cannot see.
func (g guard) client(tls bool, perHost int, resolver *net.Resolver) *http.Client {
	dialer := &net.Dialer{Timeout: connectTimeout, Control: g.control(tls), Resolver: resolver}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, Proxy: nil,
			TLSHandshakeTimeout: handshakeTimeout, MaxResponseHeaderBytes: maxHeaderBytes, DisableCompression: true,
			MaxIdleConns: 1024, MaxIdleConnsPerHost: perHost, IdleConnTimeout: idleTimeout,
			ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// maxURL bounds an address, in bytes.
const maxURL = 2048

// checkURL says what is wrong with the address of a webhook, as far as that
// can be told without looking up its name.
func (g guard) checkURL(text string) error {
	if len(text) > maxURL {
		return fmt.Errorf("has %d bytes; at most %d are allowed", len(text), maxURL)
	}
	at, err := url.Parse(text)
	switch {
	case err != nil:
		return fmt.Errorf("is no URL")
	case at.Scheme != "https" && at.Scheme != "http":
		return fmt.Errorf("should begin with https://")
	case at.Hostname() == "":
		return fmt.Errorf("has no host")
	case at.User != nil:
		return fmt.Errorf("holds a user or a password; deliveries are signed instead")
	case at.Fragment != "":
		return fmt.Errorf("has a fragment, which is never sent")
	case at.Scheme == "http" && len(g.networks) == 0:
		return fmt.Errorf("should begin with https://; http is for webhooks.allowNetworks alone")
	}
	if address, err := netip.ParseAddr(at.Hostname()); err == nil {
		return g.check(address, at.Scheme == "https")
	}
	return nil
}
