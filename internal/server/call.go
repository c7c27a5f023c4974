package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
)

// call is one request on its way through a route.
type call struct {
	*Server
	w     *answerWriter
	r     *http.Request
	route *route
	who   principal
	id    string
}

// answerWriter remembers what was answered.
type answerWriter struct {
	http.ResponseWriter
	status int
}

func (w *answerWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *answerWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// buffers hold bodies on their way in and out.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func takeBuffer() *bytes.Buffer { return buffers.Get().(*bytes.Buffer) }

func giveBuffer(buffer *bytes.Buffer) {
	const most = 1 << 20
	if buffer.Cap() <= most {
		buffer.Reset()
		buffers.Put(buffer)
	}
}

// json answers with a document.
func (c *call) json(status int, document any) error {
	buffer := takeBuffer()
	defer giveBuffer(buffer)
	encoder := json.NewEncoder(buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	header := c.w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(buffer.Len()))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(buffer.Bytes())
	return nil
}

func (c *call) nothing() error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// contentType checks the body's type against the route's, and returns it
// without its parameters.
func (c *call) contentType() (string, error) {
	header := c.r.Header.Get("Content-Type")
	wanted := strings.Join(c.route.body.contentTypes(), " or ")
	if header == "" {
		return "", newProblem(api.ProblemMediaType, "the request has no Content-Type; send %s", wanted)
	}
	if encoding := c.r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return "", newProblem(api.ProblemMediaType, "Content-Encoding %q is not taken; send the body as it is", shorten([]byte(encoding)))
	}
	contentType, parameters, err := mime.ParseMediaType(header)
	if _, ok := c.route.body.types[contentType]; err != nil || !ok {
		return "", newProblem(api.ProblemMediaType, "Content-Type %q is not taken here; send %s", shorten([]byte(header)), wanted)
	}
	if charset := parameters["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return "", newProblem(api.ProblemMediaType, "charset %q is not taken; send UTF-8", shorten([]byte(charset)))
	}
	return contentType, nil
}

// read takes the whole body, up to the route's limit, and hands it to use.
// The bytes are no longer valid when use returns.
func (c *call) read(use func(text []byte) error) error {
	limit := c.route.body.limit
	if c.r.ContentLength > limit {
		return c.tooLarge(limit)
	}
	buffer := takeBuffer()
	defer giveBuffer(buffer)
	if c.r.ContentLength > 0 {
		buffer.Grow(int(c.r.ContentLength) + bytes.MinRead)
	}
	_, err := buffer.ReadFrom(io.LimitReader(c.r.Body, limit+1))
	if int64(buffer.Len()) > limit {
		return c.tooLarge(limit)
	}
	if err != nil {
		return newProblem(api.ProblemMalformed, "the body could not be read to its end")
	}
	return use(buffer.Bytes())
}

// tooLarge ends the connection, too: the rest of the body would have to be
// read otherwise.
func (c *call) tooLarge(limit int64) error {
	return newProblem(api.ProblemTooLarge, "the body is over the limit of %d bytes", limit).with("Connection", "close")
}

// readJSON reads the body into a value; it fails with every fault at once.
func (c *call) readJSON(of *shape, into any) error {
	if _, err := c.contentType(); err != nil {
		return err
	}
	return c.read(func(text []byte) error {
		faults, err := decodeStrict(text, of, into)
		if err != nil {
			return malformedBody(err)
		}
		if len(faults) > 0 {
			return invalid(faults)
		}
		return nil
	})
}

func malformedBody(err error) error {
	if m, ok := errors.AsType[*malformed](err); ok {
		return newProblem(api.ProblemMalformed, "%s", m.message)
	}
	return err
}

// noBody refuses a body where none is read: who sends one expects it to have
// an effect.
func (c *call) noBody() error {
	if c.r.ContentLength == 0 {
		return nil
	}
	if n, _ := c.r.Body.Read(make([]byte, 1)); n == 0 {
		return nil
	}
	return newProblem(api.ProblemMalformed, "%s %s takes no body", c.route.method, c.route.path)
}

// jobID reads the ID in the path. What cannot be an ID is no job's.
func (c *call) jobID() (job.ID, error) {
	id, err := job.ParseID(c.r.PathValue("id"))
	if err != nil {
		return "", newProblem(api.ProblemNotFound, "there is no job %q; an ID is a UUID", shorten([]byte(c.r.PathValue("id"))))
	}
	return id, nil
}

// job reads the job in the path, if the caller may see it.
func (c *call) job() (job.Job, error) {
	id, err := c.jobID()
	if err != nil {
		return job.Job{}, err
	}
	j, err := c.store.Job(c.r.Context(), id)
	if err != nil {
		return job.Job{}, fmt.Errorf("reading job %s: %w", id, err)
	}
	if !c.who.sees(j.Spec.Namespace) {
		return job.Job{}, newProblem(api.ProblemNotFound, "there is no job %s, or it is not for this token", id)
	}
	return j, nil
}

// regionName reads the region in the path; an agent may only name its own.
func (c *call) regionName() (string, error) {
	name := c.r.PathValue("region")
	if c.who.role == Agent && c.who.region != name {
		return "", newProblem(api.ProblemForbidden, "this token speaks for region %q, not for %q", c.who.region, shorten([]byte(name)))
	}
	return name, nil
}

// stream prepares for an answer, or a body, without an end in sight: the
// server's timeouts do not hold for it, and it ends when the server does.
func (c *call) stream() (controller *http.ResponseController, stop func()) {
	controller = http.NewResponseController(c.w)
	_ = controller.SetReadDeadline(time.Time{})
	_ = controller.SetWriteDeadline(time.Time{})
	ctx, stop := c.untilStop(c.r.Context())
	c.r = c.r.WithContext(ctx)
	return controller, stop
}
