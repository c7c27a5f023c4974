package client

import (
	"context"
	"io"
	"net/url"
	"strconv"
	"time"
)

// LogOptions selects a part of a job's logs.
type LogOptions struct {
	// Attempt is the one to read; 0 is the last.
	Attempt   int
	Container string
	Follow    bool
	// Tail is the number of last lines; 0 is all.
	Tail       int
	Since      time.Time
	Timestamps bool
	// Lost is called when logs that are followed broke off and the server does
	// not take them up again at once, Back when they go on after that; each may
	// be nil. Read calls them.
	Lost func(error)
	Back func()
}

func (o LogOptions) query() url.Values {
	query := url.Values{}
	set(query, "container", o.Container)
	for name, value := range map[string]int{"attempt": o.Attempt, "tail": o.Tail} {
		if value != 0 {
			query.Set(name, strconv.Itoa(value))
		}
	}
	for name, value := range map[string]bool{"follow": o.Follow, "timestamps": o.Timestamps} {
		if value {
			query.Set(name, "true")
		}
	}
	if !o.Since.IsZero() {
		query.Set("since", o.Since.UTC().Format(time.RFC3339Nano))
	}
	return query
}

// Logs is an open stream of a job's logs, as text. A Read that ends with
// io.ErrUnexpectedEOF was cut off: the region or the server went away. Logs
// that are followed go on by themselves where a connection broke, so that each
// line comes once.
type Logs struct {
	io.ReadCloser
	// Source is live, archived or partial: what it was at first.
	Source  string
	Attempt int
}

// Logs opens a job's logs: live from its region while it runs, from the
// archive afterwards. Close them.
func (c *Client) Logs(ctx context.Context, id string, options LogOptions) (*Logs, error) {
	ctx, cancel := context.WithCancel(ctx)
	f := &followedLogs{path: jobPath(id) + "/logs", options: options, sources: map[string]*logSource{}}
	f.link = link{client: c, ctx: ctx, cancel: cancel, lost: options.Lost, back: options.Back, passing: mayGoOn}
	if err := c.repeat(ctx, f.call(), f.connect); err != nil {
		cancel()
		return nil, err
	}
	header := f.response.Header
	attempt, _ := strconv.Atoi(header.Get("Gco-Attempt"))
	// The job may go on to another attempt while the connection is broken.
	f.options.Attempt = attempt
	return &Logs{ReadCloser: f, Source: header.Get("Gco-Logs"), Attempt: attempt}, nil
}
