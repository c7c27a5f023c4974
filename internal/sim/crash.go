package sim

import (
	"context"
	"errors"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// errCrashed is what a dead server gets from its store.
var errCrashed = errors.New("this server has crashed")

// crashStore is one server's way to the store. It dies before or after a
// write that the simulation has chosen, and then answers nothing any more.
// Reads change nothing, so a crash between two of them is one between the
// writes around them.
type crashStore struct {
	store.Store
	// until counts down to the write at which the server dies; negative is
	// never. after lets that write still happen.
	until int
	after bool
	dead  bool
	// shaky says what becomes of the next write while the database is in
	// trouble.
	shaky func() trouble
	// wrote is called after each write that may have made events.
	wrote func()
	// meanwhile is called before each change of jobs.
	meanwhile func()
}

// write runs one write, unless the server is dead or dies before it.
func (s *crashStore) write(do func()) error {
	if s.dead {
		return errCrashed
	}
	if s.until == 0 {
		s.dead = true
		if s.after {
			do()
		}
		return errCrashed
	}
	s.until--
	switch s.shaky() {
	case refused:
		return store.ErrUnavailable
	case unanswered:
		do()
		return store.ErrUnknown
	}
	do()
	return nil
}

// trouble is what a database can do to a write without dying.
type trouble int

const (
	none trouble = iota
	refused
	unanswered
)

// passing tells of errors that a caller should survive, and try again.
func passing(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrUnknown)
}

func (s *crashStore) Insert(ctx context.Context, submissions []store.Submission) (out []store.Inserted, err error) {
	defer s.wrote()
	crashed := s.write(func() { out, err = s.Store.Insert(ctx, submissions) })
	return out, errors.Join(crashed, err)
}

func (s *crashStore) Commit(ctx context.Context, guard *store.Guard, changes []store.Change) (out []error, err error) {
	s.meanwhile()
	defer s.wrote()
	crashed := s.write(func() { out, err = s.Store.Commit(ctx, guard, changes) })
	return out, errors.Join(crashed, err)
}

func (s *crashStore) SetLogs(ctx context.Context, id job.AttemptID, state job.LogState) (err error) {
	crashed := s.write(func() { err = s.Store.SetLogs(ctx, id, state) })
	return errors.Join(crashed, err)
}

func (s *crashStore) Delete(ctx context.Context, ids []job.ID, now time.Time, keep time.Duration) (out []error, err error) {
	defer s.wrote()
	crashed := s.write(func() { out, err = s.Store.Delete(ctx, ids, now, keep) })
	return out, errors.Join(crashed, err)
}

func (s *crashStore) Wake(ctx context.Context, now time.Time) (next time.Time, err error) {
	crashed := s.write(func() { next, err = s.Store.Wake(ctx, now) })
	return next, errors.Join(crashed, err)
}

func (s *crashStore) OpenSession(ctx context.Context, region, cluster, session string, now time.Time) (out capacity.Region, err error) {
	defer s.wrote()
	crashed := s.write(func() { out, err = s.Store.OpenSession(ctx, region, cluster, session, now) })
	return out, errors.Join(crashed, err)
}

func (s *crashStore) Renew(ctx context.Context, renewal store.Renewal, now time.Time) (out capacity.Region, err error) {
	crashed := s.write(func() { out, err = s.Store.Renew(ctx, renewal, now) })
	return out, errors.Join(crashed, err)
}

func (s *crashStore) ExpireSession(ctx context.Context, region string, epoch, renewals int64, now time.Time) (out capacity.Region, err error) {
	defer s.wrote()
	crashed := s.write(func() { out, err = s.Store.ExpireSession(ctx, region, epoch, renewals, now) })
	return out, errors.Join(crashed, err)
}

func (s *crashStore) SetSchedulable(ctx context.Context, region string, cordoned, draining bool, now time.Time) (out capacity.Region, err error) {
	defer s.wrote()
	crashed := s.write(func() { out, err = s.Store.SetSchedulable(ctx, region, cordoned, draining, now) })
	return out, errors.Join(crashed, err)
}

func (s *crashStore) SetBackoff(ctx context.Context, region, resource string, backoff capacity.Backoff) (err error) {
	crashed := s.write(func() { err = s.Store.SetBackoff(ctx, region, resource, backoff) })
	return errors.Join(crashed, err)
}

func (s *crashStore) PruneRegionEvents(ctx context.Context, before time.Time, limit int) (n int, err error) {
	crashed := s.write(func() { n, err = s.Store.PruneRegionEvents(ctx, before, limit) })
	return n, errors.Join(crashed, err)
}

func (s *crashStore) TakeLease(ctx context.Context, name, holder string, renewals int64) (out store.LeaderLease, err error) {
	crashed := s.write(func() { out, err = s.Store.TakeLease(ctx, name, holder, renewals) })
	return out, errors.Join(crashed, err)
}
