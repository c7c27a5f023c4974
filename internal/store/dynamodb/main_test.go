package dynamodb_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/dynamodb"
	"github.com/gco-project/gco/internal/store/dynamodb/dynamotest"
)

func TestMain(m *testing.M) { os.Exit(dynamotest.Main(m.Run)) }

// onEachEngine runs a test on everything that stands in for DynamoDB.
func onEachEngine(t *testing.T, test func(t *testing.T, e *dynamotest.Engine)) {
	t.Helper()
	for _, name := range dynamotest.Names {
		t.Run(string(name), func(t *testing.T) { test(t, dynamotest.Start(t, name)) })
	}
}

// wire carries requests, counts them, and does to them what a test asks for.
type wire struct {
	to http.RoundTripper

	mu    sync.Mutex
	calls map[string]int
	// fault is asked before each request; it may answer in its place, or make
	// the answer to a request that arrived get lost.
	fault func(call string, body []byte) (answer *http.Response, lose bool)
}

func newWire(e *dynamotest.Engine) *wire { return &wire{to: e.Transport, calls: map[string]int{}} }

// RoundTrip carries one request.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	_, call, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.calls[call]++
	fault := w.fault
	w.mu.Unlock()
	lose := false
	if fault != nil {
		var answer *http.Response
		if answer, lose = fault(call, body); answer != nil {
			answer.Request = r
			return answer, nil
		}
	}
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	answer, err := w.to.RoundTrip(again)
	if lose && err == nil {
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		return nil, errors.New("the connection broke off")
	}
	return answer, err
}

// breaks sets what goes wrong from now on; nil is nothing.
func (w *wire) breaks(fault func(call string, body []byte) (*http.Response, bool)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = fault
}

// counted returns the calls so far.
func (w *wire) counted() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.calls)
}

// answer is what DynamoDB says when it refuses.
func answer(status int, code, message string, more map[string]any) *http.Response {
	said := map[string]any{"__type": "com.amazonaws.dynamodb.v20120810#" + code, "message": message}
	maps.Copy(said, more)
	text, err := json.Marshal(said)
	if err != nil {
		panic(err)
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		Body:   io.NopCloser(bytes.NewReader(text)), ContentLength: int64(len(text)),
	}
}

// opened opens tables of the test's own over a wire.
func opened(t *testing.T, e *dynamotest.Engine, w *wire, alter ...func(*dynamodb.Options)) *dynamodb.Store {
	t.Helper()
	options := e.Options()
	options.Transport = w
	for _, change := range alter {
		change(&options)
	}
	s, err := dynamodb.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// submission is a valid one.
func submission(key string) store.Submission {
	spec := job.Spec{Namespace: "team-a", Name: "train", SubmittedBy: "someone"}.WithDefaults()
	demand := capacity.Demand{Pods: []capacity.PodGroup{{Count: 1, Pod: capacity.Pod{Requests: capacity.Resources{capacity.CPU: 100}}}}}
	spec.Class = capacity.ClassOf(demand, spec.Placement)
	id := job.NewID()
	j, transition := job.New(id, spec, time.Now())
	s := store.Submission{Job: j, Transition: transition, Demand: demand, Manifest: fmt.Appendf(nil, `{"kind":"Job","uid":%q}`, id)}
	if key != "" {
		s.Key = &store.IdempotencyKey{Identity: "me", Namespace: "team-a", Key: key, BodyHash: "h"}
	}
	return s
}

// insert inserts one submission.
func insert(t *testing.T, s *dynamodb.Store, submissions ...store.Submission) []store.Inserted {
	t.Helper()
	answers, err := s.Insert(t.Context(), submissions)
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range answers {
		if answer.Err != nil {
			t.Fatal(answer.Err)
		}
	}
	return answers
}

// change is what an event makes of a job.
func change(t *testing.T, j job.Job, event job.Event) store.Change {
	t.Helper()
	after, transition, err := j.Apply(event, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return store.Change{Job: after, Transition: transition}
}

// commit writes changes, each of which must be taken.
func commit(t *testing.T, s *dynamodb.Store, changes ...store.Change) {
	t.Helper()
	errs, err := s.Commit(t.Context(), nil, changes)
	if err = errors.Join(append(errs, err)...); err != nil {
		t.Fatal(err)
	}
}

// events reads the whole stream.
func events(t *testing.T, s *dynamodb.Store) []store.Event {
	t.Helper()
	var all []store.Event
	for after := int64(0); ; {
		page, next, err := s.Events(t.Context(), store.EventQuery{After: after, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
		if next == after {
			return all
		}
		after = next
	}
}
