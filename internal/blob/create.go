package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"gocloud.dev/gcerrors"
)

// Create stores an object where there is none yet: of several that try, one
// does, and the others get ErrExists. One that is there with the very same
// content counts as created, since a request whose answer was lost is sent
// again.
func (b *Bucket) Create(ctx context.Context, key string, content []byte) error {
	err := b.create(ctx, key, content)
	if errors.Is(err, ErrExists) {
		if there, readErr := b.ReadAll(ctx, key); readErr == nil && bytes.Equal(there, content) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("creating %s in %s: %w", key, b.name, err)
	}
	return nil
}

func (b *Bucket) create(ctx context.Context, key string, content []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if b.dir != "" {
		if err := b.link(key, content); err != nil {
			return err
		}
		return b.settle(key)
	}
	options := *writing
	options.IfNotExist = true
	err := b.bucket.WriteAll(ctx, key, content, &options)
	if gcerrors.Code(err) == gcerrors.FailedPrecondition {
		return ErrExists
	}
	return err
}

// link gives a whole file its name, which the system does for one of several
// only. (The driver looks first and renames then.)
func (b *Bucket) link(key string, content []byte) (err error) {
	path := filepath.Join(b.dir, filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	fresh, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*"+temporary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(fresh.Name())) }()
	_, err = fresh.Write(content)
	if err := errors.Join(err, fresh.Sync(), fresh.Close()); err != nil {
		return err
	}
	err = os.Link(fresh.Name(), path)
	if errors.Is(err, os.ErrExist) {
		return ErrExists
	}
	return err
}
