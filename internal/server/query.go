package server

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
)

// query reads the parameters after the question mark, and collects what is
// wrong with them.
type query struct {
	values url.Values
	faults []job.Fault
}

// query checks the names against the route's: a filter that is misspelt and
// ignored would show too much.
func (c *call) query() (*query, error) {
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, newProblem(api.ProblemMalformed, "the query cannot be read: %s", err)
	}
	q := &query{values: values}
	for name, given := range values {
		i := slices.IndexFunc(c.route.params, func(p param) bool { return p.in == "query" && p.name == name })
		if i < 0 {
			q.fault(name, "is no parameter here")
		} else if len(given) > 1 && !c.route.params[i].many {
			q.fault(name, "is given %d times; once is allowed", len(given))
		}
	}
	slices.SortFunc(q.faults, func(a, b job.Fault) int { return strings.Compare(a.Field, b.Field) })
	return q, nil
}

func (q *query) fault(name, format string, args ...any) {
	q.faults = append(q.faults, job.Fault{Field: name, Message: fmt.Sprintf(format, args...)})
}

// err is the problem with every fault, or nil.
func (q *query) err() error {
	if len(q.faults) == 0 {
		return nil
	}
	return invalid(q.faults)
}

func (q *query) text(name string) string { return q.values.Get(name) }

// choice reads one of some words; fallback where it is absent.
func (q *query) choice(name, fallback string, words ...string) string {
	if !q.values.Has(name) {
		return fallback
	}
	text := q.values.Get(name)
	if !slices.Contains(words, text) {
		q.fault(name, "%q is not one of %v", shorten([]byte(text)), words)
	}
	return text
}

func (q *query) whole(name string, fallback, least, most int) int {
	if !q.values.Has(name) {
		return fallback
	}
	text := q.values.Get(name)
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		q.fault(name, "%q is not a whole number from %d to %d", shorten([]byte(text)), least, most)
		return fallback
	}
	return n
}

func (q *query) flag(name string, fallback bool) bool {
	if !q.values.Has(name) {
		return fallback
	}
	switch text := q.values.Get(name); text {
	case "true":
		return true
	case "false":
		return false
	default:
		q.fault(name, "%q is neither true nor false", shorten([]byte(text)))
		return fallback
	}
}

// moment reads a time, or a duration back from now.
func (q *query) moment(name string, now time.Time) time.Time {
	text := q.values.Get(name)
	if text == "" {
		if q.values.Has(name) {
			q.fault(name, "is empty")
		}
		return time.Time{}
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at
	}
	if back, err := time.ParseDuration(text); err == nil && back >= 0 {
		return now.Add(-back)
	}
	q.fault(name, "%q is neither a time of RFC 3339 nor a duration such as 10m", shorten([]byte(text)))
	return time.Time{}
}
