package registry

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/gco-project/gco/internal/blob"
	"github.com/gco-project/gco/internal/model"
)

// condemnedAtOnce is how many chunks one step of a collection may remove.
const condemnedAtOnce = 1000

// lookAgain is how often who waits for a collection looks.
const lookAgain = 100 * time.Millisecond

// Collection is what a collection has done.
type Collection struct {
	// Chunks were removed, Bytes in all; Kept are in use.
	Chunks int
	Bytes  int64
	Kept   int
	// Uploads had expired.
	Uploads int
}

// collection is one step of a collection, for all to see.
type collection struct {
	ID string `json:"id"`
	// Sums are condemned: they go unless something relies on them.
	Sums []string `json:"sums"`
}

// live is what is in use.
type live struct {
	sums map[string]bool
	// read are the pins and records that are counted in.
	read map[string]bool
}

// Collect removes chunks that no version has and no upload relies on. Several
// servers may do so at the same time; one does it once at a time, else ErrBusy.
func (r *Registry) Collect(ctx context.Context) (Collection, error) {
	if !r.collecting.TryLock() {
		return Collection{}, ErrBusy
	}
	defer r.collecting.Unlock()
	if err := r.forgetMarks(ctx); err != nil {
		return Collection{}, fmt.Errorf("removing what a collection left: %w", err)
	}
	var done Collection
	var err error
	if done.Uploads, err = r.expire(ctx); err != nil {
		return done, fmt.Errorf("removing uploads that have expired: %w", err)
	}
	used := &live{sums: map[string]bool{}, read: map[string]bool{}}
	if err := r.count(ctx, used); err != nil {
		return done, fmt.Errorf("finding what is in use: %w", err)
	}
	var dead []blob.Object
	for chunk, err := range r.chunks.List(ctx) {
		if err != nil {
			return done, err
		}
		if used.sums[chunk.Key] {
			done.Kept++
			continue
		}
		dead = append(dead, chunk)
	}
	for step := range slices.Chunk(dead, condemnedAtOnce) {
		if err := r.remove(ctx, step, used, &done); err != nil {
			return done, err
		}
	}
	return done, nil
}

// expire removes the uploads that nothing was heard of for long. A pin that is
// written meanwhile stays.
func (r *Registry) expire(ctx context.Context) (int, error) {
	newest, keys := map[string]time.Time{}, map[string][]string{}
	for object, err := range r.Bucket.List(ctx, uploadsKey) {
		if err != nil {
			return 0, err
		}
		var p pin
		if err := r.read(ctx, object.Key, &p); errors.Is(err, ErrNotFound) {
			continue
		} else if err != nil {
			return 0, err
		}
		id := path.Dir(object.Key)
		keys[id] = append(keys[id], object.Key)
		if p.At.After(newest[id]) {
			newest[id] = p.At
		}
	}
	expired := 0
	for id, at := range newest {
		if r.Clock.Since(at) < r.Expiry {
			continue
		}
		expired++
		for _, key := range keys[id] {
			if err := r.Bucket.Delete(ctx, key); err != nil {
				return expired, err
			}
		}
	}
	return expired, nil
}

// count adds what is new among pins and versions. The pins are read first: an
// upload's version is there before its pins go.
func (r *Registry) count(ctx context.Context, used *live) error {
	for object, err := range r.Bucket.List(ctx, uploadsKey) {
		if err != nil {
			return err
		}
		if used.read[object.Key] {
			continue
		}
		var p pin
		if err := r.read(ctx, object.Key, &p); errors.Is(err, ErrNotFound) {
			continue
		} else if err != nil {
			return err
		}
		used.read[object.Key] = true
		for _, sum := range p.Sums {
			used.sums[sum] = true
		}
	}
	if err := r.crash("pins counted"); err != nil {
		return err
	}
	for object, err := range r.Bucket.List(ctx, versionsKey) {
		if err != nil {
			return err
		}
		if used.read[object.Key] {
			continue
		}
		if err := r.countVersion(ctx, object.Key, used); err != nil {
			return err
		}
		used.read[object.Key] = true
	}
	return nil
}

