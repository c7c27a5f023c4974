package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gco-project/gco/internal/store"
)

const (
	// maxBatch bounds the requests of one transaction.
	maxBatch = 256
	// linger is how long the writer waits for the callers of the batch before
	// to come back. A caller that is alone never waits.
	linger = 200 * time.Microsecond
)

// request is one operation that waits for the writer.
type request struct {
	// run does the work. When it returns an error it has written nothing. It
	// may be run again after a rollback.
	run  func(*tx) error
	err  error
	done chan struct{}
}

// writer is the only one that writes to the database. Its goroutine takes what
// waits, runs it in one transaction and answers after the commit, so that
// callers that come together share an fsync:
//
//  1. take the waiting requests; if the last batch had several, linger until as
//     many are here again or the time is over;
//  2. run each in the open transaction; one that decides to refuse has written
//     nothing and does not disturb the others;
//  3. write the counters that all of them changed, commit, answer;
//  4. if anything failed that nobody decided, roll back; then run each request
//     in a transaction of its own, so that only the culprit fails.
//
// In memory there is no goroutine: each caller runs its own batch of one.
type writer struct {
	session *session
	path    string
	log     *slog.Logger
	known   *known
	tx      *tx

	mutex   sync.Mutex
	waiting []*request
	stopped bool
	wake    chan struct{}
	ended   chan struct{}

	// shared is set for a database in memory: it lends the only session, to
	// readers and to callers that write.
	shared *pool

	// damage is set for good when SQLite finds the file damaged.
	damage error
}

func newWriter(s *session, path string, log *slog.Logger) (*writer, error) {
	k, err := loadKnown(s)
	if err != nil {
		return nil, err
	}
	return &writer{
		session: s, path: path, log: log, known: k, tx: newTx(s, k),
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}, nil
}

// start starts the goroutine.
func (w *writer) start(checkpoints *checkpointer) {
	go checkpoints.loop()
	go w.loop(checkpoints)
}

// stop refuses new requests and returns when the accepted ones are done.
func (w *writer) stop() {
	if w.shared != nil {
		return
	}
	w.mutex.Lock()
	w.stopped = true
	w.mutex.Unlock()
	w.signal()
	<-w.ended
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// do runs one operation durably. A context that ends before the writer has
// taken the operation withdraws it; later, the answer is store.ErrUnknown.
func (w *writer) do(ctx context.Context, run func(*tx) error) error {
	return w.doAll(ctx, []func(*tx) error{run})[0]
}

// doAll queues several operations at once. They may be committed together or
// not; each has an error of its own.
func (w *writer) doAll(ctx context.Context, runs []func(*tx) error) []error {
	errs := make([]error, len(runs))
	requests := make([]*request, len(runs))
	for i, run := range runs {
		requests[i] = &request{run: run}
	}
	if err := w.enqueue(ctx, requests); err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	for i, r := range requests {
		errs[i] = w.wait(ctx, r)
	}
	return errs
}

func (w *writer) enqueue(ctx context.Context, requests []*request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.shared != nil {
		return w.shared.use(ctx, func(*session) error {
			w.runBatch(requests)
			return nil
		})
	}
	for _, r := range requests {
		r.done = make(chan struct{})
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.stopped {
		return errClosed
	}
	w.waiting = append(w.waiting, requests...)
	w.signal()
	return nil
}

func (w *writer) wait(ctx context.Context, r *request) error {
	if r.done == nil {
		return r.err
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
	}
	if w.withdraw(r) {
		return ctx.Err()
	}
	select {
	case <-r.done:
		return r.err
	default:
		return fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err())
	}
}

// withdraw takes a request back that the writer has not begun.
func (w *writer) withdraw(r *request) bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for i, waiting := range w.waiting {
		if waiting == r {
			w.waiting = append(w.waiting[:i:i], w.waiting[i+1:]...)
			return true
		}
	}
	return false
}

func (w *writer) loop(checkpoints *checkpointer) {
	defer close(w.ended)
	last := 0
	for range w.wake {
		for {
			batch := w.take(nil)
			if len(batch) == 0 {
				break
			}
			batch = w.fill(batch, last)
			last = len(batch)
			w.runBatch(batch)
			for _, r := range batch {
				close(r.done)
			}
			checkpoints.after(w.session)
		}
		if w.isStopped() {
			checkpoints.stop()
			return
		}
	}
}

func (w *writer) isStopped() bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.stopped && len(w.waiting) == 0
}

// take moves waiting requests to the batch, as many as it may still hold.
func (w *writer) take(batch []*request) []*request {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	n := min(len(w.waiting), maxBatch-len(batch))
	batch = append(batch, w.waiting[:n]...)
	w.waiting = w.waiting[n:]
	return batch
}

// fill lingers for the callers of the batch before, who are probably on their
// way back.
func (w *writer) fill(batch []*request, last int) []*request {
	if last < 2 || len(batch) >= last {
		return batch
	}
	timer := time.NewTimer(linger)
	defer timer.Stop()
	for len(batch) < min(last, maxBatch) {
		select {
		case <-w.wake:
			batch = w.take(batch)
		case <-timer.C:
			return w.take(batch)
		}
	}
	return batch
}

// runBatch runs the requests in one transaction, and sets the error of each.
func (w *writer) runBatch(batch []*request) {
	if w.damage != nil {
		fail(batch, w.damage)
		return
	}
	err := w.transact(batch)
	if err == nil {
		return
	}
	if isDamage(err) {
		w.damage = damagedInUse(w.path, err)
		w.log.Error("the database is damaged; writing has stopped", "path", w.path, "error", err)
		fail(batch, w.damage)
		return
	}
	var commit *commitError
	if len(batch) == 1 || errors.As(err, &commit) {
		fail(batch, err)
		return
	}
	for i := range batch {
		if err := w.transact(batch[i : i+1]); err != nil {
			fail(batch[i:i+1], err)
		}
	}
}

func fail(batch []*request, err error) {
	for _, r := range batch {
		r.err = err
	}
}

// commitError is an error that no single request caused.
type commitError struct{ error }

func (e *commitError) Unwrap() error { return e.error }

var (
	stBegin    = statement(`BEGIN IMMEDIATE`)
	stCommit   = statement(`COMMIT`)
	stRollback = statement(`ROLLBACK`)
)

// transact runs the requests in one transaction. An error means that nothing
// of any of them was written, but for store.ErrUnknown.
func (w *writer) transact(batch []*request) error {
	if _, err := w.session.exec(stBegin); err != nil {
		return &commitError{unavailable(err)}
	}
	t := w.tx
	t.begin()
	for _, r := range batch {
		r.err = r.run(t)
		if r.err != nil && !isDecision(r.err) {
			w.rollback()
			return unavailable(r.err)
		}
	}
	if err := t.flush(); err != nil {
		w.rollback()
		return unavailable(err)
	}
	if _, err := w.session.exec(stCommit); err != nil {
		w.rollback()
		return &commitError{afterCommit(err)}
	}
	w.known.learn(t)
	return nil
}

// rollback ends the transaction. After some errors SQLite has already done so,
// and says that there is none.
func (w *writer) rollback() { _, _ = w.session.exec(stRollback) }
