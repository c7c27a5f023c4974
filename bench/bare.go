package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	// The driver that the store uses too.
	_ "modernc.org/sqlite"
)

// bare updates the rows of the store's own table, with the same columns and
// indexes, in a copy of the store's own database, and does nothing else: no
// history, no events, no counters, no sessions. That is what any queue on
// SQLite has to do at least, with the same group commit: the writer takes what
// waits into one transaction. (b) is compared with it.
type bare struct {
	db     *sql.DB
	writes chan bareWrite
	ended  chan struct{}
}

type bareWrite struct {
	run  func(*sql.Tx) error
	done chan error
}

func openBare(ctx context.Context, dir string) (*bare, error) {
	db, err := sql.Open("sqlite", filepath.Join(dir, databaseName)+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=cache_size(-65536)&_pragma=wal_autocheckpoint(8000)")
	if err != nil {
		return nil, err
	}
	var synchronous int
	if err := db.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil || synchronous != 2 {
		return nil, errors.Join(fmt.Errorf("synchronous is %d, not FULL", synchronous), err, db.Close())
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

// place gives all queued and finished rows to the regions in turn.
func (b *bare) place(ctx context.Context, rows int) error {
	err := b.do(func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE jobs SET state = 'placed', stage = 2, region = printf('region-%02d', seq % ?),
			version = 2, placed_at = submitted_at, finished_at = NULL, expires_at = NULL WHERE stage IN (1, 4)`, agents)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n != int64(rows) {
			return errors.Join(fmt.Errorf("%d rows were placed, not %d", n, rows), err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// The log of this one large write is not for the measurement to carry.
	_, err = b.db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}

func regionName(agent int) string { return fmt.Sprintf("region-%02d", agent) }

// cycle claims a batch of rows and finishes it.
func (b *bare) cycle(ctx context.Context, agent int) (int, error) {
	seqs, err := b.placed(ctx, agent)
	if err != nil {
		return 0, err
	}
	now := time.Now()
	for step, update := range []string{
		`UPDATE jobs SET state = 'claimed', stage = 3, version = version + 1, attempt = attempt + 1, claimed_at = ?1, updated_at = ?1
			WHERE seq = ?3 AND version = ?2`,
		`UPDATE jobs SET state = 'succeeded', stage = 4, version = version + 1, exit_code = 0, logs = 'live', finished_at = ?1,
			updated_at = ?1, expires_at = ?1 WHERE seq = ?3 AND version = ?2`,
	} {
		err := b.do(func(tx *sql.Tx) error {
			prepared, err := tx.PrepareContext(ctx, update)
			if err != nil {
				return err
			}
			defer prepared.Close()
			for _, seq := range seqs {
				if _, err := prepared.ExecContext(ctx, now.UnixNano(), step+2, seq); err != nil {
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

func (b *bare) placed(ctx context.Context, agent int) ([]int64, error) {
	rows, err := b.db.QueryContext(ctx, `SELECT seq FROM jobs WHERE region = ? AND stage = 2 ORDER BY rank, id LIMIT ?`, regionName(agent), claimBatch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var seqs []int64
	for rows.Next() {
		var seq int64
		if err := rows.Scan(&seq); err != nil {
			return nil, err
		}
		seqs = append(seqs, seq)
	}
	return seqs, rows.Err()
}

// cycleBare measures as cycleStore does.
func (b *bench) cycleBare(ctx context.Context, depth int) (float64, error) {
	dir, remove, err := b.waiting(ctx, depth)
	if err != nil {
		return 0, err
	}
	defer remove()
	table, err := openBare(ctx, dir)
	if err != nil {
		return 0, err
	}
	rate, err := cycled(ctx, depth, b.sizes.cycled, table.cycle, table.place)
	return rate, errors.Join(err, table.close())
}
