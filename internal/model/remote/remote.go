// Package remote is the model registry as transfer needs it, over the HTTP API:
// where a push goes, and where chunks come from. It owns no rules; cli calls it
// for people, and daemon for regions.
package remote

import (
	"context"
	"fmt"
	"io"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/model"
	"github.com/gco-project/gco/internal/model/transfer"
)

// Registry is the model registry of a control plane.
type Registry struct{ Client *client.Client }

var _ transfer.Source = Registry{}

// Chunk opens a chunk.
func (r Registry) Chunk(ctx context.Context, sum string) (io.ReadCloser, error) {
	return r.Client.ModelChunk(ctx, sum)
}

// Resolve finds the version that a reference names now.
func (r Registry) Resolve(ctx context.Context, ref model.Ref) (api.ModelVersion, error) {
	return r.Client.ModelVersion(ctx, ref.Name, ref.Which())
}

// Manifest returns the files of a version, if they have the digest that the
// version says.
func (r Registry) Manifest(ctx context.Context, v api.ModelVersion) (model.Manifest, error) {
	m, err := r.Client.ModelManifest(ctx, v.Name, model.Ref{Name: v.Name, Version: v.Version}.Which())
	if err != nil {
		return model.Manifest{}, err
	}
	encoded, err := m.Encode()
	if err != nil {
		return model.Manifest{}, fmt.Errorf("encoding a manifest: %w", err)
	}
	if model.Digest(encoded) != v.Digest {
		return model.Manifest{}, fmt.Errorf("%w: the manifest of %s@%d is not the one that was committed", transfer.ErrCorrupt, v.Name, v.Version)
	}
	return m, nil
}

// Push uploads the files of a directory as the next version of a model. What
// was sent stays for the next try if this one fails. created is false where the
// newest version has the same files.
func (r Registry) Push(ctx context.Context, name, dir string, progress *transfer.Progress) (v api.ModelVersion, created bool, err error) {
	begun, err := r.Client.BeginModelUpload(ctx, name)
	if err != nil {
		return v, false, fmt.Errorf("beginning to push %s: %w", name, err)
	}
	m, err := transfer.Push(ctx, dir, upload{r.Client, begun.ID}, progress)
	if err != nil {
		return v, false, err
	}
	v, created, err = r.Client.CommitModelUpload(ctx, begun.ID, m)
	if err != nil {
		return v, false, fmt.Errorf("committing %s: %w", name, err)
	}
	return v, created, nil
}

// IsGone tells whether an error says that the registry has no such version.
func IsGone(err error) bool { return client.Is(err, api.ProblemNotFound) }

// upload is one upload that has begun.
type upload struct {
	client *client.Client
	id     string
}

var _ transfer.Target = upload{}

func (u upload) Missing(ctx context.Context, chunks []model.Chunk) ([]string, error) {
	return u.client.MissingChunks(ctx, u.id, chunks)
}

func (u upload) Put(ctx context.Context, chunk model.Chunk, content []byte) error {
	return u.client.PutModelChunk(ctx, u.id, chunk.SHA256, content)
}
