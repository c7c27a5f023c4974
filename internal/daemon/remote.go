package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/agent"
	"github.com/gco-project/gco/internal/runtime"
)

// remote is the control plane as an agent sees it, over HTTP.
type remote struct{ client *client.Client }

var _ agent.Server = remote{}

func (r remote) Sync(ctx context.Context, region string, request api.SyncRequest) (api.SyncResponse, error) {
	response, err := r.client.Sync(ctx, region, request)
	switch {
	case client.Is(err, api.ProblemStaleSession):
		err = fmt.Errorf("%w: %w", agent.ErrStaleSession, err)
	case client.Is(err, api.ProblemOtherCluster):
		err = fmt.Errorf("%w: %w", agent.ErrOtherCluster, err)
	}
	return response, err
}

func (r remote) ArchiveLogs(ctx context.Context, region string, attempt api.AttemptRef, lines io.Reader) error {
	err := r.client.ArchiveLogs(ctx, region, attempt, false, lines)
	if gone(err) {
		return fmt.Errorf("%w: %w", agent.ErrGone, err)
	}
	return err
}

func (r remote) Answer(ctx context.Context, region string, request api.Request, body io.Reader, refused error) error {
	contentType := client.TypeText
	switch {
	case refused != nil:
		contentType = client.TypeProblem
		text, err := json.Marshal(problemOf(refused))
		if err != nil {
			return fmt.Errorf("encoding a problem: %w", err)
		}
		body = bytes.NewReader(text)
	case request.Kind != "logs":
		contentType = client.TypeJSON
	}
	err := r.client.Answer(ctx, region, request, contentType, body)
	if gone(err) {
		return fmt.Errorf("%w: %w", agent.ErrGone, err)
	}
	return err
}

// gone tells whether nobody wants what was sent any more. Only the control
// plane can say so: a proxy without a route to it answers 404, too.
func gone(err error) bool {
	return client.Is(err, api.ProblemNotFound) || client.Is(err, api.ProblemGone)
}

// problemOf says why a region has no answer, as the server passes it on.
func problemOf(err error) api.Problem {
	if missing, ok := errors.AsType[*runtime.NoContainer](err); ok {
		return api.Problem{
			Type: api.ProblemNotFound, Title: "Not found", Status: http.StatusNotFound, Detail: missing.Error(),
		}
	}
	if errors.Is(err, runtime.ErrNotFound) {
		return api.Problem{
			Type: api.ProblemNotHeld, Title: "Not held", Status: http.StatusNotFound,
			Detail: "the region does not hold this attempt any more",
		}
	}
	return api.Problem{
		Type: api.ProblemInternal, Title: "The region could not answer", Status: http.StatusInternalServerError,
		Detail: err.Error(),
	}
}
