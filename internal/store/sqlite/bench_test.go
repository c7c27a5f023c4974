package sqlite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// The jobs of the benchmarks have a manifest of a kilobyte.
var benchManifest = fmt.Appendf(nil, `{"kind":"Job","filler":"%01000d"}`, 0)

var benchDemand = capacity.Demand{Pods: []capacity.PodGroup{{
	Count: 1, Pod: capacity.Pod{Requests: capacity.Resources{capacity.CPU: 1000, capacity.Memory: 1 << 30}},
}}}

func benchSubmission(key bool) store.Submission {
	spec := job.Spec{
		Namespace: "team-a", Name: "train", Labels: map[string]string{"app": "bench"}, SubmittedBy: "bench",
		Class: capacity.ClassOf(benchDemand, job.Constraints{}),
	}.WithDefaults()
	id := job.NewID()
	j, t := job.New(id, spec, time.Now())
	s := store.Submission{Job: j, Transition: t, Demand: benchDemand, Manifest: benchManifest}
	if key {
		s.Key = &store.IdempotencyKey{Identity: "bench", Namespace: "team-a", Key: string(id), BodyHash: string(id) + string(id)}
	}
	return s
}

func openBench(b testing.TB) *Store {
	b.Helper()
	s, err := Open(context.Background(), Options{Path: filepath.Join(b.TempDir(), "gco.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// cpuTime is what this process has used. It tells more than the clock on a
// machine that others use too.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// measure runs n operations and reports the rate and the processor time of
// each.
func measure(b *testing.B, n int, run func()) {
	b.Helper()
	before := cpuTime()
	b.ResetTimer()
	run()
	b.StopTimer()
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "jobs/s")
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(n), "cpu-µs/job")
	b.ReportMetric(0, "ns/op")
}

// reportTail reports how long the operations took.
func reportTail(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
}

func BenchmarkInsert(b *testing.B) {
	for _, key := range []bool{true, false} {
		for _, submitters := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("key=%t/submitters=%d", key, submitters), func(b *testing.B) {
				s := openBench(b)
				submissions := make([]store.Submission, b.N)
				for i := range submissions {
					submissions[i] = benchSubmission(key)
				}
				var next atomic.Int64
				took := make([]time.Duration, b.N)
				measure(b, b.N, func() {
					var all sync.WaitGroup
					for range submitters {
						all.Go(func() {
							for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
								begin := time.Now()
								answers, err := s.Insert(b.Context(), submissions[i:i+1])
								if err != nil || answers[0].Err != nil {
									b.Error(err, answers)
									return
								}
								took[i] = time.Since(begin)
							}
						})
					}
					all.Wait()
				})
				reportTail(b, took)
			})
		}
	}
}

// claimBatch is how many jobs an agent takes and reports at a time.
const claimBatch = 10

// BenchmarkClaimFinish takes placed jobs through claim and finish, with more
// jobs waiting behind them; beside it the same with bare rows.
func BenchmarkClaimFinish(b *testing.B) {
	for _, depth := range []int{1_000, 100_000, 1_000_000} {
		for _, agents := range []int{1, 8} {
			b.Run(fmt.Sprintf("waiting=%d/agents=%d", depth, agents), func(b *testing.B) {
				s := openBench(b)
				fillWaiting(b, s, depth)
				for i := range agents {
					placeSome(b, s, fmt.Sprintf("region-%d", i), b.N/agents/claimBatch*claimBatch+claimBatch)
				}
				measure(b, b.N, func() {
					runAgents(agents, func(i int) { claimAndFinish(b, s, fmt.Sprintf("region-%d", i), b.N/agents) })
				})
				if log, err := os.Stat(s.path + "-wal"); err == nil {
					b.ReportMetric(float64(log.Size())/(1<<20), "log-MB")
				}
			})
		}
	}
	for _, agents := range []int{1, 8} {
		b.Run(fmt.Sprintf("bare/agents=%d", agents), func(b *testing.B) {
			s := openBench(b)
			fillBare(b, s, 100_000+b.N)
			var next atomic.Int64
			measure(b, b.N, func() {
				runAgents(agents, func(int) { claimAndFinishBare(b, s, &next, b.N) })
			})
		})
	}
}

func runAgents(n int, run func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { run(i) })
	}
	all.Wait()
}

