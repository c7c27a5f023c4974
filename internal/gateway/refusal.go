package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/gco-project/gco/api"
)

// Refusal is an answer that no replica gave.
type Refusal struct {
	api.Problem
	// RetryAfter is in seconds; 0 says nothing.
	RetryAfter int
	// Challenge is the header WWW-Authenticate; empty is none.
	Challenge string
	// notReady tells the gateway that sent the request that it may try another
	// region: nothing was begun here.
	notReady bool
}

// Error tells what is wrong.
func (r *Refusal) Error() string { return r.Title + ": " + r.Detail }

func refuse(status int, kind, title, format string, args ...any) *Refusal {
	return &Refusal{Problem: api.Problem{Type: kind, Title: title, Status: status, Detail: fmt.Sprintf(format, args...)}}
}

func notFound(format string, args ...any) *Refusal {
	return refuse(http.StatusNotFound, api.ProblemNotFound, "Not found", format, args...)
}

func limited(format string, args ...any) *Refusal {
	r := refuse(http.StatusTooManyRequests, api.ProblemLimited, "Over a limit", format, args...)
	r.RetryAfter = 1
	return r
}

// notReady says that there is no replica to take a request.
func notReady(format string, args ...any) *Refusal {
	r := refuse(http.StatusServiceUnavailable, api.ProblemNotReady, "No replica is ready", format, args...)
	r.RetryAfter, r.notReady = 1, true
	return r
}

func tooLarge(limit int64) *Refusal {
	return refuse(http.StatusRequestEntityTooLarge, api.ProblemTooLarge, "Body too large", "the body is over the endpoint's limit of %d bytes", limit)
}

// problemOf is what a client is told of an error.
func problemOf(err error) *Refusal {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r
	}
	if errors.Is(err, errSilent) {
		return refuse(http.StatusGatewayTimeout, api.ProblemRegionSilent, "The replica did not answer in time", "%v", err)
	}
	return refuse(http.StatusBadGateway, api.ProblemUpstream, "The replica did not answer", "%v", err)
}

// write answers with a refusal.
func write(w http.ResponseWriter, r *Refusal) {
	text, err := json.Marshal(r.Problem)
	if err != nil {
		text = []byte(`{}`)
	}
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	header.Set("Content-Length", strconv.Itoa(len(text)))
	if r.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(r.RetryAfter))
	}
	if r.Challenge != "" {
		header.Set("Www-Authenticate", r.Challenge)
	}
	if r.notReady {
		header.Set(notBegunHeader, "true")
	}
	w.WriteHeader(r.Status)
	_, _ = w.Write(text)
}

// shorten keeps what a client sent from filling an answer.
func shorten(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}
