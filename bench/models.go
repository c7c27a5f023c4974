package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// The model of (p) has so many files of one size, or fewer where they would be
// smaller than weights are.
const (
	modelFiles = 40
	leastFile  = 200e6
)

// models measures (p): a model that is pushed to a server and pulled from it,
// beside plain copies of the same files, each with an fsync; and what is stored
// of a second version.
func (b *bench) models(ctx context.Context) error {
	dir, remove, err := b.fresh("models")
	if err != nil {
		return err
	}
	defer remove()
	server, err := b.startServer(ctx, dir)
	if err != nil {
		return err
	}
	m := &modelBench{bench: b, dir: dir, server: server, source: filepath.Join(dir, "source"), bytes: b.sizes.model}
	m.files = int(max(2, min(modelFiles, m.bytes/leastFile)))
	return errors.Join(m.run(ctx), server.stop())
}

// modelBench is one run of it.
type modelBench struct {
	*bench
	dir    string
	server *process
	source string
	bytes  int64
	files  int
	// disk is the rate at which the files were written.
	disk float64
	// memory is the highest of a client.
	memory float64
}

func (m *modelBench) run(ctx context.Context) error {
	if err := m.room(); err != nil {
		return err
	}
	if err := m.write(); err != nil {
		return err
	}
	m.report.note("A model of %s MB in %d files", thousands(m.bytes/1e6), m.files)
	before, err := m.copies(ctx)
	if err != nil {
		return err
	}
	push, err := m.gco(ctx, "models", "push", "model", m.source)
	if err != nil {
		return err
	}
	out := filepath.Join(m.dir, "pulled")
	pull, err := m.gco(ctx, "models", "pull", "model@1", out)
	if err := errors.Join(err, os.RemoveAll(out)); err != nil {
		return err
	}
	after, err := m.copies(ctx)
	if err != nil {
		return err
	}
	plain := (before + after) / 2
	m.report.add(m.disk, "MB/s", "the disk: new files of this size, each synced")
	m.report.add(plain, "MB/s", "plain copies, file by file, each synced (mean of before and after)")
	m.report.add(push, "MB/s", "push over HTTP")
	m.report.add(pull, "MB/s", "pull over HTTP")
	for _, rate := range []struct {
		name  string
		value float64
	}{{"push", push}, {"pull", pull}} {
		m.report.atLeast(max(rate.value/m.disk/0.7, rate.value/plain/0.8), 1, rate.name+", as a share of what it must reach",
			fmt.Sprintf("%.2f of the disk, of which 0.7 is enough; %.2f of a plain copy, of which 0.8 is", rate.value/m.disk, rate.value/plain))
	}
	_, highest, err := m.server.megabytes()
	m.report.atMost(highest, 200, "MB of the server at its highest", "")
	m.report.atMost(m.memory, 200, "MB of the client at its highest", "")
	return errors.Join(err, m.versions(ctx))
}

// room refuses a disk that would fill: source, registry and what is pulled or
// copied.
func (m *modelBench) room() error {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(m.dir, &stat); err != nil {
		return err
	}
	block := int64(stat.Bsize) //nolint:unconvert // 32 bits on macOS
	if free, needs := int64(stat.Bavail)*block, m.bytes*33/10; free < needs {
		return fmt.Errorf("the models need %s MB, and the disk has %s free: pass a smaller -model", thousands(needs/1e6), thousands(free/1e6))
	}
	return nil
}

func (m *modelBench) file(i int) string {
	return filepath.Join(m.source, fmt.Sprintf("model-%05d.safetensors", i))
}

