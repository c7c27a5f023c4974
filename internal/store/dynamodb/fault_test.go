package dynamodb_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/dynamodb"
	"github.com/gco-project/gco/internal/store/dynamodb/dynamotest"
)

// soon is how long a call that can't succeed may try.
const soon = 400 * time.Millisecond

func TestThrottledTableSlowsAndLosesNothing(t *testing.T) {
	onEachEngine(t, func(t *testing.T, e *dynamotest.Engine) {
		w := newWire(e)
		s := opened(t, e, w)
		throttle := func() *http.Response {
			return answer(http.StatusBadRequest, "ProvisionedThroughputExceededException", "slow down", nil)
		}
		// For a while, and the call gets through.
		var left atomic.Int64
		left.Store(5)
		w.breaks(func(call string, _ []byte) (*http.Response, bool) {
			if left.Add(-1) >= 0 {
				return throttle(), false
			}
			return nil, false
		})
		first := insert(t, s, submission("k"))[0].Job

		// All the time, and it says so, within its deadline and having written
		// nothing. A transaction says it in its own way.
		for _, reply := range []func() *http.Response{throttle, func() *http.Response {
			return answer(http.StatusBadRequest, "TransactionCanceledException", "cancelled", map[string]any{
				"CancellationReasons": []map[string]any{{"Code": "ThrottlingError", "Message": "slow down"}},
			})
		}} {
			w.breaks(func(call string, _ []byte) (*http.Response, bool) {
				if call == "TransactWriteItems" {
					return reply(), false
				}
				return nil, false
			})
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			begun := time.Now()
			refused := submission("later")
			_, err := s.Insert(ctx, []store.Submission{refused})
			cancel()
			if !errors.Is(err, store.ErrThrottled) || errors.Is(err, store.ErrUnknown) {
				t.Errorf("a throttled insert failed with %v", err)
			}
			if took := time.Since(begun); took > soon+2*time.Second {
				t.Errorf("it took %s, and had %s", took, soon)
			}
			w.breaks(nil)
			if _, err := s.Job(t.Context(), refused.Job.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("what was refused is there: %v", err)
			}
			insert(t, s, submission(fmt.Sprint("later", begun)))
		}
		if got := insert(t, s, submission("k"))[0]; got.Created || got.Job.ID != first.ID {
			t.Errorf("the key made another job: %+v", got)
		}
	})
}

// TestLostAnswer loses the answer to every other write: what was written is
// found to be, and nothing is written twice.
func TestLostAnswer(t *testing.T) {
	onEachEngine(t, func(t *testing.T, e *dynamotest.Engine) {
		w := newWire(e)
		s := opened(t, e, w)
		var writes atomic.Int64
		w.breaks(func(call string, _ []byte) (*http.Response, bool) {
			isWrite := slices.Contains([]string{"TransactWriteItems", "PutItem", "UpdateItem", "BatchWriteItem"}, call)
			return nil, isWrite && writes.Add(1)%2 == 1
		})
		made := insert(t, s, submission("k"))[0]
		if !made.Created {
			t.Error("the job was made, and the answer says that it was there before")
		}
		j := made.Job
		for _, event := range []job.Event{{Kind: job.Place, Region: "r"}, {Kind: job.Claim}, {Kind: job.Started}, {Kind: job.Finished}} {
			c := change(t, j, event)
			commit(t, s, c)
			j = c.Job
		}
		if _, err := s.OpenSession(t.Context(), "r", "cluster", "session", time.Now()); err != nil {
			t.Error(err)
		}
		lease, err := s.TakeLease(t.Context(), "leader", "me", 0)
		if err != nil {
			t.Errorf("the lease was taken, and the answer is %v", err)
		}
		if _, err := s.TakeLease(t.Context(), "leader", "me", lease.Renewals); err != nil {
			t.Error(err)
		}
		if got := events(t, s); len(got) != 6 {
			t.Errorf("%d events instead of 6", len(got))
		}
		counts, err := s.Counts(t.Context())
		if err != nil || len(counts) != 1 || counts[0].Jobs != 1 || counts[0].State != job.Succeeded {
			t.Errorf("counts %+v, %v", counts, err)
		}
	})
}

