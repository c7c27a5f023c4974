// Package cache holds the versions of models that a region needs, in a
// directory: fetched once, each byte checked, and published whole, for all that
// runs there to share. What was fetched in part before a crash is gone on with.
// The agent says what is needed, and reports what is here; where models come from
// is the daemon's matter.
package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/model"
	"github.com/gco-project/gco/internal/model/transfer"
)

// together is how many versions are fetched at a time.
const together = 2

// Tries of one fetch, and the pause after the first that failed, which doubles.
const (
	tries      = 3
	firstPause = time.Second
)

// The errors that callers decide on.
var (
	// ErrFetching: it is on its way, and Changed tells when it has come.
	ErrFetching = errors.New("the model is being fetched")
	// ErrGone: the registry has no such version.
	ErrGone = errors.New("there is no such version of the model")
)

// Registry is where models come from.
type Registry interface {
	transfer.Source
	// Manifest resolves a reference and returns the files of the version that it
	// names now. ErrGone: there is none.
	Manifest(ctx context.Context, ref model.Ref) (model.Ref, model.Manifest, error)
}

// Options is what a Cache is made of. Dir and Registry are required.
type Options struct {
	Dir      string
	Registry Registry
	Clock    clock.WithTicker
	Log      *slog.Logger
}

// Cache is a region's models. It is safe for concurrent use.
type Cache struct {
	Options
	changed chan struct{}
	slots   chan struct{}
	end     context.CancelFunc
	ctx     context.Context
	running sync.WaitGroup

	mu      sync.Mutex
	present map[model.Ref]model.Manifest
	fetches map[model.Ref]*fetch
}

// fetch is one version on its way, or what came of it in vain.
type fetch struct {
	done chan struct{}
	// err is set when done is closed.
	err error
}

// manifestFile stands beside the files of a version.
const manifestFile = "manifest.json"

// Open opens the directory, and finds what is there whole.
func Open(options Options) (*Cache, error) {
	o := options
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cache{
		Options: o, changed: make(chan struct{}, 1), slots: make(chan struct{}, together),
		present: map[model.Ref]model.Manifest{}, fetches: map[model.Ref]*fetch{},
	}
	dir, err := filepath.Abs(o.Dir)
	if err == nil {
		c.Dir = dir
		err = c.find()
	}
	if err != nil {
		return nil, fmt.Errorf("opening the models in %s: %w", o.Dir, err)
	}
	c.ctx, c.end = context.WithCancel(context.Background())
	return c, nil
}

// Close ends what is being fetched; a later cache goes on with it.
func (c *Cache) Close() error {
	c.end()
	c.running.Wait()
	return nil
}

// root is the directory of a version; it is there when all of it is.
func (c *Cache) root(ref model.Ref) string { return filepath.Join(c.Dir, ref.Name, ref.Which()) }

// files is the directory with the files of a version.
func (c *Cache) files(ref model.Ref) string { return filepath.Join(c.root(ref), "files") }

func (c *Cache) partial(ref model.Ref) string { return filepath.Join(c.Dir, ".partial", ref.String()) }

// find lists what was published. A version whose manifest can't be read is not
// taken for one.
func (c *Cache) find() error {
	manifests, err := filepath.Glob(filepath.Join(c.Dir, "*", "*", manifestFile))
	if err != nil {
		return err
	}
	for _, file := range manifests {
		root := filepath.Dir(file)
		ref, err := model.ParseRef(filepath.Base(filepath.Dir(root)) + "@" + filepath.Base(root))
		if err != nil || !ref.Exact() {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		m, err := model.Decode(text)
		if err != nil {
			c.Log.Warn("a model without a manifest that can be read is fetched again when it is needed", "model", ref.String(), "error", err)
			if err := os.RemoveAll(root); err != nil {
				return err
			}
			continue
		}
		c.present[ref] = m
	}
	return os.MkdirAll(filepath.Join(c.Dir, ".partial"), 0o700)
}

// Present lists the versions that are here, whole, as NAME@VERSION.
func (c *Cache) Present() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return names(c.present)
}

// Known lists those that are here or on their way, or were tried in vain.
func (c *Cache) Known() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := append(names(c.present), names(c.fetches)...)
	slices.Sort(all)
	return all
}

func names[V any](of map[model.Ref]V) []string {
	all := make([]string, 0, len(of))
	for ref := range of {
		all = append(all, ref.String())
	}
	slices.Sort(all)
	return all
}

// Changed is signalled after something has come, or failed to.
func (c *Cache) Changed() <-chan struct{} { return c.changed }

// Path is the directory of a version that is here. ErrFetching: it is on its
// way. Any other error is why it did not come, and is said once: who asks
// again starts anew.
func (c *Cache) Path(text string) (string, error) {
	ref, err := exact(text)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, here := c.present[ref]; here {
		return c.files(ref), nil
	}
	f := c.fetches[ref]
	if f == nil {
		c.begin(ref)
		return "", ErrFetching
	}
	select {
	case <-f.done:
		delete(c.fetches, ref)
		return "", f.err
	default:
		return "", ErrFetching
	}
}

