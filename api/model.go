package api

import (
	"time"

	"github.com/gco-project/gco/internal/model"
)

// The shapes of a model's manifest are the same on the wire and in the bucket.
type (
	// ModelManifest lists all that a version of a model holds.
	ModelManifest = model.Manifest
	// ModelFile is one file of a version.
	ModelFile = model.File
	// ModelChunk is a part of a file, known by its content.
	ModelChunk = model.Chunk
)

// Model is a name in the model registry.
type Model struct {
	Name string `json:"name"`
	// Versions are newest first; in a list of models, only the newest is here.
	Versions []ModelVersion `json:"versions"`
	// Tags are versions by tag.
	Tags map[string]int64 `json:"tags,omitempty"`
}

// ModelList is every model, by name.
type ModelList struct {
	Items []Model `json:"items"`
}

// ModelVersion is one version of a model. Its files never change.
type ModelVersion struct {
	Name    string `json:"name"`
	Version int64  `json:"version"`
	// Digest is the SHA-256 of the manifest, in hex: of equal files, it is
	// equal.
	Digest string `json:"digest"`
	Files  int    `json:"files"`
	Chunks int    `json:"chunks"`
	// Bytes is the size of all files.
	Bytes     int64     `json:"bytes"`
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`
	// Regions have it whole.
	Regions []string `json:"regions,omitempty"`
}

// ModelTag says which version a tag names.
type ModelTag struct {
	Version int64 `json:"version"`
}

// NewModelUpload begins to upload a version.
type NewModelUpload struct {
	// Name is the model's; it need not exist yet.
	Name string `json:"name"`
}

// ModelUpload is an upload that has begun.
type ModelUpload struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// ExpirySeconds is how long nothing may be heard of it before what it
	// brought may be collected.
	ExpirySeconds float64 `json:"expirySeconds"`
}

// ModelChunks asks which chunks are missing.
type ModelChunks struct {
	Chunks []ModelChunk `json:"chunks"`
}

// MissingChunks are those that are to be sent.
type MissingChunks struct {
	// Missing are SHA-256 in hex.
	Missing []string `json:"missing"`
}

// ModelVerification is what came of reading a version whole.
type ModelVerification struct {
	Version ModelVersion `json:"version"`
	// Damages is empty where each byte is as it was.
	Damages []ModelDamage `json:"damages"`
}

// ModelDamage is what is wrong with a file.
type ModelDamage struct {
	// Path is absent where the manifest itself is damaged.
	Path string `json:"path,omitempty"`
	// Chunk is the SHA-256 that one was to have; absent where it is the file's
	// own that is wrong.
	Chunk string `json:"chunk,omitempty"`
	// Missing chunks are not there; the others were not what their name says,
	// and have been removed.
	Missing bool `json:"missing,omitempty"`
}

// ModelCollection is what the collection of unused chunks has done.
type ModelCollection struct {
	// Removed is how many chunks went, and RemovedBytes their size.
	Removed      int   `json:"removed"`
	RemovedBytes int64 `json:"removedBytes"`
	// Kept is how many are in use.
	Kept int `json:"kept"`
	// ExpiredUploads were forgotten.
	ExpiredUploads int `json:"expiredUploads"`
}
