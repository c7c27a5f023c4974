package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// fsyncBytes is about what one job adds to the database's log.
const fsyncBytes = 4096

// fsyncs appends to a file and syncs it, one after the other: what one writer
// could do who shares nothing.
func (b *bench) fsyncs(ctx context.Context) (float64, error) {
	file, err := os.Create(filepath.Join(b.dir, "fsync"))
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
	}()
	block := make([]byte, fsyncBytes)
	return perSecond(ctx, b.sizes.round, 1, 1, func(context.Context, int) error {
		if _, err := file.Write(block); err != nil {
			return err
		}
		return file.Sync()
	})
}

// tmpfs is the type of Linux's file system in memory (statfs(2)).
const tmpfs = 0x01021994

// onDisk refuses a file system where an fsync costs nothing.
func onDisk(dir string) error {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return fmt.Errorf("looking at the file system of %s: %w", dir, err)
	}
	if int64(stat.Type) == tmpfs { //nolint:unconvert // the type differs between systems
		return fmt.Errorf("%s is in memory, where fsync does nothing: name a folder on a disk with -dir", dir)
	}
	return nil
}
