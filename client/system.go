package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/gco-project/gco/api"
)

// Stats counts jobs.
func (c *Client) Stats(ctx context.Context) (api.Stats, error) {
	var stats api.Stats
	err := c.get(ctx, root+"/stats", nil, &stats)
	return stats, err
}

// Health says what works, check by check. Failed checks are no error.
func (c *Client) Health(ctx context.Context) (api.Health, error) {
	var health api.Health
	_, err := c.do(ctx, call{
		method: http.MethodGet, path: root + "/health", repeat: true, also: http.StatusServiceUnavailable,
	}, &health)
	return health, err
}

// Ready returns nil when the control plane takes requests. It asks once.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/readyz"}, nil)
	return err
}

// Tokens lists every token, by name.
func (c *Client) Tokens(ctx context.Context) (api.TokenList, error) {
	var list api.TokenList
	err := c.get(ctx, root+"/tokens", nil, &list)
	return list, err
}

// Token returns one token by its ID.
func (c *Client) Token(ctx context.Context, id string) (api.Token, error) {
	var token api.Token
	err := c.get(ctx, tokenPath(id), nil, &token)
	return token, err
}

// CreateToken makes a token. Its secret is in the answer and nowhere else.
func (c *Client) CreateToken(ctx context.Context, token api.NewToken) (api.CreatedToken, error) {
	var created api.CreatedToken
	err := c.post(ctx, root+"/tokens", token, &created)
	return created, err
}

// DeleteToken ends a token. Other servers may take it for a few seconds more.
func (c *Client) DeleteToken(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: tokenPath(id)}, nil)
	return err
}

func tokenPath(id string) string { return root + "/tokens/" + url.PathEscape(id) }
