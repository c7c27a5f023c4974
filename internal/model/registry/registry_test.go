package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/internal/blob"
	"github.com/gco-project/gco/internal/blob/blobtest"
	"github.com/gco-project/gco/internal/model"
)

// fixture is a registry over a directory, with a clock that stands.
type fixture struct {
	*Registry
	t     *testing.T
	dir   string
	clock *testingclock.FakeClock
}

func newFixture(t *testing.T) *fixture {
	dir := filepath.Join(t.TempDir(), "objects")
	return fixtureAt(t, "file://"+dir, dir)
}

func fixtureAt(t *testing.T, url, dir string) *fixture {
	t.Helper()
	bucket, err := blob.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bucket.Close() })
	clock := testingclock.NewFakeClock(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	return &fixture{Registry: New(Options{Bucket: bucket, Clock: clock}), t: t, dir: dir, clock: clock}
}

// another is a second server on the same bucket.
func (f *fixture) another() *Registry { return New(Options{Bucket: f.Bucket, Clock: f.clock}) }

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// manifest describes files of which each part is a chunk, with the content of
// each chunk by its sum.
func manifest(files map[string][]string) (model.Manifest, map[string][]byte) {
	var m model.Manifest
	contents := map[string][]byte{}
	for path, parts := range files {
		whole := strings.Join(parts, "")
		file := model.File{Path: path, Size: int64(len(whole)), SHA256: sumOf([]byte(whole))}
		for _, part := range parts {
			chunk := model.Chunk{SHA256: sumOf([]byte(part)), Size: int64(len(part))}
			file.Chunks = append(file.Chunks, chunk)
			contents[chunk.SHA256] = []byte(part)
		}
		m.Files = append(m.Files, file)
	}
	slices.SortFunc(m.Files, func(a, b model.File) int { return strings.Compare(a.Path, b.Path) })
	return m, contents
}

// send brings an upload so far that it can be committed.
func send(ctx context.Context, r *Registry, name string, m model.Manifest, contents map[string][]byte) (id string, sent int, err error) {
	if id, err = r.Begin(ctx, name, "ann"); err != nil {
		return "", 0, err
	}
	missing, err := r.Missing(ctx, id, slices.Collect(m.Distinct()))
	if err != nil {
		return "", 0, err
	}
	for _, sum := range missing {
		if err := r.Put(ctx, id, sum, bytes.NewReader(contents[sum])); err != nil {
			return "", 0, err
		}
	}
	return id, len(missing), nil
}

func push(ctx context.Context, r *Registry, name string, files map[string][]string) (v Version, sent int, err error) {
	m, contents := manifest(files)
	id, sent, err := send(ctx, r, name, m, contents)
	if err != nil {
		return Version{}, 0, err
	}
	v, _, err = r.Commit(ctx, id, m, "ann")
	return v, sent, err
}

func (f *fixture) push(name string, files map[string][]string) (Version, int) {
	f.t.Helper()
	v, sent, err := push(f.t.Context(), f.Registry, name, files)
	if err != nil {
		f.t.Fatal(err)
	}
	return v, sent
}

// whole fails the test unless every byte of a version is there.
func (f *fixture) whole(v Version) {
	f.t.Helper()
	report, err := f.Verify(f.t.Context(), v)
	if err != nil || len(report.Damages) > 0 {
		f.t.Errorf("%s: %+v, %v", v.Ref(), report.Damages, err)
	}
}

