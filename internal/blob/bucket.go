// Package blob keeps what is too large for the database: archived logs, large
// manifests, models. A [Bucket] is a directory of this host or a bucket of S3,
// named by a URL, with the same promises for both: an object is whole or not
// there, and survives a crash once its write has returned. [Contents] are
// objects that are named by their own SHA-256, and an [Upload] brings one in
// parts, over as many tries as it takes.
//
// It knows nothing of what the objects mean: joblog, the store and the daemon
// do. The types of the AWS SDK stop here.
package blob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	gosync "sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/gcerrors"
)

// The errors that callers decide on.
var (
	// ErrNotFound: there is no such object.
	ErrNotFound = errors.New("no such object")
	// ErrCorrupt: the content is not what its checksum says.
	ErrCorrupt = errors.New("content does not match its checksum")
	// ErrReplaced: another object took the place of the one being read.
	ErrReplaced = errors.New("object was replaced while it was read")
	// ErrExists: there is another object under this key.
	ErrExists = errors.New("object exists")
)

// Objects of 16 MiB and more go to S3 in parts of this size, two at a time: some
// 24 MiB of memory for each such write that is under way.
const (
	partBytes     = 8 << 20
	partsTogether = 2
)

// maxListings is how often a directory is read that changes meanwhile.
const maxListings = 1000

// abortGrace is how long an upload that is given up may take to end.
const abortGrace = 10 * time.Second

// writing is how objects are written.
var writing = &blob.WriterOptions{
	ContentType: "application/octet-stream", DisableContentTypeDetection: true,
	BufferSize: partBytes, MaxConcurrency: partsTogether,
}

// temporary ends the names that the directory's driver writes under before an
// object is whole.
const temporary = ".tmp"

// Bucket holds objects by key. It is safe for concurrent use.
type Bucket struct {
	bucket *blob.Bucket
	name   string
	// dir is where a directory's objects are; empty for S3, whose writes are
	// durable when they return.
	dir string
	// settled folders of a directory are known to survive a crash.
	settled gosync.Map
}

// OpenDir opens a directory, and makes it if need be, for its owner only.
func OpenDir(dir string) (*Bucket, error) {
	bucket, err := fileblob.OpenBucket(dir, &fileblob.Options{
		CreateDir: true, DirFileMode: 0o700, NoTempDir: true, Metadata: fileblob.MetadataDontWrite,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the directory %s for objects: %w", dir, err)
	}
	return &Bucket{bucket: bucket, name: dir, dir: dir}, nil
}

// String is how people know the bucket.
func (b *Bucket) String() string { return b.name }

// Close releases the bucket. Writes must have ended.
func (b *Bucket) Close() error { return b.bucket.Close() }

// Check makes one request, and says what is wrong where the bucket can't be
// used.
func (b *Bucket) Check(ctx context.Context) error {
	accessible, err := b.bucket.IsAccessible(ctx)
	switch {
	case err == nil && accessible:
		return nil
	case err == nil:
		return fmt.Errorf("there is no bucket %s, or it is in another AWS Region than its URL says", b.name)
	case gcerrors.Code(err) == gcerrors.PermissionDenied:
		return fmt.Errorf("these credentials may not list the bucket %s; the policy for gco server allows it: %w", b.name, err)
	default:
		return fmt.Errorf("reaching the bucket %s: %w", b.name, err)
	}
}

// Write stores what produce writes, in place of what was there. When produce
// or the storage fails, the object stays as it was.
func (b *Bucket) Write(ctx context.Context, key string, produce func(io.Writer) error) error {
	if err := b.write(ctx, key, produce); err != nil {
		return fmt.Errorf("writing %s to %s: %w", key, b.name, err)
	}
	return nil
}

func (b *Bucket) write(ctx context.Context, key string, produce func(io.Writer) error) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if b.dir == "" {
		return b.upload(ctx, key, produce)
	}
	// Without a Close after the cancel, nothing of the object appears.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	writer, err := b.bucket.NewWriter(ctx, key, writing)
	if err != nil {
		return err
	}
	if err := produce(writer); err != nil {
		cancel()
		_ = writer.Close()
		return err
	}
	return errors.Join(writer.Close(), b.settle(key))
}

