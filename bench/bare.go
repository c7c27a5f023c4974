package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	// The driver that the store uses too.
	_ "modernc.org/sqlite"
)

// bare is a table of rows of a kilobyte with a state, a version and three
// indexes, and no more: no history, no events, no counters, no sessions. What
// it does is what any queue in SQLite has to do at least, with the same group
// commit: the writer takes what waits into one transaction. (b) is compared
// with it.
type bare struct {
	db     *sql.DB
	writes chan bareWrite
	ended  chan struct{}
}

type bareWrite struct {
	run  func(*sql.Tx) error
	done chan error
}

const bareSchema = `
CREATE TABLE jobs (
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
CREATE INDEX jobs_placed ON jobs (region, rank, id) WHERE state = 'placed';
CREATE INDEX jobs_active ON jobs (region, id) WHERE state = 'claimed';
`

// payloadBytes make a row of about a kilobyte.
const payloadBytes = 900

func openBare(ctx context.Context, dir string) (*bare, error) {
	db, err := sql.Open("sqlite", filepath.Join(dir, "bare.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=cache_size(-65536)&_pragma=wal_autocheckpoint(8000)")
	if err != nil {
		return nil, err
	}
	var synchronous int
	if _, err = db.ExecContext(ctx, bareSchema); err == nil {
		err = db.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous)
	}
	if err == nil && synchronous != 2 {
		err = fmt.Errorf("synchronous is %d, not FULL", synchronous)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	b := &bare{db: db, writes: make(chan bareWrite, agents), ended: make(chan struct{})}
	go b.write(ctx)
	return b, nil
}

func (b *bare) close() error {
	close(b.writes)
	<-b.ended
	return b.db.Close()
}

// write commits what waits, all in one transaction.
func (b *bare) write(ctx context.Context) {
	defer close(b.ended)
	for first := range b.writes {
		batch := []bareWrite{first}
		for more := true; more; {
			select {
			case next, open := <-b.writes:
				if more = open; open {
					batch = append(batch, next)
				}
			default:
				more = false
			}
		}
		err := b.transact(ctx, batch)
		for _, w := range batch {
			w.done <- err
		}
	}
}

func (b *bare) transact(ctx context.Context, batch []bareWrite) error {
	tx, err := b.db.BeginTx(ctx, nil)
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

func (b *bare) do(run func(*sql.Tx) error) error {
	w := bareWrite{run, make(chan error, 1)}
	b.writes <- w
	return <-w.done
}

func (b *bare) fill(ctx context.Context, from, rows int) error {
	const batch = 1000
	first := from
	payload := strings.Repeat("p", payloadBytes)
	for ; rows > 0; rows -= batch {
		err := b.do(func(tx *sql.Tx) error {
			insert, err := tx.PrepareContext(ctx, `INSERT INTO jobs VALUES (?, ?, ?, 0, ?, 2, 0, 0, ?)`)
			if err != nil {
				return err
			}
			defer insert.Close()
			for i := range min(rows, batch) {
				n, state := from+i, "placed"
				if first+mostPlaced <= n {
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
		from += batch
	}
	return nil
}

func regionName(agent int) string { return fmt.Sprintf("region-%02d", agent) }

// cycle claims a batch of rows and finishes it.
func (b *bare) cycle(ctx context.Context, agent int) (int, error) {
	rows, err := b.db.QueryContext(ctx, `SELECT seq, version FROM jobs WHERE region = ? AND state = 'placed' ORDER BY rank, id LIMIT ?`, regionName(agent), claimBatch)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var seqs, versions []int64
	for rows.Next() {
		var seq, version int64
		if err := rows.Scan(&seq, &version); err != nil {
			return 0, err
		}
		seqs, versions = append(seqs, seq), append(versions, version)
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	for step, state := range []string{"claimed", "succeeded"} {
		err := b.do(func(tx *sql.Tx) error {
			update, err := tx.PrepareContext(ctx, `UPDATE jobs SET state = ?, version = version + 1, attempt = 1, at = ? WHERE seq = ? AND version = ?`)
			if err != nil {
				return err
			}
			defer update.Close()
			for i, seq := range seqs {
				if _, err := update.ExecContext(ctx, state, step, seq, versions[i]+int64(step)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return len(seqs), nil
}

// cycleBare measures as cycleStore does.
func (b *bench) cycleBare(ctx context.Context, depth int) (float64, error) {
	dir, remove, err := b.fresh("bare")
	if err != nil {
		return 0, err
	}
	defer remove()
	table, err := openBare(ctx, dir)
	if err != nil {
		return 0, err
	}
	made := 0
	rate, err := b.cycled(ctx, depth, table.cycle, func(ctx context.Context, rows int) error {
		from := made
		made += rows
		return table.fill(ctx, from, rows)
	})
	return rate, errors.Join(err, table.close())
}
