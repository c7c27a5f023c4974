package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/gco-project/gco/internal/model"
)

// The ways in which a directory may differ from a manifest.
const (
	Missing = "missing"
	Damaged = "damaged"
	Unknown = "unknown"
)

// Difference is one file that is not as a manifest says.
type Difference struct {
	Path string
	// Kind is Missing, Damaged, or Unknown for a file that the manifest does
	// not have.
	Kind string
}

// Compare reads every file below a directory and holds it against a manifest.
// The differences are in the order of the manifest; unknown files come last.
func Compare(ctx context.Context, dir string, m model.Manifest, progress *Progress) ([]Difference, error) {
	progress.total.Store(m.Bytes())
	kinds := make([]string, len(m.Files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, f := range m.Files {
		group.Go(func() (err error) {
			kinds[i], err = compareFile(ctx, filepath.Join(dir, filepath.FromSlash(f.Path)), f, progress)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var differences []Difference
	known := map[string]bool{}
	for i, f := range m.Files {
		known[f.Path] = true
		if kinds[i] != "" {
			differences = append(differences, Difference{f.Path, kinds[i]})
		}
	}
	files, err := list(dir)
	for _, f := range files {
		if !known[f.path] {
			differences = append(differences, Difference{f.path, Unknown})
		}
	}
	return differences, err
}

func compareFile(ctx context.Context, name string, f model.File, progress *Progress) (kind string, err error) {
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Missing, nil
	}
	if err != nil {
		return "", fmt.Errorf("comparing a file: %w", err)
	}
	defer file.Close()
	whole := sha256.New()
	size := int64(0)
	for buffer := make([]byte, 1<<20); ; {
		n, err := file.Read(buffer)
		whole.Write(buffer[:n])
		size += int64(n)
		progress.done.Add(int64(n))
		switch {
		case errors.Is(err, io.EOF):
			if size != f.Size || hex.EncodeToString(whole.Sum(nil)) != f.SHA256 {
				return Damaged, nil
			}
			return "", nil
		case err != nil:
			return "", fmt.Errorf("comparing a file: %w", err)
		case ctx.Err() != nil:
			return "", ctx.Err()
		}
	}
}
