package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Census counts what a database holds.
type Census struct {
	Jobs    int64 `json:"jobs"`
	Events  int64 `json:"events"`
	Keys    int64 `json:"keys"`
	Regions int64 `json:"regions"`
	Tokens  int64 `json:"tokens"`
	// LastEvent is the cursor of the newest event there ever was.
	LastEvent int64 `json:"lastEvent"`
}

// censusQueries are in the order of Census.
var censusQueries = []string{
	`SELECT count(*) FROM jobs`, `SELECT count(*) FROM events`, `SELECT count(*) FROM keys`,
	`SELECT count(*) FROM regions`, `SELECT count(*) FROM tokens`,
	`SELECT max((SELECT coalesce(max(seq), 0) FROM events), (SELECT value FROM meta WHERE name = 'last_event'))`,
}

// Examination says how closely to look at a database.
type Examination int

// The depths of an examination; each does what the one before does.
const (
	// Count reads the counts of its tables.
	Count Examination = iota
	// Check reads every page, and every index with it.
	Check
	// Recount also computes every counter anew.
	Recount
)

// Examine looks at a database that nobody writes to, and changes nothing of
// it. What is wrong with it is ErrCorrupt.
func Examine(ctx context.Context, path string, depth Examination) (census Census, err error) {
	if _, err := os.Stat(path); err != nil {
		return census, fmt.Errorf("examining a database: %w", err)
	}
	if err := inspectHeaders(path); err != nil {
		return census, fmt.Errorf("examining %s: %w", path, err)
	}
	s, err := openSession(ctx, fileDSN(path)+"&mode=ro", inspectPragmas)
	if err == nil {
		census, err = s.examine(ctx, depth)
		err = errors.Join(err, s.close())
	}
	if isDamage(err) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return census, wrap(err, "examining %s", path)
}

func (s *session) examine(ctx context.Context, depth Examination) (c Census, err error) {
	if err := s.inspect(ctx, checkSize+1); err != nil {
		return c, err
	}
	for i, into := range []*int64{&c.Jobs, &c.Events, &c.Keys, &c.Regions, &c.Tokens, &c.LastEvent} {
		if err := s.conn.QueryRowContext(ctx, censusQueries[i]).Scan(into); err != nil {
			return c, err
		}
	}
	if depth >= Check {
		var result string
		if err := s.conn.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&result); err != nil {
			return c, err
		}
		if result != "ok" {
			return c, fmt.Errorf("%w: %s", ErrCorrupt, result)
		}
	}
	if depth >= Recount {
		return c, s.recount(ctx)
	}
	return c, nil
}

// recount computes anew what the writes keep beside the records.
func (s *session) recount(ctx context.Context) error {
	for _, pair := range recounts {
		// The rows that one of them has and the other has not.
		text := `WITH kept AS (` + pair.kept + `), recount AS (` + pair.recount + `)
			SELECT count(*) FROM (SELECT * FROM (SELECT * FROM kept EXCEPT SELECT * FROM recount)
			UNION ALL SELECT * FROM (SELECT * FROM recount EXCEPT SELECT * FROM kept))`
		var differing int64
		if err := s.conn.QueryRowContext(ctx, text).Scan(&differing); err != nil {
			return fmt.Errorf("recounting %s: %w", pair.what, err)
		}
		if differing > 0 {
			return fmt.Errorf("%w: %d rows of %s are not what a recount gives", ErrCorrupt, differing, pair.what)
		}
	}
	return nil
}

// recounts pairs what is kept with how to find it from the records.
var recounts = []struct{ what, kept, recount string }{
	{
		"counts",
		`SELECT namespace, region, state, jobs FROM counts ORDER BY 1, 2, 3`,
		`SELECT namespace, region, state, count(*) FROM jobs GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`,
	},
	{
		"promises",
		`SELECT region, class, jobs FROM promises ORDER BY 1, 2`,
		`SELECT region, class, count(*) FROM jobs WHERE state IN ('placed', 'claimed') GROUP BY 1, 2 ORDER BY 1, 2`,
	},
	{
		"classes",
		`SELECT seq, jobs FROM classes ORDER BY 1`,
		`SELECT class, count(*) FROM jobs GROUP BY 1 ORDER BY 1`,
	},
	{
		"heads",
		`SELECT class, rank, id, submitted_at FROM heads ORDER BY 1`,
		`SELECT class, rank, id, submitted_at FROM (SELECT *, row_number() OVER (PARTITION BY class ORDER BY rank, id) AS place
			FROM jobs WHERE stage = 1) WHERE place = 1 ORDER BY 1`,
	},
	{
		"history",
		`SELECT subject, count(*), min(number), max(number) FROM events WHERE subject < '' GROUP BY 1 ORDER BY 1`,
		`SELECT seq, version, 1, version FROM jobs ORDER BY 1`,
	},
	{
		"submissions",
		`SELECT job FROM submissions ORDER BY 1`,
		`SELECT seq FROM jobs ORDER BY 1`,
	},
	{
		"keys",
		`SELECT identity, namespace, key, job FROM keys WHERE job IS NOT NULL ORDER BY 1, 2, 3`,
		`SELECT identity, namespace, key, job FROM submissions WHERE key IS NOT NULL ORDER BY 1, 2, 3`,
	},
	{
		"jobs counted as throughput",
		`SELECT (SELECT coalesce(sum(jobs), 0) FROM throughput WHERE state = 'queued') >= (SELECT count(*) FROM jobs)`,
		`SELECT 1`,
	},
}
