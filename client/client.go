// Package client is the typed HTTP client for package api. The command line,
// the agent and the server's own tests use it; it is the reference for
// clients in other languages. It knows no more than the API's documentation
// says, and keeps no state but its connections.
//
// Every method returns *Error for an answer that is not a success, and
// *Unreachable when there was none. What may be repeated without harm is
// repeated, with growing pauses: reads, submissions with an idempotency key,
// and Sync.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Defaults that options change.
const (
	defaultTimeout  = 30 * time.Second
	defaultAttempts = 4
	maxAnswerBytes  = 64 << 20
)

// Client speaks to one control plane. It is safe for concurrent use.
type Client struct {
	base     string
	token    string
	source   func(context.Context) (string, error)
	agent    string
	http     *http.Client
	timeout  time.Duration
	attempts int
	pause    pauses
}

// Option changes a Client as New makes it.
type Option func(*Client) error

// WithCA trusts the certificates of a PEM file, and only those.
func WithCA(path string) Option {
	return func(c *Client) error {
		pem, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("reading the CA file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("CA file %s holds no PEM certificate", path)
		}
		c.transport().TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		return nil
	}
}

// WithTimeout bounds each attempt of a call that is neither a stream nor a
// long poll. The default is 30 s.
func WithTimeout(timeout time.Duration) Option {
	return func(c *Client) error {
		c.timeout = timeout
		return nil
	}
}

// WithAttempts bounds how often a call is tried that may be repeated. The
// default is 4; 1 never repeats.
func WithAttempts(attempts int) Option {
	return func(c *Client) error {
		c.attempts = max(attempts, 1)
		return nil
	}
}

// WithUserAgent names the program in requests.
func WithUserAgent(name string) Option {
	return func(c *Client) error {
		c.agent = name
		return nil
	}
}

// WithTokenSource asks for the token of each request, in place of the one that
// New is given: for tokens that do not last.
func WithTokenSource(source func(context.Context) (string, error)) Option {
	return func(c *Client) error {
		c.source = source
		return nil
	}
}

// WithTransport replaces the transport; for tests that cut the wire.
func WithTransport(transport http.RoundTripper) Option {
	return func(c *Client) error {
		c.http.Transport = transport
		return nil
	}
}

// New returns a client for the control plane at addr, such as
// "http://127.0.0.1:8080"; without a scheme it is http for loopback
// addresses and https for others. An empty token is not sent.
func New(addr, token string, options ...Option) (*Client, error) {
	base, err := baseURL(addr)
	if err != nil {
		return nil, err
	}
	c := &Client{
		base: base, token: token, agent: "gco-client",
		http:    &http.Client{Transport: newTransport()},
		timeout: defaultTimeout, attempts: defaultAttempts, pause: defaultPauses,
	}
	for _, option := range options {
		if err := option(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Addr is the base URL of the control plane.
func (c *Client) Addr() string { return c.base }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// newTransport keeps as many connections as there may be callers: a submitter
// that has to dial for each job pays more for the dial than for the job.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		MaxIdleConns:          1024,
		MaxIdleConnsPerHost:   512,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
	}
}

func (c *Client) transport() *http.Transport {
	t, ok := c.http.Transport.(*http.Transport)
	if !ok {
		t = newTransport()
		c.http.Transport = t
	}
	return t
}

func baseURL(addr string) (string, error) {
	if !strings.Contains(addr, "://") {
		scheme := "https"
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			host = addr
		}
		if ip := net.ParseIP(strings.Trim(host, "[]")); host == "localhost" || ip != nil && ip.IsLoopback() {
			scheme = "http"
		}
		addr = scheme + "://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("%q is no address of a control plane; write it as https://HOST:PORT", addr)
	}
	return strings.TrimSuffix(u.Scheme+"://"+u.Host+u.Path, "/"), nil
}

