package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/joblog"
	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/schedule"
	"github.com/gco-project/gco/internal/store"
)

// problem is an error that knows its answer. Handlers return it where the
// cause is the request itself; errors of other packages go through problemOf.
type problem struct {
	api.Problem
	header http.Header
	// cause is logged, and not told.
	cause error
}

func (p *problem) Error() string { return p.Title + ": " + p.Detail }
func (p *problem) Unwrap() error { return p.cause }

// with returns the problem with one more header in its answer.
func (p *problem) with(name, value string) *problem {
	if p.header == nil {
		p.header = http.Header{}
	}
	p.header.Set(name, value)
	return p
}

// kinds of problems: the status and title that go with each type.
var problemKinds = map[string]struct {
	status int
	title  string
}{
	api.ProblemMalformed:            {http.StatusBadRequest, "Malformed request"},
	api.ProblemBadCursor:            {http.StatusBadRequest, "Cursor of another query"},
	api.ProblemUnauthenticated:      {http.StatusUnauthorized, "No valid token"},
	api.ProblemForbidden:            {http.StatusForbidden, "Not allowed"},
	api.ProblemNotFound:             {http.StatusNotFound, "Not found"},
	api.ProblemNoLogs:               {http.StatusNotFound, "No logs yet"},
	api.ProblemNotHeld:              {http.StatusNotFound, "Not held any more"},
	api.ProblemMethod:               {http.StatusMethodNotAllowed, "Method not allowed"},
	api.ProblemKeyReused:            {http.StatusConflict, "Idempotency key was used with another body"},
	api.ProblemNotPossible:          {http.StatusConflict, "Not possible in this state"},
	api.ProblemConflict:             {http.StatusConflict, "Conflict"},
	api.ProblemStaleSession:         {http.StatusConflict, "Stale session"},
	api.ProblemOldSequence:          {http.StatusConflict, "Old sequence"},
	api.ProblemOtherCluster:         {http.StatusConflict, "Region is held by another cluster"},
	api.ProblemGone:                 {http.StatusGone, "Gone"},
	api.ProblemPreconditionFailed:   {http.StatusPreconditionFailed, "Changed since it was read"},
	api.ProblemTooLarge:             {http.StatusRequestEntityTooLarge, "Body too large"},
	api.ProblemMediaType:            {http.StatusUnsupportedMediaType, "Unsupported media type"},
	api.ProblemInvalid:              {http.StatusUnprocessableEntity, "Invalid"},
	api.ProblemPreconditionRequired: {http.StatusPreconditionRequired, "If-Match is missing"},
	api.ProblemLimited:              {http.StatusTooManyRequests, "Over a limit"},
	api.ProblemInternal:             {http.StatusInternalServerError, "Internal error"},
	api.ProblemUnavailable:          {http.StatusServiceUnavailable, "Unavailable"},
	api.ProblemUnknown:              {http.StatusServiceUnavailable, "Outcome unknown"},
	api.ProblemRegionSilent:         {http.StatusGatewayTimeout, "Region did not answer"},
}

// newProblem makes a problem of one of the types of package api.
func newProblem(kind, format string, args ...any) *problem {
	k, ok := problemKinds[kind]
	if !ok {
		panic("server: no such kind of problem: " + kind)
	}
	return &problem{Problem: api.Problem{
		Type: kind, Title: k.title, Status: k.status, Detail: fmt.Sprintf(format, args...),
	}}
}

// invalid is the problem with every fault of a request.
func invalid(faults []job.Fault) *problem {
	detail := "the request has a fault"
	if len(faults) != 1 {
		detail = fmt.Sprintf("the request has %d faults", len(faults))
	}
	p := newProblem(api.ProblemInvalid, "%s", detail)
	for _, fault := range faults {
		p.Errors = append(p.Errors, api.FieldError{Field: fault.Field, Message: fault.Message})
	}
	return p
}

