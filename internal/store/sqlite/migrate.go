package sqlite

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/google/uuid"
)

// applicationID marks our database files ("GCO1").
const applicationID = 0x47434f31

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations returns the texts of all migrations; the first one makes schema
// version 1.
func migrations() ([]string, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	texts := make([]string, len(names))
	for i, name := range names {
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		texts[i] = string(text)
	}
	return texts, nil
}

var (
	stIncarnation = statement(`SELECT value FROM meta WHERE name = 'incarnation'`)
	stInsertMeta  = statement(`INSERT INTO meta (name, value) VALUES (?, ?)`)
)

func readIncarnation(s *session) (string, error) {
	var incarnation string
	found, err := s.row(stIncarnation, nil, &incarnation)
	if err == nil && !found {
		err = damaged("it has no incarnation")
	}
	return incarnation, err
}

// prepareDatabase brings the schema up to date.
func prepareDatabase(ctx context.Context, s *session, file bool) error {
	if file {
		if err := s.expectPragma(ctx, "journal_mode = WAL", "wal"); err != nil {
			return err
		}
		if err := s.expectPragma(ctx, "synchronous", "2"); err != nil {
			return err
		}
	}
	texts, err := migrations()
	if err != nil {
		return err
	}
	var version int
	if err := s.conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	for version < len(texts) {
		if err := s.migrate(ctx, texts[version], version); err != nil {
			return fmt.Errorf("migrating the schema to version %d: %w", version+1, err)
		}
		version++
	}
	return nil
}

// expectPragma runs a pragma and checks its answer.
func (s *session) expectPragma(ctx context.Context, pragma, want string) error {
	var got string
	if err := s.conn.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&got); err != nil {
		return fmt.Errorf("setting %q: %w", pragma, err)
	}
	if got != want {
		return fmt.Errorf("setting %q: the database answers %q instead of %q", pragma, got, want)
	}
	return nil
}

// migrate applies one migration in a transaction of its own.
func (s *session) migrate(ctx context.Context, text string, from int) (err error) {
	if _, err := s.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, rollback := s.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
			err = errors.Join(err, rollback)
		}
	}()
	if _, err := s.conn.ExecContext(ctx, text); err != nil {
		return err
	}
	if from == 0 {
		for name, value := range map[string]any{"incarnation": uuid.NewString(), "last_event": int64(0), "pings": int64(0)} {
			if _, err := s.exec(stInsertMeta, name, value); err != nil {
				return err
			}
		}
	}
	// PRAGMA takes no parameters.
	marks := fmt.Sprintf("PRAGMA user_version = %d; PRAGMA application_id = %d", from+1, applicationID)
	if _, err := s.conn.ExecContext(ctx, marks); err != nil {
		return err
	}
	_, err = s.conn.ExecContext(ctx, "COMMIT")
	return err
}
