// Package registry keeps models in a bucket, which alone is the truth: chunks
// under their SHA-256, an immutable record for each version, tags, and what
// uploads under way rely on. Any number of servers may share a bucket. server
// calls it for clients; it moves no files (transfer does) and knows no regions
// (cache does).
//
// How a chunk that is in use is never collected, whoever does what at the same
// time:
//
//   - Who is going to rely on chunks first writes a pin that lists them, then
//     waits for the end of a collection that has condemned one of them, and only
//     then looks whether they are there.
//   - Who collects first writes which chunks it condemns, then reads every pin
//     and after those every version, and removes what neither names. Its right
//     to remove ends after a lease, which the waiting count on a clock of their
//     own.
//   - A version's record is written before the pins of its upload go.
//
// So of a pin and a collection at least one sees the other.
package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/blob"
	"github.com/gco-project/gco/internal/model"
)

// Where things are in the bucket.
const (
	chunksFolder   = "models/chunks"
	versionsKey    = "models/versions/"
	tagsKey        = "models/tags/"
	uploadsKey     = "models/uploads/"
	collectionsKey = "models/collections/"
)

// What Options leave out.
const (
	DefaultExpiry = 24 * time.Hour
	DefaultLease  = 20 * time.Second
)

// together is how many requests for small things are made at a time.
const together = 16

// The errors that callers decide on.
var (
	// ErrNotFound: there is no such model, version, tag or chunk.
	ErrNotFound = errors.New("not in the model registry")
	// ErrNoUpload: the upload has ended, or nothing was heard of it for long.
	ErrNoUpload = errors.New("no such upload of a model")
	// ErrCorrupt: what was sent is not what its SHA-256 says.
	ErrCorrupt = blob.ErrCorrupt
	// ErrBusy: another collection is under way.
	ErrBusy = errors.New("another collection is under way")
)

// Incomplete says that chunks of a version are not in the registry.
type Incomplete struct {
	Missing []string
}

func (e *Incomplete) Error() string {
	return fmt.Sprintf("%d chunk(s) of the version are not in the registry", len(e.Missing))
}

// Tagged says that a version is what tags name.
type Tagged struct {
	Tags []string
}

func (e *Tagged) Error() string {
	return "it is tagged " + strings.Join(e.Tags, ", ")
}

// Options is what a Registry is made of. Bucket is required.
type Options struct {
	Bucket *blob.Bucket
	Clock  clock.WithTicker
	Log    *slog.Logger
	// Expiry is how long after its last sign of life an upload's chunks may be
	// collected; 0 is DefaultExpiry.
	Expiry time.Duration
	// Lease is for how long one step of a collection may remove; 0 is
	// DefaultLease. It is the same for all who share the bucket.
	Lease time.Duration
}

// Registry keeps models. It is safe for concurrent use.
type Registry struct {
	Options
	chunks *blob.Contents
	// fault lets tests stop between two writes; nil otherwise.
	fault func(step string) error

	collecting sync.Mutex
	// left has the marks of collections that another left or is at, and since
	// when they are known.
	left map[string]time.Time
}

// New returns a Registry over a bucket.
func New(options Options) *Registry {
	o := options
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Expiry = cmp.Or(o.Expiry, DefaultExpiry)
	o.Lease = cmp.Or(o.Lease, DefaultLease)
	return &Registry{Options: o, chunks: blob.NewContents(o.Bucket, chunksFolder)}
}

