package transfer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/gco-project/gco/internal/model"
)

// fetchers is how many chunks are fetched at a time; each has one in memory.
const fetchers = 4

// fetches is how often a chunk is fetched that is not what it should be.
const fetches = 3

// Copy is a version that is here already, whole.
type Copy struct {
	Dir      string
	Manifest model.Manifest
}

// PullOptions say what to pull, and to where. Dir, Manifest, Source and Progress
// are required.
type PullOptions struct {
	// Dir is where the files will be; until all are, it is not there, and what
	// has come is in Partial, on the same file system.
	Dir, Partial string
	Manifest     model.Manifest
	Source       Source
	// Copies may have some of the chunks.
	Copies   []Copy
	Progress *Progress
	// ReadOnly takes the right to write from the files.
	ReadOnly bool
}

// Pull brings the files of a manifest. Every byte is held against the sum of its
// chunk: what comes, what is copied, and what an earlier try has left in
// Partial. Dir appears when all is there and on disk.
func Pull(ctx context.Context, o PullOptions) error {
	if _, err := os.Lstat(o.Dir); !errors.Is(err, fs.ErrNotExist) {
		return cmp.Or(err, fmt.Errorf("%s: %w", o.Dir, fs.ErrExist))
	}
	if faults := o.Manifest.Validate(); len(faults) > 0 {
		return &model.Invalid{Faults: faults}
	}
	o.Progress.total.Store(o.Manifest.Bytes())
	p := &pull{PullOptions: o, copies: index(o.Copies), open: map[*target]bool{}}
	if err := p.prepare(); err != nil {
		return err
	}
	if err := errors.Join(p.fetchAll(ctx), p.closeAll()); err != nil {
		return err
	}
	return p.publish()
}

// pull is one pull under way.
type pull struct {
	PullOptions
	copies map[string]place

	mu   sync.Mutex
	open map[*target]bool
}

// place is where a chunk is on this disk.
type place struct {
	file   string
	offset int64
}

func index(copies []Copy) map[string]place {
	all := map[string]place{}
	for _, c := range copies {
		for _, f := range c.Manifest.Files {
			at := int64(0)
			for _, chunk := range f.Chunks {
				all[chunk.SHA256] = place{filepath.Join(c.Dir, filepath.FromSlash(f.Path)), at}
				at += chunk.Size
			}
		}
	}
	return all
}

func (p *pull) file(path string) string { return filepath.Join(p.Partial, filepath.FromSlash(path)) }

// prepare removes from Partial what is no part of the model, and looks whether
// the disk has room for the rest.
func (p *pull) prepare() error {
	if err := os.MkdirAll(p.Partial, 0o700); err != nil {
		return fmt.Errorf("making room for the model: %w", err)
	}
	wanted, there := map[string]int64{}, int64(0)
	for _, f := range p.Manifest.Files {
		wanted[p.file(f.Path)] = f.Size
	}
	err := filepath.WalkDir(p.Partial, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		size, ours := wanted[file]
		if entry.IsDir() {
			if !ours {
				return nil
			}
			return cmp.Or(os.RemoveAll(file), fs.SkipDir) //nolint:gosec // nobody else writes there
		}
		if !ours || !entry.Type().IsRegular() {
			return os.Remove(file) //nolint:gosec // nobody else writes there
		}
		var stat unix.Stat_t
		if err := unix.Lstat(file, &stat); err != nil {
			return err
		}
		there += min(stat.Blocks*512, size)
		return nil
	})
	if err != nil {
		return fmt.Errorf("looking at what was pulled before: %w", err)
	}
	for _, f := range p.Manifest.Files {
		// What an earlier version had as a file is a folder now.
		if err := os.MkdirAll(filepath.Dir(p.file(f.Path)), 0o700); err != nil {
			return fmt.Errorf("making a folder of the model: %w", err)
		}
	}
	return checkRoom(p.Partial, p.Manifest.Bytes()-there)
}

// NoRoom says that the disk is too full for a model.
type NoRoom struct {
	Dir         string
	Needs, Free int64
}

func (e *NoRoom) Error() string {
	return fmt.Sprintf("the disk of %s has %d MB free, and the model needs %d MB more", e.Dir, e.Free/1e6, e.Needs/1e6)
}

func checkRoom(dir string, needs int64) error {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return fmt.Errorf("asking how full the disk of %s is: %w", dir, err)
	}
	if free := int64(stat.Bavail) * int64(stat.Bsize); free < needs { //nolint:unconvert // both are sizes; their types differ between systems
		return &NoRoom{Dir: dir, Needs: needs, Free: free}
	}
	return nil
}

// target is a file on its way.
type target struct {
	file *os.File
	// fresh files have nothing in them that may be right.
	fresh bool
	// left counts the chunks that are not there yet.
	left atomic.Int64
}

