package dynamodb

import (
	"context"
	"errors"

	"github.com/gco-project/gco/internal/store"
)

const attrHolder = "holder"

// LeaderLease returns the lease; its Holder is empty where none was taken.
func (s *Store) LeaderLease(ctx context.Context, name string) (store.LeaderLease, error) {
	found, err := s.get(ctx, TableState, at(pkLeases, name))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.LeaderLease{}, wrap(err, "reading lease %s", name)
	}
	return store.LeaderLease{Name: name, Holder: textOf(found, attrHolder), Renewals: numberOf(found, attrRenewals)}, nil
}

// TakeLease renews or takes over the lease.
func (s *Store) TakeLease(ctx context.Context, name, holder string, renewals int64) (store.LeaderLease, error) {
	taken := store.LeaderLease{Name: name, Holder: holder, Renewals: renewals + 1}
	own := s.stamps.next("")
	i := with(at(pkLeases, name), item{attrHolder: text(holder), attrRenewals: number(taken.Renewals), attrStamp: text(string(own))})
	condition, values := "renewals = :renewals", item{":renewals": number(renewals)}
	if renewals == 0 {
		condition, values = "attribute_not_exists(pk)", nil
	}
	found, ok, err := s.put(ctx, TableState, i, condition, values)
	if err == nil && !ok && textOf(found, attrStamp) != string(own) {
		err = store.ErrConflict
	}
	if err != nil {
		return store.LeaderLease{}, wrap(err, "taking lease %s", name)
	}
	return taken, nil
}