// write makes the files, of bytes that no compression explains.
func (m *modelBench) write() error {
	if err := os.MkdirAll(m.source, 0o700); err != nil {
		return err
	}
	took := time.Duration(0)
	noise := make([]byte, 64<<20)
	for i := range m.files {
		source := rand.NewChaCha8([32]byte{byte(i)})
		f, err := os.Create(m.file(i))
		if err != nil {
			return err
		}
		for left := m.bytes / int64(m.files); left > 0 && err == nil; left -= min(left, int64(len(noise))) {
			_, _ = source.Read(noise)
			begun := time.Now()
			_, err = f.Write(noise[:min(left, int64(len(noise)))])
			took += time.Since(begun)
		}
		begun := time.Now()
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
		took += time.Since(begun)
	}
	m.disk = float64(m.bytes) / 1e6 / took.Seconds()
	return nil
}

// copies is the rate, in MB a second, at which all files are copied.
func (m *modelBench) copies(ctx context.Context) (float64, error) {
	to := filepath.Join(m.dir, "copied")
	if err := os.Mkdir(to, 0o700); err != nil {
		return 0, err
	}
	begun := time.Now()
	for i := range m.files {
		if err := copyFile(filepath.Join(to, filepath.Base(m.file(i))), m.file(i)); err != nil {
			return 0, err
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
	took := time.Since(begun)
	return float64(m.bytes) / 1e6 / took.Seconds(), os.RemoveAll(to)
}

// gco runs a command and returns the rate at which it moved the model.
func (m *modelBench) gco(ctx context.Context, args ...string) (float64, error) {
	command := exec.CommandContext(ctx, m.bench.gco, append(args, "--addr", m.server.Addr(), "--token-file", filepath.Join(m.dir, "admin.token"))...)
	command.Env = append(os.Environ(), "HOME="+m.dir, "XDG_CONFIG_HOME="+m.dir)
	begun := time.Now()
	if text, err := command.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("gco %s %s: %w: %s", args[0], args[1], err, text)
	}
	took := time.Since(begun)
	if usage, ok := command.ProcessState.SysUsage().(*syscall.Rusage); ok {
		m.memory = max(m.memory, float64(usage.Maxrss)*1024/1e6)
	}
	return float64(m.bytes) / 1e6 / took.Seconds(), nil
}

// versions pushes versions that differ a little, and looks at what is stored.
func (m *modelBench) versions(ctx context.Context) error {
	for _, version := range []struct {
		name   string
		bound  float64
		change func() error
	}{
		{"a version with one contiguous 1 % changed", 0.03, m.overwrite},
		{"a version with bytes inserted near the start of each file", 0.05, m.insert},
	} {
		if err := version.change(); err != nil {
			return err
		}
		before, err := stored(m.dir)
		if err != nil {
			return err
		}
		if _, err := m.gco(ctx, "models", "push", "model", m.source); err != nil {
			return err
		}
		after, err := stored(m.dir)
		if err != nil {
			return err
		}
		m.report.atMost(float64(after-before)/float64(m.bytes), version.bound, "share that is stored anew of "+version.name, "")
	}
	return nil
}

// overwrite changes a hundredth of the model in one piece, which lies in one
// file.
func (m *modelBench) overwrite() error {
	f, err := os.OpenFile(m.file(m.files/2), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Seek(m.bytes/int64(m.files)/4, io.SeekStart)
	if err == nil {
		_, err = io.Copy(f, io.LimitReader(rand.NewChaCha8([32]byte{255}), m.bytes/100))
	}
	return errors.Join(err, f.Close())
}

// insert puts some bytes near the start of each file.
func (m *modelBench) insert() error {
	for i := range m.files {
		from, err := os.Open(m.file(i))
		if err != nil {
			return err
		}
		to, err := os.Create(m.file(i) + ".new")
		if err == nil {
			_, err = io.CopyN(to, from, 1000)
		}
		if err == nil {
			_, err = fmt.Fprintf(to, "some bytes more, in file %d", i)
		}
		if err == nil {
			_, err = io.Copy(to, from)
		}
		if err := errors.Join(err, from.Close(), to.Close(), os.Rename(m.file(i)+".new", m.file(i))); err != nil {
			return err
		}
	}
	return nil
}

// stored is the size of all chunks in the registry of a server.
func stored(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(filepath.Join(dir, "models", "models", "chunks"), func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return bytes, err
}
