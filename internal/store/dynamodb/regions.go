package dynamodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/store"
)

// Attributes of regions that conditions look at.
const (
	attrEpoch    = "epoch"
	attrLease    = "lease"
	attrRenewals = "renewals"
	// attrNumber is the number of the snapshot that belongs to a region.
	attrNumber = "number"

	skGuard = "guard"
)

// regionRecord is a region as it is stored: the record without its snapshot,
// and the number of the snapshot.
type regionRecord struct {
	capacity.Region
	snapshot int64
	stamp    stamp
}

func (s *Store) regionItem(r *regionRecord) (item, error) {
	record := r.Region
	record.Snapshot = capacity.Snapshot{}
	body, err := packJSON(&record)
	return with(at(pkRegions, r.Name), item{
		attrBody: body, attrStamp: text(string(r.stamp)), attrNumber: number(r.snapshot),
		attrEpoch: number(r.Epoch), attrLease: text(string(r.Lease)), attrRenewals: number(r.Renewals),
	}), err
}

func regionOf(i item) (*regionRecord, error) {
	r := &regionRecord{snapshot: numberOf(i, attrNumber), stamp: stamp(textOf(i, attrStamp))}
	err := unpackJSON(i, attrBody, &r.Region)
	return r, wrap(err, "reading region %s", textOf(i, attrSK))
}

// region reads one region, without its snapshot.
func (s *Store) region(ctx context.Context, name string) (*regionRecord, error) {
	found, err := s.get(ctx, TableState, at(pkRegions, name))
	if err != nil {
		return nil, err
	}
	return regionOf(found)
}

// snapshots keeps the decoded snapshots, which are large and change much less
// often than they are read. Nobody may change what it gave out.
type snapshots struct {
	mu   sync.Mutex
	held map[string]heldSnapshot
}

type heldSnapshot struct {
	number int64
	of     capacity.Snapshot
}

func (c *snapshots) find(region string, number int64) (capacity.Snapshot, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.held[region]
	return held.of, held.number == number && number != 0
}

func (c *snapshots) hold(region string, number int64, of capacity.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[region].number < number {
		c.held[region] = heldSnapshot{number, of}
	}
}

// complete adds the snapshot to a region. One that is newer than the record
// will do: it came with a renewal that was made since.
func (s *Store) complete(ctx context.Context, r *regionRecord) (capacity.Region, error) {
	if r.snapshot == 0 {
		return r.Region, nil
	}
	if held, ok := s.snapshots.find(r.Name, r.snapshot); ok {
		r.Snapshot = held
		return r.Region, nil
	}
	found, err := s.get(ctx, TableState, at(pkSnapshot, r.Name))
	if err != nil {
		return r.Region, wrap(err, "reading the snapshot of region %s", r.Name)
	}
	if err := unpackJSON(found, attrBody, &r.Snapshot); err != nil {
		return r.Region, wrap(err, "reading the snapshot of region %s", r.Name)
	}
	s.snapshots.hold(r.Name, numberOf(found, attrNumber), r.Snapshot)
	return r.Region, nil
}

// Region returns one region. Its snapshot is shared with other callers.
func (s *Store) Region(ctx context.Context, name string) (capacity.Region, error) {
	r, err := s.region(ctx, name)
	if err != nil {
		return capacity.Region{}, wrap(err, "reading region %s", name)
	}
	return s.complete(ctx, r)
}

// Regions lists all, by name. Their snapshots are shared with other callers.
func (s *Store) Regions(ctx context.Context) ([]capacity.Region, error) {
	items, err := s.all(ctx, query{table: TableState, pk: pkRegions})
	if err != nil {
		return nil, wrap(err, "reading regions")
	}
	all := make([]capacity.Region, len(items))
	err = each(ctx, len(items), func(ctx context.Context, n int) error {
		r, err := regionOf(items[n])
		if err == nil {
			all[n], err = s.complete(ctx, r)
		}
		return err
	})
	return all, wrap(err, "reading regions")
}

// regionTries is how often a change of a region is begun anew.
const regionTries = 1000

