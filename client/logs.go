package client

import (
	"context"
	"io"
	"net/http"
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
// io.ErrUnexpectedEOF was cut off: the region or the server went away.
type Logs struct {
	io.ReadCloser
	// Source is live, archived or partial.
	Source  string
	Attempt int
}

// Logs opens a job's logs: live from its region while it runs, from the
// archive afterwards. Close them.
func (c *Client) Logs(ctx context.Context, id string, options LogOptions) (*Logs, error) {
	what := call{method: http.MethodGet, path: jobPath(id) + "/logs", query: options.query(), repeat: true}
	var response *http.Response
	err := c.repeat(ctx, what, func() (err error) {
		response, err = c.open(ctx, what)
		return err
	})
	if err != nil {
		return nil, err
	}
	attempt, _ := strconv.Atoi(response.Header.Get("Gco-Attempt"))
	return &Logs{ReadCloser: response.Body, Source: response.Header.Get("Gco-Logs"), Attempt: attempt}, nil
}