// call is one request to make.
type call struct {
	method string
	path   string
	query  url.Values
	header http.Header
	// body is sent as it is, and contentType says what it is.
	body        []byte
	contentType string
	// stream is a body of unknown length; such a call is never repeated.
	stream io.Reader
	// repeat says that doing it twice is as good as once.
	repeat bool
	// also is a status of 300 or more whose body is an answer, not a problem.
	also int
	// timeout replaces the client's for each attempt; negative is none.
	timeout time.Duration
}

// jsonCall is a POST of a document.
func jsonCall(path string, body any) (call, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return call{}, fmt.Errorf("writing the request as JSON: %w", err)
	}
	return call{method: http.MethodPost, path: path, body: text, contentType: "application/json"}, nil
}

// get reads one JSON document.
func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	_, err := c.do(ctx, call{method: http.MethodGet, path: path, query: query, repeat: true}, into)
	return err
}

// post sends JSON (nil: nothing) and reads JSON.
func (c *Client) post(ctx context.Context, path string, body, into any) error {
	what := call{method: http.MethodPost, path: path}
	if body != nil {
		var err error
		if what, err = jsonCall(path, body); err != nil {
			return err
		}
	}
	_, err := c.do(ctx, what, into)
	return err
}

// do makes a call, repeats it where that is allowed, and decodes the answer.
func (c *Client) do(ctx context.Context, what call, into any) (*http.Response, error) {
	var answer *http.Response
	err := c.repeat(ctx, what, func() error {
		limit := what.timeout
		if limit == 0 {
			limit = c.timeout
		}
		tryCtx, cancel := ctx, context.CancelFunc(func() {})
		if limit > 0 {
			tryCtx, cancel = context.WithTimeoutCause(ctx, limit, errTooSlow)
		}
		defer cancel()
		response, err := c.open(tryCtx, what)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		answer = response
		return decode(tryCtx, what, response, into)
	})
	return answer, err
}

func decode(ctx context.Context, what call, response *http.Response, into any) error {
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes+1))
	if err != nil {
		return unreachable(ctx, what, err)
	}
	if len(text) > maxAnswerBytes {
		return fmt.Errorf("the answer to %s %s is over %d MiB", what.method, what.path, maxAnswerBytes>>20)
	}
	if into == nil || response.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading the answer to %s %s: %w", what.method, what.path, err)
	}
	return nil
}

// open makes one attempt. The answer is a success, and its body is open.
func (c *Client) open(ctx context.Context, what call) (*http.Response, error) {
	request, err := c.request(ctx, what)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, unreachable(ctx, what, err)
	}
	if response.StatusCode >= 300 && response.StatusCode != what.also {
		defer response.Body.Close()
		return nil, errorOf(what, response)
	}
	return response, nil
}

func (c *Client) request(ctx context.Context, what call) (*http.Request, error) {
	target := c.base + what.path
	if len(what.query) > 0 {
		target += "?" + what.query.Encode()
	}
	body := what.stream
	if body == nil && what.body != nil {
		body = bytes.NewReader(what.body)
	}
	request, err := http.NewRequestWithContext(ctx, what.method, target, body)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	maps.Copy(request.Header, what.header)
	if what.contentType != "" {
		request.Header.Set("Content-Type", what.contentType)
	}
	request.Header.Set("User-Agent", c.agent)
	token := c.token
	if c.source != nil {
		if token, err = c.source(ctx); err != nil {
			return nil, fmt.Errorf("finding the token: %w", err)
		}
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return request, nil
}

// errTooSlow ends one attempt, and not the call.
var errTooSlow = errors.New("no answer in time")

// unreachable keeps the caller's own cancellation apart from a server that
// does not answer.
func unreachable(ctx context.Context, what call, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errTooSlow) {
		err = cause
	} else if cause != nil {
		return fmt.Errorf("%s %s: %w", what.method, what.path, context.Cause(ctx))
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return &Unreachable{Method: what.method, Path: what.path, Err: err}
}
