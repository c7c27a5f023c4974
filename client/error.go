package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gco-project/gco/api"
)

// Error is an answer that is not a success.
type Error struct {
	Problem api.Problem
	// RetryAfter is when the server asks to come again; 0 if it does not say.
	RetryAfter time.Duration
	// RequestID finds the request in the server's log.
	RequestID string
}

// Error says what was wrong, with every fault.
func (e *Error) Error() string {
	text := e.Problem.Detail
	if text == "" {
		text = e.Problem.Title
	}
	for _, fault := range e.Problem.Errors {
		text += fmt.Sprintf("\n  %s: %s", fault.Field, fault.Message)
	}
	return text
}

// Unreachable says that no answer came.
type Unreachable struct {
	Method string
	Path   string
	Err    error
}

func (e *Unreachable) Error() string {
	return fmt.Sprintf("the control plane did not answer %s %s: %v", e.Method, e.Path, e.Err)
}

func (e *Unreachable) Unwrap() error { return e.Err }

// Is tells whether err is an answer with a problem of this type, one of the
// constants of package api.
func Is(err error, problemType string) bool {
	answer, ok := errors.AsType[*Error](err)
	return ok && answer.Problem.Type == problemType
}

// Status is the HTTP status of an *Error, and 0 for anything else.
func Status(err error) int {
	if answer, ok := errors.AsType[*Error](err); ok {
		return answer.Problem.Status
	}
	return 0
}

// errorOf reads a problem; what is not one (a proxy's page) is wrapped in one.
func errorOf(what call, response *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	e := &Error{RequestID: response.Header.Get("X-Request-Id")}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") ||
		json.Unmarshal(text, &e.Problem) != nil {
		e.Problem = api.Problem{
			Type: "about:blank", Title: http.StatusText(response.StatusCode),
			Detail: fmt.Sprintf("%s %s was answered with %s, and not by GCO's API", what.method, what.path, response.Status),
		}
	}
	e.Problem.Status = response.StatusCode
	return e
}
