package backup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/blob"
)

// backupPrefix begins the keys of all backups; each has a folder with the name
// of its ID. The manifest is written last: without one there is no backup.
const (
	backupPrefix = "backups/"
	manifestName = "manifest.json"
	databaseName = "gco.db.lz4"
	verifiedName = "verified.json"
)

// Vault is where backups and histories are kept.
type Vault struct{ bucket *blob.Bucket }

// OpenVault opens the vault at a bucket's URL or in a directory.
func OpenVault(ctx context.Context, location string) (*Vault, error) {
	open := blob.Open
	if !strings.Contains(location, "://") {
		open = func(_ context.Context, dir string) (*blob.Bucket, error) { return blob.OpenDir(dir) }
	}
	bucket, err := open(ctx, location)
	if err != nil {
		return nil, fmt.Errorf("opening the vault: %w", err)
	}
	return &Vault{bucket}, nil
}

// Check makes one request, and says what is wrong where the vault can't be
// used.
func (v *Vault) Check(ctx context.Context) error { return v.bucket.Check(ctx) }

// String is how people know the vault.
func (v *Vault) String() string { return v.bucket.String() }

// Close releases the vault.
func (v *Vault) Close() error { return v.bucket.Close() }

// Backups lists all, newest first.
func (v *Vault) Backups(ctx context.Context) ([]Backup, error) {
	var all []Backup
	for object, err := range v.bucket.List(ctx, backupPrefix) {
		if err != nil {
			return nil, err
		}
		if path.Base(object.Key) != manifestName {
			continue
		}
		b, err := v.Backup(ctx, path.Base(path.Dir(object.Key)))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b Backup) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(b.ID, a.ID))
	})
	return all, nil
}

// Backup reads one backup's manifest and last verification, or returns
// ErrNotFound.
func (v *Vault) Backup(ctx context.Context, id string) (Backup, error) {
	var b Backup
	text, err := v.read(ctx, id, manifestName)
	if err != nil {
		return b, err
	}
	if err := decode(text, &b); err != nil || b.ID != id {
		return Backup{}, fmt.Errorf("%w: the manifest of %s can't be read (%w)", ErrDamaged, id, cmp.Or(err, errOtherID))
	}
	text, err = v.read(ctx, id, verifiedName)
	if errors.Is(err, ErrNotFound) {
		return b, nil
	}
	if err != nil {
		return b, err
	}
	b.Verification = &Verification{}
	if err := decode(text, b.Verification); err != nil {
		return b, fmt.Errorf("%w: the verification of %s can't be read: %w", ErrDamaged, id, err)
	}
	return b, nil
}

var errOtherID = errors.New("it is another backup's")

func (v *Vault) read(ctx context.Context, id, name string) ([]byte, error) {
	if !idRule.MatchString(id) {
		return nil, fmt.Errorf("%w: %q is no ID of one", ErrNotFound, id)
	}
	text, err := v.bucket.ReadAll(ctx, backupPrefix+id+"/"+name)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, fmt.Errorf("%w as %s in %s", ErrNotFound, id, v)
	}
	return text, err
}

func decode(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// remove removes a backup, its manifest first.
func (v *Vault) remove(ctx context.Context, id string) error {
	folder := backupPrefix + id + "/"
	if err := v.bucket.Delete(ctx, folder+manifestName); err != nil {
		return err
	}
	return v.bucket.DeleteAll(ctx, folder)
}

// Window is a time from which data can be restored.
type Window struct {
	Incarnation string
	// Any moment from From to To can be restored to within half a minute, any
	// from SecondsFrom on to within a second.
	From, SecondsFrom, To time.Time
}

// Windows lists the histories, the oldest first.
func (v *Vault) Windows(ctx context.Context) ([]Window, error) { return v.windows(ctx, nil) }

// windows reads the lists of all histories but the one that is in mind.
func (v *Vault) windows(ctx context.Context, inMind *Replication) ([]Window, error) {
	begun, err := v.histories(ctx)
	if err != nil {
		return nil, err
	}
	var windows []Window
	for _, b := range begun {
		h := newHistory(v.bucket, b.Incarnation)
		if inMind != nil && inMind.Incarnation == b.Incarnation {
			h = inMind.history
		}
		w, err := h.window(ctx)
		if err != nil {
			return nil, err
		}
		if !w.From.IsZero() {
			windows = append(windows, w)
		}
	}
	return windows, nil
}

// forget removes histories, other than the current one, that end before a
// time.
func (v *Vault) forget(ctx context.Context, current *Replication, before time.Time) error {
	windows, err := v.windows(ctx, current)
	if err != nil {
		return err
	}
	var failed []error
	for _, w := range windows {
		if w.Incarnation == current.Incarnation || w.To.After(before) {
			continue
		}
		err := newHistory(v.bucket, w.Incarnation).DeleteAll(ctx)
		if err == nil {
			err = v.bucket.Delete(ctx, beginningPrefix+w.Incarnation+".json")
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// histories lists when each began, the oldest first.
func (v *Vault) histories(ctx context.Context) ([]beginning, error) {
	var all []beginning
	for object, err := range v.bucket.List(ctx, beginningPrefix) {
		if err != nil {
			return nil, err
		}
		var b beginning
		text, err := v.bucket.ReadAll(ctx, object.Key)
		if err != nil {
			return nil, err
		}
		if err := decode(text, &b); err != nil {
			return nil, fmt.Errorf("%w: %s can't be read: %w", ErrDamaged, object.Key, err)
		}
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b beginning) int { return a.At.Compare(b.At) })
	return all, nil
}

// window tells from which times data can be restored.
func (h *history) window(ctx context.Context) (Window, error) {
	w := Window{Incarnation: path.Base(strings.TrimSuffix(h.prefix, "/"))}
	for level := range 10 {
		files, err := h.list(ctx, level, true)
		if err != nil {
			return w, err
		}
		for _, f := range files {
			// What begins with the first transaction is whole by itself.
			if f.MinTXID == 1 && (w.From.IsZero() || f.CreatedAt.Before(w.From)) {
				w.From = f.CreatedAt
			}
			if f.CreatedAt.After(w.To) {
				w.To = f.CreatedAt
			}
		}
		if level == 0 && len(files) > 0 {
			w.SecondsFrom = files[0].CreatedAt
		}
	}
	if w.SecondsFrom.Before(w.From) {
		w.SecondsFrom = w.From
	}
	return w, nil
}

// stamp is a time as it is in an ID.
func stamp(t time.Time) string { return t.UTC().Format("20060102-150405") }
