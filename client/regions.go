package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/gco-project/gco/api"
)

// Regions lists every region, by name.
func (c *Client) Regions(ctx context.Context) (api.RegionList, error) {
	var list api.RegionList
	err := c.get(ctx, root+"/regions", nil, &list)
	return list, err
}

// Region returns one region with its capacity, node shape by node shape.
func (c *Client) Region(ctx context.Context, name string) (api.Region, error) {
	var region api.Region
	err := c.get(ctx, regionPath(name), nil, &region)
	return region, err
}

// Cordon keeps new work out of a region.
func (c *Client) Cordon(ctx context.Context, name string) (api.Region, error) {
	return c.setSchedulable(ctx, name, "cordon")
}

// Uncordon lets work into a region again, and ends a drain.
func (c *Client) Uncordon(ctx context.Context, name string) (api.Region, error) {
	return c.setSchedulable(ctx, name, "uncordon")
}

// Drain keeps new work out of a region and moves away what may move.
func (c *Client) Drain(ctx context.Context, name string) (api.Region, error) {
	return c.setSchedulable(ctx, name, "drain")
}

// WriteOff gives up a region whose inventory is awaited since a restore.
func (c *Client) WriteOff(ctx context.Context, name string) (api.Region, error) {
	return c.setSchedulable(ctx, name, "write-off")
}

func (c *Client) setSchedulable(ctx context.Context, name, verb string) (api.Region, error) {
	var region api.Region
	err := c.post(ctx, regionPath(name)+"/"+verb, nil, &region)
	return region, err
}

// Sync is the agent's one call. It is held back for up to WaitSeconds while
// there is nothing to say. It is repeated after a lost answer, with the same
// sequence: bound it with a deadline where time runs out, and count trust
// from before the call.
func (c *Client) Sync(ctx context.Context, region string, request api.SyncRequest) (api.SyncResponse, error) {
	what, err := jsonCall(regionPath(region)+"/sync", request)
	if err != nil {
		return api.SyncResponse{}, err
	}
	what.repeat = true
	what.timeout = c.timeout + time.Duration(request.WaitSeconds*float64(time.Second))
	var response api.SyncResponse
	_, err = c.do(ctx, what, &response)
	return response, err
}

// The content types of an answer to a request.
const (
	TypeText    = "text/plain"
	TypeJSON    = "application/json"
	TypeProblem = "application/problem+json"
)

// Answer streams a region's answer to a request that Sync carried: logs as
// text, pods and events as a JSON list, and anything that went wrong as a
// problem. It returns when the client has it all. An error with status 404 or
// 410 says that the client has gone, and is no fault.
func (c *Client) Answer(ctx context.Context, region string, request api.Request, contentType string, body io.Reader) error {
	at := *c
	if request.Server != "" {
		base, err := baseURL(request.Server)
		if err != nil {
			return fmt.Errorf("the request names its server: %w", err)
		}
		at.base = base
	}
	_, err := at.do(ctx, call{
		method: http.MethodPost, path: regionPath(region) + "/requests/" + url.PathEscape(request.ID),
		stream: body, contentType: contentType, timeout: -1,
	}, nil)
	return err
}

// ArchiveLogs ships the final logs of an attempt, in the line format of
// package joblog. When it returns nil, the control plane has them for good.
// partial says that some of them were lost before. Sending them twice is as
// good as once.
func (c *Client) ArchiveLogs(ctx context.Context, region string, attempt api.AttemptRef, partial bool, body io.Reader) error {
	what := call{
		method: http.MethodPut, timeout: -1, stream: body, contentType: TypeText,
		path: fmt.Sprintf("%s/attempts/%s/%d/logs", regionPath(region), url.PathEscape(attempt.JobID), attempt.Attempt),
	}
	if partial {
		what.query = url.Values{"partial": {"true"}}
	}
	_, err := c.do(ctx, what, nil)
	return err
}

func regionPath(name string) string { return root + "/regions/" + url.PathEscape(name) }
