package dynamodb_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/dynamodb"
	"github.com/gco-project/gco/internal/store/dynamodb/dynamotest"
)

// reads counts what is read, by the partition of a query and in items.
type reads struct {
	to http.RoundTripper

	mu         sync.Mutex
	partitions map[string]int
	items      int
	others     []string
}

// RoundTrip carries one request.
func (r *reads) RoundTrip(request *http.Request) (*http.Response, error) {
	_, call, _ := strings.Cut(request.Header.Get("X-Amz-Target"), ".")
	asked, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	request = request.Clone(request.Context())
	request.Body = io.NopCloser(bytes.NewReader(asked))
	answer, err := r.to.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	answer.Body = io.NopCloser(bytes.NewReader(said))
	r.mu.Lock()
	defer r.mu.Unlock()
	return answer, r.count(call, asked, said)
}

func (r *reads) count(call string, asked, said []byte) error {
	var query struct {
		IndexName                 string
		ExpressionAttributeValues map[string]map[string]string
	}
	var found struct {
		ScannedCount int
		Responses    map[string][]any
	}
	switch call {
	case "Query":
		if err := json.Unmarshal(asked, &query); err != nil {
			return err
		}
		r.partitions[query.IndexName+" "+query.ExpressionAttributeValues[":p"]["S"]]++
	case "BatchGetItem":
	default:
		r.others = append(r.others, call)
		return nil
	}
	if err := json.Unmarshal(said, &found); err != nil {
		return err
	}
	r.items += found.ScannedCount
	for _, items := range found.Responses {
		r.items += len(items)
	}
	return nil
}

// of returns what was read while f ran.
func (r *reads) of(f func()) (partitions map[string]int, items int, others []string) {
	r.mu.Lock()
	r.partitions, r.items, r.others = map[string]int{}, 0, nil
	r.mu.Unlock()
	f()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.partitions, r.items, r.others
}

// TestListsReadOnePageOfEachShard counts what each kind of list asks for: one
// page of each shard of what it names, the records of what is in a list of
// places, and nothing else. The page is full where nothing else was asked for.
func TestListsReadOnePageOfEachShard(t *testing.T) {
	const limit, each = 10, 12
	e := dynamotest.Start(t, dynamotest.Dynoxide)
	r := &reads{to: e.Transport}
	shards := dynamodb.Shards{Index: 8, List: 4, Guard: 2, Tail: 2}
	options := e.Options()
	options.Shards, options.Transport = shards, r
	r.partitions = map[string]int{}
	s, err := dynamodb.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	lives := map[job.State][]job.Event{
		job.Queued:    nil,
		job.Placed:    {{Kind: job.Place, Region: "r"}},
		job.Claimed:   {{Kind: job.Place, Region: "r"}, {Kind: job.Claim}},
		job.Pending:   {{Kind: job.Place, Region: "r"}, {Kind: job.Claim}, {Kind: job.Applied}},
		job.Running:   {{Kind: job.Place, Region: "r"}, {Kind: job.Claim}, {Kind: job.Started}},
		job.Succeeded: {{Kind: job.Place, Region: "r"}, {Kind: job.Claim}, {Kind: job.Finished}},
	}
	for _, events := range lives {
		for range each {
			j := insert(t, s, submission(""))[0].Job
			for _, event := range events {
				c := change(t, j, event)
				commit(t, s, c)
				j = c.Job
			}
		}
	}
	for _, read := range []struct {
		query store.ListQuery
		// queries is one for each shard of each value.
		queries int
		from    []string
	}{
		{store.ListQuery{}, shards.List, []string{" list#all#"}},
		{store.ListQuery{States: job.States}, shards.List, []string{" list#all#"}},
		{store.ListQuery{Region: "r"}, shards.List, []string{" list#region r#"}},
		{store.ListQuery{Namespaces: []string{"team-a"}}, shards.Index, []string{"namespace-index team-a#"}},
		{store.ListQuery{Namespaces: []string{"team-a", "team-b"}}, 2 * shards.Index, []string{"namespace-index team-a#", "namespace-index team-b#"}},
		{store.ListQuery{States: []job.State{job.Queued}}, shards.Index, []string{"status-index queued#"}},
		{store.ListQuery{States: []job.State{job.Placed}}, shards.Index, []string{"status-index placed#"}},
		{store.ListQuery{States: []job.State{job.Claimed}}, shards.Index, []string{"status-index claimed#"}},
		{store.ListQuery{States: []job.State{job.Pending}}, shards.Index, []string{"status-index pending#"}},
		{store.ListQuery{States: []job.State{job.Running}}, shards.Index, []string{"status-index running#"}},
		{store.ListQuery{States: []job.State{job.Succeeded}}, shards.Index, []string{"status-index succeeded#"}},
		{store.ListQuery{States: []job.State{job.Running, job.Pending}}, 2 * shards.Index, []string{"status-index running#", "status-index pending#"}},
	} {
		read.query.Limit = limit
		name := fmt.Sprintf("a list by %+v", read.query)
		var page store.Page
		partitions, items, others := r.of(func() { page, err = s.List(t.Context(), read.query) })
		if err != nil {
			t.Fatal(err)
		}
		if len(partitions) != read.queries || len(others) > 0 {
			t.Errorf("%s asked for %v and %v; %d queries would do", name, partitions, others, read.queries)
		}
		for partition, pages := range partitions {
			known := slices.ContainsFunc(read.from, func(from string) bool { return strings.HasPrefix(partition, from) })
			if pages != 1 || !known {
				t.Errorf("%s read %d pages of %q", name, pages, partition)
			}
		}
		if len(page.Jobs) != limit || !page.More {
			t.Errorf("%s has %d jobs, more: %t; want a full page and more", name, len(page.Jobs), page.More)
		}
		if items > 120 {
			t.Errorf("%s read %d items", name, items)
		}
	}
}