// alteration is one change of a region.
type alteration struct {
	region string
	// create makes the region where there is none.
	create bool
	// apply changes the record; the event, unless it is empty, is written with
	// it. wanted is false where nothing is to be done.
	apply func(*regionRecord) (event string, wanted bool, err error)
	// snapshot is packed; nil is none.
	snapshot []byte
	at       time.Time
}

// alter reads a region, lets apply change it, and writes it back if nobody else
// did meanwhile.
func (s *Store) alter(ctx context.Context, a alteration) (*regionRecord, error) {
	// Of this process one after the other: only other servers can interfere.
	turn := s.turns.of(a.region)
	turn.Lock()
	defer turn.Unlock()
	var pauses pauses
	for range regionTries {
		before, err := s.region(ctx, a.region)
		switch {
		case errors.Is(err, store.ErrNotFound) && a.create:
			before = &regionRecord{Region: capacity.Region{Name: a.region, Lease: capacity.LeaseNone}}
		case err != nil:
			return nil, err
		}
		after := *before
		event, wanted, err := a.apply(&after)
		if err != nil || !wanted {
			return before, err
		}
		err = s.writeRegion(ctx, a, before, &after, event)
		if !errors.Is(err, errMet) {
			return &after, err
		}
		if !pauses.wait(ctx) {
			return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, errMet)
		}
	}
	return nil, fmt.Errorf("%w: it changes all the time", store.ErrUnavailable)
}

// writeRegion is one attempt of alter.
func (s *Store) writeRegion(ctx context.Context, a alteration, before, after *regionRecord, event string) error {
	// Whoever reports under the session that ends here comes first.
	if event != "" {
		fence := s.fences.of(a.region)
		fence.Lock()
		defer fence.Unlock()
	}
	after.stamp = s.stamps.next(before.stamp)
	var more []types.TransactWriteItem
	if event != "" {
		after.Version++
		e := entry{Stamp: after.stamp, Subject: store.RegionSubject(a.region), Number: after.Version, Type: event, At: a.at}
		data, err := json.Marshal(store.RegionEvent{Region: a.region, Epoch: after.Epoch, Session: after.Session, Cluster: after.Cluster})
		if err != nil {
			return err
		}
		more = s.announceActions(&e, data)
	}
	if before.Epoch != after.Epoch || before.Lease != after.Lease {
		more = append(more, s.guardActions(after)...)
	}
	if a.snapshot != nil {
		after.snapshot = after.Renewals
		more = append(more, s.putAction(TableState, with(at(pkSnapshot, a.region), item{
			attrBody: binary(a.snapshot), attrNumber: number(after.snapshot),
		}), "", nil))
	}
	i, err := s.regionItem(after)
	if err != nil {
		return err
	}
	condition, values := "attribute_not_exists(pk)", item(nil)
	if before.stamp != "" {
		condition, values = "stamp = :before", item{":before": text(string(before.stamp))}
	}
	met := func(_ int, found item) error {
		if textOf(found, attrStamp) == string(after.stamp) {
			return nil
		}
		return errMet
	}
	if len(more) == 0 {
		found, ok, err := s.put(ctx, TableState, i, condition, values)
		if err != nil || ok {
			return err
		}
		return met(0, found)
	}
	return s.transactOne(ctx, unit{
		actions: append([]types.TransactWriteItem{s.putAction(TableState, i, condition, values)}, more...), refused: met,
	})
}

// eventOfRecord are the actions that write the event of a pipeline or a schedule;
// nil is none. own is the stamp of the record.
func (s *Store) eventOfRecord(e *store.Event, own stamp) []types.TransactWriteItem {
	if e == nil {
		return nil
	}
	return s.announceActions(&entry{
		Stamp: own, Subject: e.Subject, Number: e.Number, Type: e.Type, Namespace: e.Namespace, At: e.At,
	}, e.Data)
}

// announceActions write an event that is no job's.
func (s *Store) announceActions(e *entry, data []byte) []types.TransactWriteItem {
	return []types.TransactWriteItem{
		s.eventAction(e, data), s.tailAction(*e), s.putAction(TableEvents, agingKey(e), "", nil),
	}
}

func guardKey(region string, shard int) item {
	return at(sharded(key(kindGuard, region), shard), skGuard)
}

