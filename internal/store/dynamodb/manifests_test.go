package dynamodb_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/blob"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/dynamodb"
	"github.com/gco-project/gco/internal/store/dynamodb/dynamotest"
)

// largeManifests is a store with a bucket, and a clock of the test's own.
type largeManifests struct {
	*testing.T
	store    *dynamodb.Store
	wire     *wire
	contents *blob.Contents
	// fails is what the bucket answers to a deletion; nil deletes.
	fails error
	now   time.Time
	noise string
}

func newLargeManifests(t *testing.T) *largeManifests {
	t.Helper()
	e := dynamotest.Start(t, dynamotest.Dynoxide)
	bucket, err := blob.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bucket.Close() })
	noise := make([]byte, 600<<10)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	m := &largeManifests{T: t, wire: newWire(e), contents: blob.NewContents(bucket, "manifests"), now: time.Now(), noise: base64.StdEncoding.EncodeToString(noise)}
	m.store = opened(t, e, m.wire, func(o *dynamodb.Options) {
		o.Manifests, o.Now = m, func() time.Time { return m.now }
	})
	return m
}

// Put, Content and Delete are those of the bucket.
func (m *largeManifests) Put(ctx context.Context, content []byte) (string, error) {
	return m.contents.Put(ctx, content)
}

func (m *largeManifests) Content(ctx context.Context, hash string) ([]byte, error) {
	return m.contents.Content(ctx, hash)
}

func (m *largeManifests) Delete(ctx context.Context, hash string) error {
	if m.fails != nil {
		return m.fails
	}
	return m.contents.Delete(ctx, hash)
}

// large is a submission whose manifest is too much for an item.
func (m *largeManifests) large(key string) store.Submission {
	s := submission(key)
	s.Manifest = fmt.Appendf(nil, `{"kind":"Job","data":%q}`, m.noise)
	return s
}

// objects counts what is in the bucket.
func (m *largeManifests) objects() int {
	m.Helper()
	count := 0
	for _, err := range m.contents.List(m.Context()) {
		if err != nil {
			m.Fatal(err)
		}
		count++
	}
	return count
}

// ended inserts a job and ends it.
func (m *largeManifests) ended(s store.Submission) job.ID {
	m.Helper()
	j := insert(m.T, m.store, s)[0].Job
	c := change(m.T, j, job.Event{Kind: job.Stopped, StopReason: job.ByCancel})
	commit(m.T, m.store, c)
	return j.ID
}

// remove removes jobs as the Pruner does.
func (m *largeManifests) remove(ids ...job.ID) {
	m.Helper()
	errs, err := m.store.Delete(m.Context(), ids, m.now, time.Hour)
	if err = errors.Join(append(errs, err)...); err != nil {
		m.Fatal(err)
	}
}

// TestLargeManifests keeps what is too large for an item in the bucket, and
// refuses it where there is none.
func TestLargeManifests(t *testing.T) {
	m := newLargeManifests(t)
	large, same, long := m.large(""), m.large(""), submission("")
	long.Manifest = fmt.Appendf(nil, `{"kind":"Job","data":%q}`, bytes.Repeat([]byte("x"), 900<<10))
	insert(t, m.store, large, same, long)
	for _, sub := range []store.Submission{large, same, long} {
		got, err := m.store.Manifest(t.Context(), sub.Job.ID)
		if err != nil || !bytes.Equal(got, sub.Manifest) {
			t.Errorf("a manifest of %d bytes came back with %d: %v", len(sub.Manifest), len(got), err)
		}
	}
	without := opened(t, dynamotest.Start(t, dynamotest.Dynoxide), m.wire)
	if _, err := without.Insert(t.Context(), []store.Submission{large}); err == nil {
		t.Error("a large manifest was taken without a bucket")
	}
	insert(t, without, long)
}

