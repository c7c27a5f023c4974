package registry

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gco-project/gco/internal/blob"
	"github.com/gco-project/gco/internal/model"
)

// filesTogether is how many files are verified at a time; each holds a chunk in
// memory.
const filesTogether = 4

// Damage is what is wrong with a file of a version.
type Damage struct {
	Path string
	// Chunk is the SHA-256 that one was to have; empty where it is the file's
	// own that is wrong.
	Chunk   string
	Missing bool
}

// Verification is what came of reading a version whole.
type Verification struct {
	Version Version
	// Damages are sorted by path; none means that each byte is as it was.
	Damages []Damage
}

// Verify reads every byte of a version and holds it against the sums. A chunk
// that is not what its name says is worth nothing, and is removed, so that the
// next upload of the same file brings it again.
func (r *Registry) Verify(ctx context.Context, v Version) (Verification, error) {
	text, err := r.Manifest(ctx, v)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt) {
		return Verification{Version: v, Damages: []Damage{{Chunk: v.Digest, Missing: errors.Is(err, ErrNotFound)}}}, nil
	}
	if err != nil {
		return Verification{}, err
	}
	m, err := model.Decode(text)
	if err != nil {
		return Verification{}, fmt.Errorf("the manifest of %s: %w", v.Ref(), err)
	}
	var mu sync.Mutex
	out := Verification{Version: v}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(filesTogether)
	for _, f := range m.Files {
		group.Go(func() error {
			damages, err := r.verifyFile(ctx, f)
			mu.Lock()
			defer mu.Unlock()
			out.Damages = append(out.Damages, damages...)
			return err
		})
	}
	err = group.Wait()
	slices.SortStableFunc(out.Damages, func(a, b Damage) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Chunk, b.Chunk))
	})
	return out, err
}

func (r *Registry) verifyFile(ctx context.Context, f model.File) ([]Damage, error) {
	var damages []Damage
	whole := sha256.New()
	for _, c := range f.Chunks {
		content, err := r.chunks.Content(ctx, c.SHA256)
		if errors.Is(err, ErrCorrupt) {
			// Once more: it is the content that should be wrong, not the
			// reading.
			content, err = r.chunks.Content(ctx, c.SHA256)
		}
		switch {
		case errors.Is(err, ErrCorrupt):
			r.Log.Error("a chunk of a model is damaged; it is removed", "file", f.Path, "chunk", c.SHA256)
			if err := r.chunks.Delete(ctx, c.SHA256); err != nil {
				return damages, err
			}
			damages = append(damages, Damage{Path: f.Path, Chunk: c.SHA256})
		case errors.Is(err, blob.ErrNotFound):
			damages = append(damages, Damage{Path: f.Path, Chunk: c.SHA256, Missing: true})
		case err != nil:
			return damages, err
		}
		whole.Write(content)
	}
	if len(damages) == 0 && hex.EncodeToString(whole.Sum(nil)) != f.SHA256 {
		damages = append(damages, Damage{Path: f.Path})
	}
	return damages, nil
}