func fillWaiting(b *testing.B, s *Store, n int) {
	b.Helper()
	for done := 0; done < n; {
		batch := make([]store.Submission, min(1000, n-done))
		for i := range batch {
			batch[i] = benchSubmission(false)
		}
		if _, err := s.Insert(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		done += len(batch)
	}
}

// placeSome submits jobs and places them in a region.
func placeSome(b *testing.B, s *Store, region string, n int) {
	b.Helper()
	for done := 0; done < n; {
		batch := make([]store.Submission, min(500, n-done))
		for i := range batch {
			batch[i] = benchSubmission(false)
		}
		answers, err := s.Insert(b.Context(), batch)
		if err != nil {
			b.Fatal(err)
		}
		jobs := make([]job.Job, len(answers))
		for i, answer := range answers {
			jobs[i] = answer.Job
		}
		commitAll(b, s, jobs, job.Event{Kind: job.Place, Region: region, Reason: "best", Decision: []byte(`{"region":"r"}`)})
		done += len(batch)
	}
}

// commitAll applies an event to jobs, and returns them after it.
func commitAll(b *testing.B, s *Store, jobs []job.Job, event job.Event) []job.Job {
	changes := make([]store.Change, len(jobs))
	after := make([]job.Job, len(jobs))
	for i, j := range jobs {
		var err error
		if changes[i].Job, changes[i].Transition, err = j.Apply(event, time.Now()); err != nil {
			b.Error(err)
		}
		after[i] = changes[i].Job
	}
	errs, err := s.Commit(context.Background(), nil, changes)
	if err != nil {
		b.Error(err)
	}
	for _, err := range errs {
		if err != nil {
			b.Error(err)
		}
	}
	return after
}

func claimAndFinish(b *testing.B, s *Store, region string, n int) {
	for range n / claimBatch {
		jobs, err := s.Placed(b.Context(), region, store.Position{}, claimBatch)
		if err != nil || len(jobs) != claimBatch {
			b.Error(err, len(jobs))
			return
		}
		jobs = commitAll(b, s, jobs, job.Event{Kind: job.Claim})
		commitAll(b, s, jobs, job.Event{Kind: job.Finished})
	}
}

const bareSchema = `CREATE TABLE bare (id TEXT PRIMARY KEY, state TEXT, version INTEGER, payload TEXT);
	CREATE INDEX bare_placed ON bare (id) WHERE state = 'placed'`

var (
	stBareInsert = statement(`INSERT INTO bare (id, state, version, payload) VALUES (?, 'placed', 1, ?)`)
	stBareUpdate = statement(`UPDATE bare SET state = ?, version = version + 1 WHERE id = ? AND version = ?`)
	stBareTake   = statement(`SELECT id, version, payload FROM bare WHERE state = 'placed' AND id > ? ORDER BY id LIMIT ?`)
)

func fillBare(b *testing.B, s *Store, n int) {
	b.Helper()
	err := s.writer.do(b.Context(), func(t *tx) error {
		_, err := t.conn.ExecContext(b.Context(), bareSchema)
		return err
	})
	for done := 0; done < n && err == nil; done += 1000 {
		err = s.writer.do(b.Context(), func(t *tx) error {
			for i := range 1000 {
				if _, err := t.exec(stBareInsert, fmt.Sprintf("%036d", done+i), string(benchManifest[:600])); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		b.Fatal(err)
	}
}

func claimAndFinishBare(b *testing.B, s *Store, next *atomic.Int64, n int) {
	for {
		begin := next.Add(claimBatch) - claimBatch
		if begin+claimBatch > int64(n) {
			return
		}
		var ids []string
		err := s.read(b.Context(), "bare rows", func(r *session) error {
			return r.each(stBareTake, []any{fmt.Sprintf("%036d", begin-1), claimBatch}, func(scan func(...any) error) error {
				var id, payload string
				var version int64
				err := scan(&id, &version, &payload)
				ids = append(ids, id)
				return err
			})
		})
		for version, state := range []string{"claimed", "succeeded"} {
			if err == nil {
				err = s.writer.do(b.Context(), func(t *tx) error {
					for _, id := range ids {
						if n, err := t.exec(stBareUpdate, state, id, version+1); err != nil || n != 1 {
							return fmt.Errorf("%d rows: %w", n, err)
						}
					}
					return nil
				})
			}
		}
		if err != nil {
			b.Error(err)
			return
		}
	}
}

// placeBatch is how many jobs the Placer decides on at a time.
const placeBatch = 300

// BenchmarkPlace reads waiting jobs and places them, from the head of a queue
// of the given depth.
func BenchmarkPlace(b *testing.B) {
	for _, depth := range []int{1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("waiting=%d", depth), func(b *testing.B) {
			s := openBench(b)
			fillWaiting(b, s, depth+b.N)
			event := job.Event{Kind: job.Place, Region: "region-0", Reason: "best", Decision: []byte(`{"region":"region-0"}`)}
			measure(b, b.N, func() {
				for done := 0; done < b.N; {
					classes, err := s.WaitingClasses(b.Context(), store.Position{}, 100)
					if err != nil || len(classes) != 1 {
						b.Fatal(err, len(classes))
					}
					jobs, err := s.Waiting(b.Context(), classes[0].Class, store.Position{}, min(placeBatch, b.N-done))
					if err != nil || len(jobs) == 0 {
						b.Fatal(err, len(jobs))
					}
					commitAll(b, s, jobs, event)
					done += len(jobs)
				}
			})
		})
	}
}

// BenchmarkList lists the newest 50 jobs of a namespace among a million.
func BenchmarkList(b *testing.B) {
	s := openBench(b)
	fillWaiting(b, s, 1_000_000)
	b.Run("newest=50", func(b *testing.B) {
		took := make([]time.Duration, 0, b.N)
		measure(b, b.N, func() {
			for range b.N {
				begin := time.Now()
				page, err := s.List(b.Context(), store.ListQuery{Namespaces: []string{"team-a"}, Limit: 50})
				if err != nil || len(page.Jobs) != 50 {
					b.Fatal(err, len(page.Jobs))
				}
				took = append(took, time.Since(begin))
			}
		})
		reportTail(b, took)
		b.ReportMetric(residentMB(b), "rss-MB")
	})
}

// residentMB is how much memory the process occupies.
func residentMB(b *testing.B) float64 {
	b.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var total, resident float64
	if _, err := fmt.Sscan(string(status), &total, &resident); err != nil {
		b.Fatal(err)
	}
	return resident * float64(os.Getpagesize()) / (1 << 20)
}
