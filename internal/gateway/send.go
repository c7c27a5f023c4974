package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// send says the request. A body that was not read yet is sent beside, since a
// replica may answer before it has all of it.
func (t *transfer) send() error {
	t.writeHead(t.wire.out, t.peer)
	if t.whole {
		_, _ = t.wire.out.Write(t.body)
		return t.wire.out.Flush()
	}
	if err := t.wire.out.Flush(); err != nil {
		return err
	}
	_ = http.NewResponseController(t.w).EnableFullDuplex()
	_ = t.wire.SetWriteDeadline(t.gateway.Clock.Now().Add(t.gateway.Patience))
	t.sending = make(chan struct{})
	go func() {
		defer close(t.sending)
		if t.sendErr = t.sendBody(); isRefusal(t.sendErr) {
			// Nobody need wait for an answer to half a body. One that a replica
			// gives because it wants no more is passed on.
			_ = t.wire.Close()
		}
	}()
	return nil
}

// stopSending makes the sender leave the client's connection alone.
func (t *transfer) stopSending() {
	select {
	case <-t.sending:
	default:
		_ = t.wire.Close()
		_ = http.NewResponseController(t.w).SetReadDeadline(longAgo)
	}
}

// sendBody copies the client's body, as far as the endpoint's limit allows.
func (t *transfer) sendBody() error {
	body := io.Reader(t.r.Body)
	limit := t.limits.BodyBytes
	if limit > 0 {
		body = io.LimitReader(body, limit+1)
	}
	buffer, _ := streams.Get().(*[streamBuffer]byte)
	defer streams.Put(buffer)
	sent, chunked := int64(0), t.r.ContentLength < 0
	for {
		n, err := body.Read(buffer[:])
		sent += int64(n)
		if limit > 0 && sent > limit {
			return tooLarge(limit)
		}
		if n > 0 {
			if err := t.sendPiece(buffer[:n], chunked); err != nil {
				return fmt.Errorf("sending the body to %s: %w", t.peer.what(), err)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errClient
		}
	}
	if chunked {
		_, _ = t.wire.out.WriteString("0\r\n\r\n")
	} else if sent < t.r.ContentLength {
		return errClient
	}
	return t.wire.out.Flush()
}

func (t *transfer) sendPiece(piece []byte, chunked bool) error {
	out := t.wire.out
	if chunked {
		_, _ = out.WriteString(strconv.FormatInt(int64(len(piece)), 16))
		_, _ = out.WriteString("\r\n")
	}
	_, _ = out.Write(piece)
	if chunked {
		_, _ = out.WriteString("\r\n")
	}
	return out.Flush()
}
