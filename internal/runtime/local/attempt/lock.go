package attempt

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// ErrLocked says that another process (or another part of this one) holds the
// lock.
var ErrLocked = errors.New("locked")

// Lock is an exclusive lock on a file. The kernel frees it when the process
// that holds it ends, in whatever way.
type Lock struct{ file *os.File }

// TryLock takes the lock or returns ErrLocked.
func TryLock(path string) (*Lock, error) { return lock(path, syscall.LOCK_EX|syscall.LOCK_NB) }

// lockPause is how often LockWithin looks.
const lockPause = 20 * time.Millisecond

// LockWithin is TryLock for as long as the lock may be held by nobody that
// counts: a child that a killed agent was just starting has the agent's files
// until it executes its own program.
func LockWithin(path string, wait time.Duration) (*Lock, error) {
	for end := time.Now().Add(wait); ; <-time.After(lockPause) {
		l, err := TryLock(path)
		if !errors.Is(err, ErrLocked) || time.Now().After(end) {
			return l, err
		}
	}
}

// WaitLock waits until it has the lock. It holds a thread of the operating
// system meanwhile.
func WaitLock(path string) (*Lock, error) { return lock(path, syscall.LOCK_EX) }

func lock(path string, how int) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	for {
		err = syscall.Flock(int(file.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return &Lock{file}, nil
}

// Release gives the lock back.
func (l *Lock) Release() error { return l.file.Close() }