func (r *Registry) countVersion(ctx context.Context, key string, used *live) error {
	var v Version
	if err := r.read(ctx, key, &v); err != nil {
		return err
	}
	if !v.DeletedAt.IsZero() {
		return nil
	}
	text, err := r.Manifest(ctx, v)
	if err != nil {
		// Without it nobody knows what the version has: nothing may go.
		return err
	}
	m, err := model.Decode(text)
	if err != nil {
		return fmt.Errorf("the manifest of %s: %w", v.Ref(), err)
	}
	used.sums[v.Digest] = true
	for c := range m.Distinct() {
		used.sums[c.SHA256] = true
	}
	return nil
}

// remove condemns some chunks, and removes those that nothing has come to rely
// on meanwhile.
func (r *Registry) remove(ctx context.Context, chunks []blob.Object, used *live, done *Collection) error {
	mark := collection{ID: uuid.NewString()}
	for _, c := range chunks {
		mark.Sums = append(mark.Sums, c.Key)
	}
	// Half of the lease is for a removal that is slow to arrive.
	begun := r.Clock.Now()
	mine := func() bool { return r.Clock.Since(begun) < r.Lease/2 }
	key := collectionsKey + mark.ID + ".json"
	if err := r.write(ctx, key, mark); err != nil {
		return err
	}
	err := r.crash("condemned")
	if err == nil {
		err = r.count(ctx, used)
	}
	for _, c := range chunks {
		if err != nil {
			break
		}
		if used.sums[c.Key] {
			done.Kept++
			continue
		}
		if !mine() {
			err = errors.New("collecting took longer than its lease; the rest is for the next time")
			break
		}
		if err = r.chunks.Delete(ctx, c.Key); err == nil {
			done.Chunks++
			done.Bytes += c.Size
			err = r.crash("removed")
		}
	}
	if errors.Is(err, errCrash) {
		return err
	}
	return errors.Join(err, r.Bucket.Delete(context.WithoutCancel(ctx), key))
}

// errCrash makes an operation stop where it is, as a crash would.
var errCrash = errors.New("crashed on request of a test")

// marks lists the steps of collections that may be under way.
func (r *Registry) marks(ctx context.Context) ([]collection, error) {
	var all []collection
	for object, err := range r.Bucket.List(ctx, collectionsKey) {
		if err != nil {
			return nil, err
		}
		var mark collection
		if err := r.read(ctx, object.Key, &mark); errors.Is(err, ErrNotFound) {
			continue
		} else if err != nil {
			return nil, err
		}
		all = append(all, mark)
	}
	return all, nil
}

// forgetMarks removes the marks of collections whose right has ended: those
// that were there a lease ago. Whoever left them is dead, or will find so.
func (r *Registry) forgetMarks(ctx context.Context) error {
	marks, err := r.marks(ctx)
	if err != nil {
		return err
	}
	since := map[string]time.Time{}
	for _, mark := range marks {
		seen, known := r.left[mark.ID]
		if !known {
			seen = r.Clock.Now()
		}
		if known && r.Clock.Since(seen) >= r.Lease {
			if err := r.Bucket.Delete(ctx, collectionsKey+mark.ID+".json"); err != nil {
				return err
			}
			continue
		}
		since[mark.ID] = seen
	}
	r.left = since
	return nil
}

// awaitCollection returns when no collection that was marked before the call
// may still remove one of the chunks. Later ones see the pin.
func (r *Registry) awaitCollection(ctx context.Context, sums []string) error {
	begun := r.Clock.Now()
	first := map[string]bool(nil)
	for r.Clock.Since(begun) < r.Lease {
		marks, err := r.marks(ctx)
		if err != nil {
			return err
		}
		if first == nil {
			first = map[string]bool{}
			for _, mark := range marks {
				first[mark.ID] = true
			}
		}
		if !slices.ContainsFunc(marks, func(mark collection) bool { return first[mark.ID] && mark.condemns(sums) }) {
			return nil
		}
		timer := r.Clock.NewTimer(lookAgain)
		if err := r.crash("waiting for a collection"); err != nil {
			timer.Stop()
			return err
		}
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
	return nil
}

func (c collection) condemns(sums []string) bool {
	condemned := make(map[string]bool, len(c.Sums))
	for _, sum := range c.Sums {
		condemned[sum] = true
	}
	return slices.ContainsFunc(sums, func(sum string) bool { return condemned[sum] })
}
