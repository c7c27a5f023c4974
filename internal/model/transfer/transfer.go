// Package transfer moves models between a directory and a registry: Push cuts
// files where their content says, and sends the chunks that the registry has
// not; Pull fetches chunks, holds every byte against its sum, and shows a
// directory whole or not at all. Either goes on where an earlier try stopped,
// without a record of its own: what is there says so. cli calls it for people
// and cache for regions; what carries the chunks is theirs.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// ErrCorrupt says that a chunk is not what its sum says, however often it is
// fetched.
var ErrCorrupt = errors.New("a chunk of the model is damaged")

// Source is where chunks come from.
type Source interface {
	// Chunk opens a chunk.
	Chunk(ctx context.Context, sum string) (io.ReadCloser, error)
}

// Progress counts what a transfer has done, in bytes. Others may read it
// meanwhile.
type Progress struct {
	total, done, moved atomic.Int64
}

// Total is the size of the model, as far as it is known.
func (p *Progress) Total() int64 { return p.total.Load() }

// Done is how much of it is where it should be.
func (p *Progress) Done() int64 { return p.done.Load() }

// Moved is how much of that had to be carried.
func (p *Progress) Moved() int64 { return p.moved.Load() }

// Changed says that a file was not the same from the beginning of a push to its
// end.
type Changed struct{ Path string }

func (e *Changed) Error() string {
	return fmt.Sprintf("%s was changed while it was read; push again when nobody writes to it", e.Path)
}