// fetchAll fetches the chunks of all files, several at a time.
func (p *pull) fetchAll(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fetchers)
	buffers := make(chan []byte, fetchers)
	for range fetchers {
		buffers <- make([]byte, model.MaxChunk)
	}
	for _, f := range p.Manifest.Files {
		to, err := p.begin(f)
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		if len(f.Chunks) == 0 {
			group.Go(func() error { return p.settle(to) })
		}
		offset := int64(0)
		for _, chunk := range f.Chunks {
			at := offset
			group.Go(func() error {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				buffer := <-buffers
				defer func() { buffers <- buffer }()
				if err := p.chunk(ctx, to, chunk, at, buffer[:chunk.Size]); err != nil {
					return fmt.Errorf("pulling %s: %w", f.Path, err)
				}
				if to.left.Add(-1) == 0 {
					return p.settle(to)
				}
				return nil
			})
			offset += chunk.Size
		}
	}
	return group.Wait()
}

func (p *pull) begin(f model.File) (*target, error) {
	name := p.file(f.Path)
	// A file that was whole may be read-only.
	err := os.Chmod(name, 0o600)
	to := &target{fresh: errors.Is(err, fs.ErrNotExist)}
	if to.file, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("writing the model: %w", err)
	}
	if err := to.file.Truncate(f.Size); err != nil {
		return nil, errors.Join(fmt.Errorf("writing the model: %w", err), to.file.Close())
	}
	to.left.Store(int64(len(f.Chunks)))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[to] = true
	return to, nil
}

// closeAll closes the files that did not become whole.
func (p *pull) closeAll() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for to := range p.open {
		errs = append(errs, to.file.Close())
	}
	return errors.Join(errs...)
}

// chunk puts one chunk in its place: it is there, or on this disk, or fetched.
func (p *pull) chunk(ctx context.Context, to *target, chunk model.Chunk, at int64, buffer []byte) error {
	if !to.fresh {
		if _, err := to.file.ReadAt(buffer, at); err == nil && sumOf(buffer) == chunk.SHA256 {
			p.Progress.done.Add(chunk.Size)
			return nil
		}
	}
	if !p.copied(chunk, buffer) {
		if err := p.fetch(ctx, chunk, buffer); err != nil {
			return err
		}
		p.Progress.moved.Add(chunk.Size)
	}
	if _, err := to.file.WriteAt(buffer, at); err != nil {
		return err
	}
	p.Progress.done.Add(chunk.Size)
	return nil
}

// copied reads a chunk from another version, if that has it as it should be.
func (p *pull) copied(chunk model.Chunk, buffer []byte) bool {
	from, known := p.copies[chunk.SHA256]
	if !known {
		return false
	}
	f, err := os.Open(from.file)
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = f.ReadAt(buffer, from.offset)
	return err == nil && sumOf(buffer) == chunk.SHA256
}

// fetch tries again where the content breaks off on its way, or is not what it
// should be.
func (p *pull) fetch(ctx context.Context, chunk model.Chunk, buffer []byte) error {
	var last error
	for range fetches {
		content, err := p.Source.Chunk(ctx, chunk.SHA256)
		if err != nil {
			return err
		}
		last = errors.Join(receive(content, buffer, chunk.SHA256), content.Close())
		if last == nil || ctx.Err() != nil {
			return last
		}
	}
	return last
}

// receive fills the buffer with a content that has its length and the sum.
func receive(content io.Reader, buffer []byte, sum string) error {
	_, err := io.ReadFull(content, buffer)
	if err == nil {
		var n int
		if n, err = content.Read(make([]byte, 1)); n == 0 && errors.Is(err, io.EOF) && sumOf(buffer) == sum {
			return nil
		}
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("reading a chunk: %w", err)
	}
	return fmt.Errorf("%w: %s is not what its name says; 'gco models verify' tells what else is", ErrCorrupt, sum)
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// settle brings a file that is whole to the disk.
func (p *pull) settle(to *target) error {
	mode := fs.FileMode(0o644)
	if p.ReadOnly {
		mode = 0o444
	}
	p.mu.Lock()
	delete(p.open, to)
	p.mu.Unlock()
	err := errors.Join(to.file.Chmod(mode), to.file.Sync(), to.file.Close())
	if err != nil {
		return fmt.Errorf("writing the model: %w", err)
	}
	return nil
}

// publish brings the folders to the disk, and gives them their name.
func (p *pull) publish() error {
	err := filepath.WalkDir(p.Partial, func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return errors.Join(os.Chmod(dir, 0o755), syncDir(dir)) //nolint:gosec // as any folder that a user makes
	})
	if err == nil {
		err = os.Rename(p.Partial, p.Dir)
	}
	if err == nil {
		err = syncDir(filepath.Dir(p.Dir))
	}
	if err != nil {
		return fmt.Errorf("publishing the model in %s: %w", p.Dir, err)
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
