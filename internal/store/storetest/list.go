package storetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// list reads all pages of a query.
func (c *client) list(query store.ListQuery) []job.ID {
	c.Helper()
	var all []job.ID
	for {
		page, err := c.List(c.ctx, query)
		c.must(err)
		if len(page.Jobs) > query.Limit {
			c.Fatalf("%d jobs on a page of %d", len(page.Jobs), query.Limit)
		}
		all = append(all, ids(page.Jobs)...)
		if !page.More {
			return all
		}
		if page.Next == "" || (query.Before != "" && page.Next >= query.Before) {
			c.Fatalf("the page after %q goes on at %q", query.Before, page.Next)
		}
		query.Before = page.Next
	}
}

func testList(t *testing.T, open Opener) {
	c := newClient(t, open)
	var all []job.Job
	for i := range 24 {
		j := c.submit(func(s *job.Spec) {
			s.Namespace = []string{"team-a", "team-b", "team-c"}[i%3]
			s.Labels = map[string]string{"parity": []string{"even", "odd"}[i%2], "n": fmt.Sprint(i)}
			if i%4 == 0 {
				s.Template = job.TemplateRef{Name: []string{"train", "eval"}[i/4%2], Version: int64(i)}
			}
		})
		lives := [][]job.Event{
			{},
			{place("r")},
			{place("q"), claim, started},
			{place("r"), claim, started, finished},
			{job.Event{Kind: job.Failure}},
			{stopped},
			{place("r"), claim, applied},
		}
		all = append(all, c.apply(j, lives[i%len(lives)]...))
	}
	slices.Reverse(all)
	for _, query := range []store.ListQuery{
		{},
		{Namespaces: []string{"team-b"}},
		{Namespaces: []string{"team-c", "team-a", "team-c"}},
		{Namespaces: []string{"nobody"}},
		{States: []job.State{job.Running}},
		{States: []job.State{job.Failed, job.Cancelled}},
		{States: []job.State{job.Failed}, Namespaces: []string{"team-a", "team-b"}},
		{States: []job.State{job.Queued, job.Placed, job.Succeeded}},
		{States: []job.State{job.Claimed, job.Pending, job.Running}, Region: "r"},
		{Region: "r"},
		{Region: "r", Namespaces: []string{"team-a"}},
		{Template: "train"},
		{Template: "eval", Namespaces: []string{"team-b", "team-c"}},
		{Template: "nobody's"},
		{Labels: map[string]string{"parity": "odd"}},
		{Labels: map[string]string{"parity": "odd", "n": "5"}},
		{Labels: map[string]string{"missing": ""}},
		{Labels: map[string]string{"parity": "even"}, Region: "r", States: []job.State{job.Placed, job.Pending}, Namespaces: []string{"team-a", "team-c"}},
	} {
		var want []job.ID
		for _, j := range all {
			if selects(query, j) {
				want = append(want, j.ID)
			}
		}
		for _, query.Limit = range []int{1, 3, 8, 100} {
			c.same("list "+text(query), c.list(query), want)
		}
	}
	page, err := c.List(c.ctx, store.ListQuery{Limit: 1})
	c.must(err)
	c.same("a job in a list", page.Jobs, all[:1])
}

// selects is what the contract says of a filter.
func selects(query store.ListQuery, j job.Job) bool {
	for key, value := range query.Labels {
		if got, ok := j.Spec.Labels[key]; !ok || got != value {
			return false
		}
	}
	return (len(query.Namespaces) == 0 || slices.Contains(query.Namespaces, j.Spec.Namespace)) &&
		(len(query.States) == 0 || slices.Contains(query.States, j.State)) &&
		(query.Region == "" || j.Region == query.Region) &&
		(query.Template == "" || j.Spec.Template.Name == query.Template)
}

// testListPages inserts while it pages: what was there at the first page comes
// once, and nothing twice.
func testListPages(t *testing.T, open Opener) {
	c := newClient(t, open)
	var want []job.ID
	for range 30 {
		want = append(want, c.submit().ID)
	}
	query := store.ListQuery{Limit: 4}
	var got []job.ID
	for {
		page, err := c.List(c.ctx, query)
		c.must(err)
		got = append(got, ids(page.Jobs)...)
		if !page.More {
			break
		}
		query.Before = page.Next
		c.submit()
	}
	c.same("pages while jobs come in", got, reversed(want))
}

// testListRare looks for few jobs among many, where a driver may answer with
// short pages but must find every one.
func testListRare(t *testing.T, open Opener) {
	c := newClient(t, open)
	rare := func(s *job.Spec) { s.Labels = map[string]string{"rare": "yes"} }
	var want []job.ID
	want = append(want, c.apply(c.submit(rare), place("r"), claim).ID)
	var batch []store.Submission
	for range 1300 {
		batch = append(batch, c.submission())
	}
	for chunk := range slices.Chunk(batch, 500) {
		_, err := c.Insert(c.ctx, chunk)
		c.must(err)
	}
	want = append(want, c.apply(c.submit(rare), place("r"), claim).ID)
	for _, query := range []store.ListQuery{
		{Labels: map[string]string{"rare": "yes"}, Limit: 50},
		{Region: "r", Limit: 50},
		{States: []job.State{job.Claimed}, Limit: 50},
	} {
		c.same("the rare ones by "+text(query), c.list(query), reversed(want))
	}
	if all := c.list(store.ListQuery{Limit: 1000}); len(all) != 1302 {
		t.Errorf("%d jobs of 1302", len(all))
	}
}
