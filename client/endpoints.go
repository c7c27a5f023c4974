package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gco-project/gco/api"
)

// Endpoints returns one page of endpoints by name, without their copies. An
// empty cursor is the first page, a limit of 0 the server's default.
func (c *Client) Endpoints(ctx context.Context, limit int, cursor string) (api.EndpointList, error) {
	query := url.Values{}
	set(query, "cursor", cursor)
	if limit != 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	var list api.EndpointList
	err := c.get(ctx, root+"/endpoints", query, &list)
	return list, err
}

// AllEndpoints goes through all pages. It ends after the first error.
func (c *Client) AllEndpoints(ctx context.Context) iter.Seq2[api.Endpoint, error] {
	return func(yield func(api.Endpoint, error) bool) {
		for cursor := ""; ; {
			page, err := c.Endpoints(ctx, 0, cursor)
			if err != nil {
				yield(api.Endpoint{}, err)
				return
			}
			for _, e := range page.Items {
				if !yield(e, nil) {
					return
				}
			}
			if cursor = page.NextCursor; cursor == "" {
				return
			}
		}
	}
}

// Endpoint returns one endpoint with its copies.
func (c *Client) Endpoint(ctx context.Context, name string) (api.Endpoint, error) {
	var e api.Endpoint
	err := c.get(ctx, endpointPath(name), nil, &e)
	return e, err
}

// EndpointRevisions returns the revisions that are remembered, newest first.
func (c *Client) EndpointRevisions(ctx context.Context, name string) (api.EndpointHistory, error) {
	var history api.EndpointHistory
	err := c.get(ctx, endpointPath(name)+"/revisions", nil, &history)
	return history, err
}

// CreateEndpoint stores a new endpoint; 409 when the name is taken.
func (c *Client) CreateEndpoint(ctx context.Context, e api.NewEndpoint) (api.Endpoint, error) {
	var created api.Endpoint
	err := c.post(ctx, root+"/endpoints", e, &created)
	return created, err
}

// UpdateEndpoint replaces the spec of an endpoint; 412 when ifMatch (see
// IfVersion) does not hold. It is repeated when an answer is lost: a spec that
// says the same as the current one changes nothing.
func (c *Client) UpdateEndpoint(ctx context.Context, e api.NewEndpoint, ifMatch string) (api.Endpoint, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return api.Endpoint{}, fmt.Errorf("writing the request as JSON: %w", err)
	}
	what := call{
		method: http.MethodPut, path: endpointPath(e.Name), header: ifMatchHeader(ifMatch),
		body: text, contentType: "application/json", repeat: true,
	}
	var updated api.Endpoint
	_, err = c.do(ctx, what, &updated)
	return updated, err
}

// DeleteEndpoint asks for the end of an endpoint. An empty ifMatch, here and
// below, changes whatever there is.
func (c *Client) DeleteEndpoint(ctx context.Context, name, ifMatch string) (api.Endpoint, error) {
	var e api.Endpoint
	_, err := c.do(ctx, call{method: http.MethodDelete, path: endpointPath(name), header: ifMatchHeader(ifMatch)}, &e)
	return e, err
}

// StartEndpoint ends a stop.
func (c *Client) StartEndpoint(ctx context.Context, name, ifMatch string) (api.Endpoint, error) {
	return c.endpointVerb(ctx, name, "start", ifMatch, nil)
}

// StopEndpoint takes an endpoint's replicas away and keeps its spec.
func (c *Client) StopEndpoint(ctx context.Context, name, ifMatch string) (api.Endpoint, error) {
	return c.endpointVerb(ctx, name, "stop", ifMatch, nil)
}

// ScaleEndpoint sets the number of replicas over all regions.
func (c *Client) ScaleEndpoint(ctx context.Context, name string, replicas int, ifMatch string) (api.Endpoint, error) {
	return c.endpointVerb(ctx, name, "scale", ifMatch, api.EndpointScale{Replicas: replicas})
}

// RollbackEndpoint goes back to a revision; 0 is the one before.
func (c *Client) RollbackEndpoint(ctx context.Context, name string, revision int, ifMatch string) (api.Endpoint, error) {
	return c.endpointVerb(ctx, name, "rollback", ifMatch, api.EndpointRollback{Revision: revision})
}

// WeighCanary gives the revision on trial another share of the requests, in
// percent.
func (c *Client) WeighCanary(ctx context.Context, name string, weight int, ifMatch string) (api.Endpoint, error) {
	return c.endpointVerb(ctx, name, "canary", ifMatch, api.EndpointWeight{Weight: weight})
}

// PromoteCanary lets the revision on trial serve.
func (c *Client) PromoteCanary(ctx context.Context, name, ifMatch string) (api.Endpoint, error) {
	return c.endpointVerb(ctx, name, "promote", ifMatch, nil)
}

// endpointVerb changes an endpoint; body is nil where there is none.
func (c *Client) endpointVerb(ctx context.Context, name, verb, ifMatch string, body any) (api.Endpoint, error) {
	what := call{method: http.MethodPost, path: endpointPath(name) + "/" + verb, header: ifMatchHeader(ifMatch)}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return api.Endpoint{}, fmt.Errorf("writing the request as JSON: %w", err)
		}
		what.body, what.contentType = text, "application/json"
	}
	var e api.Endpoint
	_, err := c.do(ctx, what, &e)
	return e, err
}

func endpointPath(name string) string { return root + "/endpoints/" + url.PathEscape(name) }
