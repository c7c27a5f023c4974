package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/store"
)

// regionRow is a region as it is stored: the record without its snapshot, and
// the number of the snapshot.
type regionRow struct {
	capacity.Region
	snapshot int64
}

var (
	stRegion      = statement(`SELECT record, snapshot FROM regions WHERE name = ?`)
	stRegions     = statement(`SELECT record, snapshot FROM regions ORDER BY name`)
	stPutRegion   = statement(`INSERT INTO regions (name, record, snapshot) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET record = excluded.record, snapshot = excluded.snapshot`)
	stSnapshot    = statement(`SELECT number, snapshot FROM snapshots WHERE region = ?`)
	stPutSnapshot = statement(`INSERT INTO snapshots (region, number, snapshot) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET number = excluded.number, snapshot = excluded.snapshot`)
)

func (r *regionRow) scan(scan func(...any) error) error {
	var record string
	if err := scan(&record, &r.snapshot); err != nil {
		return err
	}
	return json.Unmarshal([]byte(record), &r.Region)
}

// region reads one region, without its snapshot.
func (s *session) region(name string) (*regionRow, error) {
	r := &regionRow{}
	found := false
	err := s.each(stRegion, []any{name}, func(scan func(...any) error) error {
		found = true
		return r.scan(scan)
	})
	if err == nil && !found {
		err = store.ErrNotFound
	}
	return r, err
}

// regions reads all of them by name, without their snapshots.
func (s *session) regions() (rows []*regionRow, err error) {
	err = s.each(stRegions, nil, func(scan func(...any) error) error {
		row := &regionRow{}
		rows = append(rows, row)
		return row.scan(scan)
	})
	return rows, err
}

// put writes a region, without its snapshot.
func (t *tx) put(r *regionRow) error {
	record := r.Region
	record.Snapshot = capacity.Snapshot{}
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	_, err = t.exec(stPutRegion, r.Name, string(text), r.snapshot)
	return err
}

// announce numbers an event of the region and writes it.
func (t *tx) announce(r *regionRow, kind string, now time.Time) error {
	r.Version++
	data, err := json.Marshal(store.RegionEvent{Region: r.Name, Epoch: r.Epoch, Session: r.Session, Cluster: r.Cluster})
	if err != nil {
		return err
	}
	t.lastEvent++
	return t.events.add(t.session, t.lastEvent, r.Name, r.Version, kind, "", instant(now), string(data))
}

// snapshotCache keeps the decoded snapshots, which are large and change much
// less often than they are read. Nobody may change what it gave out.
type snapshotCache struct {
	mutex sync.Mutex
	held  map[string]*regionRow
}

func (c *snapshotCache) find(region string, number int64) (capacity.Snapshot, bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if row := c.held[region]; row != nil && row.snapshot == number {
		return row.Snapshot, true
	}
	return capacity.Snapshot{}, false
}

// hold keeps the snapshot of a committed row, unless a newer one is held.
func (c *snapshotCache) hold(row *regionRow) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.held == nil {
		c.held = map[string]*regionRow{}
	}
	if held := c.held[row.Name]; held == nil || held.snapshot < row.snapshot {
		c.held[row.Name] = row
	}
}

// complete adds the snapshot to a region. It does not fill the cache: inside a
// transaction the snapshot may still be rolled back.
func (s *Store) complete(r *session, row *regionRow) error {
	if row.snapshot == 0 {
		return nil
	}
	if snapshot, ok := s.snapshots.find(row.Name, row.snapshot); ok {
		row.Snapshot = snapshot
		return nil
	}
	var text string
	if _, err := r.row(stSnapshot, []any{row.Name}, &row.snapshot, &text); err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), &row.Snapshot)
}

// Region returns one region. Its snapshot is shared with other callers.
func (s *Store) Region(ctx context.Context, name string) (capacity.Region, error) {
	var row *regionRow
	err := s.read(ctx, "region "+name, func(r *session) (err error) {
		if row, err = r.region(name); err != nil {
			return err
		}
		return s.complete(r, row)
	})
	if err != nil {
		return capacity.Region{}, err
	}
	s.snapshots.hold(row)
	return row.Region, nil
}

// Regions lists all, by name. Their snapshots are shared with other callers.
func (s *Store) Regions(ctx context.Context) ([]capacity.Region, error) {
	var all []capacity.Region
	err := s.read(ctx, "regions", func(r *session) error {
		rows, err := r.regions()
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := s.complete(r, row); err != nil {
				return err
			}
			s.snapshots.hold(row)
			all = append(all, row.Region)
		}
		return nil
	})
	return all, err
}

