package gateway

import (
	"bufio"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

const (
	// viaHeader names the gateway that passed a request on. Whoever gets it
	// serves it or says that it cannot; only the control plane passes on once
	// more.
	viaHeader = "Gco-Via"
	// notBegunHeader is in the answer of a gateway that has begun nothing.
	notBegunHeader = "Gco-Not-Begun"
	// regionHeader and revisionHeader say who answered.
	regionHeader   = "Gco-Region"
	revisionHeader = "Gco-Revision"
)

// ofConnection tells whether a header speaks of one connection only, or is
// written anew for each (RFC 9110, section 7.6.1).
func ofConnection(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// named tells whether a header is named by the header Connection.
func namedByConnection(connection []string, name string) bool {
	return len(connection) > 0 && httpguts.HeaderValuesContainsToken(connection, name)
}

// upgradeOf is the protocol that a request asks to change to; empty is none.
func upgradeOf(header http.Header) string {
	if !namedByConnection(header["Connection"], "Upgrade") {
		return ""
	}
	return header.Get("Upgrade")
}

// writeHead writes the first part of a request to a peer.
func (x *exchange) writeHead(out *bufio.Writer, p *peer) {
	r := x.r
	target := x.target
	if p.relay {
		target = r.URL.RequestURI()
	}
	_, _ = out.WriteString(r.Method)
	_ = out.WriteByte(' ')
	_, _ = out.WriteString(target)
	_, _ = out.WriteString(" HTTP/1.1\r\nHost: ")
	_, _ = out.WriteString(r.Host)
	_, _ = out.WriteString("\r\n")
	connection := r.Header["Connection"]
	for name, values := range r.Header {
		if ofConnection(name) || namedByConnection(connection, name) || x.leftOut(name, p) {
			continue
		}
		for _, value := range values {
			writeField(out, name, value)
		}
	}
	x.writeForwarded(out)
	if p.relay && x.via != "" {
		writeField(out, viaHeader, x.via)
	}
	if protocol := upgradeOf(r.Header); protocol != "" {
		writeField(out, "Connection", "Upgrade")
		writeField(out, "Upgrade", protocol)
	}
	switch length := x.length(); {
	case length > 0 || length == 0 && expectsBody(r.Method):
		writeField(out, "Content-Length", strconv.FormatInt(length, 10))
	case length < 0:
		writeField(out, "Transfer-Encoding", "chunked")
	}
	_, _ = out.WriteString("\r\n")
}

// length of the body that is sent; -1 is not known.
func (x *exchange) length() int64 {
	if x.whole {
		return int64(len(x.body))
	}
	return x.r.ContentLength
}

func expectsBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// leftOut tells whether a header is not passed on, or is written by the gateway
// itself.
func (x *exchange) leftOut(name string, p *peer) bool {
	switch name {
	case "Content-Length", "Expect", viaHeader, "X-Forwarded-For":
		return true
	case "Authorization":
		return !x.keepToken && !p.relay
	case "X-Forwarded-Proto", "X-Forwarded-Host":
		return false
	}
	return false
}

// writeForwarded says who asked.
func (x *exchange) writeForwarded(out *bufio.Writer) {
	client, _, err := net.SplitHostPort(x.r.RemoteAddr)
	if err == nil {
		_, _ = out.WriteString("X-Forwarded-For: ")
		for _, before := range x.r.Header["X-Forwarded-For"] {
			_, _ = out.WriteString(before)
			_, _ = out.WriteString(", ")
		}
		_, _ = out.WriteString(client)
		_, _ = out.WriteString("\r\n")
	}
	if x.r.Header["X-Forwarded-Proto"] == nil {
		proto := "http"
		if x.r.TLS != nil {
			proto = "https"
		}
		writeField(out, "X-Forwarded-Proto", proto)
	}
	if x.r.Header["X-Forwarded-Host"] == nil {
		writeField(out, "X-Forwarded-Host", x.r.Host)
	}
}

func writeField(out *bufio.Writer, name, value string) {
	_, _ = out.WriteString(name)
	_, _ = out.WriteString(": ")
	if strings.ContainsAny(value, "\r\n") {
		value = strings.NewReplacer("\r", " ", "\n", " ").Replace(value)
	}
	_, _ = out.WriteString(value)
	_, _ = out.WriteString("\r\n")
}

// passHeaders gives the client the headers of an answer.
func (x *exchange) passHeaders(response *http.Response, p *peer) {
	from := response.Header
	connection := from["Connection"]
	for name := range from {
		if ofConnection(name) || namedByConnection(connection, name) {
			delete(from, name)
		}
	}
	if !p.relay && x.gateway.Region != "" {
		from[regionHeader] = x.gateway.ownName
		from[revisionHeader] = []string{strconv.Itoa(p.key.revision)}
	}
	if a, ours := x.w.(*answer); ours {
		a.header = from
		return
	}
	maps.Copy(x.w.Header(), from)
}
