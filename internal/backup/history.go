package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"github.com/gco-project/gco/internal/blob"
)

const (
	// historyPrefix begins the keys of all histories; each has a folder with
	// the name of its incarnation.
	historyPrefix = "changes/"
	// beginningPrefix begins the keys of notes on when each began, apart so
	// that nobody has to look for them among the changes.
	beginningPrefix = "histories/"
)

// changesFormat names a file of changes: level, first and last transaction,
// and the time in milliseconds by which all of them had been committed. With
// the time in its name a list tells everything that a restore has to know.
const changesFormat = "%d/%s-%s-%d.ltx"

// history is one incarnation's folder, as Litestream reads and writes it. It
// lists the folder once and keeps the list in mind: only one process writes
// there.
//
// Litestream merges files of changes into coarser ones, and lets go of the
// fine ones soon, here and in the database's own directory. In the vault they
// stay for as long as a second of theirs may be asked for: what was let go of
// is only hidden, until it is older than keep.
type history struct {
	bucket *blob.Bucket
	prefix string
	// keep is for how long files of the finest level stay.
	keep time.Duration
	now  func() time.Time

	mu     sync.Mutex
	loaded bool
	files  map[fileName]*changes
}

var _ litestream.ReplicaClient = (*history)(nil)

type fileName struct {
	level    int
	min, max ltx.TXID
}

// changes is one file of the folder.
type changes struct {
	ltx.FileInfo
	hidden bool
}

func newHistory(bucket *blob.Bucket, incarnation string) *history {
	return &history{bucket: bucket, prefix: historyPrefix + incarnation + "/", files: map[fileName]*changes{}, now: func() time.Time { return time.Time{} }}
}

func (h *history) key(f *ltx.FileInfo) string {
	return h.prefix + fmt.Sprintf(changesFormat, f.Level, f.MinTXID, f.MaxTXID, f.CreatedAt.UnixMilli())
}

// parseChanges reads a name that key made, without the prefix.
func parseChanges(name string, size int64) (ltx.FileInfo, bool) {
	level, rest, _ := strings.Cut(name, "/")
	parts := strings.Split(strings.TrimSuffix(rest, ".ltx"), "-")
	if len(parts) != 3 || len(level) != 1 || level[0] < '0' || level[0] > '9' {
		return ltx.FileInfo{}, false
	}
	first, errFirst := ltx.ParseTXID(parts[0])
	last, errLast := ltx.ParseTXID(parts[1])
	at, errAt := strconv.ParseInt(parts[2], 10, 64)
	if errors.Join(errFirst, errLast, errAt) != nil || first == 0 || last < first {
		return ltx.FileInfo{}, false
	}
	info := ltx.FileInfo{Level: int(level[0] - '0'), MinTXID: first, MaxTXID: last, Size: size, CreatedAt: time.UnixMilli(at).UTC()}
	return info, fmt.Sprintf(changesFormat, info.Level, first, last, at) == name
}

// load lists the folder; h.mu must be held.
func (h *history) load(ctx context.Context) error {
	if h.loaded {
		return nil
	}
	clear(h.files)
	for object, err := range h.bucket.List(ctx, h.prefix) {
		if err != nil {
			return err
		}
		if info, ok := parseChanges(strings.TrimPrefix(object.Key, h.prefix), object.Size); ok {
			h.files[nameOf(&info)] = &changes{FileInfo: info}
		}
	}
	h.loaded = true
	return nil
}

func nameOf(f *ltx.FileInfo) fileName { return fileName{f.Level, f.MinTXID, f.MaxTXID} }

