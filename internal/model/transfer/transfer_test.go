package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gco-project/gco/internal/model"
)

// shelf is a registry in memory. It fails once after some calls, if it is to.
type shelf struct {
	mu     sync.Mutex
	chunks map[string][]byte
	puts   int
	gets   int
	after  int
}

var errCut = errors.New("the connection was cut")

func newShelf() *shelf { return &shelf{chunks: map[string][]byte{}, after: -1} }

func (s *shelf) Missing(_ context.Context, chunks []model.Chunk) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var missing []string
	for _, c := range chunks {
		if s.chunks[c.SHA256] == nil {
			missing = append(missing, c.SHA256)
		}
	}
	return missing, nil
}

func (s *shelf) Put(_ context.Context, chunk model.Chunk, content []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.puts == s.after {
		return errCut
	}
	s.puts++
	s.chunks[chunk.SHA256] = bytes.Clone(content)
	return nil
}

func (s *shelf) Chunk(_ context.Context, sum string) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gets == s.after {
		return nil, errCut
	}
	s.gets++
	return io.NopCloser(bytes.NewReader(s.chunks[sum])), nil
}

// noise is bytes that no compression and no repetition explains.
func noise(seed byte, size int) []byte {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(content)
	return content
}

func writeFiles(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for path, content := range files {
		file := filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func readFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	found, err := list(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if files[f.path], err = os.ReadFile(f.file); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func same(a, b map[string][]byte) bool { return maps.EqualFunc(a, b, bytes.Equal) }

func pushed(t *testing.T, dir string, to *shelf) model.Manifest {
	t.Helper()
	m, err := Push(t.Context(), dir, to, &Progress{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func options(t *testing.T, m model.Manifest, from Source) PullOptions {
	dir := t.TempDir()
	return PullOptions{
		Dir: filepath.Join(dir, "model"), Partial: filepath.Join(dir, "partial"), Manifest: m, Source: from, Progress: &Progress{},
	}
}

var sample = map[string][]byte{
	"config.json": []byte("{}"), "empty": {}, "weights/1.bin": noise(1, 3<<20), "weights/2.bin": noise(2, 3<<19),
}

func TestPolynomialIsIrreducible(t *testing.T) {
	if !polynomial.Irreducible() {
		t.Error("it is not; another one has to be chosen, and no chunk will be shared with those that there are")
	}
}

func TestThereAndBack(t *testing.T) {
	there := newShelf()
	files := maps.Clone(sample)
	files["zeros.bin"] = make([]byte, 9<<20) // as large as chunks get
	m := pushed(t, writeFiles(t, files), there)
	if m.Files[0].SHA256 != sumOf([]byte("{}")) || len(m.Files) != len(files) {
		t.Errorf("manifest: %+v", m.Files[0])
	}
	o := options(t, m, there)
	o.ReadOnly = true
	if err := Pull(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if !same(readFiles(t, o.Dir), files) {
		t.Error("what came back is not what was sent")
	}
	if o.Progress.Done() != m.Bytes() || o.Progress.Total() != m.Bytes() {
		t.Errorf("%d of %d bytes done; there are %d", o.Progress.Done(), o.Progress.Total(), m.Bytes())
	}
	info, err := os.Stat(filepath.Join(o.Dir, "config.json"))
	if err != nil || info.Mode() != 0o444 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := Pull(t.Context(), o); !errors.Is(err, fs.ErrExist) {
		t.Errorf("pulled over a directory: %v", err)
	}
	if differences, err := Compare(t.Context(), o.Dir, m, &Progress{}); err != nil || len(differences) > 0 {
		t.Errorf("differences: %v, %v", differences, err)
	}
}

// TestLittleIsSentOfASecondVersion changes one range, and inserts bytes near
// the start.
func TestLittleIsSentOfASecondVersion(t *testing.T) {
	const size = 12 << 20
	there := newShelf()
	old := noise(3, size)
	pushed(t, writeFiles(t, map[string][]byte{"w": old}), there)
	for name, next := range map[string][]byte{
		"changed":  slices.Concat(old[:size/2], noise(4, size/100), old[size/2+size/100:]),
		"inserted": slices.Concat(old[:1000], []byte("some bytes"), old[1000:]),
	} {
		puts, progress := there.puts, &Progress{}
		if _, err := Push(t.Context(), writeFiles(t, map[string][]byte{"w": next}), there, progress); err != nil {
			t.Fatal(err)
		}
		if sent := there.puts - puts; sent > 2 || progress.Moved() > size/2 {
			t.Errorf("%s: %d chunks were sent, %d bytes", name, sent, progress.Moved())
		}
	}
}

// TestInterruptedPushes cuts the connection after each number of chunks; what
// had arrived is not sent again.
func TestInterruptedPushes(t *testing.T) {
	dir := writeFiles(t, sample)
	whole := newShelf()
	want := pushed(t, dir, whole)
	for after := range whole.puts {
		there := newShelf()
		there.after = after
		if _, err := Push(t.Context(), dir, there, &Progress{}); !errors.Is(err, errCut) {
			t.Fatalf("after %d: %v", after, err)
		}
		there.after = -1
		m := pushed(t, dir, there)
		if there.puts != whole.puts {
			t.Errorf("after %d: %d chunks were sent in all; %d are enough", after, there.puts, whole.puts)
		}
		if !slices.EqualFunc(m.Files, want.Files, func(a, b model.File) bool { return a.SHA256 == b.SHA256 }) {
			t.Errorf("after %d: another manifest", after)
		}
	}
}

func TestInterruptedPulls(t *testing.T) {
	there := newShelf()
	m := pushed(t, writeFiles(t, sample), there)
	for after := range 3 {
		o := options(t, m, there)
		there.gets, there.after = 0, after
		if err := Pull(t.Context(), o); !errors.Is(err, errCut) {
			t.Fatalf("after %d: %v", after, err)
		}
		if _, err := os.Stat(o.Dir); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("after %d there is a model: %v", after, err)
		}
		// A crash leaves what it likes of what was not on the disk yet.
		err := errors.Join(os.WriteFile(filepath.Join(o.Partial, "weights", "1.bin"), []byte("torn"), 0o400),
			os.WriteFile(filepath.Join(o.Partial, "stranger"), nil, 0o600),
			os.RemoveAll(filepath.Join(o.Partial, "config.json")), os.MkdirAll(filepath.Join(o.Partial, "config.json", "x"), 0o700))
		if err != nil {
			t.Fatal(err)
		}
		there.after = -1
		if err := Pull(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if !same(readFiles(t, o.Dir), sample) {
			t.Errorf("after %d: what came is not what was sent", after)
		}
	}
}

func TestAPullThatWasNearlyDoneFetchesTheRest(t *testing.T) {
	there := newShelf()
	m := pushed(t, writeFiles(t, sample), there)
	o := options(t, m, there)
	if err := Pull(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Rename(o.Dir, o.Partial), os.Remove(filepath.Join(o.Partial, "config.json"))); err != nil {
		t.Fatal(err)
	}
	there.gets, o.Progress = 0, &Progress{}
	if err := Pull(t.Context(), o); err != nil || there.gets != 1 || o.Progress.Moved() != 2 {
		t.Errorf("%d chunks were fetched, %d bytes: %v", there.gets, o.Progress.Moved(), err)
	}
}

func TestCopiesOfOtherVersions(t *testing.T) {
	there := newShelf()
	dir := writeFiles(t, sample)
	m := pushed(t, dir, there)
	o := options(t, m, there)
	there.gets = 0
	o.Copies = []Copy{{Dir: dir, Manifest: m}, {Dir: filepath.Join(dir, "gone"), Manifest: model.Manifest{}}}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Pull(t.Context(), o); err != nil || there.gets != 1 {
		t.Errorf("%d chunks were fetched: %v", there.gets, err)
	}
	if !same(readFiles(t, o.Dir), sample) {
		t.Error("what was copied is not what was sent")
	}
}

func TestDamagedChunksAreNotPulled(t *testing.T) {
	good := newShelf()
	m := pushed(t, writeFiles(t, sample), good)
	sum := m.Files[2].Chunks[0].SHA256
	for name, damage := range map[string]func([]byte) []byte{
		"a flipped bit": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"a byte less":   func(b []byte) []byte { return b[1:] },
		"a byte more":   func(b []byte) []byte { return append(b, 0) },
		"nothing":       func([]byte) []byte { return nil },
	} {
		there := newShelf()
		maps.Copy(there.chunks, good.chunks)
		there.chunks[sum] = damage(bytes.Clone(good.chunks[sum]))
		o := options(t, m, there)
		err := Pull(t.Context(), o)
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), sum) || !strings.Contains(err.Error(), m.Files[2].Path) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(o.Dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: there is a model: %v", name, err)
		}
	}
}

func TestADiskWithoutRoom(t *testing.T) {
	m := model.Manifest{Files: []model.File{{Path: "w", SHA256: sumOf(nil)}}}
	for range model.MaxChunks {
		m.Files[0].Chunks = append(m.Files[0].Chunks, model.Chunk{SHA256: sumOf(nil), Size: model.MaxChunk})
		m.Files[0].Size += model.MaxChunk
	}
	err := Pull(t.Context(), options(t, m, newShelf()))
	if full, ok := errors.AsType[*NoRoom](err); !ok || full.Needs != m.Bytes() {
		t.Errorf("four terabytes: %v", err)
	}
}

// TestFilesThatChange has one that grows after it was listed.
func TestFilesThatChange(t *testing.T) {
	dir := writeFiles(t, map[string][]byte{"a": {1}, "b": {2}})
	files, err := list(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "b"), []byte{2, 3}, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = newPush(newShelf(), &Progress{}, files).run(t.Context())
	if changed, ok := errors.AsType[*Changed](err); !ok || filepath.Base(changed.Path) != "b" {
		t.Errorf("a file that changed was pushed: %v", err)
	}
}

func TestWhatIsNoModel(t *testing.T) {
	for name, dir := range map[string]string{
		"nothing":      t.TempDir(),
		"no directory": filepath.Join(t.TempDir(), "none"),
		"a link to nowhere": func() string {
			dir := t.TempDir()
			if err := os.Symlink("nowhere", filepath.Join(dir, "link")); err != nil {
				t.Fatal(err)
			}
			return dir
		}(),
		"a name": writeFiles(t, map[string][]byte{"a\nb": {1}}),
	} {
		if m, err := Push(t.Context(), dir, newShelf(), &Progress{}); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestLinksAreFollowed(t *testing.T) {
	dir := writeFiles(t, map[string][]byte{"blobs/x": []byte("weights")})
	if err := os.Symlink(filepath.Join("blobs", "x"), filepath.Join(dir, "model.bin")); err != nil {
		t.Fatal(err)
	}
	m := pushed(t, dir, newShelf())
	if len(m.Files) != 2 || m.Files[1].Path != "model.bin" || m.Files[1].SHA256 != sumOf([]byte("weights")) {
		t.Errorf("%+v", m)
	}
}

func TestDifferences(t *testing.T) {
	dir := writeFiles(t, map[string][]byte{"a": {1}, "b": {2}, "c": {3}})
	m := pushed(t, dir, newShelf())
	err := errors.Join(os.Remove(filepath.Join(dir, "a")), os.WriteFile(filepath.Join(dir, "b"), []byte{9}, 0o600),
		os.WriteFile(filepath.Join(dir, "d"), nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Compare(t.Context(), dir, m, &Progress{})
	if want := []Difference{{"a", Missing}, {"b", Damaged}, {"d", Unknown}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

func TestACancelledPushEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Push(ctx, writeFiles(t, sample), newShelf(), &Progress{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	there := newShelf()
	m := pushed(t, writeFiles(t, sample), there)
	if err := Pull(ctx, options(t, m, there)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
