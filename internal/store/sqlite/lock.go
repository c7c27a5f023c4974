package sqlite

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockWait is for how long a lock may be held by nobody that counts: a child
// that a killed server was just starting has the server's files until it
// executes its own program.
const lockWait = time.Second

// lockFile keeps a second process off the database: SQLite itself would let it
// in, and two writers would each trust counters of their own. The kernel drops
// the lock when the process dies, however it dies. The file is never removed,
// since a new one could be locked while the old one still is.
type lockFile struct{ file *os.File }

func takeLock(path string) (*lockFile, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	for end := time.Now().Add(lockWait); errors.Is(err, syscall.EWOULDBLOCK) && time.Now().Before(end); {
		time.Sleep(lockWait / 50) //nolint:forbidigo // nothing tells when a file lock becomes free
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: another server holds %s; stop it first, or give this one a database of its own", ErrInUse, path)
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return &lockFile{file}, nil
}

// release closes the file, which gives the lock back.
func (l *lockFile) release() error { return l.file.Close() }
