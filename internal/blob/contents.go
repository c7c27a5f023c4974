package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"regexp"
)

// Contents are objects of one kind that are named by the SHA-256 of what is in
// them, in hex. The same content is kept once.
type Contents struct {
	bucket *Bucket
	folder string
}

// NewContents keeps contents below a folder of a bucket.
func NewContents(bucket *Bucket, folder string) *Contents {
	return &Contents{bucket: bucket, folder: folder}
}

// Sum is the name that a content has.
func Sum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

var sumRule = regexp.MustCompile(`^[0-9a-f]{64}$`)

// key spreads contents over 256 folders.
func (c *Contents) key(sum string) (string, error) {
	if !sumRule.MatchString(sum) {
		return "", fmt.Errorf("%q is no SHA-256 in hex", sum)
	}
	return c.folder + "/" + sum[:2] + "/" + sum, nil
}

// Put stores a content and returns its sum. One that is there is not written
// again.
func (c *Contents) Put(ctx context.Context, content []byte) (string, error) {
	sum := Sum(content)
	there, err := c.Has(ctx, sum)
	if err != nil || there {
		return sum, err
	}
	return sum, c.Replace(ctx, sum, bytes.NewReader(content))
}

// Replace stores a stream if its sum is the one given, else it is ErrCorrupt;
// in place of what is there, which may be damaged.
func (c *Contents) Replace(ctx context.Context, sum string, content io.Reader) error {
	key, err := c.key(sum)
	if err != nil {
		return err
	}
	return c.bucket.Write(ctx, key, func(w io.Writer) error {
		hash := sha256.New()
		if _, err := io.Copy(io.MultiWriter(w, hash), content); err != nil {
			return err
		}
		if found := hex.EncodeToString(hash.Sum(nil)); found != sum {
			return fmt.Errorf("%w: it is %s", ErrCorrupt, found)
		}
		return nil
	})
}

// Has tells whether a content is there.
func (c *Contents) Has(ctx context.Context, sum string) (bool, error) {
	_, err := c.Size(ctx, sum)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Size is the length of a content in bytes, or ErrNotFound.
func (c *Contents) Size(ctx context.Context, sum string) (int64, error) {
	key, err := c.key(sum)
	if err != nil {
		return 0, err
	}
	return c.bucket.Size(ctx, key)
}

// List yields the sum and size of every content. After an error there is
// nothing more.
func (c *Contents) List(ctx context.Context) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for object, err := range c.bucket.List(ctx, c.folder+"/") {
			object.Key = path.Base(object.Key)
			if !yield(object, err) {
				return
			}
		}
	}
}

// Open reads a content, or is ErrNotFound. Who reads it checks it.
func (c *Contents) Open(ctx context.Context, sum string) (io.ReadCloser, error) {
	key, err := c.key(sum)
	if err != nil {
		return nil, err
	}
	return c.bucket.Read(ctx, key, 0, -1)
}

// Content returns a content whole and checked: ErrNotFound, or ErrCorrupt.
func (c *Contents) Content(ctx context.Context, sum string) ([]byte, error) {
	key, err := c.key(sum)
	if err != nil {
		return nil, err
	}
	content, err := c.bucket.ReadAll(ctx, key)
	if err != nil {
		return nil, err
	}
	if Sum(content) != sum {
		return nil, fmt.Errorf("reading %s in %s: %w", key, c.bucket.name, ErrCorrupt)
	}
	return content, nil
}

// Delete removes a content; one that is not there is removed already.
func (c *Contents) Delete(ctx context.Context, sum string) error {
	key, err := c.key(sum)
	if err != nil {
		return err
	}
	return c.bucket.Delete(ctx, key)
}
