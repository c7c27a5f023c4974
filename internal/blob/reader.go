package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"gocloud.dev/blob"
)

// maxResumes is how often in a row a read goes on after a broken connection
// without a byte of progress.
const maxResumes = 3

// Read opens the part of an object from offset on, length bytes long or, if
// that is negative, to its end. A connection that breaks is made anew where it
// broke. The errors are ErrNotFound, and from the stream ErrReplaced.
func (b *Bucket) Read(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	r := &reader{ctx: ctx, bucket: b, key: key, at: offset, length: length}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r, nil
}

// ReadAll returns a whole object, or ErrNotFound.
func (b *Bucket) ReadAll(ctx context.Context, key string) ([]byte, error) {
	r, err := b.Read(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// reader is a read that survives broken connections.
type reader struct {
	ctx    context.Context
	bucket *Bucket
	key    string
	from   *blob.Reader
	// at is the next byte of the object, length what is left from there.
	at, length int64
	size       int64
	modified   time.Time
	resumes    int
}

func (r *reader) open() error {
	from, err := r.bucket.bucket.NewRangeReader(r.ctx, r.key, r.at, r.length, nil)
	if err != nil {
		return r.bucket.failed("reading", r.key, err)
	}
	if r.modified.IsZero() {
		r.size, r.modified = from.Size(), from.ModTime()
		if most := max(0, r.size-r.at); r.length < 0 || r.length > most {
			r.length = most
		}
	}
	if from.Size() != r.size || !from.ModTime().Equal(r.modified) {
		_ = from.Close()
		return fmt.Errorf("reading %s in %s: %w", r.key, r.bucket.name, ErrReplaced)
	}
	r.from = from
	return nil
}

func (r *reader) Read(p []byte) (int, error) {
	if r.length == 0 {
		return 0, io.EOF
	}
	for {
		if r.from == nil {
			if err := r.open(); err != nil {
				return 0, err
			}
		}
		n, err := r.from.Read(p[:min(int64(len(p)), r.length)])
		r.at += int64(n)
		r.length -= int64(n)
		if n > 0 {
			r.resumes = 0
			return n, nil
		}
		if err == nil {
			return 0, nil
		}
		// There is more: the size says so.
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		_ = r.from.Close()
		r.from = nil
		if r.resumes++; r.resumes > maxResumes || r.ctx.Err() != nil {
			return 0, r.bucket.failed("reading", r.key, err)
		}
	}
}

func (r *reader) Close() error {
	r.length = 0
	if r.from == nil {
		return nil
	}
	return r.from.Close()
}
