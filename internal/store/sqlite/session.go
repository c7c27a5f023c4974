package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"

	driversqlite "modernc.org/sqlite"
)

// The settings of each kind of connection. synchronous=FULL is what makes a
// commit survive a power cut; the driver's default may be less.
var (
	commonPragmas = []string{
		"busy_timeout = 5000",
		"synchronous = FULL",
		"foreign_keys = OFF",
		"wal_autocheckpoint = 0",
		"journal_size_limit = 67108864",
		"temp_store = MEMORY",
		"trusted_schema = OFF",
	}
	writerPragmas     = append([]string{"cache_size = -16384"}, commonPragmas...)
	checkpointPragmas = append([]string{"cache_size = -64"}, commonPragmas...)
	readerPragmas     = append([]string{"cache_size = -4096", "query_only = ON"}, commonPragmas...)
	inspectPragmas    = []string{"query_only = ON", "busy_timeout = 5000"}
	memoryPragmas     = []string{"synchronous = OFF", "journal_mode = MEMORY", "foreign_keys = OFF", "temp_store = MEMORY"}
)

// stmt names one SQL statement of the package.
type stmt int

// statements holds the text of every statement, so that a test can ask SQLite
// for the plan of each.
var statements []string

// statement declares a statement; sessions prepare it when they first use it.
func statement(text string) stmt {
	statements = append(statements, text)
	return stmt(len(statements) - 1)
}

// session is one connection with its prepared statements. One goroutine uses
// it at a time. Its calls take no context: each does little work, and a
// statement that is interrupted would roll back what others wrote in the same
// transaction.
type session struct {
	db       *sql.DB
	conn     *sql.Conn
	prepared []*sql.Stmt
}

func fileDSN(path string) string {
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String() + "?_error_rc=1"
}

// openSession opens one connection, and sets the pragmas in the hook that runs
// for every connection that database/sql makes.
func openSession(ctx context.Context, dsn string, pragmas []string) (*session, error) {
	connector, err := driversqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(hooked{connector, pragmas})
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &session{db: db, conn: conn, prepared: make([]*sql.Stmt, len(statements))}, nil
}

// hooked runs pragmas on each new connection.
type hooked struct {
	driver.Connector
	pragmas []string
}

func (h hooked) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := h.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	execer, ok := conn.(driver.ExecerContext)
	if !ok {
		return nil, errors.Join(errors.New("the driver cannot execute"), conn.Close())
	}
	for _, pragma := range h.pragmas {
		if _, err := execer.ExecContext(ctx, "PRAGMA "+pragma, nil); err != nil {
			return nil, errors.Join(fmt.Errorf("setting %q: %w", pragma, err), conn.Close())
		}
	}
	return conn, nil
}

func (s *session) stmt(id stmt) (*sql.Stmt, error) {
	if s.prepared[id] == nil {
		prepared, err := s.conn.PrepareContext(context.Background(), statements[id])
		if err != nil {
			return nil, fmt.Errorf("preparing %q: %w", statements[id], err)
		}
		s.prepared[id] = prepared
	}
	return s.prepared[id], nil
}

// exec runs a statement and returns how many rows it changed.
func (s *session) exec(id stmt, args ...any) (int64, error) {
	prepared, err := s.stmt(id)
	if err != nil {
		return 0, err
	}
	result, err := prepared.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// row runs a statement that returns at most one row. found is false where
// there was none.
func (s *session) row(id stmt, args []any, into ...any) (found bool, err error) {
	err = s.each(id, args, func(scan func(...any) error) error {
		found = true
		return scan(into...)
	})
	return found && err == nil, err
}

// each runs a statement and calls f for every row.
func (s *session) each(id stmt, args []any, f func(scan func(...any) error) error) error {
	prepared, err := s.stmt(id)
	if err != nil {
		return err
	}
	rows, err := prepared.QueryContext(context.Background(), args...)
	if err != nil {
		return err
	}
	return eachRow(rows, f)
}

// eachOf is each for a statement that is put together as it is needed.
func (s *session) eachOf(text string, args []any, f func(scan func(...any) error) error) error {
	rows, err := s.conn.QueryContext(context.Background(), text, args...)
	if err != nil {
		return err
	}
	return eachRow(rows, f)
}

func eachRow(rows *sql.Rows, f func(scan func(...any) error) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *session) close() error {
	var all error
	for _, prepared := range s.prepared {
		if prepared != nil {
			all = errors.Join(all, prepared.Close())
		}
	}
	return errors.Join(all, s.conn.Close(), s.db.Close())
}
