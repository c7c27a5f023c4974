package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/internal/model"
)

// shelf is a registry in memory.
type shelf struct {
	mu        sync.Mutex
	manifests map[model.Ref]model.Manifest
	tags      map[string]int64
	chunks    map[string][]byte
	fails     int // so many calls of Chunk
	calls     int
	// held, unless nil, keeps chunks back until it is closed.
	held chan struct{}
}

func newShelf() *shelf {
	return &shelf{manifests: map[model.Ref]model.Manifest{}, tags: map[string]int64{}, chunks: map[string][]byte{}}
}

func (s *shelf) put(ref model.Ref, files map[string]string) {
	var m model.Manifest
	for path, content := range files {
		sum := sha256.Sum256([]byte(content))
		name := hex.EncodeToString(sum[:])
		s.chunks[name] = []byte(content)
		m.Files = append(m.Files, model.File{
			Path: path, Size: int64(len(content)), SHA256: name, Chunks: []model.Chunk{{SHA256: name, Size: int64(len(content))}},
		})
	}
	slices.SortFunc(m.Files, func(a, b model.File) int { return strings.Compare(a.Path, b.Path) })
	s.manifests[ref] = m
}

func (s *shelf) Manifest(_ context.Context, ref model.Ref) (model.Ref, model.Manifest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ref.Tag != "" {
		ref = model.Ref{Name: ref.Name, Version: s.tags[ref.Tag]}
	}
	m, known := s.manifests[ref]
	if !known {
		return ref, m, ErrGone
	}
	return ref, m, nil
}

var errCut = errors.New("the connection was cut")