// TestFiltersReadLittle looks by what no index has for jobs that are not there,
// among more than may be looked at: each page stops early, and says where to go
// on, until all was seen.
func TestFiltersReadLittle(t *testing.T) {
	const jobs, most = 1300, 1000
	e := dynamotest.Start(t, dynamotest.Dynoxide)
	r := &reads{to: e.Transport, partitions: map[string]int{}}
	options := e.Options()
	options.Transport = r
	s, err := dynamodb.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	var batch []store.Submission
	for range jobs {
		batch = append(batch, submission(""))
	}
	for some := range slices.Chunk(batch, 400) {
		insert(t, s, some...)
	}
	var many []string
	for n := range 400 {
		many = append(many, fmt.Sprint("nobody-", n))
	}
	for _, query := range []store.ListQuery{
		{Labels: map[string]string{"a": "b"}},
		{Template: "nobody's"},
		{Namespaces: []string{"team-a"}, Labels: map[string]string{"a": "b"}},
		{States: []job.State{job.Queued}, Template: "nobody's"},
		{Namespaces: []string{"team-a"}, States: []job.State{job.Running}},
		{Namespaces: many},
	} {
		query.Limit = 20
		pages := 0
		for more := true; more; pages++ {
			var page store.Page
			_, items, _ := r.of(func() { page, err = s.List(t.Context(), query) })
			if err != nil {
				t.Fatal(err)
			}
			if items > most || len(page.Jobs) > 0 {
				t.Errorf("page %d by %+v looked at %d items, and has %d jobs", pages, query, items, len(page.Jobs))
			}
			if more = page.More; more && (page.Next == "" || query.Before != "" && page.Next >= query.Before) {
				t.Fatalf("page %d by %+v goes on at %q", pages, query, page.Next)
			}
			query.Before = page.Next
		}
		if pages < 2 {
			t.Errorf("%d jobs were looked through for %+v in one page", jobs, query)
		}
	}
}
