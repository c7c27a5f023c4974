package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/joblog"
	"github.com/gco-project/gco/internal/store"
)

// maxRegionAnswer bounds a region's answer that is read whole, in bytes.
const maxRegionAnswer = 8 << 20

// maxAttempt bounds the number of an attempt that may be asked for.
const maxAttempt = 1_000_000

// logs answers an attempt's logs: from the archive if it is there, else from
// the region that holds the attempt.
func (c *call) logs() error {
	j, err := c.job()
	if err != nil {
		return err
	}
	q, err := c.query()
	if err != nil {
		return err
	}
	options := joblog.Options{
		Container: q.text("container"), Tail: q.whole("tail", 0, 0, 1_000_000),
		Since: q.moment("since", c.clock.Now()), Timestamps: q.flag("timestamps", false),
	}
	follow := q.flag("follow", false)
	attempt := job.AttemptID{Job: j.ID, Attempt: q.whole("attempt", j.Attempt, 1, maxAttempt)}
	if err := q.err(); err != nil {
		return err
	}
	if attempt.Attempt < 1 || attempt.Attempt > j.Attempt {
		return newProblem(api.ProblemNoLogs, "job %s is %s and has had %d attempts; there are no logs of attempt %d", j.ID, j.State, j.Attempt, attempt.Attempt)
	}
	info, err := c.archive.Stat(c.r.Context(), attempt)
	if err == nil {
		return c.archivedLogs(attempt, info, options)
	}
	if !errors.Is(err, joblog.ErrNotFound) {
		return err
	}
	region, err := c.holder(j, attempt)
	if err != nil {
		return err
	}
	live := &api.LogOptions{Container: options.Container, Follow: follow, Tail: options.Tail, Since: timeOnWire(options.Since), Timestamps: options.Timestamps}
	err = c.liveLogs(region, api.Request{Kind: "logs", AttemptRef: refOf(attempt), Logs: live})
	if p := (*problem)(nil); errors.As(err, &p) && p.Type == api.ProblemNotHeld {
		// It may have shipped them since they were looked for.
		if info, statErr := c.archive.Stat(c.r.Context(), attempt); statErr == nil {
			return c.archivedLogs(attempt, info, options)
		}
	}
	return err
}

func refOf(id job.AttemptID) api.AttemptRef {
	return api.AttemptRef{JobID: string(id.Job), Attempt: id.Attempt}
}

// holder is the region to ask for an attempt's logs: the one that has the
// attempt, or had it and has not shipped its logs yet. One that ends at once
// may never have been seen to run.
func (c *call) holder(j job.Job, attempt job.AttemptID) (region string, err error) {
	lost := newProblem(api.ProblemGone, "the logs of attempt %d were lost with its region", attempt.Attempt)
	if attempt.Attempt == j.Attempt {
		switch {
		case j.Logs == job.LogsLost:
			return "", lost
		case j.State == job.Claimed:
			return "", newProblem(api.ProblemNoLogs, "job %s is %s; nothing of attempt %d has run yet", j.ID, j.State, attempt.Attempt)
		case j.Logs == job.LogsArchived || j.Logs == job.LogsPartial:
			return "", newProblem(api.ProblemGone, "the archived logs of attempt %d were removed", attempt.Attempt)
		case j.Region != "":
			return j.Region, nil
		}
	}
	history, err := c.store.History(c.r.Context(), j.ID)
	if err != nil {
		return "", fmt.Errorf("reading the history of job %s: %w", j.ID, err)
	}
	for _, t := range history {
		switch {
		case t.Attempt != attempt.Attempt:
		case t.Event == job.Claim:
			region = t.Region
		case t.Event == job.LostEvent:
			return "", lost
		}
	}
	return region, nil
}

func (c *call) logHeader(source job.LogState, attempt int) {
	header := c.w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Gco-Logs", string(source))
	header.Set("Gco-Attempt", strconv.Itoa(attempt))
}

func (c *call) archivedLogs(attempt job.AttemptID, info joblog.Info, options joblog.Options) error {
	controller, stop := c.stream()
	defer stop()
	source := job.LogsArchived
	if info.Partial {
		source = job.LogsPartial
	}
	c.logHeader(source, attempt.Attempt)
	err := c.archive.Write(c.r.Context(), &patientWriter{c: c, controller: controller}, attempt, options)
	if missing, ok := errors.AsType[*joblog.NoContainer](err); ok {
		return c.silentOrMissing(attempt.Job, missing)
	}
	return err
}

