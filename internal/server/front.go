package server

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/gco-project/gco/api"
)

const requestIDHeader = "X-Request-Id"

// front is what every request meets first.
type front struct {
	server *Server
	mux    *http.ServeMux
	none   *routeMetrics
}

// ServeHTTP gives the request its ID and turns a panic into an answer.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := requestID(r)
	answer := &answerWriter{ResponseWriter: w}
	header := w.Header()
	header.Set(requestIDHeader, id)
	header.Set("X-Content-Type-Options", "nosniff")
	defer func() {
		if cause := recover(); cause != nil {
			f.recovered(answer, r, id, cause)
		}
	}()
	if f.server.forEndpoint(r) {
		f.server.infer(answer, r)
		return
	}
	if !cleanPath(r.URL.Path) {
		f.nowhere(answer, r)
		return
	}
	f.mux.ServeHTTP(answer, r)
}

// nowhere answers a request that no route is for.
func (f *front) nowhere(w http.ResponseWriter, r *http.Request) {
	p := nowhere(f.mux, r)
	f.none.observe(p.Status, 0)
	p.write(w)
}

// recovered logs a panic once. If the answer has begun, nothing but cutting
// the connection tells the client that it is not whole.
func (f *front) recovered(w *answerWriter, r *http.Request, id string, cause any) {
	if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	f.server.log.Error("a request panicked", "request", id, "method", r.Method, "path", r.URL.Path,
		"panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
	f.server.metrics.panics.Inc()
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	problemOf(fmt.Errorf("panic: %v", cause)).write(w)
}

// requestID takes the caller's, if it is harmless, or makes one.
func requestID(r *http.Request) string {
	id := r.Header.Get(requestIDHeader)
	if id != "" && len(id) <= 128 && printable(id) {
		return id
	}
	// rand.Read never fails.
	var random [8]byte
	_, _ = rand.Read(random[:])
	return hex.EncodeToString(random[:])
}

// printable tells whether text is ASCII without spaces and controls.
func printable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// cleanPath tells whether the mux would serve the path as it is, and not
// redirect to another one.
func cleanPath(p string) bool {
	if !strings.HasPrefix(p, "/") {
		return false
	}
	clean := path.Clean(p)
	return p == clean || p == clean+"/"
}

// serve runs a route.
func (s *Server) serve(r *route, w http.ResponseWriter, request *http.Request) {
	answer := w.(*answerWriter)
	c := &call{Server: s, w: answer, r: request, route: r, id: w.Header().Get(requestIDHeader)}
	start := s.clock.Now()
	defer func() { r.metrics.observe(answer.status, s.clock.Since(start)) }()
	err := s.authorize(c)
	if err == nil {
		err = r.serve(c)
	}
	if err == nil {
		return
	}
	p := problemOf(err)
	if p.Status >= 500 {
		s.logFailure(c, p, err)
	}
	if answer.status != 0 {
		// The answer has begun; it must not look whole.
		panic(http.ErrAbortHandler)
	}
	p.write(answer)
}

// logFailure is the one place where errors of requests are logged.
func (s *Server) logFailure(c *call, p *problem, err error) {
	level := slog.LevelError
	switch {
	case c.r.Context().Err() != nil:
		// Whoever asked has gone, as agents do when they have news.
		level = slog.LevelDebug
	case p.Status != http.StatusInternalServerError:
		level = slog.LevelWarn
	}
	s.log.Log(c.r.Context(), level, "a request failed", "request", c.id, "route", c.route.id,
		"status", p.Status, "who", c.who.name, "error", err)
}

// authorize finds who calls and whether they may: nobody may what the route's
// row does not name.
func (s *Server) authorize(c *call) error {
	if len(c.route.roles) == 0 {
		return nil
	}
	who, err := s.auth.principal(c.r)
	if err != nil {
		return err
	}
	c.who = who
	if !slices.Contains(c.route.roles, who.role) {
		return newProblem(api.ProblemForbidden, "role %s may not %s; this needs %s",
			who.role, strings.ToLower(c.route.summary), rolesText(c.route.roles))
	}
	return nil
}

func rolesText(roles []Role) string {
	texts := make([]string, len(roles))
	for i, role := range roles {
		texts[i] = string(role)
	}
	return strings.Join(texts, " or ")
}

// nowhere answers what the table does not have.
func nowhere(mux *http.ServeMux, r *http.Request) *problem {
	if !cleanPath(r.URL.Path) {
		return newProblem(api.ProblemNotFound, "there is nothing at this path; see /docs")
	}
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		probe := &http.Request{Method: method, URL: r.URL, Host: r.Host}
		if _, pattern := mux.Handler(probe); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		return newProblem(api.ProblemNotFound, "there is nothing at this path; see /docs")
	}
	list := strings.Join(allowed, ", ")
	return newProblem(api.ProblemMethod, "this path takes %s", list).with("Allow", list)
}
