package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// tunnel joins client and replica once they speak another protocol, such as
// WebSocket, until both have said that they are done or one breaks off.
func (t *transfer) tunnel(response *http.Response) error {
	client, buffered, err := http.NewResponseController(t.w).Hijack()
	if err != nil {
		return fmt.Errorf("changing the protocol: %w", err)
	}
	t.began = true
	defer client.Close()
	_ = client.SetDeadline(time.Time{})
	_ = t.wire.SetDeadline(time.Time{})
	if err := writeSwitch(buffered.Writer, response); err != nil {
		return fmt.Errorf("%w: %w", errCut, err)
	}
	var group sync.WaitGroup
	group.Go(func() { join(t.wire.Conn, client, buffered.Reader) })
	join(client, t.wire.Conn, t.wire.in)
	group.Wait()
	return nil
}

// writeSwitch writes the head of the answer that changes the protocol.
func writeSwitch(out *bufio.Writer, response *http.Response) error {
	_, _ = out.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	for name, values := range response.Header {
		if ofConnection(name) && name != "Upgrade" && name != "Connection" {
			continue
		}
		for _, value := range values {
			writeField(out, name, value)
		}
	}
	_, _ = out.WriteString("\r\n")
	return out.Flush()
}

// join copies one way to its end, and passes that on.
func join(to, from net.Conn, buffered *bufio.Reader) {
	_, err := io.CopyN(to, buffered, int64(buffered.Buffered()))
	if err == nil {
		_, err = io.Copy(to, from)
	}
	half, can := to.(interface{ CloseWrite() error })
	if err == nil && can {
		if err = half.CloseWrite(); err == nil {
			return
		}
	}
	if err != nil || !can {
		errs := errors.Join(to.Close(), from.Close())
		_ = errs
	}
}