func (f *fixture) collect() Collection {
	f.t.Helper()
	c, err := f.Collect(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *fixture) resolve(text string) (Version, error) {
	f.t.Helper()
	ref, err := model.ParseRef(text)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.Resolve(f.t.Context(), ref)
}

func TestLifeOfAModel(t *testing.T) {
	t.Run("directory", func(t *testing.T) { life(newFixture(t)) })
	t.Run("s3", func(t *testing.T) { life(fixtureAt(t, blobtest.Start(t, false).Bucket(t, "models"), "")) })
}

func life(f *fixture) {
	ctx := f.t.Context()
	first, sent := f.push("llama", map[string][]string{"config.json": {"{}"}, "w/1.bin": {"aaa", "bbb"}, "empty": {}})
	if first.Version != 1 || sent != 3 || first.Bytes != 8 || first.Files != 3 || first.Chunks != 3 {
		f.t.Errorf("%+v after %d chunks", first, sent)
	}
	second, sent := f.push("llama", map[string][]string{"config.json": {"{}"}, "w/1.bin": {"aaa", "ccc"}})
	if second.Version != 2 || sent != 1 {
		f.t.Errorf("%+v after %d chunks", second, sent)
	}
	same, sent := f.push("llama", map[string][]string{"config.json": {"{}"}, "w/1.bin": {"aaa", "ccc"}})
	if same.Version != 2 || sent != 0 {
		f.t.Errorf("the same files are %+v, after %d chunks", same, sent)
	}
	if err := f.Tag(ctx, first, "prod", "ann"); err != nil {
		f.t.Fatal(err)
	}
	for text, want := range map[string]int64{"llama": 2, "llama@1": 1, "llama@prod": 1, "llama@latest": 2} {
		if v, err := f.resolve(text); err != nil || v.Version != want {
			f.t.Errorf("%s is %+v, %v", text, v, err)
		}
	}
	for _, text := range []string{"llama@3", "llama@beta", "other"} {
		if v, err := f.resolve(text); !errors.Is(err, ErrNotFound) {
			f.t.Errorf("%s is %+v, %v", text, v, err)
		}
	}
	models, err := f.Models(ctx)
	if err != nil || len(models) != 1 || models[0].Versions[0].Version != 2 || models[0].Tags["prod"] != 1 {
		f.t.Errorf("%+v, %v", models, err)
	}
	if _, ok := errors.AsType[*Tagged](f.DeleteVersion(ctx, "llama", 1)); !ok {
		f.t.Error("a version that is tagged was deleted")
	}
	if err := f.DeleteVersion(ctx, "llama", 2); err != nil {
		f.t.Fatal(err)
	}
	if c := f.collect(); c.Chunks != 2 || c.Kept != 4 { // ccc and a manifest went
		f.t.Errorf("%+v", c)
	}
	f.whole(first)
	if v, _ := f.push("llama", map[string][]string{"config.json": {"{}"}}); v.Version != 3 {
		f.t.Errorf("the number of a deleted version was given again: %+v", v)
	}
	if err := errors.Join(f.Untag(ctx, "llama", "prod"), f.Delete(ctx, "llama")); err != nil {
		f.t.Fatal(err)
	}
	if m, err := f.Model(ctx, "llama"); !errors.Is(err, ErrNotFound) {
		f.t.Errorf("%+v, %v", m, err)
	}
	if c := f.collect(); c.Kept != 0 {
		f.t.Errorf("%+v", c)
	}
}

func TestWhatIsNotWholeIsNoVersion(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	m, contents := manifest(map[string][]string{"a": {"one", "two"}})
	id, err := f.Begin(ctx, "m", "ann")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = f.Commit(ctx, id, m, "ann")
	if missing, ok := errors.AsType[*Incomplete](err); !ok || len(missing.Missing) != 2 {
		t.Errorf("committed with nothing sent: %v", err)
	}
	for sum := range contents {
		if err := f.Put(ctx, id, sum, strings.NewReader("forged")); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a chunk of another content: %v", err)
		}
	}
	if err := f.Put(ctx, "0000-nonsense", sumOf(nil), strings.NewReader("")); !errors.Is(err, ErrNoUpload) {
		t.Errorf("a chunk of no upload: %v", err)
	}
	if err := f.Abort(ctx, id); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Commit(ctx, id, m, "ann"); !errors.Is(err, ErrNoUpload) {
		t.Errorf("committed after the end: %v", err)
	}
	if _, err := f.resolve("m"); !errors.Is(err, ErrNotFound) {
		t.Errorf("there is a version: %v", err)
	}
}

