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
	writerPragmas     = append([]string{"cache_size = -32768"}, commonPragmas...)
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
	// direct are the statements of exec, and values their parameters.
	direct []driver.StmtExecContext
	values []driver.NamedValue
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
	return &session{
		db: db, conn: conn, prepared: make([]*sql.Stmt, len(statements)), direct: make([]driver.StmtExecContext, len(statements)),
	}, nil
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

// exec runs a statement and returns how many rows it changed. It speaks to the
// driver itself: a transition is a few statements, and database/sql costs a
// tenth of what SQLite does for each.
func (s *session) exec(id stmt, args ...any) (changed int64, err error) {
	err = s.conn.Raw(func(conn any) error {
		if s.direct[id] == nil {
			if s.direct[id], err = prepareDirect(conn, statements[id]); err != nil {
				return fmt.Errorf("preparing %q: %w", statements[id], err)
			}
		}
		if s.values, err = appendValues(s.values[:0], args); err != nil {
			return fmt.Errorf("running %q: %w", statements[id], err)
		}
		result, err := s.direct[id].ExecContext(context.Background(), s.values)
		if err != nil {
			return err
		}
		changed, err = result.RowsAffected()
		return err
	})
	return changed, err
}

func prepareDirect(conn any, text string) (driver.StmtExecContext, error) {
	preparer, ok := conn.(driver.ConnPrepareContext)
	if !ok {
		return nil, errors.New("the driver cannot prepare")
	}
	prepared, err := preparer.PrepareContext(context.Background(), text)
	if err != nil {
		return nil, err
	}
	execer, ok := prepared.(driver.StmtExecContext)
	if !ok {
		return nil, errors.Join(errors.New("the driver cannot execute a statement"), prepared.Close())
	}
	return execer, nil
}

// appendValues numbers the parameters, and brings them to the types that
// drivers take.
func appendValues(values []driver.NamedValue, args []any) ([]driver.NamedValue, error) {
	for i, arg := range args {
		switch arg.(type) {
		case nil, string, int64:
		default:
			var err error
			if arg, err = driver.DefaultParameterConverter.ConvertValue(arg); err != nil {
				return nil, err
			}
		}
		values = append(values, driver.NamedValue{Ordinal: i + 1, Value: arg})
	}
	return values, nil
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
	for _, prepared := range s.direct {
		if closer, ok := prepared.(driver.Stmt); ok {
			all = errors.Join(all, closer.Close())
		}
	}
	for _, prepared := range s.prepared {
		if prepared != nil {
			all = errors.Join(all, prepared.Close())
		}
	}
	return errors.Join(all, s.conn.Close(), s.db.Close())
}
