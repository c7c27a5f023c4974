package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Invocation is a request to an endpoint.
type Invocation struct {
	Endpoint string
	Method   string
	// Path is the replica's, such as /v1/chat/completions, with its query.
	Path   string
	Header http.Header
	// Body is sent as it is; nil is none.
	Body io.Reader
}

// regionHeader is in every answer of a replica.
const regionHeader = "Gco-Region"

// Invoke sends a request to a replica of an endpoint. The answer is the
// replica's, whatever its status; its body must be closed. Where no replica
// answered, the error is an *Error. It is not repeated, and only ctx bounds it.
func (c *Client) Invoke(ctx context.Context, i Invocation) (*http.Response, error) {
	what := call{
		method: i.Method, path: "/inference/" + url.PathEscape(i.Endpoint) + "/" + strings.TrimPrefix(i.Path, "/"),
		header: i.Header, stream: i.Body,
	}
	request, err := c.request(ctx, what)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, unreachable(ctx, what, err)
	}
	if response.StatusCode >= http.StatusBadRequest && response.Header.Get(regionHeader) == "" {
		defer response.Body.Close()
		return nil, errorOf(what, response)
	}
	return response, nil
}

// MayInvoke tells whether a token may use an endpoint: nil is yes, and an
// *Error no. It is the token that is asked about that makes the call.
func (c *Client) MayInvoke(ctx context.Context, token, endpoint string) error {
	other := *c
	other.token, other.source = token, nil
	return other.get(ctx, "/api/v1/endpoints/"+url.PathEscape(endpoint)+"/access", nil, nil)
}
