package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gco-project/gco/api"
)

// SubmitPipeline submits jobs that wait for others. The key makes it happen
// once, however often it is sent; with an empty key a lost answer is not
// repeated. replayed says that the pipeline was there already.
func (c *Client) SubmitPipeline(ctx context.Context, pipeline api.NewPipeline, key string) (made api.Pipeline, replayed bool, err error) {
	what, err := jsonCall(root+"/pipelines", pipeline)
	if err != nil {
		return api.Pipeline{}, false, err
	}
	if key != "" {
		what.header = http.Header{"Idempotency-Key": {key}}
		what.repeat = true
	}
	response, err := c.do(ctx, what, &made)
	if err != nil {
		return api.Pipeline{}, false, err
	}
	return made, response.StatusCode == http.StatusOK, nil
}

// PipelineFilter selects pipelines. Zero fields do not filter.
type PipelineFilter struct {
	Namespace string
	States    []string
	// Limit is the size of a page, 1 to 1000; 0 is the server's default.
	Limit int
	// Cursor is the NextCursor of the page before.
	Cursor string
}

// Pipelines returns one page of pipelines, newest first. A page may be short,
// or empty, and still have a NextCursor.
func (c *Client) Pipelines(ctx context.Context, filter PipelineFilter) (api.PipelineList, error) {
	query := url.Values{"state": filter.States}
	set(query, "namespace", filter.Namespace)
	set(query, "cursor", filter.Cursor)
	if filter.Limit != 0 {
		query.Set("limit", strconv.Itoa(filter.Limit))
	}
	var list api.PipelineList
	err := c.get(ctx, root+"/pipelines", query, &list)
	return list, err
}

// Pipeline returns one pipeline with what its steps submit.
func (c *Client) Pipeline(ctx context.Context, id string) (api.Pipeline, error) {
	var pipeline api.Pipeline
	err := c.get(ctx, pipelinePath(id), nil, &pipeline)
	return pipeline, err
}

// CancelPipeline cancels the jobs that run, and skips the steps that wait.
func (c *Client) CancelPipeline(ctx context.Context, id string) (api.Pipeline, error) {
	var pipeline api.Pipeline
	err := c.post(ctx, pipelinePath(id)+"/cancel", nil, &pipeline)
	return pipeline, err
}

// RetryPipeline begins another run of what failed, was cancelled, or waits for
// that.
func (c *Client) RetryPipeline(ctx context.Context, id string) (api.Pipeline, error) {
	var pipeline api.Pipeline
	err := c.post(ctx, pipelinePath(id)+"/retry", nil, &pipeline)
	return pipeline, err
}

func pipelinePath(id string) string { return root + "/pipelines/" + url.PathEscape(id) }

// ApplySchedule makes the schedule that its namespace and name say, or changes
// it; created tells which.
func (c *Client) ApplySchedule(ctx context.Context, schedule api.NewSchedule) (made api.Schedule, created bool, err error) {
	what, err := jsonCall(schedulePath(schedule.Namespace, schedule.Name), schedule)
	if err != nil {
		return api.Schedule{}, false, err
	}
	what.method, what.repeat = http.MethodPut, true
	response, err := c.do(ctx, what, &made)
	if err != nil {
		return api.Schedule{}, false, err
	}
	return made, response.StatusCode == http.StatusCreated, nil
}

// Schedule returns one schedule with what its runs submit.
func (c *Client) Schedule(ctx context.Context, namespace, name string) (api.Schedule, error) {
	var schedule api.Schedule
	err := c.get(ctx, schedulePath(namespace, name), nil, &schedule)
	return schedule, err
}

// Schedules returns one page of schedules, by namespace and name; an empty
// namespace is all of them. limit and cursor are as in a PipelineFilter.
func (c *Client) Schedules(ctx context.Context, namespace string, limit int, cursor string) (api.ScheduleList, error) {
	query := url.Values{}
	set(query, "namespace", namespace)
	set(query, "cursor", cursor)
	if limit != 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	var list api.ScheduleList
	err := c.get(ctx, root+"/schedules", query, &list)
	return list, err
}

// AllSchedules goes through all pages. It ends after the first error.
func (c *Client) AllSchedules(ctx context.Context, namespace string) iter.Seq2[api.Schedule, error] {
	return func(yield func(api.Schedule, error) bool) {
		for cursor := ""; ; {
			page, err := c.Schedules(ctx, namespace, 0, cursor)
			if err != nil {
				yield(api.Schedule{}, err)
				return
			}
			for _, schedule := range page.Items {
				if !yield(schedule, nil) {
					return
				}
			}
			if cursor = page.NextCursor; cursor == "" {
				return
			}
		}
	}
}

// DeleteSchedule removes a schedule; what it has submitted goes on.
func (c *Client) DeleteSchedule(ctx context.Context, namespace, name string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: schedulePath(namespace, name)}, nil)
	return err
}

// PauseSchedule lets no tick run until ResumeSchedule.
func (c *Client) PauseSchedule(ctx context.Context, namespace, name string) (api.Schedule, error) {
	return c.changeSchedule(ctx, namespace, name, "pause")
}

// ResumeSchedule goes on with the next tick.
func (c *Client) ResumeSchedule(ctx context.Context, namespace, name string) (api.Schedule, error) {
	return c.changeSchedule(ctx, namespace, name, "resume")
}

// RunSchedule submits now what a tick would; it is the newest of the runs.
func (c *Client) RunSchedule(ctx context.Context, namespace, name string) (api.Schedule, error) {
	return c.changeSchedule(ctx, namespace, name, "run")
}

func (c *Client) changeSchedule(ctx context.Context, namespace, name, verb string) (api.Schedule, error) {
	var schedule api.Schedule
	err := c.post(ctx, schedulePath(namespace, name)+"/"+verb, nil, &schedule)
	return schedule, err
}

func schedulePath(namespace, name string) string {
	return root + "/schedules/" + url.PathEscape(namespace) + "/" + url.PathEscape(name)
}
