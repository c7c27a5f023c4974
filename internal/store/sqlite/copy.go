package sqlite

import (
	"context"
	"errors"
)

// CopyTo writes a copy of the whole database, as it is at one moment, to a
// file that must not exist yet. Reading and writing go on meanwhile; the
// write-ahead log grows until it is done. What fails may leave a part of the
// file behind.
func (s *Store) CopyTo(ctx context.Context, path string) error {
	reading, err := openSession(ctx, fileDSN(s.path), checkpointPragmas)
	if err != nil {
		return wrap(err, "copying the database")
	}
	_, err = reading.conn.ExecContext(ctx, "VACUUM INTO ?", path)
	return wrap(errors.Join(err, reading.close()), "copying the database to %s", path)
}