// errorTable maps the errors that callers decide on to problems. The first
// that matches wins; detail replaces an error's own text where that says
// nothing to a user.
var errorTable = []struct {
	err    error
	kind   string
	detail string
}{
	{store.ErrKeyReused, api.ProblemKeyReused, "this Idempotency-Key belongs to a submission with another body; use a new key for a new job"},
	{store.ErrStaleSession, api.ProblemStaleSession, "the session is not the region's current one; fence, and open a new session"},
	{store.ErrOldSequence, api.ProblemOldSequence, "a later request of this session was seen"},
	{store.ErrOtherCluster, api.ProblemOtherCluster, "a live session of another cluster holds the region; stop its agent, or use another name"},
	{store.ErrNotFound, api.ProblemNotFound, "there is no such thing, or it is not for this token"},
	{store.ErrConflict, api.ProblemConflict, "it was changed by someone else at the same time; read it again"},
	{store.ErrUndispatched, api.ProblemUnavailable, "its last events are still to be handed to webhooks; try again in a moment"},
	{store.ErrUnavailable, api.ProblemUnavailable, "the store cannot write now; nothing was written; try again"},
	{store.ErrThrottled, api.ProblemLimited, "the store takes less than it is given; nothing was written; try again, more slowly"},
	{store.ErrUnknown, api.ProblemUnknown, "the write may or may not have happened; look, or send it again with the same Idempotency-Key"},
	{joblog.ErrRegionSilent, api.ProblemRegionSilent, "the region's agent did not answer in time; see whether its lease is live"},
	{joblog.ErrCut, api.ProblemRegionSilent, "the region's answer broke off"},
	{joblog.ErrNoRequest, api.ProblemNotFound, "nobody waits for the answer to this request"},
	{joblog.ErrClientGone, api.ProblemGone, "the client that asked has gone"},
	{joblog.ErrCorrupt, api.ProblemGone, "the archived logs are damaged"},
}

// problemOf finds the answer to an error.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if e, ok := errors.AsType[*job.Invalid](err); ok {
		return invalid(e.Faults)
	}
	if e, ok := errors.AsType[*job.NotAllowed](err); ok {
		return newProblem(api.ProblemNotPossible, "%s", e.Error())
	}
	if e, ok := errors.AsType[*pipeline.NotAllowed](err); ok {
		return newProblem(api.ProblemNotPossible, "%s", e.Error())
	}
	if e, ok := errors.AsType[*schedule.Busy](err); ok {
		return newProblem(api.ProblemNotPossible, "%s", e.Error())
	}
	if e, ok := errors.AsType[*queue.Limited](err); ok {
		return newProblem(api.ProblemLimited, "%s", e.Message).with("Retry-After", seconds(e.RetryAfter))
	}
	if e, ok := errors.AsType[*queue.NotYourNamespace](err); ok {
		return newProblem(api.ProblemForbidden, "%s", e.Error())
	}
	for _, row := range errorTable {
		if errors.Is(err, row.err) {
			p := newProblem(row.kind, "%s", row.detail)
			p.cause = err
			if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
				return p.with("Retry-After", "1")
			}
			return p
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		p := newProblem(api.ProblemUnavailable, "the server ended the call before it was done; try again").with("Retry-After", "1")
		p.cause = err
		return p
	}
	p := newProblem(api.ProblemInternal, "the server failed; its log has the reason under this request's X-Request-Id")
	p.cause = err
	return p
}

// seconds rounds up, as Retry-After has it.
func seconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}

// write sends the problem.
func (p *problem) write(w http.ResponseWriter) {
	text, err := json.Marshal(p.Problem)
	if err != nil {
		panic("server: a problem that JSON cannot hold: " + err.Error())
	}
	header := w.Header()
	maps.Copy(header, p.header)
	header.Set("Content-Type", "application/problem+json")
	header.Set("Content-Length", strconv.Itoa(len(text)))
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(text)
}