// silentOrMissing tells a container that wrote nothing from one that never
// was: an archive knows only those that wrote.
func (c *call) silentOrMissing(id job.ID, missing *joblog.NoContainer) error {
	text, err := c.store.Manifest(c.r.Context(), id)
	if err != nil {
		return fmt.Errorf("reading the manifest of job %s: %w", id, err)
	}
	var manifest batchv1.Job
	if err := json.Unmarshal(text, &manifest); err != nil {
		return fmt.Errorf("reading the manifest of job %s: %w", id, err)
	}
	var names []string
	for _, container := range slices.Concat(manifest.Spec.Template.Spec.InitContainers, manifest.Spec.Template.Spec.Containers) {
		names = append(names, container.Name)
	}
	if slices.Contains(names, missing.Container) {
		return nil
	}
	for _, name := range missing.Wrote {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return newProblem(api.ProblemNotFound, "there is no container %q; there are: %s", missing.Container, strings.Join(names, ", "))
}

// liveLogs passes on what the region's agent sends, as it comes.
func (c *call) liveLogs(region string, request api.Request) error {
	controller, stop := c.stream()
	defer stop()
	answer, err := c.ask(region, request)
	if err != nil {
		return err
	}
	defer answer.Close()
	c.logHeader(job.LogsLive, request.Attempt)
	c.w.WriteHeader(http.StatusOK)
	_ = controller.Flush()
	// A client that leaves does not make a silent agent's answer end.
	closed := context.AfterFunc(c.r.Context(), func() { answer.Close() })
	defer closed()
	_, err = io.Copy(&patientWriter{c: c, controller: controller, flush: true}, answer)
	return err
}

// patientWriter gives each piece the time that a slow reader may take, and
// not the whole stream.
type patientWriter struct {
	c          *call
	controller *http.ResponseController
	flush      bool
}

// patience gives the next write the time that a slow reader may take.
func (c *call) patience(controller *http.ResponseController) {
	_ = controller.SetWriteDeadline(time.Now().Add(c.timing.Stall))
}

func (w *patientWriter) Write(p []byte) (int, error) {
	w.c.patience(w.controller)
	n, err := w.c.w.Write(p)
	if err == nil && w.flush {
		err = w.controller.Flush()
	}
	return n, err
}

// ask sends a request to a region. An answer that is a problem is the
// caller's answer, too.
func (c *call) ask(region string, request api.Request) (*joblog.Answer, error) {
	answer, err := c.broker.Ask(c.r.Context(), region, request)
	if err != nil {
		if errors.Is(err, joblog.ErrBusy) {
			return nil, newProblem(api.ProblemLimited, "too many clients wait for region %s; try again", region).with("Retry-After", "1")
		}
		return nil, err
	}
	if !strings.HasPrefix(answer.ContentType, "application/problem+json") {
		return answer, nil
	}
	defer answer.Close()
	text, err := io.ReadAll(io.LimitReader(answer, maxBody))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of region %s: %w", region, err)
	}
	var told api.Problem
	err = json.Unmarshal(text, &told)
	if err == nil && told.Type == api.ProblemNotFound {
		// The region has the attempt, and no such part of it.
		return nil, newProblem(api.ProblemNotFound, "%s", told.Detail)
	}
	if err != nil || told.Status == http.StatusNotFound {
		return nil, newProblem(api.ProblemNotHeld, "region %s does not hold this attempt any more", region)
	}
	return nil, newProblem(api.ProblemRegionSilent, "region %s could not answer: %s", region, told.Detail)
}

// askList asks a region for a JSON list.
func askList[T any](c *call, j job.Job, kind string) ([]T, error) {
	ctx, stop := c.untilStop(c.r.Context())
	defer stop()
	c.r = c.r.WithContext(ctx)
	answer, err := c.ask(j.Region, api.Request{Kind: kind, AttemptRef: refOf(j.AttemptID())})
	if p := (*problem)(nil); errors.As(err, &p) && p.Type == api.ProblemNotHeld {
		return nil, notHeld(j)
	}
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	closed := context.AfterFunc(ctx, func() { answer.Close() })
	defer closed()
	text, err := io.ReadAll(io.LimitReader(answer, maxRegionAnswer))
	list := []T{}
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		p := newProblem(api.ProblemRegionSilent, "region %s gave no whole answer", j.Region)
		p.cause = err
		return nil, p
	}
	return list, nil
}

// pods answers the pods of the last attempt, as its region sees them.
func (c *call) pods() error {
	j, err := c.held()
	if err != nil {
		return err
	}
	list := api.PodList{Items: []api.Pod{}}
	if j.Attempt > 0 {
		if list.Items, err = askList[api.Pod](c, j, "pods"); err != nil {
			return err
		}
	}
	return c.json(http.StatusOK, list)
}