func TestPushesAtOnceOfOneName(t *testing.T) {
	f := newFixture(t)
	const pushes = 6
	versions := make([]Version, pushes)
	var group sync.WaitGroup
	for i := range pushes {
		group.Go(func() {
			var err error
			versions[i], _, err = push(t.Context(), f.another(), "m", map[string][]string{"shared": {"same"}, "own": {fmt.Sprint(i)}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	slices.SortFunc(versions, func(a, b Version) int { return int(a.Version - b.Version) })
	for i, v := range versions {
		if v.Version != int64(i+1) {
			t.Errorf("version %d stands where %d should", v.Version, i+1)
		}
		f.whole(v)
	}
}

// TestCrashesInACommit stops it before and after each write: the version is
// whole or not there, and committing again makes it, once.
func TestCrashesInACommit(t *testing.T) {
	for _, step := range []string{"pinned", "manifest", "record"} {
		t.Run(step, func(t *testing.T) {
			f := newFixture(t)
			m, contents := manifest(map[string][]string{"a": {"one", "two"}, "b": {"three"}})
			id, _, err := send(t.Context(), f.Registry, "m", m, contents)
			if err != nil {
				t.Fatal(err)
			}
			f.fault = at(step)
			if _, _, err := f.Commit(t.Context(), id, m, "ann"); !errors.Is(err, errCrash) {
				t.Fatalf("no crash: %v", err)
			}
			f.fault = nil
			f.collect()
			if v, err := f.resolve("m"); err == nil {
				f.whole(v)
			} else if !errors.Is(err, ErrNotFound) || step == "record" {
				t.Error(err)
			}
			v, created, err := f.Commit(t.Context(), id, m, "ann")
			if err != nil || v.Version != 1 || !created {
				t.Errorf("committing again: %+v, %t, %v", v, created, err)
			}
			f.collect()
			f.whole(v)
		})
	}
}

// at crashes when a step is reached.
func at(step string) func(string) error {
	return func(reached string) error {
		if reached == step {
			return errCrash
		}
		return nil
	}
}

func TestCrashesInACollection(t *testing.T) {
	for _, step := range []string{"pins counted", "condemned", "removed"} {
		t.Run(step, func(t *testing.T) {
			f := newFixture(t)
			kept, _ := f.push("m", map[string][]string{"a": {"one", "two"}})
			gone, _ := f.push("gone", map[string][]string{"a": {"one", "three", "four"}})
			if err := f.DeleteVersion(t.Context(), gone.Name, gone.Version); err != nil {
				t.Fatal(err)
			}
			f.fault = at(step)
			if _, err := f.Collect(t.Context()); !errors.Is(err, errCrash) {
				t.Fatalf("no crash: %v", err)
			}
			f.fault = nil
			f.whole(kept)
			f.collect()
			f.clock.Step(DefaultLease)
			if c := f.collect(); c.Kept != 3 {
				t.Errorf("%+v", c)
			}
			if marks, err := f.marks(t.Context()); err != nil || len(marks) > 0 {
				t.Errorf("left of it: %v, %v", marks, err)
			}
			f.whole(kept)
		})
	}
}

// TestAPushReusesWhatIsCondemned lets an upload ask for a chunk at each moment
// of the collection that drops it.
func TestAPushReusesWhatIsCondemned(t *testing.T) {
	for _, step := range []string{"condemned", "pins counted"} {
		t.Run(step, func(t *testing.T) {
			f := newFixture(t)
			old, _ := f.push("m", map[string][]string{"a": {"one", "two"}})
			if err := f.DeleteVersion(t.Context(), "m", old.Version); err != nil {
				t.Fatal(err)
			}
			type result struct {
				v   Version
				err error
			}
			pushed, waits := make(chan result, 1), make(chan struct{})
			other := f.another()
			other.fault = func(reached string) error {
				if reached == "waiting for a collection" {
					close(waits)
				}
				return nil
			}
			condemned := false
			f.fault = func(reached string) error {
				if reached == "condemned" {
					condemned = true
				}
				if condemned && reached == step {
					condemned = false
					go func() {
						v, _, err := push(t.Context(), other, "m", map[string][]string{"a": {"one", "five"}})
						pushed <- result{v, err}
					}()
					<-waits
				}
				return nil
			}
			first := f.collect()
			f.clock.Step(lookAgain)
			got := <-pushed
			if got.err != nil {
				t.Fatal(got.err)
			}
			f.fault = nil
			f.collect()
			f.whole(got.v)
			want := 3
			if step == "condemned" {
				want = 2 // what was pinned in time was kept
			}
			if first.Chunks != want {
				t.Errorf("the collection was %+v; want %d chunks to go", first, want)
			}
		})
	}
}

// TestACommitBetweenPinsAndVersions removes the pins after they were to be
// counted, and before the versions are.
func TestACommitBetweenPinsAndVersions(t *testing.T) {
	f := newFixture(t)
	m, contents := manifest(map[string][]string{"a": {"one", "two"}})
	id, _, err := send(t.Context(), f.Registry, "m", m, contents)
	if err != nil {
		t.Fatal(err)
	}
	other, committed := f.another(), false
	f.fault = func(step string) error {
		if step != "pins counted" || committed {
			return nil
		}
		committed = true
		_, _, err := other.Commit(t.Context(), id, m, "ann")
		return err
	}
	f.collect()
	v, err := f.resolve("m")
	if err != nil {
		t.Fatal(err)
	}
	f.whole(v)
}

// TestACollectorThatWasAway finds after its lease that it may not go on.
func TestACollectorThatWasAway(t *testing.T) {
	f := newFixture(t)
	v, _ := f.push("m", map[string][]string{"a": {"one", "two"}})
	if err := f.DeleteVersion(t.Context(), "m", v.Version); err != nil {
		t.Fatal(err)
	}
	f.fault = func(step string) error {
		if step == "condemned" {
			f.clock.Step(DefaultLease)
		}
		return nil
	}
	if c, err := f.Collect(t.Context()); err == nil || c.Chunks > 0 {
		t.Errorf("it removed %d chunks: %v", c.Chunks, err)
	}
}

func TestUploadsExpire(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	m, contents := manifest(map[string][]string{"a": {"one", "two"}})
	id, _, err := send(ctx, f.Registry, "m", m, contents)
	if err != nil {
		t.Fatal(err)
	}
	f.clock.Step(DefaultExpiry - time.Second)
	if c := f.collect(); c.Uploads != 0 || c.Chunks != 0 || c.Kept != 2 {
		t.Errorf("before it expires: %+v", c)
	}
	f.clock.Step(time.Second)
	if c := f.collect(); c.Uploads != 1 || c.Chunks != 2 {
		t.Errorf("after it: %+v", c)
	}
	if _, _, err := f.Commit(ctx, id, m, "ann"); !errors.Is(err, ErrNoUpload) {
		t.Error(err)
	}
}

func TestAFlippedBit(t *testing.T) {
	f := newFixture(t)
	files := map[string][]string{"a": {"one", "two"}, "b": {"two", "three"}}
	v, _ := f.push("m", files)
	path := filepath.Join(f.dir, "models/chunks", sumOf([]byte("two"))[:2], sumOf([]byte("two")))
	if err := os.WriteFile(path, []byte("twp"), 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := f.Verify(t.Context(), v)
	if err != nil || len(report.Damages) != 2 || report.Damages[0].Path != "a" || report.Damages[1].Path != "b" {
		t.Errorf("%+v, %v", report, err)
	}
	if _, sent := f.push("m", files); sent != 1 {
		t.Errorf("pushing again sent %d chunks", sent)
	}
	f.whole(v)
	manifest := filepath.Join(f.dir, "models/chunks", v.Digest[:2], v.Digest)
	if err := os.WriteFile(manifest, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if report, err := f.Verify(t.Context(), v); err != nil || len(report.Damages) != 1 {
		t.Errorf("a damaged manifest: %+v, %v", report, err)
	}
	if c, err := f.Collect(t.Context()); !errors.Is(err, ErrCorrupt) || c.Chunks > 0 {
		t.Errorf("collecting with a version that nobody can read: %+v, %v", c, err)
	}
	f.push("m", files)
	f.whole(v)
}

// TestFilesThatAreNotTheirChunks: each chunk is right, and the file is not.
func TestFilesThatAreNotTheirChunks(t *testing.T) {
	f := newFixture(t)
	m, contents := manifest(map[string][]string{"a": {"one"}})
	m.Files[0].SHA256 = sumOf([]byte("other"))
	id, _, err := send(t.Context(), f.Registry, "m", m, contents)
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := f.Commit(t.Context(), id, m, "ann")
	if err != nil {
		t.Fatal(err)
	}
	if report, err := f.Verify(t.Context(), v); err != nil || len(report.Damages) != 1 || report.Damages[0].Chunk != "" {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestWhatIsInUseIsNeverCollected pushes, deletes and collects on three servers
// at once.
func TestWhatIsInUseIsNeverCollected(t *testing.T) {
	f := newFixture(t)
	var group sync.WaitGroup
	for server := range 3 {
		r := New(Options{Bucket: f.Bucket}) // waits for collections on the real clock
		random := rand.New(rand.NewPCG(uint64(server), 1))
		group.Go(func() {
			for range 3 {
				files := map[string][]string{}
				for range 3 {
					files[fmt.Sprint(random.IntN(5))] = []string{fmt.Sprint("chunk ", random.IntN(8)), fmt.Sprint("chunk ", random.IntN(8))}
				}
				v, _, err := push(t.Context(), r, fmt.Sprint("m", random.IntN(3)), files)
				if err != nil {
					t.Error(err)
					return
				}
				if random.IntN(2) == 0 {
					err = r.DeleteVersion(t.Context(), v.Name, v.Version)
				}
				if err != nil && !errors.Is(err, ErrNotFound) {
					t.Error(err)
				}
				if _, err := r.Collect(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	models, err := f.Models(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range models {
		all, err := f.Model(t.Context(), m.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range all.Versions {
			f.whole(v)
		}
	}
}

func TestADiskThatFills(t *testing.T) {
	f := newFixture(t)
	m, contents := manifest(map[string][]string{"a": {"one"}})
	id, _, err := send(t.Context(), f.Registry, "m", m, contents)
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left on device")
	err = f.Put(t.Context(), id, sumOf([]byte("two")), io.MultiReader(strings.NewReader("tw"), failing{full}))
	if !errors.Is(err, full) {
		t.Error(err)
	}
	missing, err := f.Missing(t.Context(), id, []model.Chunk{{SHA256: sumOf([]byte("two")), Size: 3}, {SHA256: sumOf([]byte("one")), Size: 3}})
	if err != nil || len(missing) != 1 || missing[0] != sumOf([]byte("two")) {
		t.Errorf("missing are %v, %v", missing, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