// TestOutcomeUnknown breaks every connection after the write: the caller hears
// that nobody knows, and the write is there.
func TestOutcomeUnknown(t *testing.T) {
	onEachEngine(t, func(t *testing.T, e *dynamotest.Engine) {
		w := newWire(e)
		s := opened(t, e, w)
		w.breaks(func(call string, _ []byte) (*http.Response, bool) { return nil, call == "TransactWriteItems" })
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		lost := submission("k")
		answers, err := s.Insert(ctx, []store.Submission{lost})
		if err == nil {
			err = answers[0].Err
		}
		if !errors.Is(err, store.ErrUnknown) {
			t.Fatalf("the error is %v", err)
		}
		w.breaks(nil)
		if got := insert(t, s, submission("k"))[0]; got.Created || got.Job.ID != lost.Job.ID {
			t.Errorf("sent again, the submission made job %s instead of finding %s", got.Job.ID, lost.Job.ID)
		}
	})
}

// TestServerErrorsAndConflictsAreTriedAgain has writes meet others, and the
// service fail now and then.
func TestServerErrorsAndConflictsAreTriedAgain(t *testing.T) {
	onEachEngine(t, func(t *testing.T, e *dynamotest.Engine) {
		w := newWire(e)
		s := opened(t, e, w)
		var n atomic.Int64
		w.breaks(func(call string, _ []byte) (*http.Response, bool) {
			if call != "TransactWriteItems" {
				return nil, false
			}
			switch n.Add(1) % 6 {
			case 1:
				return answer(http.StatusBadRequest, "TransactionCanceledException", "cancelled", map[string]any{
					"CancellationReasons": []map[string]any{{"Code": "TransactionConflict"}, {"Code": "None"}},
				}), false
			case 2:
				return answer(http.StatusInternalServerError, "InternalServerError", "try again", nil), false
			case 3:
				return answer(http.StatusBadRequest, "TransactionInProgressException", "wait", nil), false
			case 4:
				return nil, true
			}
			return nil, false
		})
		var batch []store.Submission
		for range 40 {
			batch = append(batch, submission(""))
		}
		var changes []store.Change
		for _, made := range insert(t, s, batch...) {
			changes = append(changes, change(t, made.Job, job.Event{Kind: job.Place, Region: "r"}))
		}
		commit(t, s, changes...)
		if got := events(t, s); len(got) != 80 {
			t.Errorf("%d events instead of 80", len(got))
		}
	})
}

// TestReadsAreTriedAgain loses more answers to reads, and has the service fail
// more often, than the SDK tries by itself; and then for good, where the read
// ends with its deadline.
func TestReadsAreTriedAgain(t *testing.T) {
	e := dynamotest.Start(t, dynamotest.Dynoxide)
	w := newWire(e)
	s := opened(t, e, w)
	j := insert(t, s, submission(""))[0].Job
	var left atomic.Int64
	w.breaks(func(call string, _ []byte) (*http.Response, bool) {
		n := left.Add(-1)
		if n >= 0 && n%2 == 0 {
			return answer(http.StatusInternalServerError, "InternalServerError", "try again", nil), false
		}
		return nil, n >= 0
	})
	for name, read := range map[string]func(context.Context) error{
		"GetItem":      func(ctx context.Context) error { _, err := s.Job(ctx, j.ID); return err },
		"BatchGetItem": func(ctx context.Context) error { _, err := s.JobsByID(ctx, []job.ID{j.ID}); return err },
		"Query":        func(ctx context.Context) error { _, err := s.History(ctx, j.ID); return err },
	} {
		left.Store(5)
		if err := read(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		left.Store(1 << 40)
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		if err := read(ctx); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s without an answer failed with %v", name, err)
		}
		cancel()
		left.Store(0)
	}
}