// TestLargeManifestsGoWithTheirJobs removes one of two jobs with the same
// manifest: its object goes, and the other's stays.
func TestLargeManifestsGoWithTheirJobs(t *testing.T) {
	m := newLargeManifests(t)
	first, second := m.ended(m.large("")), m.ended(m.large(""))
	small := m.ended(submission(""))
	if n := m.objects(); n != 2 {
		t.Fatalf("%d objects for two large manifests", n)
	}
	m.remove(first, small)
	if n := m.objects(); n != 1 {
		t.Errorf("%d objects for one large manifest", n)
	}
	if _, err := m.store.Manifest(t.Context(), second); err != nil {
		t.Error(err)
	}
	m.now = m.now.Add(10 * time.Hour)
	m.remove(m.ended(submission("")))
	if _, err := m.store.Manifest(t.Context(), second); err != nil {
		t.Errorf("long after, a manifest in use was collected: %v", err)
	}
	m.remove(second)
	if n := m.objects(); n != 0 {
		t.Errorf("%d objects are left", n)
	}
}

// TestLeftManifestsAreCollected ends submissions between putting the object and
// inserting the job, and removals between removing the job and deleting the
// object. All are collected later, and not before no submission can need them.
func TestLeftManifestsAreCollected(t *testing.T) {
	m := newLargeManifests(t)
	kept := m.ended(m.large("k"))
	// A replay puts an object for a job that is never made.
	if again, err := m.store.Insert(t.Context(), []store.Submission{m.large("k")}); err != nil || again[0].Created {
		t.Fatalf("%+v, %v", again, err)
	}
	// A process dies, or is refused, before the job is inserted.
	m.wire.breaks(func(call string, _ []byte) (*http.Response, bool) {
		if call == "TransactWriteItems" {
			return answer(http.StatusBadRequest, "AccessDeniedException", "no", nil), false
		}
		return nil, false
	})
	if _, err := m.store.Insert(t.Context(), []store.Submission{m.large("")}); err == nil {
		t.Fatal("a job was inserted that could not be")
	}
	m.wire.breaks(nil)
	// The bucket does not answer when a job is removed.
	gone := m.ended(m.large(""))
	m.fails = errors.New("no answer")
	m.remove(gone)
	if n := m.objects(); n != 4 {
		t.Fatalf("%d objects instead of four", n)
	}
	m.fails = nil
	m.remove(m.ended(submission("")))
	if n := m.objects(); n != 3 {
		t.Errorf("%d objects, when one of a removed job could be deleted and two are young", n)
	}
	m.now = m.now.Add(2 * time.Hour)
	m.remove(m.ended(submission("")))
	if n := m.objects(); n != 1 {
		t.Errorf("%d objects for one job", n)
	}
	if _, err := m.store.Manifest(t.Context(), kept); err != nil {
		t.Error(err)
	}
}

// TestASubmissionThatComesTooLateIsRefused stops a submission, its object
// collected meanwhile, right before its job is inserted: there is no job whose
// manifest is gone.
func TestASubmissionThatComesTooLateIsRefused(t *testing.T) {
	m := newLargeManifests(t)
	other := m.ended(submission(""))
	once := true
	late := m.large("")
	m.wire.breaks(func(call string, body []byte) (*http.Response, bool) {
		if once && call == "TransactWriteItems" && bytes.Contains(body, []byte(late.Job.ID)) {
			once = false
			m.now = m.now.Add(2 * time.Hour)
			m.remove(other)
		}
		return nil, false
	})
	answers, err := m.store.Insert(t.Context(), []store.Submission{late})
	if err == nil {
		err = answers[0].Err
	}
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the error is %v", err)
	}
	if _, err := m.store.Job(t.Context(), late.Job.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("there is the job: %v", err)
	}
	if n := m.objects(); n != 0 {
		t.Errorf("%d objects", n)
	}
	if got := events(t, m.store); slices.ContainsFunc(got, func(e store.Event) bool { return e.Subject == store.JobSubject(late.Job.ID) }) {
		t.Error("there is an event of it")
	}
}