func (s *shelf) Chunk(ctx context.Context, sum string) (io.ReadCloser, error) {
	if s.held != nil {
		select {
		case <-s.held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.fails > 0 {
		s.fails--
		return nil, errCut
	}
	return io.NopCloser(bytes.NewReader(s.chunks[sum])), nil
}

func open(t *testing.T, dir string, from *shelf) *Cache {
	t.Helper()
	c, err := Open(Options{Dir: dir, Registry: from})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

var (
	first  = model.Ref{Name: "llama", Version: 1}
	second = model.Ref{Name: "llama", Version: 2}
)

func stocked() *shelf {
	s := newShelf()
	s.put(first, map[string]string{"config.json": "{}", "w/1": "weights", "w/2": "more"})
	s.put(second, map[string]string{"config.json": "{}", "w/1": "weights", "w/2": "other"})
	return s
}

func ensure(t *testing.T, c *Cache, ref model.Ref) string {
	t.Helper()
	dir, err := c.Ensure(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestOneCopyForAll(t *testing.T) {
	from := stocked()
	c := open(t, t.TempDir(), from)
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			dir, err := c.Ensure(t.Context(), first)
			if err != nil {
				t.Error(err)
				return
			}
			if text, err := os.ReadFile(filepath.Join(dir, "w", "1")); err != nil || string(text) != "weights" {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	group.Wait()
	if from.calls != 3 {
		t.Errorf("%d chunks were fetched", from.calls)
	}
	if dir, err := c.Path("llama@1"); err != nil || dir != ensure(t, c, first) {
		t.Errorf("%s, %v", dir, err)
	}
	ensure(t, c, second)
	if from.calls != 4 {
		t.Errorf("%d chunks were fetched in all; what the first version has is here", from.calls)
	}
	again := open(t, c.Dir, newShelf())
	if got := again.Present(); !slices.Equal(got, []string{"llama@1", "llama@2"}) {
		t.Errorf("after a restart there is %v", got)
	}
}

func TestTagsAreResolved(t *testing.T) {
	from := stocked()
	from.tags["prod"] = 2
	c := open(t, t.TempDir(), from)
	if dir := ensure(t, c, model.Ref{Name: "llama", Tag: "prod"}); dir != c.files(second) {
		t.Error(dir)
	}
	if _, err := c.Path("llama@prod"); err == nil || errors.Is(err, ErrFetching) {
		t.Errorf("a tag names no bytes: %v", err)
	}
	if _, err := c.Ensure(t.Context(), model.Ref{Name: "none", Version: 1}); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
}

func TestWhatIsOnItsWay(t *testing.T) {
	from := stocked()
	from.held = make(chan struct{})
	c := open(t, t.TempDir(), from)
	c.Prefetch([]string{"llama@1", "llama@1", "nonsense@"})
	if _, err := c.Path("llama@1"); !errors.Is(err, ErrFetching) {
		t.Error(err)
	}
	if got := c.Known(); !slices.Equal(got, []string{"llama@1"}) || len(c.Present()) > 0 {
		t.Errorf("known are %v, present %v", got, c.Present())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Ensure(ctx, first); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(from.held)
	<-c.Changed()
	if _, err := c.Path("llama@1"); err != nil || !slices.Equal(c.Present(), []string{"llama@1"}) {
		t.Errorf("%v, %v", c.Present(), err)
	}
}

func TestFailuresAreSaidOnce(t *testing.T) {
	from := stocked()
	from.fails = 1000
	clock := testingclock.NewFakeClock(time.Now())
	c, err := Open(Options{Dir: t.TempDir(), Registry: from, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Prefetch([]string{"llama@1"})
	stepped := make(chan struct{})
	go func() {
		defer close(stepped)
		for {
			select {
			case <-c.Changed():
				return
			default:
				clock.Step(time.Minute)
			}
		}
	}()
	<-stepped
	if _, err := c.Path("llama@1"); !errors.Is(err, errCut) {
		t.Errorf("why it did not come: %v", err)
	}
	from.mu.Lock()
	from.fails = 0
	from.mu.Unlock()
	if _, err := c.Path("llama@1"); !errors.Is(err, ErrFetching) {
		t.Errorf("asked again: %v", err)
	}
	<-c.Changed()
	if _, err := c.Path("llama@1"); err != nil {
		t.Error(err)
	}
}

// TestCrashesOfAFetch leaves what a crash may leave at each step.
func TestCrashesOfAFetch(t *testing.T) {
	for name, crash := range map[string]func(*Cache) error{
		"while files came": func(c *Cache) error {
			coming := filepath.Join(c.partial(first), "coming", "w")
			return errors.Join(os.MkdirAll(coming, 0o700), os.WriteFile(filepath.Join(coming, "1"), []byte("torn"), 0o600))
		},
		"before the manifest": func(c *Cache) error {
			return errors.Join(c.complete(), os.Remove(filepath.Join(c.partial(first), manifestFile)))
		},
		"before the name": func(c *Cache) error { return c.complete() },
		"a manifest cut short": func(c *Cache) error {
			return errors.Join(os.MkdirAll(c.files(first), 0o700), os.WriteFile(filepath.Join(c.root(first), manifestFile), []byte("{"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			before := open(t, dir, stocked())
			if err := errors.Join(crash(before), before.Close()); err != nil {
				t.Fatal(err)
			}
			c := open(t, dir, stocked())
			if len(c.Present()) > 0 {
				t.Errorf("there is %v", c.Present())
			}
			for path, want := range map[string]string{"config.json": "{}", "w/1": "weights", "w/2": "more"} {
				if text, err := os.ReadFile(filepath.Join(ensure(t, c, first), path)); err != nil || string(text) != want {
					t.Errorf("%s is %q, %v", path, text, err)
				}
			}
		})
	}
}

// complete fetches the first version and puts it back to where it was before it
// had its name.
func (c *Cache) complete() error {
	_, err := c.Ensure(context.Background(), first)
	if err == nil {
		err = os.Rename(c.root(first), c.partial(first))
	}
	return err
}

func TestCloseEndsWhatIsOnItsWay(t *testing.T) {
	from := stocked()
	from.held = make(chan struct{})
	c := open(t, t.TempDir(), from)
	c.Prefetch([]string{"llama@1", "llama@2", fmt.Sprint("other@", 1)})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}
