package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	// The driver that the store uses too.
	_ "modernc.org/sqlite"
)

// rows are what (b) is compared with: the states of jobs in SQLite and nothing
// beside them, no history, no events, no counters, no sessions. They are
// written with the same group commit as the store's: the writer takes what
// waits into one transaction. A job that has no session to speak for it needs a
// heartbeat of its own, a third write.
type rows struct {
	table
	heartbeats bool
	db         *sql.DB
	writes     chan rowsWrite
	ended      chan struct{}
}

// table is one way to keep the rows.
type table interface {
	// place makes count more rows claimable, in shares for the agents; from is
	// how many it made before.
	place(ctx context.Context, r *rows, from, count int) error
	// file is the database, in a folder with one of waiting jobs.
	file() string
	// claimable and steps are the statements of a cycle: the IDs and versions
	// to claim for a region, and the updates of claim, heartbeat and finish,
	// which take the time, ID and version.
	claimable() string
	steps() (claim, heartbeat, finish string)
}

type rowsWrite struct {
	run  func(*sql.Tx) error
	done chan error
}

func openRows(ctx context.Context, path string, t table, heartbeats bool) (*rows, error) {
	db, err := sql.Open("sqlite", path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=cache_size(-65536)&_pragma=wal_autocheckpoint(8000)")
	if err != nil {
		return nil, err
	}
	var synchronous int
	if err := db.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil || synchronous != 2 {
		return nil, errors.Join(fmt.Errorf("synchronous is %d, not FULL", synchronous), err, db.Close())
	}
	r := &rows{table: t, heartbeats: heartbeats, db: db, writes: make(chan rowsWrite, agents), ended: make(chan struct{})}
	go r.write(ctx)
	return r, nil
}

func (r *rows) close() error {
	close(r.writes)
	<-r.ended
	return r.db.Close()
}

// write commits what waits, all in one transaction.
func (r *rows) write(ctx context.Context) {
	defer close(r.ended)
	for first := range r.writes {
		batch := []rowsWrite{first}
		for more := true; more; {
			select {
			case next, open := <-r.writes:
				if more = open; open {
					batch = append(batch, next)
				}
			default:
				more = false
			}
		}
		err := r.transact(ctx, batch)
		for _, w := range batch {
			w.done <- err
		}
	}
}

func (r *rows) transact(ctx context.Context, batch []rowsWrite) error {
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, w := range batch {
		if err := w.run(tx); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

func (r *rows) do(run func(*sql.Tx) error) error {
	w := rowsWrite{run, make(chan error, 1)}
	r.writes <- w
	return <-w.done
}

func regionName(agent int) string { return fmt.Sprintf("region-%02d", agent) }

// cycle takes a batch of rows from claim to finish.
func (r *rows) cycle(ctx context.Context, agent int) (int, error) {
	claimed, err := r.claim(ctx, agent)
	if err != nil {
		return 0, err
	}
	now := time.Now().UnixNano()
	claim, heartbeat, finish := r.steps()
	steps := []string{claim, heartbeat, finish}
	if !r.heartbeats {
		steps = []string{claim, finish}
	}
	for step, update := range steps {
		err := r.do(func(tx *sql.Tx) error {
			prepared, err := tx.PrepareContext(ctx, update)
			if err != nil {
				return err
			}
			defer prepared.Close()
			for _, row := range claimed {
				result, err := prepared.ExecContext(ctx, now, row.id, row.version+int64(step))
				if err != nil {
					return err
				}
				if n, err := result.RowsAffected(); err != nil || n != 1 {
					return errors.Join(fmt.Errorf("%d rows have ID %s", n, row.id), err)
				}
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return len(claimed), nil
}

type row struct {
	id      string
	version int64
}

func (r *rows) claim(ctx context.Context, agent int) ([]row, error) {
	found, err := r.db.QueryContext(ctx, r.claimable(), regionName(agent), claimBatch)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var claimed []row
	for found.Next() {
		var next row
		if err := found.Scan(&next.id, &next.version); err != nil {
			return nil, err
		}
		claimed = append(claimed, next)
	}
	return claimed, found.Err()
}

// enterRows opens rows as enterStore opens a store.
func (b *bench) enterRows(ctx context.Context, depth int, t table, heartbeats bool) (*racer, error) {
	dir, remove, err := b.waiting(ctx, depth)
	if err != nil {
		return nil, err
	}
	r, err := openRows(ctx, filepath.Join(dir, t.file()), t, heartbeats)
	if err != nil {
		remove()
		return nil, err
	}
	made := 0
	load := func(ctx context.Context, count int) error {
		err := r.place(ctx, r, made, count)
		made += count
		if err != nil {
			return err
		}
		// The log of this large write is not for the measurement to carry.
		_, err = r.db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
		return err
	}
	end := func() error {
		defer remove()
		return r.close()
	}
	return &racer{cycle: r.cycle, load: load, close: end}, nil
}

// plain is a table of rows of a kilobyte with three indexes.
type plain struct{}

const plainSchema = `
CREATE TABLE IF NOT EXISTS jobs (
  seq     INTEGER PRIMARY KEY,
  id      TEXT    NOT NULL UNIQUE,
  region  TEXT    NOT NULL,
  rank    INTEGER NOT NULL,
  state   TEXT    NOT NULL,
  version INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  payload TEXT    NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_placed ON jobs (region, rank, id) WHERE state = 'placed';
CREATE INDEX IF NOT EXISTS jobs_active ON jobs (region, id) WHERE state = 'claimed';
`

// payloadBytes make a row of about a kilobyte.
const payloadBytes = 900

func (plain) file() string { return "plain.db" }

func (plain) claimable() string {
	return `SELECT id, version FROM jobs WHERE region = ? AND state = 'placed' ORDER BY rank, id LIMIT ?`
}

func (plain) steps() (claim, heartbeat, finish string) {
	return `UPDATE jobs SET state = 'claimed', version = version + 1, attempt = attempt + 1, at = ? WHERE id = ? AND version = ?`,
		`UPDATE jobs SET version = version + 1, at = ? WHERE id = ? AND version = ?`,
		`UPDATE jobs SET state = 'succeeded', version = version + 1, at = ? WHERE id = ? AND version = ?`
}

// place inserts rows; of the first load, those beyond mostPlaced are queued.
func (plain) place(ctx context.Context, r *rows, from, count int) error {
	const batch = 1000
	if _, err := r.db.ExecContext(ctx, plainSchema); err != nil {
		return err
	}
	payload := strings.Repeat("p", payloadBytes)
	for begin := 0; begin < count; begin += batch {
		err := r.do(func(tx *sql.Tx) error {
			insert, err := tx.PrepareContext(ctx, `INSERT INTO jobs VALUES (?, ?, ?, 0, ?, 2, 0, 0, ?)`)
			if err != nil {
				return err
			}
			defer insert.Close()
			for i := begin; i < min(count, begin+batch); i++ {
				n, state := from+i, "placed"
				if i >= mostPlaced {
					state = "queued"
				}
				if _, err := insert.ExecContext(ctx, n, fmt.Sprintf("%036d", n), regionName(n%agents), state, payload); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// own are the rows of the store's own table, with its columns and its indexes,
// in a copy of its database.
type own struct{}

func (own) file() string { return databaseName }

func (own) claimable() string {
	return `SELECT id, version FROM jobs WHERE queue = 'placed ' || ? ORDER BY rank, id LIMIT ?`
}

func (own) steps() (claim, heartbeat, finish string) {
	return `UPDATE jobs SET state = 'claimed', version = version + 1,
			stage = 3, stage_at = NULL, queue = 'active ' || region, lane = 'claimed ' || region WHERE id = ?2 AND version = ?3`,
		`UPDATE jobs SET version = version + 1, shipped_attempt = ?1 WHERE id = ?2 AND version = ?3`,
		`UPDATE jobs SET state = 'succeeded', version = version + 1,
			stage = 4, stage_at = ?1, queue = NULL, lane = NULL WHERE id = ?2 AND version = ?3`
}

// place promises queued rows to the regions in turn, and after the first time
// those that are finished.
func (own) place(ctx context.Context, r *rows, from, count int) error {
	stage := 1
	if from > 0 {
		stage = 4
	}
	count = min(count, mostPlaced)
	return r.do(func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE jobs SET state = 'placed', region = printf('region-%02d', seq % ?), stage = 2,
			stage_at = submitted_at, queue = printf('placed region-%02d', seq % ?)
			WHERE seq IN (SELECT seq FROM jobs WHERE stage = ? LIMIT ?)`, agents, agents, stage, count)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n != int64(count) {
			return errors.Join(fmt.Errorf("%d rows were placed, not %d", n, count), err)
		}
		return nil
	})
}
