package gateway

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answer is the http.ResponseWriter of a [Door].
type answer struct {
	*session

	header  http.Header
	status  int
	request *http.Request
	// chunked bodies have no length of their own; bare ones have none at all.
	chunked, bare bool
	// left is how much of a body with a length is to come; -1 is not known.
	left     int64
	last     bool
	hijacked bool
}

// Header is what goes out with the status.
func (a *answer) Header() http.Header {
	if a.header == nil {
		a.header = http.Header{}
	}
	return a.header
}

// WriteHeader begins the answer.
func (a *answer) WriteHeader(status int) {
	if a.status != 0 || a.hijacked {
		return
	}
	a.status = status
	a.frame()
	out := a.out
	_, _ = out.WriteString("HTTP/1.1 ")
	_, _ = out.WriteString(strconv.Itoa(status))
	_ = out.WriteByte(' ')
	_, _ = out.WriteString(http.StatusText(status))
	_, _ = out.WriteString("\r\n")
	dated := false
	for name, values := range a.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			continue
		}
		dated = dated || name == "Date"
		for _, value := range values {
			writeField(out, name, value)
		}
	}
	if !dated {
		writeField(out, "Date", a.door.clock.Now().UTC().Format(http.TimeFormat))
	}
	if a.chunked {
		_, _ = out.WriteString("Transfer-Encoding: chunked\r\n")
	}
	if a.last {
		_, _ = out.WriteString("Connection: close\r\n")
	}
	_, _ = out.WriteString("\r\n")
}

// frame decides how the end of the body is told.
func (a *answer) frame() {
	a.left = -1
	if length := a.header["Content-Length"]; len(length) > 0 {
		if n, err := strconv.ParseInt(length[0], 10, 64); err == nil && n >= 0 {
			a.left = n
		} else {
			delete(a.header, "Content-Length")
		}
	}
	delete(a.header, "Transfer-Encoding")
	switch {
	case a.status < http.StatusOK, a.status == http.StatusNoContent, a.status == http.StatusNotModified, a.request.Method == http.MethodHead:
		a.bare = true
	case a.left >= 0:
	case a.request.ProtoAtLeast(1, 1):
		a.chunked = true
	default:
		a.last = true
	}
	a.last = a.last || a.request.Close || !a.request.ProtoAtLeast(1, 1) || a.door.ending.Load()
}

// errLength says that a body is not as long as its header says.
var errLength = errors.New("the body is not as long as Content-Length says")

// Write sends a piece of the body.
func (a *answer) Write(p []byte) (int, error) {
	if a.hijacked {
		return 0, http.ErrHijacked
	}
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.bare {
		return len(p), nil
	}
	a.armWrite()
	if !a.chunked {
		if a.left >= 0 {
			if int64(len(p)) > a.left {
				return 0, errLength
			}
			a.left -= int64(len(p))
		}
		return a.out.Write(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	_, _ = a.out.WriteString(strconv.FormatInt(int64(len(p)), 16))
	_, _ = a.out.WriteString("\r\n")
	n, _ := a.out.Write(p)
	_, err := a.out.WriteString("\r\n")
	return n, err
}

// FlushError sends what was written so far.
func (a *answer) FlushError() error {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	a.armWrite()
	return a.out.Flush()
}

// finish ends the answer. The connection takes another request unless this
// returns false.
func (a *answer) finish() bool {
	if a.hijacked {
		return false
	}
	if a.status == 0 {
		a.Header()["Content-Length"] = []string{"0"}
		a.WriteHeader(http.StatusOK)
	}
	if a.chunked && !a.bare {
		_, _ = a.out.WriteString("0\r\n")
		for name, values := range a.header {
			trailer, is := strings.CutPrefix(name, http.TrailerPrefix)
			for _, value := range values {
				if is {
					writeField(a.out, trailer, value)
				}
			}
		}
		_, _ = a.out.WriteString("\r\n")
	}
	err := a.out.Flush()
	return err == nil && !a.last && (a.bare || a.left <= 0)
}

// Hijack gives the connection away.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if a.hijacked || a.status != 0 {
		return nil, nil, http.ErrHijacked
	}
	a.hijacked = true
	a.in.limit = noLimit
	return a.conn, bufio.NewReadWriter(a.reader, a.out), nil
}

// EnableFullDuplex says that reading and writing may overlap, as they may.
func (a *answer) EnableFullDuplex() error { return nil }

// SetReadDeadline bounds the reading of the body. The connection takes no other
// request afterwards.
func (a *answer) SetReadDeadline(t time.Time) error {
	a.broken.Store(true)
	return a.conn.SetReadDeadline(t)
}
