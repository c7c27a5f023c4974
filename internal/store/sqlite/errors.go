package sqlite

import (
	"errors"
	"fmt"
	"slices"

	driversqlite "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/gco-project/gco/internal/store"
)

// decisions are the errors by which an operation refuses by itself. It has
// written nothing then, and whatever shares its transaction goes on.
var decisions = []error{
	store.ErrNotFound, store.ErrConflict, store.ErrKeyReused, store.ErrNamespaceFull,
	store.ErrStaleSession, store.ErrOldSequence, store.ErrOtherCluster,
	store.ErrTooMany, store.ErrUndispatched,
}

func isDecision(err error) bool {
	return slices.ContainsFunc(decisions, func(target error) bool { return errors.Is(err, target) })
}

// wrap says what was being done.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// code returns SQLite's extended result code; 0 if err is none of SQLite's.
func code(err error) int {
	if failure, ok := errors.AsType[*driversqlite.Error](err); ok {
		return failure.Code()
	}
	return 0
}

// isDamage tells whether SQLite found the file itself to be wrong.
func isDamage(err error) bool {
	switch code(err) & 0xff {
	case codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB:
		return true
	}
	return false
}

// damagedInUse says that the database was found damaged after it was opened.
func damagedInUse(path string, err error) error {
	return fmt.Errorf("%w: the database %s is damaged; stop the server and restore a backup: %w", store.ErrUnavailable, path, err)
}

// unavailable marks an error after which nothing was written.
func unavailable(err error) error {
	switch code(err) & 0xff {
	case codes.SQLITE_FULL:
		return fmt.Errorf("%w: the disk is full: %w", store.ErrUnavailable, err)
	case codes.SQLITE_IOERR, codes.SQLITE_BUSY, codes.SQLITE_LOCKED, codes.SQLITE_NOMEM,
		codes.SQLITE_READONLY, codes.SQLITE_PERM, codes.SQLITE_CANTOPEN, codes.SQLITE_PROTOCOL:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return err
}

// afterCommit marks an error of a COMMIT. Only a failed fsync leaves it open
// whether the transaction is in the file: this process goes on without it, but
// after a crash SQLite may find it complete.
func afterCommit(err error) error {
	if code(err) == codes.SQLITE_IOERR_FSYNC {
		return fmt.Errorf("%w: %w", store.ErrUnknown, err)
	}
	return unavailable(err)
}
