package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/queue"
)

// instantQueue answers submissions without doing anything, so that what is
// left is the server's own cost.
type instantQueue struct {
	Queue
	record job.Job
}

func (q instantQueue) Submit(_ context.Context, submissions []queue.Submission) []queue.Submitted {
	results := make([]queue.Submitted, len(submissions))
	for i := range results {
		results[i] = queue.Submitted{Job: q.record, Created: true}
	}
	return results
}

// BenchmarkHandler measures the handler alone: no network, no validation of
// the manifest, no store.
func BenchmarkHandler(b *testing.B) {
	record, _ := job.New(job.NewID(), job.Spec{Namespace: "default", Name: "hello", Class: "c"}.WithDefaults(), time.Now())
	s := start(b, func(o *setUp) { o.wrapQueue = func(q Queue) Queue { return instantQueue{q, record} } })
	for name, work := range map[string]struct{ path, body string }{
		"submit":       {"/api/v1/jobs", `{"manifest":` + helloManifest + `}`},
		"submit batch": {"/api/v1/jobs:batch", batchOf(100)},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(work.body)))
			for b.Loop() {
				request := httptest.NewRequestWithContext(b.Context(), post, work.path, strings.NewReader(work.body))
				request.Header.Set("Authorization", "Bearer "+s.token)
				request.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				s.server.Handler().ServeHTTP(w, request)
				if w.Code >= 300 {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
	b.Run("floor", func(b *testing.B) {
		// The same requests to a handler that does nothing.
		nothing := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
		b.ReportAllocs()
		for b.Loop() {
			request := httptest.NewRequestWithContext(b.Context(), post, "/api/v1/jobs", strings.NewReader(helloManifest))
			request.Header.Set("Content-Type", "application/json")
			nothing.ServeHTTP(httptest.NewRecorder(), request)
		}
	})
}

// BenchmarkDecode measures what strictness costs beside encoding/json.
func BenchmarkDecode(b *testing.B) {
	text := []byte(`{"manifest":` + helloManifest + `}`)
	b.Run("strict", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if faults, err := decodeStrict(text, submissionShape, new(api.Submission)); err != nil || len(faults) > 0 {
				b.Fatal(faults, err)
			}
		}
	})
	b.Run("encoding json", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if err := json.Unmarshal(text, new(api.Submission)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSubmit measures the whole way over HTTP, with the client on the
// same machine: the real queue and a durable store.
func BenchmarkSubmit(b *testing.B) {
	s := start(b, func(o *setUp) {
		o.limits = queue.Limits{SubmissionsPerSecond: 1e9, SubmissionBurst: 1e9, QueuedPerNamespace: 1e9}
	})
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("single/clients=%d", clients), func(b *testing.B) {
			b.SetParallelism(clients)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, _, err := s.admin.Submit(b.Context(), hello(), ""); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
		})
	}
	b.Run("batch of 100/clients=16", func(b *testing.B) {
		items := make([]api.BatchItem, 100)
		for i := range items {
			items[i].Submission = hello()
		}
		var jobs atomic.Int64
		b.SetParallelism(16)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				result, err := s.admin.SubmitBatch(b.Context(), items)
				if err != nil {
					b.Error(err)
					return
				}
				jobs.Add(int64(len(result.Items)))
			}
		})
		b.ReportMetric(float64(jobs.Load())/b.Elapsed().Seconds(), "jobs/s")
	})
}

func batchOf(n int) string {
	return `{"items":[` + strings.TrimSuffix(strings.Repeat(`{"manifest":`+helloManifest+`},`, n), ",") + `]}`
}
