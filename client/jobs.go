package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/gco-project/gco/api"
)

const root = "/api/v1"

// Submit submits one job. The key makes it happen once, however often it is
// sent; with an empty key a lost answer is not repeated. replayed says that
// the job was there already.
func (c *Client) Submit(ctx context.Context, submission api.Submission, key string) (job api.Job, replayed bool, err error) {
	what, err := jsonCall(root+"/jobs", submission)
	if err != nil {
		return api.Job{}, false, err
	}
	return c.submit(ctx, what, key)
}

// SubmitManifest submits a Kubernetes Job as YAML or JSON, without options
// beside it.
func (c *Client) SubmitManifest(ctx context.Context, manifest []byte, key string) (job api.Job, replayed bool, err error) {
	return c.submit(ctx, call{
		method: http.MethodPost, path: root + "/jobs",
		body: manifest, contentType: "application/yaml",
	}, key)
}

func (c *Client) submit(ctx context.Context, what call, key string) (api.Job, bool, error) {
	if key != "" {
		what.header = http.Header{"Idempotency-Key": {key}}
		what.repeat = true
	}
	var job api.Job
	response, err := c.do(ctx, what, &job)
	if err != nil {
		return api.Job{}, false, err
	}
	return job, response.StatusCode == http.StatusOK, nil
}

// SubmitBatch submits up to 1,000 jobs, each by itself; see each item's
// status. It is repeated only if every item has a key.
func (c *Client) SubmitBatch(ctx context.Context, items []api.BatchItem) (api.BatchResult, error) {
	what, err := jsonCall(root+"/jobs:batch", api.Batch{Items: items})
	if err != nil {
		return api.BatchResult{}, err
	}
	what.repeat = !slices.ContainsFunc(items, func(i api.BatchItem) bool { return i.IdempotencyKey == "" })
	var result api.BatchResult
	_, err = c.do(ctx, what, &result)
	return result, err
}

// JobFilter selects jobs. Zero fields do not filter.
type JobFilter struct {
	Namespace string
	States    []string
	Region    string
	Labels    map[string]string
	// Template is the name of the template that the jobs came from.
	Template string
	// Limit is the size of a page, 1 to 1000; 0 is the server's default.
	Limit int
	// Cursor is the NextCursor of the page before.
	Cursor string
}

func (f JobFilter) query() url.Values {
	query := url.Values{}
	set(query, "namespace", f.Namespace)
	set(query, "region", f.Region)
	set(query, "template", f.Template)
	set(query, "cursor", f.Cursor)
	if f.Limit != 0 {
		query.Set("limit", strconv.Itoa(f.Limit))
	}
	for _, state := range f.States {
		query.Add("state", state)
	}
	for key, value := range f.Labels {
		query.Add("label", key+"="+value)
	}
	slices.Sort(query["label"])
	return query
}

func set(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}

// Jobs returns one page of jobs, newest first. A page may be short, or empty,
// and still have a NextCursor.
func (c *Client) Jobs(ctx context.Context, filter JobFilter) (api.JobList, error) {
	var list api.JobList
	err := c.get(ctx, root+"/jobs", filter.query(), &list)
	return list, err
}

// AllJobs goes through all pages. It ends after the first error.
func (c *Client) AllJobs(ctx context.Context, filter JobFilter) iter.Seq2[api.Job, error] {
	return func(yield func(api.Job, error) bool) {
		for {
			page, err := c.Jobs(ctx, filter)
			if err != nil {
				yield(api.Job{}, err)
				return
			}
			for _, job := range page.Items {
				if !yield(job, nil) {
					return
				}
			}
			if page.NextCursor == "" {
				return
			}
			filter.Cursor = page.NextCursor
		}
	}
}

// Job returns one job with manifest, demand and history.
func (c *Client) Job(ctx context.Context, id string) (api.Job, error) {
	var job api.Job
	err := c.get(ctx, jobPath(id), nil, &job)
	return job, err
}

// DeleteJob removes a finished job with all that hangs on it.
func (c *Client) DeleteJob(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: jobPath(id)}, nil)
	return err
}

// CancelJob stops a job, in whatever state it is.
func (c *Client) CancelJob(ctx context.Context, id string) (api.Job, error) {
	var job api.Job
	err := c.post(ctx, jobPath(id)+"/cancel", nil, &job)
	return job, err
}

// RetryJob submits a finished job once more, as a new job.
func (c *Client) RetryJob(ctx context.Context, id string) (api.Job, error) {
	var job api.Job
	err := c.post(ctx, jobPath(id)+"/retry", nil, &job)
	return job, err
}

// ExplainJob says why a job is where it is, or why it waits.
func (c *Client) ExplainJob(ctx context.Context, id string) (api.Explanation, error) {
	var explanation api.Explanation
	err := c.get(ctx, jobPath(id)+"/explain", nil, &explanation)
	return explanation, err
}

// Pods returns the pods of a job's last attempt, as its region sees them now.
func (c *Client) Pods(ctx context.Context, id string) (api.PodList, error) {
	var list api.PodList
	err := c.get(ctx, jobPath(id)+"/pods", nil, &list)
	return list, err
}

// ClusterEvents returns what the region's cluster says of a job's last
// attempt.
func (c *Client) ClusterEvents(ctx context.Context, id string) (api.ClusterEventList, error) {
	var list api.ClusterEventList
	err := c.get(ctx, jobPath(id)+"/events", nil, &list)
	return list, err
}

func jobPath(id string) string { return root + "/jobs/" + url.PathEscape(id) }
