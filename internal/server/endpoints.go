package server

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/serving"
	"github.com/gco-project/gco/internal/store"
)

var newEndpointShape = shapeOf[api.NewEndpoint]().withoutRequired()

// endpointsMark is the mark of cursors in the list of endpoints.
const endpointsMark = "endpoints"

// endpoint reads the endpoint in the path as it is now.
func (c *call) endpoint() (endpoint.Endpoint, error) {
	name := c.r.PathValue("name")
	e, err := c.store.Endpoint(c.r.Context(), name)
	if errors.Is(err, store.ErrNotFound) {
		return e, noEndpoint(name)
	}
	if err != nil {
		return e, fmt.Errorf("reading endpoint %s: %w", name, err)
	}
	return e, nil
}

func noEndpoint(name string) error {
	return newProblem(api.ProblemNotFound, "there is no endpoint %q", shorten([]byte(name)))
}

// readEndpoint reads and checks the body. name is what the path says; empty
// where it says nothing.
func (c *call) readEndpoint(name string) (string, endpoint.Spec, error) {
	var request api.NewEndpoint
	if _, err := c.contentType(); err != nil {
		return "", endpoint.Spec{}, err
	}
	var faults []job.Fault
	err := c.read(func(text []byte) (err error) {
		faults, err = decodeStrict(text, newEndpointShape, &request)
		return malformedBody(err)
	})
	if err != nil {
		return "", endpoint.Spec{}, err
	}
	switch {
	case name == "":
		faults = append(faults, endpoint.ValidateName(request.Name)...)
		name = request.Name
	case request.Name != "" && request.Name != name:
		faults = append(faults, job.Fault{Field: "name", Message: fmt.Sprintf("is %q, and the path says %q", shorten([]byte(request.Name)), shorten([]byte(name)))})
	}
	spec, wrong := endpointSpecOf(request.EndpointSpec)
	faults = append(faults, wrong...)
	told := map[string]bool{}
	for _, fault := range faults {
		told[fault.Field] = true
	}
	for _, fault := range spec.Validate() {
		if !told[fault.Field] {
			faults = append(faults, fault)
		}
	}
	if len(faults) > 0 {
		return "", endpoint.Spec{}, invalid(faults)
	}
	spec.Model, err = c.exactModel(spec.Model)
	return name, spec, err
}

func (c *call) createEndpoint() error {
	if err := c.mayEditEndpoints(); err != nil {
		return err
	}
	name, spec, err := c.readEndpoint("")
	if err != nil {
		return err
	}
	e, err := c.serving.Create(c.r.Context(), name, spec, c.who.name)
	if errors.Is(err, store.ErrConflict) {
		return newProblem(api.ProblemConflict, "there is an endpoint %q already; update it, or use another name", name)
	}
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", "/api/v1/endpoints/"+e.Name)
	return c.answerEndpoint(http.StatusCreated, e)
}

// mayEditEndpoints refuses tokens with a limit to namespaces: names are global.
func (c *call) mayEditEndpoints() error {
	if len(c.who.namespaces) > 0 {
		return newProblem(api.ProblemForbidden, "endpoints belong to no namespace, and this token is only for some; an admin, or a submitter of all namespaces, may change them")
	}
	return nil
}

// answerEndpoint answers how an endpoint stands, with its version as the ETag.
func (c *call) answerEndpoint(status int, e endpoint.Endpoint) error {
	standings, err := c.serving.Standing(c.r.Context(), []endpoint.Endpoint{e})
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", etag(e.Version))
	return c.json(status, endpointOnWire(standings[0], true))
}

func (c *call) showEndpoint() error {
	e, err := c.endpoint()
	if err != nil {
		return err
	}
	return c.answerEndpoint(http.StatusOK, e)
}

func (c *call) listEndpoints() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	limit := q.whole("limit", defaultLimit, 1, maxLimit)
	if err := q.err(); err != nil {
		return err
	}
	after := ""
	if cursor := q.text("cursor"); cursor != "" {
		mark, position, ok := readCursor(cursor)
		if !ok || mark != endpointsMark {
			return newProblem(api.ProblemBadCursor, "the cursor is not from this list; start without one")
		}
		after = position
	}
	// One more than a page tells whether there is another.
	page, err := c.store.Endpoints(c.r.Context(), after, limit+1)
	if err != nil {
		return fmt.Errorf("listing endpoints: %w", err)
	}
	standings, err := c.serving.Standing(c.r.Context(), page[:min(limit, len(page))])
	if err != nil {
		return err
	}
	list := api.EndpointList{Items: make([]api.Endpoint, len(standings))}
	for i, s := range standings {
		list.Items[i] = endpointOnWire(s, false)
	}
	if len(page) > limit {
		list.NextCursor = writeCursor(endpointsMark, page[limit-1].Name)
	}
	return c.json(http.StatusOK, list)
}

