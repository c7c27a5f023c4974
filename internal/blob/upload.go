package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

// MaxParts bounds an upload.
const MaxParts = 10_000

// Upload brings one content in parts. Parts may come in any order, more than
// once, and from one process after another: what is there is in the bucket
// alone. Nothing of it is a content until Commit.
type Upload struct {
	contents *Contents
	prefix   string
}

// Upload begins an upload, or goes on with it. The ID is the caller's, unique
// among its uploads: letters, digits and =._-.
func (c *Contents) Upload(id string) (*Upload, error) {
	if err := checkKey(id); err != nil || strings.Contains(id, "/") {
		return nil, fmt.Errorf("%q is no ID of an upload: letters, digits and =._- expected", id)
	}
	return &Upload{contents: c, prefix: c.folder + "-uploads/" + id + "/"}, nil
}

func (u *Upload) key(number int) (string, error) {
	if number < 1 || number > MaxParts {
		return "", fmt.Errorf("part %d is not between 1 and %d", number, MaxParts)
	}
	return fmt.Sprintf("%s%05d", u.prefix, number), nil
}

// Put stores a part, numbered from 1, in place of the one that was there. sum
// is the SHA-256 that its sender expects, in hex; another content is
// ErrCorrupt.
func (u *Upload) Put(ctx context.Context, number int, sum string, part io.Reader) error {
	key, err := u.key(number)
	if err != nil {
		return err
	}
	return u.contents.bucket.Write(ctx, key, func(w io.Writer) error {
		hash := sha256.New()
		if _, err := io.Copy(io.MultiWriter(w, hash), part); err != nil {
			return err
		}
		if found := hex.EncodeToString(hash.Sum(nil)); found != sum {
			return fmt.Errorf("part %d: %w: it is %s", number, ErrCorrupt, found)
		}
		return nil
	})
}

// Part is one that has arrived.
type Part struct {
	Number int
	Bytes  int64
}

// Parts lists those that have arrived, by number: a sender that was
// interrupted goes on with the others.
func (u *Upload) Parts(ctx context.Context) ([]Part, error) {
	var parts []Part
	for object, err := range u.contents.bucket.List(ctx, u.prefix) {
		if err != nil {
			return nil, err
		}
		part := Part{Bytes: object.Size}
		if _, err := fmt.Sscanf(strings.TrimPrefix(object.Key, u.prefix), "%05d", &part.Number); err != nil {
			return nil, fmt.Errorf("%s in %s is no part of an upload", object.Key, u.contents.bucket)
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// Commit makes parts 1 to count one content, if that has the sum given, and
// forgets them. ErrNotFound: a part is missing; ErrCorrupt: the sum is
// another; the parts stay then. Committing again does nothing.
func (u *Upload) Commit(ctx context.Context, sum string, count int) error {
	there, err := u.contents.Has(ctx, sum)
	if err != nil {
		return err
	}
	if !there {
		parts := &partsReader{ctx: ctx, upload: u, count: count}
		defer parts.close()
		if err := u.contents.Replace(ctx, sum, parts); err != nil {
			return err
		}
	}
	return u.Abort(ctx)
}

// Abort forgets the parts.
func (u *Upload) Abort(ctx context.Context) error {
	return u.contents.bucket.DeleteAll(ctx, u.prefix)
}

// partsReader reads one part after the other.
type partsReader struct {
	ctx    context.Context
	upload *Upload
	part   io.ReadCloser
	number int
	count  int
}

func (r *partsReader) Read(p []byte) (int, error) {
	for {
		if r.part == nil {
			if r.number == r.count {
				return 0, io.EOF
			}
			r.number++
			key, err := r.upload.key(r.number)
			if err != nil {
				return 0, err
			}
			if r.part, err = r.upload.contents.bucket.Read(r.ctx, key, 0, -1); err != nil {
				return 0, err
			}
		}
		n, err := r.part.Read(p)
		if err != io.EOF {
			return n, err
		}
		r.close()
		if n > 0 {
			return n, nil
		}
	}
}

func (r *partsReader) close() {
	if r.part != nil {
		_ = r.part.Close()
		r.part = nil
	}
}
