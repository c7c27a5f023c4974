package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/gco-project/gco/api"
)

// EventFilter selects events. Zero fields do not filter.
type EventFilter struct {
	Namespace string
	// Job is the ID of one job.
	Job string
	// Types are exact, such as "job.running", or have one "*", such as "job.*"
	// and "*.failed".
	Types []string
	// After is the Cursor of the last event seen; it goes before Oldest.
	After string
	// Oldest starts with the oldest event that is kept, and not with the next
	// one to happen.
	Oldest bool
	// Once ends the stream when everything that has happened is sent.
	Once bool
	// Lost is called when an open stream broke and the server does not take
	// it up again at once, Back when it goes on after that; each may be nil.
	// Next calls them.
	Lost func(error)
	Back func()
}

// ErrSlow says that the server cut the stream off because it was read too
// slowly. Events can be opened again after the last Cursor.
var ErrSlow = errors.New("the event stream was cut off: it was read too slowly")

// Events is an open stream of events. It goes on by itself where a
// connection broke, so each event is seen once and none is left out.
type Events struct {
	link
	filter EventFilter
	body   io.ReadCloser
	lines  *bufio.Reader
}

// Events opens the stream of what happens to jobs and regions. The context
// bounds the whole stream. Close it.
func (c *Client) Events(ctx context.Context, filter EventFilter) (*Events, error) {
	ctx, cancel := context.WithCancel(ctx)
	e := &Events{filter: filter}
	e.link = link{client: c, ctx: ctx, cancel: cancel, lost: filter.Lost, back: filter.Back, passing: passing}
	if err := c.repeat(ctx, e.call(), e.connect); err != nil {
		cancel()
		return nil, err
	}
	return e, nil
}

// Next waits for the next event. io.EOF ends a stream that was opened with
// Once; any other error is final, too.
func (e *Events) Next() (api.Event, error) {
	for {
		event, err := e.read()
		if err == nil {
			e.failures = 0
			return event, nil
		}
		if errors.Is(err, ErrSlow) || errors.Is(err, io.EOF) || e.ctx.Err() != nil {
			return api.Event{}, err
		}
		e.body.Close()
		if err := e.again(err, e.connect); err != nil {
			return api.Event{}, err
		}
	}
}

// Cursor is where the stream is; EventFilter.After goes on from there.
func (e *Events) Cursor() string { return e.filter.After }

// Close ends the stream; a Next that waits returns.
func (e *Events) Close() error {
	e.cancel()
	return e.body.Close()
}

func (e *Events) call() call {
	query := url.Values{}
	set(query, "namespace", e.filter.Namespace)
	set(query, "job", e.filter.Job)
	for _, t := range e.filter.Types {
		query.Add("type", t)
	}
	if e.filter.Oldest {
		query.Set("from", "oldest")
	}
	if e.filter.Once {
		query.Set("follow", "false")
	}
	what := call{method: http.MethodGet, path: root + "/events", query: query, repeat: true}
	what.header = http.Header{"Accept": {"text/event-stream"}}
	if e.filter.After != "" {
		what.header.Set("Last-Event-ID", e.filter.After)
	}
	return what
}

func (e *Events) connect() error {
	response, err := e.client.open(e.ctx, e.call())
	if err != nil {
		return err
	}
	// Without this a stream that broke before its first event would go on
	// from a later "now" than it began with.
	if at := response.Header.Get("Gco-Cursor"); e.filter.After == "" && at != "" {
		e.filter.After = at
	}
	e.body, e.lines = response.Body, newLines(response.Body)
	return nil
}

func newLines(from io.Reader) *bufio.Reader { return bufio.NewReader(from) }

// read parses one event of the stream; comments are heartbeats.
func (e *Events) read() (api.Event, error) {
	var id, name string
	var data strings.Builder
	for {
		line, err := e.lines.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) && !e.filter.Once {
				err = io.ErrUnexpectedEOF
			}
			return api.Event{}, err
		}
		line = strings.TrimRight(line, "\r\n")
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && data.Len() > 0:
			return e.event(id, name, data.String())
		case line == "" && id != "":
			// How far the stream has come, without an event.
			e.filter.After, id = id, ""
		case field == "id":
			id = value
		case field == "event":
			name = value
		case field == "data":
			data.WriteString(value)
		}
	}
}

func (e *Events) event(id, name, data string) (api.Event, error) {
	switch name {
	case "gco.slow":
		return api.Event{}, ErrSlow
	case "gco.bye":
		return api.Event{}, io.ErrUnexpectedEOF
	}
	var event api.Event
	if err := json.Unmarshal([]byte(data), &event); err != nil {
		return api.Event{}, fmt.Errorf("reading an event: %w", err)
	}
	if id != "" {
		e.filter.After = id
	}
	return event, nil
}
