package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/google/uuid"
	"github.com/pierrec/lz4/v4"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/blob"
	"github.com/gco-project/gco/internal/store/sqlite"
)

// idRule is what NewID makes.
var idRule = regexp.MustCompile(`^[0-9]{8}-[0-9]{6}-(daily|weekly|manual)-[0-9a-f]{6}$`)

// NewID names a backup by its time, so that names sort by age.
func NewID(kind Kind, now time.Time) string {
	random := uuid.New()
	return fmt.Sprintf("%s-%s-%x", stamp(now), kind, random[:3])
}

// add examines a copy of the database and puts it into the vault. The manifest
// comes last: before it is there, there is no backup.
func (v *Vault) add(ctx context.Context, b Backup, file string) (Backup, error) {
	var err error
	if b.Census, err = sqlite.Examine(ctx, file, sqlite.Check); err != nil {
		return b, err
	}
	from, err := os.Open(file)
	if err != nil {
		return b, fmt.Errorf("reading the copy: %w", err)
	}
	defer from.Close()
	sum := sha256.New()
	folder := backupPrefix + b.ID + "/"
	err = v.bucket.Write(ctx, folder+databaseName, func(w io.Writer) error {
		stored := &counter{to: w, sum: sha256.New()}
		packed := lz4.NewWriter(stored)
		var err error
		if b.Bytes, err = io.Copy(io.MultiWriter(packed, sum), from); err != nil {
			return err
		}
		err = packed.Close()
		b.StoredBytes, b.StoredSHA256 = stored.n, hex.EncodeToString(stored.sum.Sum(nil))
		return err
	})
	if err != nil {
		return b, err
	}
	b.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return b, v.write(ctx, folder+manifestName, b)
}

// counter counts and sums what goes through it.
type counter struct {
	to  io.Writer
	n   int64
	sum hash.Hash
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	c.sum.Write(p[:n])
	return n, err
}

// fetch writes a backup's database to a file that does not exist yet, and
// holds it against its manifest. What differs is ErrDamaged.
func (v *Vault) fetch(ctx context.Context, b Backup, file string) error {
	from, err := v.bucket.Read(ctx, backupPrefix+b.ID+"/"+databaseName, 0, -1)
	if errors.Is(err, blob.ErrNotFound) {
		return fmt.Errorf("%w: the database of %s is missing in %s", ErrDamaged, b.ID, v)
	}
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing the database: %w", err)
	}
	sum := sha256.New()
	write := &failing{to: to}
	stored := sha256.New()
	packed := io.TeeReader(from, stored)
	n, err := io.Copy(io.MultiWriter(write, sum), lz4.NewReader(packed))
	if err == nil {
		// What stands behind the end is read for its sum, too.
		_, err = io.Copy(io.Discard, packed)
	}
	if err = errors.Join(err, to.Sync(), to.Close()); err != nil {
		if write.err == nil && ctx.Err() == nil && !errors.Is(err, blob.ErrReplaced) {
			err = fmt.Errorf("%w: the database of %s can't be unpacked: %w", ErrDamaged, b.ID, err)
		}
		return err
	}
	if got := hex.EncodeToString(stored.Sum(nil)); got != b.StoredSHA256 {
		return fmt.Errorf("%w: what is stored of %s has the sum %s, and its manifest says %s", ErrDamaged, b.ID, got, b.StoredSHA256)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != b.Bytes || got != b.SHA256 {
		return fmt.Errorf("%w: the database of %s has %d bytes with the sum %s, and its manifest says %d with %s", ErrDamaged, b.ID, n, got, b.Bytes, b.SHA256)
	}
	return nil
}

// failing remembers that writing failed, to tell it from reading.
type failing struct {
	to  io.Writer
	err error
}

func (f *failing) Write(p []byte) (int, error) {
	n, err := f.to.Write(p)
	if err != nil {
		f.err = err
	}
	return n, err
}

// Verify restores a backup into a directory that it makes in scratch and
// removes, holds it against its manifest, checks every page and counts anew
// what is counted. It notes in the vault what came of it; the error is the
// fault, or what kept it from finding out.
func Verify(ctx context.Context, v *Vault, b Backup, scratch string, c clock.PassiveClock) (Verification, error) {
	fault := v.verify(ctx, b, scratch)
	if fault != nil && !errors.Is(fault, ErrDamaged) {
		return Verification{}, fmt.Errorf("verifying %s: %w", b.ID, fault)
	}
	result := Verification{At: c.Now().UTC()}
	if fault != nil {
		result.Fault = fault.Error()
	}
	return result, errors.Join(fault, v.write(ctx, backupPrefix+b.ID+"/"+verifiedName, result))
}

func (v *Vault) verify(ctx context.Context, b Backup, scratch string) error {
	dir, err := os.MkdirTemp(scratch, "verify-")
	if err != nil {
		return fmt.Errorf("making room: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "gco.db")
	if err := v.fetch(ctx, b, file); err != nil {
		return err
	}
	census, err := sqlite.Examine(ctx, file, sqlite.Recount)
	switch {
	case errors.Is(err, sqlite.ErrCorrupt):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return err
	case census != b.Census:
		return fmt.Errorf("%w: it holds %+v, and its manifest says %+v", ErrDamaged, census, b.Census)
	}
	return nil
}