func (c *call) listEndpointRevisions() error {
	e, err := c.endpoint()
	if err != nil {
		return err
	}
	history := api.EndpointHistory{Items: make([]api.EndpointRevision, len(e.Revisions))}
	for i, r := range e.Revisions {
		history.Items[i] = api.EndpointRevision{
			Revision: r.Number, Spec: serving.ContainerOnWire(r.Container), CreatedAt: r.CreatedAt.UTC(), CreatedBy: r.CreatedBy, Failure: r.Failure,
			Trials: trialsOnWire(r.Trials),
		}
		switch {
		case r.Number == e.Revision:
			history.Items[i].Use = "serving"
		case e.Canary != nil && r.Number == e.Canary.Revision:
			history.Items[i].Use = "canary"
		}
	}
	return c.json(http.StatusOK, history)
}

// updateEndpoint replaces the spec. What says the same as the current one
// changes nothing, so that a repeated call does no harm.
func (c *call) updateEndpoint() error {
	if err := c.mayEditEndpoints(); err != nil {
		return err
	}
	_, spec, err := c.readEndpoint(c.r.PathValue("name"))
	if err != nil {
		return err
	}
	current, err := c.endpoint()
	if err != nil {
		return err
	}
	if !current.Deleting && current.Spec.Same(spec) {
		return c.answerEndpoint(http.StatusOK, current)
	}
	if len(c.r.Header.Values("If-Match")) == 0 {
		return newProblem(api.ProblemPreconditionRequired,
			"send If-Match with the ETag that the change is based on (now %s), or * to replace whatever there is", etag(current.Version))
	}
	return c.edit(http.StatusOK, func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) {
		return e.Update(spec, c.who.name, now)
	})
}

// edit makes one edit of the endpoint in the path, on condition of If-Match
// where there is one.
func (c *call) edit(status int, change func(*endpoint.Endpoint, time.Time) (endpoint.Endpoint, error)) error {
	if err := c.mayEditEndpoints(); err != nil {
		return err
	}
	current, err := c.endpoint()
	if err != nil {
		return err
	}
	base := int64(0)
	if given := c.r.Header.Values("If-Match"); len(given) > 0 {
		if !matches(given, current.Version) {
			return staleEndpoint(current)
		}
		if !matches(given, 0) {
			base = current.Version
		}
	}
	next, err := c.serving.Edit(c.r.Context(), current.Name, base, change)
	switch {
	case errors.Is(err, store.ErrConflict):
		return staleEndpoint(next)
	case errors.Is(err, store.ErrNotFound):
		return noEndpoint(current.Name)
	case errors.Is(err, endpoint.ErrDeleting), errors.Is(err, endpoint.ErrNoCanary), errors.Is(err, endpoint.ErrNoRevision), errors.Is(err, endpoint.ErrAutoscaled):
		return newProblem(api.ProblemNotPossible, "endpoint %q: %v", current.Name, err)
	case err != nil:
		return err
	}
	return c.answerEndpoint(status, next)
}

func staleEndpoint(current endpoint.Endpoint) error {
	return newProblem(api.ProblemPreconditionFailed,
		"endpoint %q was changed since it was read (version %d is of %s, by %s); read it again, and make the change on top of that",
		current.Name, current.Version, current.UpdatedAt.UTC().Format("2006-01-02 15:04:05"), current.UpdatedBy)
}

func (c *call) deleteEndpoint() error {
	return c.edit(http.StatusAccepted, func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) {
		if e.Deleting {
			return *e, nil
		}
		return e.Delete(c.who.name, now)
	})
}

func (c *call) startEndpoint() error { return c.setStopped(false) }
func (c *call) stopEndpoint() error  { return c.setStopped(true) }

func (c *call) setStopped(stopped bool) error {
	if err := c.noBody(); err != nil {
		return err
	}
	return c.edit(http.StatusOK, func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) {
		return e.SetStopped(stopped, c.who.name, now)
	})
}

var endpointScaleShape = shapeOf[api.EndpointScale]()

func (c *call) scaleEndpoint() error {
	var request api.EndpointScale
	if err := c.readJSON(endpointScaleShape, &request); err != nil {
		return err
	}
	if request.Replicas < 1 || request.Replicas > endpoint.MaxReplicas {
		return invalid([]job.Fault{{
			Field: "replicas", Message: fmt.Sprintf("%d is outside 1 to %d; to have none, stop the endpoint", request.Replicas, endpoint.MaxReplicas),
		}})
	}
	return c.edit(http.StatusOK, func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) {
		return e.Scale(request.Replicas, c.who.name, now)
	})
}

var endpointRollbackShape = shapeOf[api.EndpointRollback]().withoutRequired()

func (c *call) rollbackEndpoint() error {
	var request api.EndpointRollback
	if err := c.readJSON(endpointRollbackShape, &request); err != nil {
		return err
	}
	return c.edit(http.StatusOK, func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) {
		return e.Rollback(request.Revision, c.who.name, "", now)
	})
}
