package server

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/gateway"
)

// invokers may use endpoints.
var invokers = []Role{Admin, Submitter, Invoker}

// newGateway makes the control plane's own gateway, which has those of the
// regions behind it.
func (s *Server) newGateway(options gateway.Options) (err error) {
	options.Access, options.Clock, options.Log, options.Metrics = s, s.clock, s.log, s.registry
	s.gateway, err = gateway.New(options)
	return err
}

// Gateway is what serves requests for endpoints; nil where none are served.
// Whoever knows where replicas are gives it its table, and runs it.
func (s *Server) Gateway() *gateway.Gateway { return s.gateway }

// forEndpoint tells whether a request is for an endpoint.
func (s *Server) forEndpoint(r *http.Request) bool {
	return s.gateway != nil && strings.HasPrefix(r.URL.Path, gateway.Prefix)
}

// infer serves a request for an endpoint. It may take as long as a replica
// takes, and ends when the server does.
func (s *Server) infer(w *answerWriter, r *http.Request) {
	controller := http.NewResponseController(w)
	_ = controller.SetReadDeadline(time.Time{})
	_ = controller.SetWriteDeadline(time.Time{})
	ctx, stop := s.untilStop(r.Context())
	defer stop()
	start := s.clock.Now()
	defer func() { s.inferred.observe(w.status, s.clock.Since(start)) }()
	s.gateway.ServeHTTP(w, r.WithContext(ctx))
}

// Allow tells who may use an endpoint, for the gateway.
func (s *Server) Allow(ctx context.Context, authorization, endpoint string) error {
	r := (&http.Request{Header: http.Header{}}).WithContext(ctx)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	who, err := s.auth.principal(r)
	if err == nil {
		err = who.mayInvoke(endpoint)
	}
	if err == nil {
		return nil
	}
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError {
		return err
	}
	return &gateway.Refusal{Problem: p.Problem, Challenge: p.header.Get("WWW-Authenticate")}
}

// mayInvoke tells whether the principal may use an endpoint.
func (p principal) mayInvoke(endpoint string) error {
	if !slices.Contains(invokers, p.role) {
		return newProblem(api.ProblemForbidden, "role %s may not use endpoints; this needs %s", p.role, rolesText(invokers))
	}
	if p.role == Invoker && len(p.endpoints) > 0 && !slices.Contains(p.endpoints, endpoint) {
		return newProblem(api.ProblemForbidden, "this token is not for the endpoint %q", shorten([]byte(endpoint)))
	}
	return nil
}

// accessRoutes answer the gateways of regions.
func (s *Server) accessRoutes() []*route {
	return []*route{{
		id: "mayInvoke", method: get, path: "/api/v1/endpoints/{name}/access", tag: "endpoints", summary: "Use an endpoint",
		text: "Tells whether the token of the request may use an endpoint. The gateways of regions ask it, with the token that they were shown. " +
			"It does not tell whether there is such an endpoint.",
		roles: invokers, params: []param{pathParam("name", "The name of the endpoint.")},
		answers: []answer{{status: http.StatusNoContent, text: "It may."}}, serve: (*call).access,
	}}
}

func (c *call) access() error {
	if err := c.who.mayInvoke(c.r.PathValue("name")); err != nil {
		return err
	}
	return c.nothing()
}