// alter reads a region, lets f change it, and writes it back in one operation.
func (s *Store) alter(ctx context.Context, what, name string, f func(*tx, *regionRow) error) (capacity.Region, error) {
	var result *regionRow
	err := s.writer.do(ctx, func(t *tx) error {
		row, err := t.region(name)
		if err != nil {
			return err
		}
		if err := f(t, row); err != nil {
			return err
		}
		if err := t.put(row); err != nil {
			return err
		}
		result = row
		return s.complete(t.session, row)
	})
	if err != nil {
		return capacity.Region{}, wrap(err, "%s region %s", what, name)
	}
	return result.Region, nil
}

// OpenSession makes the region if need be and gives it to a new session.
func (s *Store) OpenSession(ctx context.Context, region, cluster, session string, now time.Time) (capacity.Region, error) {
	var result *regionRow
	err := s.writer.do(ctx, func(t *tx) error {
		row, err := t.region(region)
		if err != nil && !isDecision(err) {
			return err
		}
		if err != nil {
			row = &regionRow{Region: capacity.Region{Name: region, Lease: capacity.LeaseNone}}
		}
		if row.Cluster != cluster {
			row.snapshot = 0
		}
		if err := store.OpenSession(&row.Region, cluster, session, now); err != nil {
			return err
		}
		if err := t.announce(row, store.EventRegionOpened, now); err != nil {
			return err
		}
		if err := t.put(row); err != nil {
			return err
		}
		result = row
		return s.complete(t.session, row)
	})
	if err != nil {
		return capacity.Region{}, wrap(err, "opening a session of region %s", region)
	}
	return result.Region, nil
}

// Renew counts a Sync.
func (s *Store) Renew(ctx context.Context, renewal store.Renewal, now time.Time) (capacity.Region, error) {
	var encoded []byte
	if renewal.Snapshot != nil {
		var err error
		if encoded, err = json.Marshal(renewal.Snapshot); err != nil {
			return capacity.Region{}, wrap(err, "encoding the snapshot of region %s", renewal.Region)
		}
	}
	region, err := s.alter(ctx, "renewing the session of", renewal.Region, func(t *tx, row *regionRow) error {
		if err := renewal.Apply(&row.Region, now); err != nil {
			return err
		}
		if encoded == nil {
			return nil
		}
		row.snapshot = row.Renewals
		_, err := t.exec(stPutSnapshot, row.Name, row.snapshot, string(encoded))
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: there is no such region", store.ErrStaleSession)
	}
	return region, err
}

// ExpireSession marks a live lease lost, if the region is still as the caller
// saw it.
func (s *Store) ExpireSession(ctx context.Context, region string, epoch, renewals int64, now time.Time) (capacity.Region, error) {
	return s.alter(ctx, "expiring the session of", region, func(t *tx, row *regionRow) error {
		if err := store.ExpireSession(&row.Region, epoch, renewals, now); err != nil {
			return err
		}
		return t.announce(row, store.EventRegionLost, now)
	})
}

// SetSchedulable sets the operator's flags.
func (s *Store) SetSchedulable(ctx context.Context, region string, cordoned, draining bool, now time.Time) (capacity.Region, error) {
	return s.alter(ctx, "changing", region, func(t *tx, row *regionRow) error {
		kind := store.SetSchedulable(&row.Region, cordoned, draining)
		if kind == "" {
			return nil
		}
		return t.announce(row, kind, now)
	})
}

// WriteOff gives up an awaited region.
func (s *Store) WriteOff(ctx context.Context, region string, now time.Time) (capacity.Region, error) {
	return s.alter(ctx, "writing off", region, func(t *tx, row *regionRow) error {
		if err := store.WriteOff(&row.Region, now); err != nil {
			return err
		}
		return t.announce(row, store.EventRegionWrittenOff, now)
	})
}

// SetBackoff replaces one back-off of the region.
func (s *Store) SetBackoff(ctx context.Context, region, resource string, backoff capacity.Backoff) error {
	_, err := s.alter(ctx, "setting a back-off of", region, func(_ *tx, row *regionRow) error {
		if backoff.Until.IsZero() {
			delete(row.Backoffs, resource)
			return nil
		}
		if row.Backoffs == nil {
			row.Backoffs = map[string]capacity.Backoff{}
		}
		row.Backoffs[resource] = backoff
		return nil
	})
	return err
}