// guardActions write the copies of a region's epoch.
func (s *Store) guardActions(r *regionRecord) []types.TransactWriteItem {
	actions := make([]types.TransactWriteItem, s.shards.Guard)
	for shard := range actions {
		actions[shard] = s.putAction(TableState, with(guardKey(r.Name, shard), item{
			attrEpoch: number(r.Epoch), attrLease: text(string(r.Lease)),
		}), "", nil)
	}
	return actions
}

// OpenSession makes the region if need be and gives it to a new session.
func (s *Store) OpenSession(ctx context.Context, region, cluster, session string, now time.Time) (capacity.Region, error) {
	r, err := s.alter(ctx, alteration{region: region, create: true, at: now, apply: func(r *regionRecord) (string, bool, error) {
		if r.Cluster != cluster {
			r.snapshot = 0
		}
		err := store.OpenSession(&r.Region, cluster, session, now)
		return store.EventRegionOpened, err == nil, err
	}})
	if err != nil {
		return capacity.Region{}, wrap(err, "opening a session of region %s", region)
	}
	return s.complete(ctx, r)
}

// Renew counts a Sync.
func (s *Store) Renew(ctx context.Context, renewal store.Renewal, now time.Time) (capacity.Region, error) {
	a := alteration{region: renewal.Region, at: now, apply: func(r *regionRecord) (string, bool, error) {
		err := renewal.Apply(&r.Region, now)
		return "", err == nil, err
	}}
	if renewal.Snapshot != nil {
		encoded, err := json.Marshal(renewal.Snapshot)
		if err != nil {
			return capacity.Region{}, wrap(err, "encoding the snapshot of region %s", renewal.Region)
		}
		a.snapshot = pack(encoded)
	}
	r, err := s.alter(ctx, a)
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: there is no such region", store.ErrStaleSession)
	}
	if err != nil {
		return capacity.Region{}, wrap(err, "renewing the session of region %s", renewal.Region)
	}
	return s.complete(ctx, r)
}

// ExpireSession marks a live lease lost, if the region is still as the caller
// saw it.
func (s *Store) ExpireSession(ctx context.Context, region string, epoch, renewals int64, now time.Time) (capacity.Region, error) {
	r, err := s.alter(ctx, alteration{region: region, at: now, apply: func(r *regionRecord) (string, bool, error) {
		err := store.ExpireSession(&r.Region, epoch, renewals, now)
		return store.EventRegionLost, err == nil, err
	}})
	if err != nil {
		return capacity.Region{}, wrap(err, "expiring the session of region %s", region)
	}
	return s.complete(ctx, r)
}

// SetSchedulable sets the operator's flags.
func (s *Store) SetSchedulable(ctx context.Context, region string, cordoned, draining bool, now time.Time) (capacity.Region, error) {
	r, err := s.alter(ctx, alteration{region: region, at: now, apply: func(r *regionRecord) (string, bool, error) {
		event := store.SetSchedulable(&r.Region, cordoned, draining)
		return event, event != "", nil
	}})
	if err != nil {
		return capacity.Region{}, wrap(err, "changing region %s", region)
	}
	return s.complete(ctx, r)
}

// WriteOff gives up an awaited region.
func (s *Store) WriteOff(ctx context.Context, region string, now time.Time) (capacity.Region, error) {
	r, err := s.alter(ctx, alteration{region: region, at: now, apply: func(r *regionRecord) (string, bool, error) {
		err := store.WriteOff(&r.Region, now)
		return store.EventRegionWrittenOff, err == nil, err
	}})
	if err != nil {
		return capacity.Region{}, wrap(err, "writing off region %s", region)
	}
	return s.complete(ctx, r)
}

// SetBackoff replaces one back-off of the region.
func (s *Store) SetBackoff(ctx context.Context, region, resource string, backoff capacity.Backoff) error {
	_, err := s.alter(ctx, alteration{region: region, apply: func(r *regionRecord) (string, bool, error) {
		if backoff.Until.IsZero() {
			_, there := r.Backoffs[resource]
			delete(r.Backoffs, resource)
			return "", there, nil
		}
		if r.Backoffs == nil {
			r.Backoffs = map[string]capacity.Backoff{}
		}
		r.Backoffs[resource] = backoff
		return "", true, nil
	}})
	return wrap(err, "setting a back-off of region %s", region)
}