// Prefetch brings versions that will be needed.
func (c *Cache) Prefetch(texts []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, text := range texts {
		ref, err := exact(text)
		if err != nil {
			c.Log.Warn("a model that is needed has no exact name", "model", text, "error", err)
			continue
		}
		_, here := c.present[ref]
		if !here && c.fetches[ref] == nil {
			c.begin(ref)
		}
	}
}

func exact(text string) (model.Ref, error) {
	ref, err := model.ParseRef(text)
	if err == nil && !ref.Exact() {
		err = fmt.Errorf("%s does not name one version", text)
	}
	return ref, err
}

// Ensure returns the directory of the version that a reference names now, when
// it is here.
func (c *Cache) Ensure(ctx context.Context, ref model.Ref) (string, error) {
	if !ref.Exact() {
		resolved, _, err := c.Registry.Manifest(ctx, ref)
		if err != nil {
			return "", fmt.Errorf("looking for %s: %w", ref, err)
		}
		ref = resolved
	}
	c.mu.Lock()
	_, here := c.present[ref]
	f := c.fetches[ref]
	if !here && (f == nil || ended(f)) {
		f = c.begin(ref)
	}
	c.mu.Unlock()
	if here {
		return c.files(ref), nil
	}
	select {
	case <-f.done:
		return c.files(ref), f.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func ended(f *fetch) bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// begin starts to fetch a version; c.mu must be held.
func (c *Cache) begin(ref model.Ref) *fetch {
	f := &fetch{done: make(chan struct{})}
	c.fetches[ref] = f
	c.running.Go(func() {
		m, err := c.fetch(ref)
		c.mu.Lock()
		if err == nil {
			c.present[ref] = m
			delete(c.fetches, ref)
		}
		f.err = err
		close(f.done)
		c.mu.Unlock()
		select {
		case c.changed <- struct{}{}:
		default:
		}
	})
	return f
}

// fetch tries a few times. What one try has brought, the next one has.
func (c *Cache) fetch(ref model.Ref) (m model.Manifest, err error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-c.ctx.Done():
		return m, c.ctx.Err()
	}
	pause := firstPause
	for range tries {
		begun, progress := c.Clock.Now(), &transfer.Progress{}
		if m, err = c.fetchOnce(ref, progress); err == nil {
			c.Log.Info("model fetched", "model", ref.String(), "bytes", progress.Total(), "carried", progress.Moved(), "took", c.Clock.Since(begun))
			return m, nil
		}
		if errors.Is(err, ErrGone) || c.ctx.Err() != nil {
			return m, err
		}
		c.Log.Warn("fetching a model", "model", ref.String(), "error", err)
		select {
		case <-c.Clock.After(pause):
		case <-c.ctx.Done():
			return m, c.ctx.Err()
		}
		pause *= 2
	}
	return m, err
}

// fetchOnce brings the files and the manifest below another name, which is
// changed when all is there.
func (c *Cache) fetchOnce(ref model.Ref, progress *transfer.Progress) (model.Manifest, error) {
	_, m, err := c.Registry.Manifest(c.ctx, ref)
	if err != nil {
		return m, err
	}
	partial := c.partial(ref)
	if err := os.MkdirAll(partial, 0o755); err != nil { //nolint:gosec // jobs of other users read it
		return m, fmt.Errorf("making room for the model: %w", err)
	}
	files := filepath.Join(partial, "files")
	err = transfer.Pull(c.ctx, transfer.PullOptions{
		Dir: files, Partial: filepath.Join(partial, "coming"), Manifest: m, Source: c.Registry,
		Copies: c.copies(ref.Name), Progress: progress, ReadOnly: true,
	})
	// A crash came between here and the end, the last time.
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return m, err
	}
	return m, c.publish(ref, m, partial)
}

// publish writes the manifest and gives the version its name.
func (c *Cache) publish(ref model.Ref, m model.Manifest, partial string) error {
	text, err := m.Encode()
	if err == nil {
		err = writeSynced(filepath.Join(partial, manifestFile), text)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(c.root(ref)), 0o755) //nolint:gosec // jobs of other users read it
	}
	if err == nil {
		err = os.Rename(partial, c.root(ref))
	}
	if err == nil {
		err = errors.Join(syncDir(filepath.Dir(c.root(ref))), syncDir(c.Dir))
	}
	if err != nil {
		return fmt.Errorf("publishing %s: %w", ref, err)
	}
	return nil
}

// copies are other versions of the same model: most of it may be in them.
func (c *Cache) copies(name string) []transfer.Copy {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []transfer.Copy
	for ref, m := range c.present {
		if ref.Name == name {
			all = append(all, transfer.Copy{Dir: c.files(ref), Manifest: m})
		}
	}
	slices.SortFunc(all, func(a, b transfer.Copy) int { return cmp.Compare(a.Dir, b.Dir) })
	return all
}

func writeSynced(file string, text []byte) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close(), syncDir(filepath.Dir(file)))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
