package server

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

const (
	defaultLimit = 50
	maxLimit     = 1000
)

// listJobs answers one page, newest first.
func (c *call) listJobs() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	namespaces, none := c.who.scope(q.text("namespace"))
	query := store.ListQuery{
		Namespaces: namespaces, Region: q.text("region"), Labels: q.labels("label"), States: q.states("state"),
		Template: q.text("template"), Limit: q.whole("limit", defaultLimit, 1, maxLimit),
	}
	if err := q.err(); err != nil {
		return err
	}
	if cursor := q.text("cursor"); cursor != "" {
		if query.Before, err = readListCursor(query, cursor); err != nil {
			return err
		}
	}
	if none {
		return c.json(http.StatusOK, api.JobList{Items: []api.Job{}})
	}
	page, err := c.store.List(c.r.Context(), query)
	if err != nil {
		return fmt.Errorf("listing jobs: %w", err)
	}
	list := api.JobList{Items: make([]api.Job, len(page.Jobs))}
	for i, j := range page.Jobs {
		list.Items[i] = jobOnWire(j)
	}
	if page.More {
		list.NextCursor = writeListCursor(query, page.Next)
	}
	return c.json(http.StatusOK, list)
}

func (q *query) states(name string) []job.State {
	var states []job.State
	for _, text := range q.values[name] {
		state := job.State(text)
		if !state.Valid() {
			q.fault(name, "%q is not one of %v", shorten([]byte(text)), job.States)
		}
		states = append(states, state)
	}
	return states
}

func (q *query) labels(name string) map[string]string {
	var labels map[string]string
	for _, text := range q.values[name] {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			q.fault(name, "%q is not KEY=VALUE", shorten([]byte(text)))
			continue
		}
		if old, again := labels[key]; again && old != value {
			q.fault(name, "%s is asked to be two values at once", key)
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[key] = value
	}
	return labels
}

// showJob answers the record with manifest, demand and history.
func (c *call) showJob() error {
	j, err := c.job()
	if err != nil {
		return err
	}
	wire := jobOnWire(j)
	if wire.Manifest, err = c.store.Manifest(c.r.Context(), j.ID); err != nil {
		return fmt.Errorf("reading the manifest of job %s: %w", j.ID, err)
	}
	demand, err := c.store.Demand(c.r.Context(), j.Spec.Class)
	if err != nil {
		return fmt.Errorf("reading the demand of job %s: %w", j.ID, err)
	}
	wire.Demand = &demand
	history, err := c.store.History(c.r.Context(), j.ID)
	if err != nil {
		return fmt.Errorf("reading the history of job %s: %w", j.ID, err)
	}
	for _, t := range history {
		transition, err := transitionOnWire(t)
		if err != nil {
			return err
		}
		wire.History = append(wire.History, transition)
	}
	return c.json(http.StatusOK, wire)
}

func (c *call) deleteJob() error {
	j, err := c.job()
	if err != nil {
		return err
	}
	if err := c.queue.Delete(c.r.Context(), j.ID); err != nil {
		return err
	}
	return c.nothing()
}

func (c *call) cancelJob() error {
	j, err := c.job()
	if err == nil {
		err = c.noBody()
	}
	if err != nil {
		return err
	}
	if j, err = c.queue.Cancel(c.r.Context(), j.ID); err != nil {
		return err
	}
	return c.json(http.StatusOK, jobOnWire(j))
}

func (c *call) retryJob() error {
	j, err := c.job()
	if err == nil {
		err = c.noBody()
	}
	if err != nil {
		return err
	}
	retry, err := c.queue.Retry(c.r.Context(), c.who.name, j.ID)
	if err != nil {
		return err
	}
	c.metrics.submitted.Inc()
	c.w.Header().Set("Location", "/api/v1/jobs/"+string(retry.ID))
	return c.json(http.StatusCreated, jobOnWire(retry))
}

func (c *call) explainJob() error {
	j, err := c.job()
	if err != nil {
		return err
	}
	explanation, err := c.queue.Explain(c.r.Context(), j.ID)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, explanation)
}

// stats counts jobs, from counters that the writes keep.
func (c *call) stats() error {
	ctx := c.r.Context()
	counts, err := c.store.Counts(ctx)
	if err != nil {
		return fmt.Errorf("counting jobs: %w", err)
	}
	stats := api.Stats{
		Jobs: map[string]int64{}, ByRegion: map[string]map[string]int64{}, ByNamespace: map[string]map[string]int64{},
		LastMinute: map[string]int64{}, LastHour: map[string]int64{},
	}
	for _, count := range counts {
		if !c.who.sees(count.Namespace) || count.Jobs == 0 {
			continue
		}
		stats.Jobs[string(count.State)] += count.Jobs
		addCount(stats.ByNamespace, count.Namespace, count)
		if count.Region != "" {
			addCount(stats.ByRegion, count.Region, count)
		}
	}
	if len(c.who.namespaces) == 0 {
		if err := c.addThroughput(&stats); err != nil {
			return err
		}
	}
	return c.json(http.StatusOK, stats)
}

func addCount(to map[string]map[string]int64, key string, count store.Count) {
	if to[key] == nil {
		to[key] = map[string]int64{}
	}
	to[key][string(count.State)] += count.Jobs
}

// addThroughput adds what is not counted by namespace, and so is for those
// only who see all of them.
func (c *call) addThroughput(stats *api.Stats) error {
	now := c.clock.Now()
	throughput, err := c.store.Throughput(c.r.Context(), now.Add(-time.Hour))
	if err != nil {
		return fmt.Errorf("reading the throughput: %w", err)
	}
	for _, t := range throughput {
		stats.LastHour[string(t.State)] += t.Jobs
		// The current minute, and of the one before it the share that is less
		// than a minute ago.
		switch current := now.Truncate(time.Minute); {
		case t.Minute.Equal(current):
			stats.LastMinute[string(t.State)] += t.Jobs
		case t.Minute.Equal(current.Add(-time.Minute)):
			share := 1 - now.Sub(current).Minutes()
			stats.LastMinute[string(t.State)] += int64(math.Round(share * float64(t.Jobs)))
		}
	}
	oldest, err := c.store.OldestWaiting(c.r.Context())
	if err != nil {
		return fmt.Errorf("looking for the oldest queued job: %w", err)
	}
	if !oldest.IsZero() {
		stats.OldestQueuedSeconds = max(0, now.Sub(oldest).Seconds())
	}
	return nil
}
