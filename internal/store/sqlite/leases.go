package sqlite

import (
	"context"
	"fmt"

	"github.com/gco-project/gco/internal/store"
)

var (
	stLease    = statement(`SELECT holder, renewals FROM leases WHERE name = ?`)
	stPutLease = statement(`INSERT INTO leases (name, holder, renewals) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET holder = excluded.holder, renewals = excluded.renewals`)
)

func (s *session) lease(name string) (store.LeaderLease, error) {
	lease := store.LeaderLease{Name: name}
	_, err := s.row(stLease, []any{name}, &lease.Holder, &lease.Renewals)
	return lease, err
}

// LeaderLease returns the lease; its Holder is empty where none was taken.
func (s *Store) LeaderLease(ctx context.Context, name string) (lease store.LeaderLease, err error) {
	err = s.read(ctx, "lease "+name, func(r *session) error {
		lease, err = r.lease(name)
		return err
	})
	return lease, err
}

// TakeLease renews or takes over the lease.
func (s *Store) TakeLease(ctx context.Context, name, holder string, renewals int64) (store.LeaderLease, error) {
	var taken store.LeaderLease
	err := s.writer.do(ctx, func(t *tx) error {
		lease, err := t.lease(name)
		if err != nil {
			return err
		}
		if lease.Renewals != renewals {
			return fmt.Errorf("%w: %s holds it and has renewed it %d times", store.ErrConflict, lease.Holder, lease.Renewals)
		}
		lease.Holder = holder
		lease.Renewals++
		_, err = t.exec(stPutLease, name, holder, lease.Renewals)
		taken = lease
		return err
	})
	if err != nil {
		return store.LeaderLease{}, wrap(err, "taking lease %s", name)
	}
	return taken, nil
}
