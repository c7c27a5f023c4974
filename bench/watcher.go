package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"time"
)

// oneInSo is the share of events whose delay a watcher measures.
const oneInSo = 20

// seed makes the sums of all watchers comparable.
var seed = maphash.MakeSeed()

// watcher is a client that follows the stream and does as little as it can
// with each event, since so many of them run in one process. It keeps a sum of
// the cursors it saw: one too few, too many or out of its place shows.
type watcher struct {
	body io.ReadCloser
	// begin is the cursor at which its stream began; want is how many events it
	// waits for.
	begin  string
	want   int
	seen   int
	sum    uint64
	delays []time.Duration
}

// watchers share a transport that keeps nothing.
var watching = &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}

func watch(ctx context.Context, a *audience) (*watcher, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.server.Addr()+"/api/v1/events", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	response, err := watching.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("the answer is %s", response.Status)
	}
	return &watcher{body: response.Body, begin: response.Header.Get("Gco-Cursor"), want: a.events}, nil
}

// run reads until it has seen all events, or its stream ends.
func (w *watcher) run() {
	defer w.body.Close()
	lines := bufio.NewReaderSize(w.body, 16<<10)
	var cursor []byte
	for w.seen < w.want {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return
		}
		if id, ok := bytes.CutPrefix(line, []byte("id: ")); ok {
			cursor = append(cursor[:0], bytes.TrimSpace(id)...)
		} else if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			w.saw(cursor)
			if w.seen%oneInSo == 0 {
				w.measure(data)
			}
		}
	}
}

// saw adds an event to the sum.
func (w *watcher) saw(cursor []byte) {
	w.seen++
	w.sum = w.sum*31 + maphash.Bytes(seed, cursor)
}

// measure takes the time of an event that has just come.
func (w *watcher) measure(data []byte) {
	now := time.Now()
	_, rest, _ := bytes.Cut(data, []byte(`"time":"`))
	text, _, _ := bytes.Cut(rest, []byte(`"`))
	if at, err := time.Parse(time.RFC3339Nano, string(text)); err == nil {
		w.delays = append(w.delays, now.Sub(at))
	}
}