// TestCrashBetweenPageAndTail ends a process that has written a page of the log
// and not yet removed what is on it from the tail: the next one sees each event
// once.
func TestCrashBetweenPageAndTail(t *testing.T) {
	onEachEngine(t, func(t *testing.T, e *dynamotest.Engine) {
		options := e.Options()
		for round := range 5 {
			w := newWire(e)
			s, err := dynamodb.Open(t.Context(), withTransport(options, w))
			if err != nil {
				t.Fatal(err)
			}
			insert(t, s, submission(""), submission(""), submission(""))
			dead := errors.New("the process is dead")
			w.breaks(func(call string, _ []byte) (*http.Response, bool) {
				if call == "BatchWriteItem" {
					return answer(http.StatusBadRequest, "AccessDeniedException", dead.Error(), nil), false
				}
				return nil, false
			})
			if _, err := s.Counts(t.Context()); err == nil {
				t.Fatal("the tail was cleared by a process that could not")
			}
			next, err := dynamodb.Open(t.Context(), withTransport(options, newWire(e)))
			if err != nil {
				t.Fatal(err)
			}
			insert(t, next, submission(""))
			got := events(t, next)
			ids := map[string]bool{}
			for _, event := range got {
				ids[event.ID] = true
			}
			if want := 4 * (round + 1); len(got) != want || len(ids) != want {
				t.Fatalf("%d events, %d different ones, instead of %d", len(got), len(ids), want)
			}
		}
	})
}

func withTransport(o dynamodb.Options, w *wire) dynamodb.Options {
	o.Transport = w
	return o
}

// TestClockSkew has two servers whose clocks are an hour apart change the same
// jobs in turn: of each job the events come in their order, and none is missed.
func TestClockSkew(t *testing.T) {
	onEachEngine(t, func(t *testing.T, e *dynamotest.Engine) {
		options := e.Options()
		var servers []*dynamodb.Store
		for _, skew := range []time.Duration{0, -time.Hour, time.Hour} {
			o := options
			o.Now = func() time.Time { return time.Now().Add(skew) }
			s, err := dynamodb.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			servers = append(servers, s)
		}
		var jobs []job.Job
		for range 6 {
			jobs = append(jobs, insert(t, servers[0], submission(""))[0].Job)
		}
		for n, event := range []job.Event{{Kind: job.Place, Region: "r"}, {Kind: job.Claim}, {Kind: job.Applied}, {Kind: job.Started}, {Kind: job.Finished}} {
			for i := range jobs {
				c := change(t, jobs[i], event)
				commit(t, servers[(i+n)%3], c)
				jobs[i] = c.Job
				_ = events(t, servers[(i+n+1)%3])
			}
		}
		for _, s := range servers {
			last := map[string]int64{}
			all := events(t, s)
			for _, event := range all {
				if event.Number != last[event.Subject]+1 {
					t.Fatalf("event %d of %s came after %d", event.Number, event.Subject, last[event.Subject])
				}
				last[event.Subject] = event.Number
			}
			if len(all) != 6*6 {
				t.Errorf("%d events instead of 36", len(all))
			}
			counts, err := s.Counts(t.Context())
			if err != nil || len(counts) != 1 || counts[0].Jobs != 6 {
				t.Errorf("counts %+v, %v", counts, err)
			}
		}
	})
}