// Version is the record of one version. It never changes, but that it is
// deleted: its number is not given to another one.
type Version struct {
	Name    string `json:"name"`
	Version int64  `json:"version"`
	// Digest is the SHA-256 of the encoded manifest, in hex.
	Digest string `json:"digest"`
	Files  int    `json:"files"`
	Chunks int    `json:"chunks"`
	// Bytes is the size of all files.
	Bytes     int64     `json:"bytes"`
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`
	// Upload is the one that made it.
	Upload    string    `json:"upload"`
	DeletedAt time.Time `json:"deletedAt,omitzero"`
}

// Ref names the version exactly.
func (v Version) Ref() model.Ref { return model.Ref{Name: v.Name, Version: v.Version} }

// Model is a name with its versions, newest first, and its tags.
type Model struct {
	Name     string
	Versions []Version
	Tags     map[string]int64
}

// tag is what a tag's object holds.
type tag struct {
	Version int64     `json:"version"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`
}

func versionKey(name string, version int64) string {
	return fmt.Sprintf("%s%s/%016d.json", versionsKey, name, version)
}

func tagKey(name, tag string) string { return tagsKey + name + "/" + tag + ".json" }

// read reads a JSON object; ErrNotFound if there is none.
func (r *Registry) read(ctx context.Context, key string, into any) error {
	text, err := r.Bucket.ReadAll(ctx, key)
	if errors.Is(err, blob.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading %s in %s: %w", key, r.Bucket, err)
	}
	return nil
}

// write replaces a JSON object.
func (r *Registry) write(ctx context.Context, key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", key, err)
	}
	return r.Bucket.Write(ctx, key, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

func (r *Registry) crash(step string) error {
	if r.fault == nil {
		return nil
	}
	return r.fault(step)
}

// numbers lists every number that a model's versions ever had, ascending.
func (r *Registry) numbers(ctx context.Context, name string) ([]int64, error) {
	var all []int64
	for object, err := range r.Bucket.List(ctx, versionsKey+name+"/") {
		if err != nil {
			return nil, err
		}
		_, number, err := parseVersionKey(object.Key)
		if err != nil {
			return nil, err
		}
		all = append(all, number)
	}
	return all, nil
}

func parseVersionKey(key string) (name string, number int64, err error) {
	name, file, _ := strings.Cut(strings.TrimPrefix(key, versionsKey), "/")
	digits, found := strings.CutSuffix(file, ".json")
	number, err = strconv.ParseInt(digits, 10, 64)
	if err != nil || !found || !model.ValidName(name) {
		return "", 0, fmt.Errorf("%s is no version of a model", key)
	}
	return name, number, nil
}

// Models lists every model that has a version, by name, with its newest version
// only.
func (r *Registry) Models(ctx context.Context) ([]Model, error) {
	numbers := map[string][]int64{}
	for object, err := range r.Bucket.List(ctx, versionsKey) {
		if err != nil {
			return nil, err
		}
		name, number, err := parseVersionKey(object.Key)
		if err != nil {
			return nil, err
		}
		numbers[name] = append(numbers[name], number)
	}
	tags, err := r.tags(ctx, "")
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	models := []Model{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(together)
	for name, all := range numbers {
		group.Go(func() error {
			newest, err := r.newest(ctx, name, all)
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			models = append(models, Model{Name: name, Versions: []Version{newest}, Tags: tags[name]})
			return err
		})
	}
	err = group.Wait()
	slices.SortFunc(models, func(a, b Model) int { return strings.Compare(a.Name, b.Name) })
	return models, err
}

// newest reads the last version that was not deleted.
func (r *Registry) newest(ctx context.Context, name string, numbers []int64) (Version, error) {
	for _, number := range slices.Backward(numbers) {
		v, err := r.version(ctx, name, number)
		if !errors.Is(err, ErrNotFound) {
			return v, err
		}
	}
	return Version{}, fmt.Errorf("%w: there is no model %s", ErrNotFound, name)
}

// version reads one that was not deleted.
func (r *Registry) version(ctx context.Context, name string, number int64) (Version, error) {
	var v Version
	if err := r.read(ctx, versionKey(name, number), &v); err != nil {
		return Version{}, err
	}
	if !v.DeletedAt.IsZero() {
		return Version{}, fmt.Errorf("%w: %s was deleted", ErrNotFound, v.Ref())
	}
	return v, nil
}

// Model returns one model with all its versions.
func (r *Registry) Model(ctx context.Context, name string) (Model, error) {
	if !model.ValidName(name) {
		return Model{}, fmt.Errorf("%w: %.100q is no name of a model", ErrNotFound, name)
	}
	numbers, err := r.numbers(ctx, name)
	if err != nil {
		return Model{}, err
	}
	versions := make([]Version, len(numbers))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(together)
	for i, number := range numbers {
		group.Go(func() (err error) {
			if versions[i], err = r.version(groupCtx, name, number); errors.Is(err, ErrNotFound) {
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Model{}, err
	}
	versions = slices.DeleteFunc(versions, func(v Version) bool { return v.Version == 0 })
	if len(versions) == 0 {
		return Model{}, fmt.Errorf("%w: there is no model %s", ErrNotFound, name)
	}
	slices.Reverse(versions)
	tags, err := r.tags(ctx, name)
	return Model{Name: name, Versions: versions, Tags: tags[name]}, err
}

// tags reads those of one model, or of all, by model and tag.
func (r *Registry) tags(ctx context.Context, name string) (map[string]map[string]int64, error) {
	prefix := tagsKey
	if name != "" {
		prefix += name + "/"
	}
	all := map[string]map[string]int64{}
	for object, err := range r.Bucket.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		var t tag
		if err := r.read(ctx, object.Key, &t); errors.Is(err, ErrNotFound) {
			continue
		} else if err != nil {
			return nil, err
		}
		of := path.Base(path.Dir(object.Key))
		if all[of] == nil {
			all[of] = map[string]int64{}
		}
		all[of][strings.TrimSuffix(path.Base(object.Key), ".json")] = t.Version
	}
	return all, nil
}

// Resolve finds the version that a reference names now.
func (r *Registry) Resolve(ctx context.Context, ref model.Ref) (Version, error) {
	switch {
	case !model.ValidName(ref.Name):
		return Version{}, fmt.Errorf("%w: %.100q is no name of a model", ErrNotFound, ref.Name)
	case ref.Version != 0:
		return r.version(ctx, ref.Name, ref.Version)
	case ref.Tag != "":
		var t tag
		if err := r.read(ctx, tagKey(ref.Name, ref.Tag), &t); err != nil {
			return Version{}, err
		}
		return r.version(ctx, ref.Name, t.Version)
	}
	numbers, err := r.numbers(ctx, ref.Name)
	if err != nil {
		return Version{}, err
	}
	return r.newest(ctx, ref.Name, numbers)
}

// Manifest returns the manifest of a version, encoded and checked against the
// version's digest.
func (r *Registry) Manifest(ctx context.Context, v Version) ([]byte, error) {
	text, err := r.chunks.Content(ctx, v.Digest)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, fmt.Errorf("%w: the manifest of %s: %w", ErrNotFound, v.Ref(), err)
	}
	return text, err
}

// Chunk opens a chunk; who reads it checks it.
func (r *Registry) Chunk(ctx context.Context, sum string) (io.ReadCloser, error) {
	if !model.ValidSum(sum) {
		return nil, fmt.Errorf("%w: %.100q is no SHA-256 in hex", ErrNotFound, sum)
	}
	content, err := r.chunks.Open(ctx, sum)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return content, err
}

// Tag lets a tag name a version, and another one no more.
func (r *Registry) Tag(ctx context.Context, v Version, name, by string) error {
	if !model.ValidTag(name) {
		return fmt.Errorf("%w: %.100q is no tag", ErrNotFound, name)
	}
	return r.write(ctx, tagKey(v.Name, name), tag{Version: v.Version, At: r.Clock.Now(), By: by})
}

// Untag removes a tag; ErrNotFound if there is none.
func (r *Registry) Untag(ctx context.Context, name, tagName string) error {
	if !model.ValidName(name) || !model.ValidTag(tagName) {
		return fmt.Errorf("%w: no tag %.100q of %.100q", ErrNotFound, tagName, name)
	}
	var t tag
	if err := r.read(ctx, tagKey(name, tagName), &t); err != nil {
		return err
	}
	return r.Bucket.Delete(ctx, tagKey(name, tagName))
}

// DeleteVersion deletes one version. Its chunks stay until the next collection.
// The error for one that tags name is *Tagged.
func (r *Registry) DeleteVersion(ctx context.Context, name string, number int64) error {
	v, err := r.Resolve(ctx, model.Ref{Name: name, Version: number})
	if err != nil {
		return err
	}
	tags, err := r.tags(ctx, name)
	if err != nil {
		return err
	}
	var naming []string
	for t, version := range tags[name] {
		if version == number {
			naming = append(naming, t)
		}
	}
	if len(naming) > 0 {
		slices.Sort(naming)
		return &Tagged{naming}
	}
	v.DeletedAt = r.Clock.Now()
	return r.write(ctx, versionKey(name, number), v)
}

// Delete deletes a model with its tags and all its versions.
func (r *Registry) Delete(ctx context.Context, name string) error {
	m, err := r.Model(ctx, name)
	if err != nil {
		return err
	}
	for t := range m.Tags {
		if err := r.Bucket.Delete(ctx, tagKey(name, t)); err != nil {
			return err
		}
	}
	for _, v := range m.Versions {
		if err := r.DeleteVersion(ctx, name, v.Version); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}