// clusterEvents answers what the region's cluster says of the last attempt.
func (c *call) clusterEvents() error {
	j, err := c.held()
	if err != nil {
		return err
	}
	list := api.ClusterEventList{Items: []api.ClusterEvent{}}
	if j.Attempt > 0 {
		if list.Items, err = askList[api.ClusterEvent](c, j, "events"); err != nil {
			return err
		}
	}
	return c.json(http.StatusOK, list)
}

// held returns the job in the path if its region can be asked about it, or
// nothing was ever there to ask about.
func (c *call) held() (job.Job, error) {
	j, err := c.job()
	if err != nil {
		return job.Job{}, err
	}
	if j.Attempt > 0 && j.Region == "" {
		return job.Job{}, notHeld(j)
	}
	return j, nil
}

func notHeld(j job.Job) *problem {
	return newProblem(api.ProblemNotHeld, "job %s is %s; pods and cluster events are known only while a region holds the attempt, and none holds attempt %d any more", j.ID, j.State, j.Attempt)
}

// answerRequest takes an agent's answer to a client's request, and hands it on
// as it comes.
func (c *call) answerRequest() error {
	region, err := c.regionName()
	if err != nil {
		return err
	}
	contentType, err := c.contentType()
	if err != nil {
		return err
	}
	controller, stop := c.stream()
	defer stop()
	err = c.broker.Answer(c.r.Context(), region, c.r.PathValue("id"), joblog.Incoming{
		ContentType: contentType, Body: c.r.Body,
		Abort: func() {
			// What is left of the body stays unread, so the connection cannot
			// carry another request.
			c.w.Header().Set("Connection", "close")
			_ = controller.SetReadDeadline(time.Now())
		},
	})
	if err != nil && c.ending.Err() != nil {
		return errStopping
	}
	if errors.Is(err, joblog.ErrCut) || errors.Is(err, context.Canceled) {
		return newProblem(api.ProblemMalformed, "the body could not be read to its end")
	}
	if err != nil {
		return err
	}
	return c.nothing()
}

// archiveLogs takes the final logs of an attempt. Its region may ship them
// late, but only the attempts that it was given.
func (c *call) archiveLogs() error {
	region, err := c.regionName()
	if err != nil {
		return err
	}
	if _, err := c.contentType(); err != nil {
		return err
	}
	q, err := c.query()
	if err != nil {
		return err
	}
	partial := q.flag("partial", false)
	if err := q.err(); err != nil {
		return err
	}
	attempt, err := c.attemptOf(region)
	if err != nil {
		return err
	}
	_, stop := c.stream()
	defer stop()
	state, err := c.archive.Put(c.r.Context(), attempt, &stallReader{c: c}, partial)
	if err != nil {
		return err
	}
	err = c.store.SetLogs(c.r.Context(), attempt, state)
	if errors.Is(err, store.ErrNotFound) {
		// The job was deleted meanwhile, and its logs with it: all but these.
		err = errors.Join(err, c.archive.Delete(c.r.Context(), []job.ID{attempt.Job}))
	}
	if err != nil {
		return fmt.Errorf("recording where the logs of job %s are: %w", attempt.Job, err)
	}
	return c.nothing()
}

// attemptOf reads the attempt in the path, if it was the region's.
func (c *call) attemptOf(region string) (job.AttemptID, error) {
	id, err := job.ParseID(c.r.PathValue("job"))
	number, numberErr := strconv.Atoi(c.r.PathValue("attempt"))
	if err != nil || numberErr != nil || number < 1 {
		return job.AttemptID{}, newProblem(api.ProblemNotFound, "there is no such attempt")
	}
	history, err := c.store.History(c.r.Context(), id)
	if err != nil {
		return job.AttemptID{}, fmt.Errorf("reading the history of job %s: %w", id, err)
	}
	for _, t := range history {
		if t.Event == job.Claim && t.Attempt == number && t.Region == region {
			return job.AttemptID{Job: id, Attempt: number}, nil
		}
	}
	return job.AttemptID{}, newProblem(api.ProblemNotFound, "region %s never had attempt %d of job %s", region, number, id)
}

// stallReader reads a body without an end in sight, but not one that stands
// still.
type stallReader struct{ c *call }

func (r *stallReader) Read(p []byte) (int, error) {
	_ = http.NewResponseController(r.c.w).SetReadDeadline(time.Now().Add(r.c.timing.Stall))
	n, err := r.c.r.Body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = newProblem(api.ProblemMalformed, "the body could not be read to its end")
	}
	return n, err
}
