package sqlite

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// maxRead is how many records one query looks at.
const maxRead = 1000

// List returns one page of the jobs that a query selects, newest first.
func (s *Store) List(ctx context.Context, query store.ListQuery) (store.Page, error) {
	var page store.Page
	err := s.read(ctx, "jobs", func(r *session) (err error) {
		page, err = r.list(query)
		return err
	})
	return page, err
}

// maxMerged is how many namespaces are merged from their own indexes; for more
// it is better to walk all jobs.
const maxMerged = 100

// list walks the namespaces' indexes (or that of all jobs) from the newest
// down, and keeps what the other filters let through.
func (s *session) list(query store.ListQuery) (store.Page, error) {
	var page store.Page
	if query.Limit <= 0 {
		return page, nil
	}
	read := 0
	row := newRecordScan()
	err := s.candidates(query, func(scan func(...any) error) error {
		if len(page.Jobs) == query.Limit {
			page.More = true
			return nil
		}
		if err := scan(row.into[:]...); err != nil {
			return err
		}
		read++
		page.Next = row.id()
		page.More = read == maxRead
		if !row.mayMatch(query) {
			return nil
		}
		j, err := row.job()
		if err == nil && matches(j, query) {
			page.Jobs = append(page.Jobs, j)
		}
		return err
	})
	if !page.More {
		page.Next = ""
	}
	return page, err
}

const selectNamespace = `SELECT ` + recordColumns + ` FROM jobs WHERE namespace = ? AND id < ?`

var (
	stListAll       = statement(`SELECT ` + recordColumns + ` FROM jobs WHERE id < ? ORDER BY id DESC LIMIT ?`)
	stListNamespace = statement(selectNamespace + ` ORDER BY id DESC LIMIT ?`)
)

// candidates reads the records that a query has to look at, newest first.
// Without a filter that rejects records, one more than a page tells whether
// there is another.
func (s *session) candidates(query store.ListQuery, f func(scan func(...any) error) error) error {
	namespaces := slices.Compact(slices.Sorted(slices.Values(query.Namespaces)))
	limit := maxRead
	if len(query.States) == 0 && query.Region == "" && query.Template == "" && len(query.Labels) == 0 && len(namespaces) <= maxMerged {
		limit = min(maxRead, query.Limit+1)
	}
	before := cmp.Or(string(query.Before), "\U0010ffff")
	switch {
	case len(namespaces) == 0 || len(namespaces) > maxMerged:
		return s.each(stListAll, []any{before, limit}, f)
	case len(namespaces) == 1:
		return s.each(stListNamespace, []any{namespaces[0], before, limit}, f)
	}
	var args []any
	for _, namespace := range namespaces {
		args = append(args, namespace, before)
	}
	return s.eachOf(mergeNamespaces(len(namespaces)), append(args, limit), f)
}

// mergeNamespaces walks the indexes of several namespaces at once.
func mergeNamespaces(n int) string {
	return selectNamespace + strings.Repeat(` UNION ALL `+selectNamespace, n-1) + ` ORDER BY id DESC LIMIT ?`
}

// mayMatch tests the filters that need no decoding.
func (r *recordScan) mayMatch(query store.ListQuery) bool {
	return (len(query.States) == 0 || slices.Contains(query.States, r.state())) &&
		(query.Region == "" || r.region() == query.Region)
}

func matches(j job.Job, query store.ListQuery) bool {
	if len(query.Namespaces) > 0 && !slices.Contains(query.Namespaces, j.Spec.Namespace) {
		return false
	}
	if query.Template != "" && j.Spec.Template.Name != query.Template {
		return false
	}
	for key, value := range query.Labels {
		if got, ok := j.Spec.Labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// pageOf keeps what a query selects of the records that were read. Where there
// may be more, last is the record to go on after.
func pageOf[T any](read []T, limit int, selects func(T) bool) (kept []T, last T, more bool) {
	var looked T
	for i, one := range read {
		if len(kept) == limit {
			return kept, looked, true
		}
		if looked = one; selects(one) {
			kept = append(kept, one)
		}
		if i+1 == maxRead {
			return kept, looked, true
		}
	}
	return kept, last, false
}