// TestServersShareTheLog has three servers write, and move the log on, at the
// same time: each sees every event, those of a job in their order, all three in
// the same order, and they count the same.
func TestServersShareTheLog(t *testing.T) {
	const servers, writers, each = 3, 3, 12
	onEachEngine(t, func(t *testing.T, e *dynamotest.Engine) {
		options := e.Options()
		var stores []*dynamodb.Store
		for range servers {
			s, err := dynamodb.Open(t.Context(), options)
			if err != nil {
				t.Fatal(err)
			}
			stores = append(stores, s)
		}
		var all sync.WaitGroup
		for n := range servers * writers {
			all.Go(func() {
				for range each {
					j := insert(t, stores[n%servers], submission(""))[0].Job
					for k, event := range []job.Event{{Kind: job.Place, Region: "r"}, {Kind: job.Claim}, {Kind: job.Finished}} {
						c := change(t, j, event)
						commit(t, stores[(n+k)%servers], c)
						j = c.Job
					}
					if _, err := stores[(n+1)%servers].Counts(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		var order []string
		for _, s := range stores {
			if _, err := s.Counts(t.Context()); err != nil {
				t.Fatal(err)
			}
			var ids []string
			last := map[string]int64{}
			for _, event := range events(t, s) {
				if event.Number != last[event.Subject]+1 {
					t.Fatalf("event %d of %s came after %d", event.Number, event.Subject, last[event.Subject])
				}
				last[event.Subject] = event.Number
				ids = append(ids, event.ID)
			}
			if order == nil {
				order = ids
			}
			if len(ids) != servers*writers*each*4 || !slices.Equal(ids, order) {
				t.Errorf("%d events of %d, in the same order: %t", len(ids), servers*writers*each*4, slices.Equal(ids, order))
			}
			counts, err := s.Counts(t.Context())
			if err != nil || len(counts) != 1 || counts[0].Jobs != servers*writers*each {
				t.Errorf("counts %+v, %v", counts, err)
			}
		}
	})
}

// TestRestartFromSnapshot fills more pages than a snapshot is kept for, and
// opens the tables anew.
func TestRestartFromSnapshot(t *testing.T) {
	e := dynamotest.Start(t, dynamotest.Dynoxide)
	options := e.Options()
	s := opened(t, e, newWire(e), func(o *dynamodb.Options) { o.Project = options.Project })
	first := insert(t, s, submission(""))[0].Job
	for n := range 300 {
		c := change(t, first, job.Event{Kind: job.Place, Region: fmt.Sprint("r", n%2)})
		commit(t, s, c)
		first = c.Job
		if _, err := s.LastEvent(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w := newWire(e)
	next, err := dynamodb.Open(t.Context(), withTransport(options, w))
	if err != nil {
		t.Fatal(err)
	}
	counts, err := next.Counts(t.Context())
	if err != nil || len(counts) != 1 || counts[0] != (store.Count{Namespace: "team-a", Region: "r1", State: job.Placed, Jobs: 1}) {
		t.Errorf("counts %+v, %v", counts, err)
	}
	if reads := w.counted()["GetItem"]; reads > 60 {
		t.Errorf("%d items were read to know them", reads)
	}
	if got := events(t, next); len(got) != 301 {
		t.Errorf("%d events instead of 301", len(got))
	}
}

// rounds is how many jobs TestRacingClaimers has raced for: few with -race,
// 1,000 in make test-stores.
var rounds = flag.Int("rounds", 10, "jobs that 100 claimers race for")

// TestRacingClaimers lets 100 claimers at four servers race for one job, round
// after round. One wins, and the job says who; the others hear that they lost.
func TestRacingClaimers(t *testing.T) {
	const racers, servers = 100, 4
	e := dynamotest.Start(t, dynamotest.Dynoxide)
	options := e.Options()
	var stores [servers]*dynamodb.Store
	var err error
	for n := range stores {
		if stores[n], err = dynamodb.Open(t.Context(), options); err != nil {
			t.Fatal(err)
		}
	}
	region, err := stores[0].OpenSession(t.Context(), "r", "cluster", "session", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	guard := &store.Guard{Region: "r", Epoch: region.Epoch, Lease: capacity.LeaseLive}
	// Longer than a call has by itself: engine and claimers share the machine
	// with other tests.
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	for round := range *rounds {
		placed := change(t, insert(t, stores[0], submission(""))[0].Job, job.Event{Kind: job.Place, Region: "r"})
		commit(t, stores[0], placed)
		var claims [racers]store.Change
		for n := range claims {
			claims[n] = change(t, placed.Job, job.Event{Kind: job.Claim, Reason: fmt.Sprint(n)})
		}
		var errs [racers]error
		begin := make(chan struct{})
		var all sync.WaitGroup
		for n := range racers {
			all.Go(func() {
				<-begin
				each, err := stores[n%servers].Commit(ctx, guard, claims[n:n+1])
				errs[n] = errors.Join(append(each, err)...)
			})
		}
		close(begin)
		all.Wait()
		var winners []string
		for n, err := range errs {
			if err == nil {
				winners = append(winners, fmt.Sprint(n))
			} else if !errors.Is(err, store.ErrConflict) {
				t.Errorf("round %d: claimer %d failed: %v", round, n, err)
			}
		}
		stored, err := stores[round%servers].Job(t.Context(), placed.Job.ID)
		if err != nil {
			t.Fatal(err)
		}
		if len(winners) != 1 || stored.Reason != winners[0] || stored.Attempt != 1 || stored.Version != placed.Job.Version+1 {
			t.Fatalf("round %d: %v won, and the job says %q, attempt %d, version %d", round, winners, stored.Reason, stored.Attempt, stored.Version)
		}
	}
	t.Logf("%d rounds of %d claimers at %d servers, one winner each", *rounds, racers, servers)
}
