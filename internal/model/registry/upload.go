package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/gco-project/gco/internal/blob"
	"github.com/gco-project/gco/internal/model"
)

// pin is one object of an upload: chunks that it is going to rely on. An upload
// is as old as its newest pin.
type pin struct {
	Name string    `json:"name"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Sums []string  `json:"sums,omitempty"`
}

func uploadKey(id string) string { return uploadsKey + id + "/" }

func beginKey(id string) string { return uploadKey(id) + "begin.json" }

// Begin begins an upload and returns its ID.
func (r *Registry) Begin(ctx context.Context, name, by string) (string, error) {
	if !model.ValidName(name) {
		return "", fmt.Errorf("%w: %.100q is no name of a model", ErrNotFound, name)
	}
	id := uuid.NewString()
	return id, r.write(ctx, beginKey(id), pin{Name: name, By: by, At: r.Clock.Now()})
}

// begun returns how the upload began, or ErrNoUpload.
func (r *Registry) begun(ctx context.Context, id string) (pin, error) {
	var p pin
	if uuid.Validate(id) != nil {
		return p, ErrNoUpload
	}
	err := r.read(ctx, beginKey(id), &p)
	if errors.Is(err, ErrNotFound) {
		return p, ErrNoUpload
	}
	return p, err
}

// Missing tells which of some chunks the registry has not, so that they are to
// be sent. Until the upload ends or expires, none of the chunks that were asked
// for is collected.
func (r *Registry) Missing(ctx context.Context, id string, chunks []model.Chunk) ([]string, error) {
	begin, err := r.begun(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := r.pin(ctx, id, begin, chunks); err != nil {
		return nil, err
	}
	return r.absent(ctx, chunks)
}

// pin keeps chunks from being collected. When it returns, those that are there
// stay.
func (r *Registry) pin(ctx context.Context, id string, begin pin, chunks []model.Chunk) error {
	sums := make([]string, len(chunks))
	for i, c := range chunks {
		sums[i] = c.SHA256
	}
	begin.At, begin.Sums = r.Clock.Now(), sums
	if err := r.write(ctx, uploadKey(id)+uuid.NewString()+".json", begin); err != nil {
		return err
	}
	if err := r.crash("pinned"); err != nil {
		return err
	}
	return r.awaitCollection(ctx, sums)
}

// absent lists the chunks that are not there, or not whole, each once.
func (r *Registry) absent(ctx context.Context, chunks []model.Chunk) ([]string, error) {
	var mu sync.Mutex
	missing := []string{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(together)
	for _, c := range chunks {
		group.Go(func() error {
			size, err := r.chunks.Size(ctx, c.SHA256)
			if err != nil && !errors.Is(err, blob.ErrNotFound) {
				return err
			}
			if err != nil || size != c.Size {
				mu.Lock()
				defer mu.Unlock()
				missing = append(missing, c.SHA256)
			}
			return nil
		})
	}
	err := group.Wait()
	slices.Sort(missing)
	return slices.Compact(missing), err
}

// Put stores a chunk that Missing has named. A content that is not what its sum
// says is ErrCorrupt.
func (r *Registry) Put(ctx context.Context, id, sum string, content io.Reader) error {
	if _, err := r.begun(ctx, id); err != nil {
		return err
	}
	if !model.ValidSum(sum) {
		return fmt.Errorf("%w: %.100q is no SHA-256 in hex", ErrCorrupt, sum)
	}
	return r.chunks.Replace(ctx, sum, content)
}

// Commit makes the version that a manifest describes, whole or not at all:
//
//  1. every chunk and the manifest are pinned, and looked for: *Incomplete;
//  2. the manifest is stored;
//  3. the record is created under the next number that is free: from here on
//     the version is there;
//  4. the upload is forgotten.
//
// created is false where the newest version has the same files, or where this
// upload was committed before.
func (r *Registry) Commit(ctx context.Context, id string, m model.Manifest, by string) (v Version, created bool, err error) {
	encoded, err := m.Encode()
	if err != nil {
		return Version{}, false, fmt.Errorf("encoding a manifest: %w", err)
	}
	begin, err := r.begun(ctx, id)
	if err != nil {
		return Version{}, false, err
	}
	v = Version{
		Name: begin.Name, Digest: model.Digest(encoded), Files: len(m.Files), Bytes: m.Bytes(),
		CreatedAt: r.Clock.Now(), CreatedBy: by, Upload: id,
	}
	chunks := slices.Collect(m.Distinct())
	v.Chunks = len(chunks)
	if err := r.pin(ctx, id, begin, append(chunks, model.Chunk{SHA256: v.Digest, Size: int64(len(encoded))})); err != nil {
		return Version{}, false, err
	}
	missing, err := r.absent(ctx, chunks)
	if err != nil {
		return Version{}, false, err
	}
	if len(missing) > 0 {
		return Version{}, false, &Incomplete{missing}
	}
	v, created, err = r.publish(ctx, v, encoded)
	if err != nil {
		return Version{}, false, err
	}
	return v, created, r.Abort(ctx, id)
}

// publish stores the manifest, and the record under a number of its own.
func (r *Registry) publish(ctx context.Context, v Version, encoded []byte) (Version, bool, error) {
	if err := r.chunks.Replace(ctx, v.Digest, bytes.NewReader(encoded)); err != nil {
		return Version{}, false, err
	}
	if err := r.crash("manifest"); err != nil {
		return Version{}, false, err
	}
	for {
		numbers, err := r.numbers(ctx, v.Name)
		if err != nil {
			return Version{}, false, err
		}
		newest, err := r.newest(ctx, v.Name, numbers)
		switch {
		case err == nil && newest.Digest == v.Digest:
			return newest, newest.Upload == v.Upload, nil
		case err != nil && !errors.Is(err, ErrNotFound):
			return Version{}, false, err
		}
		v.Version = 1
		if len(numbers) > 0 {
			v.Version = numbers[len(numbers)-1] + 1
		}
		text, err := json.Marshal(v)
		if err != nil {
			return Version{}, false, fmt.Errorf("encoding the record of %s: %w", v.Ref(), err)
		}
		err = r.Bucket.Create(ctx, versionKey(v.Name, v.Version), text)
		if errors.Is(err, blob.ErrExists) {
			// Somebody else was first: this is the next one, then.
			continue
		}
		if err == nil {
			err = r.crash("record")
		}
		return v, true, err
	}
}

// Abort forgets an upload. What it brought stays until the next collection.
func (r *Registry) Abort(ctx context.Context, id string) error {
	if uuid.Validate(id) != nil {
		return ErrNoUpload
	}
	return r.Bucket.DeleteAll(ctx, uploadKey(id))
}