// list returns a level's files in the order of their transactions.
func (h *history) list(ctx context.Context, level int, hidden bool) ([]*ltx.FileInfo, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.load(ctx); err != nil {
		return nil, err
	}
	var list []*ltx.FileInfo
	for name, file := range h.files {
		if name.level == level && (hidden || !file.hidden) {
			info := file.FileInfo
			list = append(list, &info)
		}
	}
	slices.SortFunc(list, func(a, b *ltx.FileInfo) int {
		return cmp.Or(cmp.Compare(a.MinTXID, b.MinTXID), cmp.Compare(a.MaxTXID, b.MaxTXID))
	})
	return list, nil
}

// Type is part of Litestream's words in logs.
func (h *history) Type() string { return "vault" }

// Init has nothing to do.
func (h *history) Init(context.Context) error { return nil }

// SetLogger has nothing to log with: errors are returned.
func (h *history) SetLogger(*slog.Logger) {}

// LTXFiles lists a level from a transaction on. A restore asks for exact
// times, and sees what is hidden, too.
func (h *history) LTXFiles(ctx context.Context, level int, seek ltx.TXID, exact bool) (ltx.FileIterator, error) {
	list, err := h.list(ctx, level, exact)
	if err != nil {
		return nil, err
	}
	from := slices.IndexFunc(list, func(f *ltx.FileInfo) bool { return f.MinTXID >= seek })
	if from < 0 {
		from = len(list)
	}
	return ltx.NewFileInfoSliceIterator(list[from:]), nil
}

// OpenLTXFile opens a part of a file; a size of 0 is all from the offset on.
func (h *history) OpenLTXFile(ctx context.Context, level int, first, last ltx.TXID, offset, size int64) (io.ReadCloser, error) {
	h.mu.Lock()
	err := h.load(ctx)
	file := h.files[fileName{level, first, last}]
	h.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if file == nil {
		return nil, fmt.Errorf("the changes of transactions %s to %s: %w", first, last, fs.ErrNotExist)
	}
	if size == 0 {
		size = -1
	}
	r, err := h.bucket.Read(ctx, h.key(&file.FileInfo), offset, size)
	if errors.Is(err, blob.ErrNotFound) {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return r, err
}

// WriteLTXFile stores a file of changes under the time that it carries.
func (h *history) WriteLTXFile(ctx context.Context, level int, first, last ltx.TXID, from io.Reader) (*ltx.FileInfo, error) {
	header, from, err := ltx.PeekHeader(from)
	if err != nil {
		return nil, fmt.Errorf("reading the header of changes: %w", err)
	}
	info := ltx.FileInfo{Level: level, MinTXID: first, MaxTXID: last, CreatedAt: time.UnixMilli(header.Timestamp).UTC()}
	err = h.bucket.Write(ctx, h.key(&info), func(w io.Writer) (err error) {
		info.Size, err = io.Copy(w, from)
		return err
	})
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.load(ctx); err != nil {
		return nil, err
	}
	before := h.files[nameOf(&info)]
	h.files[nameOf(&info)] = &changes{FileInfo: info}
	if before != nil && !before.CreatedAt.Equal(info.CreatedAt) {
		// The same transactions again, such as a second snapshot of them.
		return &info, h.bucket.Delete(ctx, h.key(&before.FileInfo))
	}
	return &info, nil
}

// DeleteLTXFiles removes files, but for those that are only hidden as yet; and
// those that were hidden for long enough.
func (h *history) DeleteLTXFiles(ctx context.Context, files []*ltx.FileInfo) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.load(ctx); err != nil {
		return err
	}
	for _, f := range files {
		if file := h.files[nameOf(f)]; file != nil {
			file.hidden = true
		}
	}
	oldest := h.now().Add(-h.keep)
	for name, file := range h.files {
		if !file.hidden || name.level == 0 && file.CreatedAt.After(oldest) {
			continue
		}
		if err := h.bucket.Delete(ctx, h.key(&file.FileInfo)); err != nil {
			return err
		}
		delete(h.files, name)
	}
	return nil
}

// DeleteAll removes the whole history.
func (h *history) DeleteAll(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.loaded = false
	return h.bucket.DeleteAll(ctx, h.prefix)
}
