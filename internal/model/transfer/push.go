package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/restic/chunker"
	"golang.org/x/sync/errgroup"

	"github.com/gco-project/gco/internal/model"
)

// How files are cut: where the fingerprint of the last 64 bytes has some zero
// bits, 2 MiB apart on average. Another polynomial, or other sizes, would cut the
// same files elsewhere, and so share nothing with what is there.
const (
	polynomial  = chunker.Pol(0x2f9637fd9221f7)
	minChunk    = 1 << 20
	averageBits = 20
)

// How much a push does at a time. Buffers hold one chunk each, most of them a
// quarter of what they could; there must be more than the readers can keep to
// themselves.
const (
	readers = 2
	senders = 6
	// asked is how many chunks one question to the registry is about.
	asked   = 4
	buffers = 20
)

// Target is where a push goes. Both methods are called concurrently.
type Target interface {
	// Missing tells which chunks are not there yet. The others stay there until
	// the push has ended.
	Missing(ctx context.Context, chunks []model.Chunk) ([]string, error)
	Put(ctx context.Context, chunk model.Chunk, content []byte) error
}

// Push sends what the target has not of the files below a directory, and
// returns the manifest of all of them. Links to files are followed. A push that
// was interrupted is repeated as it was: what has arrived is not sent again.
func Push(ctx context.Context, dir string, target Target, progress *Progress) (model.Manifest, error) {
	files, err := list(dir)
	if err != nil {
		return model.Manifest{}, err
	}
	for _, f := range files {
		progress.total.Add(f.info.Size())
	}
	m, err := newPush(target, progress, files).run(ctx)
	if err != nil {
		return model.Manifest{}, err
	}
	if faults := m.Validate(); len(faults) > 0 {
		return model.Manifest{}, fmt.Errorf("the files of %s can't be a model: %w", dir, &model.Invalid{Faults: faults})
	}
	return m, nil
}

// source is a file to push.
type source struct {
	path string // below the directory, with slashes
	file string
	info fs.FileInfo
}

// list finds the files below a directory, by path.
func list(dir string) ([]source, error) {
	var files []source
	err := filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return nil
		}
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(dir, file)
		switch {
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is not a file; models are made of files, and of links to files", file)
		}
		files = append(files, source{filepath.ToSlash(below), file, info})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing the files of the model: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there are no files below %s", dir)
	}
	slices.SortFunc(files, func(a, b source) int { return strings.Compare(a.path, b.path) })
	return files, nil
}

// piece is a chunk in memory.
type piece struct {
	chunk   model.Chunk
	content []byte
}

// push is one push under way: readers cut and hash files, senders ask for
// pieces in small batches and send what is missing.
type push struct {
	target   Target
	progress *Progress
	free     chan []byte
	batches  chan []piece
	sources  []source
	files    []model.File

	mu sync.Mutex
	// known chunks have been asked for by this push.
	known map[string]bool
}

func newPush(target Target, progress *Progress, sources []source) *push {
	p := &push{
		target: target, progress: progress, known: map[string]bool{}, sources: sources,
		free: make(chan []byte, buffers), batches: make(chan []piece), files: make([]model.File, len(sources)),
	}
	for range buffers {
		p.free <- nil
	}
	return p
}

func (p *push) run(ctx context.Context) (model.Manifest, error) {
	group, ctx := errgroup.WithContext(ctx)
	next := make(chan int)
	group.Go(func() error {
		defer close(next)
		for i := range p.sources {
			select {
			case next <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	var reading sync.WaitGroup
	for range readers {
		reading.Add(1)
		group.Go(func() error {
			defer reading.Done()
			return p.read(ctx, next)
		})
	}
	group.Go(func() error {
		reading.Wait()
		close(p.batches)
		return nil
	})
	for range senders {
		group.Go(func() error {
			for batch := range p.batches {
				if err := p.send(ctx, batch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return model.Manifest{Files: p.files}, err
}

// read reads files until there are no more.
func (p *push) read(ctx context.Context, next <-chan int) error {
	r := &reader{push: p, cutter: chunker.New(nil, polynomial)}
	for i := range next {
		f, err := r.file(ctx, p.sources[i])
		if err != nil {
			return err
		}
		p.files[i] = f
	}
	return r.flush(ctx)
}

// reader is one that reads files, with what it has not handed on yet.
type reader struct {
	*push
	cutter *chunker.Chunker
	batch  []piece
}

// file cuts one file, and hashes it.
func (r *reader) file(ctx context.Context, from source) (model.File, error) {
	out := model.File{Path: from.path, Chunks: []model.Chunk{}}
	f, err := os.Open(from.file)
	if err != nil {
		return out, fmt.Errorf("reading the model: %w", err)
	}
	defer f.Close()
	r.cutter.Reset(f, polynomial, chunker.WithBoundaries(minChunk, model.MaxChunk), chunker.WithAverageBits(averageBits))
	whole := sha256.New()
	for {
		more, err := r.cut(ctx, &out, whole)
		if err != nil {
			return out, fmt.Errorf("reading %s: %w", from.file, err)
		}
		if !more {
			break
		}
	}
	out.SHA256 = hex.EncodeToString(whole.Sum(nil))
	now, err := f.Stat()
	if err != nil || out.Size != from.info.Size() || now.Size() != out.Size || !now.ModTime().Equal(from.info.ModTime()) {
		return out, &Changed{from.file}
	}
	return out, nil
}

// cut takes the next chunk of the file; more is false where there is none.
func (r *reader) cut(ctx context.Context, out *model.File, whole hash.Hash) (more bool, err error) {
	var buffer []byte
	select {
	case buffer = <-r.free:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if buffer == nil {
		buffer = make([]byte, 0, model.MaxChunk)
	}
	next, err := r.cutter.Next(buffer)
	if err != nil {
		r.free <- buffer
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return false, err
	}
	sum := sha256.Sum256(next.Data)
	whole.Write(next.Data)
	chunk := model.Chunk{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(next.Data))}
	out.Chunks = append(out.Chunks, chunk)
	out.Size += chunk.Size
	if r.again(chunk.SHA256) {
		r.free <- buffer
		r.progress.done.Add(chunk.Size)
		return true, nil
	}
	r.batch = append(r.batch, piece{chunk, next.Data})
	if len(r.batch) == asked {
		return true, r.flush(ctx)
	}
	return true, nil
}

// again tells whether this push has met the chunk before.
func (p *push) again(sum string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	met := p.known[sum]
	p.known[sum] = true
	return met
}

func (r *reader) flush(ctx context.Context) error {
	if len(r.batch) == 0 {
		return nil
	}
	batch := r.batch
	r.batch = nil
	select {
	case r.batches <- batch:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send sends what is missing of a batch.
func (p *push) send(ctx context.Context, batch []piece) error {
	chunks := make([]model.Chunk, len(batch))
	for i, piece := range batch {
		chunks[i] = piece.chunk
	}
	missing, err := p.target.Missing(ctx, chunks)
	if err != nil {
		return fmt.Errorf("asking which chunks are missing: %w", err)
	}
	for _, piece := range batch {
		if slices.Contains(missing, piece.chunk.SHA256) {
			if err := p.target.Put(ctx, piece.chunk, piece.content); err != nil {
				return fmt.Errorf("sending a chunk: %w", err)
			}
			p.progress.moved.Add(piece.chunk.Size)
		}
		p.progress.done.Add(piece.chunk.Size)
		p.free <- piece.content[:0]
	}
	return nil
}
