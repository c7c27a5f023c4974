package dynamodb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// Manifests holds large manifests outside of the tables, by their SHA-256 in
// hex. To delete what is not there is no error.
type Manifests interface {
	Put(ctx context.Context, content []byte) (hash string, err error)
	Content(ctx context.Context, hash string) ([]byte, error)
	Delete(ctx context.Context, hash string) error
}

const (
	// maxInItem is how large a packed manifest may be to be an item, which is
	// at most 400 KB.
	maxInItem = 300 << 10

	skManifest = "manifest"
	// attrDoomed says of a loose object that it is being removed.
	attrDoomed = "doomed"
	// looseFor is how long an object may wait for the job that it belongs to:
	// longer than any call.
	looseFor = time.Hour
	// collectAtOnce bounds the loose objects that one call looks at.
	collectAtOnce = 100
)

func manifestKey(id job.ID) item { return at(key(kindManifest, string(id)), skManifest) }

// loose is an object in the bucket that belongs to no job, or not yet. An item
// says so from before it is put until its job is inserted, and again from the
// job's removal until it is deleted: so none is forgotten, whoever dies in
// between.
type loose struct {
	hash string
	id   job.ID
	// since is when it was put; a removed job's begins with the epoch.
	since time.Time
}

func (l loose) key() item { return at(pkLoose, timeKey(l.since)+"#"+l.hash) }

func (l loose) item() item {
	return with(l.key(), item{attrHash: text(l.hash), attrJob: text(string(l.id))})
}

func (l loose) doomed() item { return with(l.item(), item{attrDoomed: number(1)}) }

// keepManifest returns the writes that store a submission's manifest with its
// job. A large one goes to the bucket before.
func (s *Store) keepManifest(ctx context.Context, r *record, manifest []byte) ([]types.TransactWriteItem, error) {
	packed := pack(manifest)
	i := manifestKey(r.ID)
	if len(packed) <= maxInItem {
		return []types.TransactWriteItem{s.putAction(TableState, with(i, item{attrBody: binary(packed)}), "", nil)}, nil
	}
	if s.manifests == nil {
		return nil, fmt.Errorf("%w: the manifest is larger than an item may be, and no bucket is configured for such", store.ErrUnavailable)
	}
	content := contentOf(r.ID, packed)
	sum := sha256.Sum256(content)
	l := loose{hash: hashOf(sum[:]), id: r.ID, since: s.now()}
	if _, _, err := s.put(ctx, TableState, l.item(), "", nil); err != nil {
		return nil, err
	}
	if _, err := s.manifests.Put(ctx, content); err != nil {
		return nil, fmt.Errorf("%w: storing the manifest: %w", store.ErrUnavailable, err)
	}
	r.manifest = l.hash
	return []types.TransactWriteItem{
		s.putAction(TableState, with(i, item{attrHash: text(l.hash)}), "", nil),
		// One that came so late that its object is taken for a leftover is refused.
		s.deleteAction(TableState, l.key(), "attribute_exists(pk) AND attribute_not_exists(doomed)", nil),
	}, nil
}

// contentOf begins with the job's ID, so that no two jobs share an object, and
// one can go with its job.
func contentOf(id job.ID, packed []byte) []byte { return append([]byte(string(id)+"\n"), packed...) }

// Manifest returns the manifest of a job as it was inserted.
func (s *Store) Manifest(ctx context.Context, id job.ID) ([]byte, error) {
	text, err := s.manifest(ctx, id)
	return text, wrap(err, "reading the manifest of job %s", id)
}

func (s *Store) manifest(ctx context.Context, id job.ID) ([]byte, error) {
	found, err := s.get(ctx, TableState, manifestKey(id))
	if err != nil {
		return nil, err
	}
	hash := textOf(found, attrHash)
	if hash == "" {
		return unpack(bytesOf(found, attrBody))
	}
	if s.manifests == nil {
		return nil, errors.New("it is in a bucket, and none is configured")
	}
	content, err := s.manifests.Content(ctx, hash)
	if err != nil {
		return nil, err
	}
	packed, own := bytes.CutPrefix(content, contentOf(id, nil))
	if !own {
		return nil, fmt.Errorf("object %s is not its", hash)
	}
	return unpack(packed)
}

// collect removes the objects of jobs that were removed, and of submissions
// that came to nothing. What fails is left to the next call.
func (s *Store) collect(ctx context.Context) error {
	if s.manifests == nil {
		return nil
	}
	items, err := s.all(ctx, query{table: TableState, pk: pkLoose, to: timeKey(s.now().Add(-looseFor)) + afterAll, limit: collectAtOnce})
	if err != nil {
		return err
	}
	// One that can't be deleted keeps no other.
	errs := make([]error, len(items))
	_ = each(ctx, len(items), func(ctx context.Context, n int) error {
		errs[n] = s.collectOne(ctx, items[n])
		return nil
	})
	return errors.Join(errs...)
}

// collectOne removes an object after it made sure that no submission can take
// it any more.
func (s *Store) collectOne(ctx context.Context, i item) error {
	if !has(i, attrDoomed) {
		doomed := with(i, item{attrDoomed: number(1)})
		if _, ours, err := s.put(ctx, TableState, doomed, "attribute_exists(pk)", nil); err != nil || !ours {
			return err
		}
	}
	if err := s.manifests.Delete(ctx, textOf(i, attrHash)); err != nil {
		return fmt.Errorf("deleting a manifest in the bucket: %w", err)
	}
	return s.remove(ctx, TableState, []item{at(textOf(i, attrPK), textOf(i, attrSK))})
}
