package attempt

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// replace writes a file whole or not at all, through temporary, which must
// lie in the same file system. With durable it also survives a power failure.
func replace(path, temporary string, text []byte, durable bool) error {
	if err := write(temporary, text, durable); err != nil {
		return errors.Join(err, removeIfThere(temporary))
	}
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(err, removeIfThere(temporary))
	}
	if durable {
		return SyncDir(filepath.Dir(path))
	}
	return nil
}

// WriteDurably writes a file, and returns when it survives a power failure.
// It appears whole or not at all.
func WriteDurably(path string, text []byte) error {
	return replace(path, path+".new", text, true)
}

func write(path string, text []byte, durable bool) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil && durable {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// SyncDir makes the names in a directory durable.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func decode(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return &CorruptError{Path: path, Err: err}
	}
	return nil
}

// CorruptError says that a file does not hold what it should.
type CorruptError struct {
	Path string
	Err  error
}

func (e *CorruptError) Error() string { return fmt.Sprintf("%s is corrupt: %v", e.Path, e.Err) }

func (e *CorruptError) Unwrap() error { return e.Err }