// upload writes to S3. Parts of what failed are taken back by a request of its
// own, so the requests' context outlives the caller's: for a while.
func (b *Bucket) upload(ctx context.Context, key string, produce func(io.Writer) error) error {
	from, to := io.Pipe()
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		_ = to.CloseWithError(context.Cause(ctx))
		grace, done := context.WithTimeout(requests, abortGrace)
		defer done()
		<-grace.Done()
		cancel()
	})
	defer stop()
	produced := make(chan error, 1)
	go func() {
		err := cmp.Or(produce(to), context.Cause(ctx))
		_ = to.CloseWithError(err)
		produced <- err
	}()
	err := b.bucket.Upload(requests, key, from, writing)
	// Whoever still writes would wait for ever.
	_ = from.CloseWithError(err)
	return cmp.Or(<-produced, err)
}

// settle makes an object and its name survive a crash of the machine.
func (b *Bucket) settle(key string) error {
	if b.dir == "" {
		return nil
	}
	path := filepath.FromSlash(key)
	if err := sync(filepath.Join(b.dir, path)); err != nil {
		return err
	}
	path = filepath.Dir(path)
	if err := sync(filepath.Join(b.dir, path)); err != nil {
		return err
	}
	// The folders above may be new, too.
	var fresh []string
	for path != "." {
		if _, known := b.settled.Load(path); known {
			break
		}
		fresh = append(fresh, path)
		path = filepath.Dir(path)
		if err := sync(filepath.Join(b.dir, path)); err != nil {
			return err
		}
	}
	for _, path := range fresh {
		b.settled.Store(path, true)
	}
	return nil
}

func sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Size is the length of an object in bytes, or ErrNotFound.
func (b *Bucket) Size(ctx context.Context, key string) (int64, error) {
	attributes, err := b.bucket.Attributes(ctx, key)
	if err != nil {
		return 0, b.failed("looking at", key, err)
	}
	return attributes.Size, nil
}

// Object is one entry of a list.
type Object struct {
	Key  string
	Size int64
}

// List yields the objects whose keys start with a prefix, by key. After an
// error there is nothing more.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for object, err := range b.all(ctx, prefix) {
			if err == nil && strings.HasSuffix(object.Key, temporary) {
				continue
			}
			if !yield(object, err) {
				return
			}
		}
	}
}

func (b *Bucket) all(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		token, size := blob.FirstPageToken, 1000
		if b.dir != "" {
			// A directory is walked from its beginning for each page.
			size = 1 << 20
		}
		for len(token) > 0 {
			page, next, err := b.page(ctx, token, size, prefix)
			if err != nil {
				yield(Object{}, b.failed("listing", prefix, err))
				return
			}
			for _, object := range page {
				if !yield(Object{Key: object.Key, Size: object.Size}, nil) {
					return
				}
			}
			token = next
		}
	}
}

// page lists again where an object of a directory went away between its name
// and its size, which the driver takes for an error.
func (b *Bucket) page(ctx context.Context, token []byte, size int, prefix string) (page []*blob.ListObject, next []byte, err error) {
	for range maxListings {
		page, next, err = b.bucket.ListPage(ctx, token, size, &blob.ListOptions{Prefix: prefix})
		if b.dir == "" || gcerrors.Code(err) != gcerrors.NotFound {
			break
		}
	}
	return page, next, err
}

// Delete removes an object; one that is not there is removed already.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	err := b.bucket.Delete(ctx, key)
	if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return b.failed("deleting", key, err)
	}
	return nil
}

// DeleteAll removes every object whose key starts with a prefix, and what a
// crash left of writes under it.
func (b *Bucket) DeleteAll(ctx context.Context, prefix string) error {
	for object, err := range b.all(ctx, prefix) {
		if err == nil {
			err = b.Delete(ctx, object.Key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *Bucket) failed(doing, key string, err error) error {
	if gcerrors.Code(err) == gcerrors.NotFound {
		return fmt.Errorf("%s %s in %s: %w", doing, key, b.name, ErrNotFound)
	}
	return fmt.Errorf("%s %s in %s: %w", doing, key, b.name, err)
}

// keyRule is what a directory and S3 both take as it is. A path component has
// up to 255 bytes.
var keyRule = regexp.MustCompile(`^([A-Za-z0-9=_][A-Za-z0-9=._-]{0,199}/)*[A-Za-z0-9=_][A-Za-z0-9=._-]{0,199}$`)

func checkKey(key string) error {
	if !keyRule.MatchString(key) || strings.HasSuffix(key, temporary) {
		return fmt.Errorf("%q is no key of an object: letters, digits and =._- in parts of up to 200 characters between slashes", key)
	}
	return nil
}
