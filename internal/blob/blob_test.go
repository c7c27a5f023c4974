package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gco-project/gco/internal/blob"
	"github.com/gco-project/gco/internal/blob/blobtest"
)

// drivers are the buckets that every test of this file runs on.
var drivers = map[string]func(*testing.T) *blob.Bucket{
	"directory": func(t *testing.T) *blob.Bucket {
		return open(t, "file://"+filepath.Join(t.TempDir(), "objects"))
	},
	"s3":          func(t *testing.T) *blob.Bucket { return open(t, blobtest.Start(t, false).Bucket(t, "objects")) },
	"s3 over TLS": func(t *testing.T) *blob.Bucket { return open(t, blobtest.Start(t, true).Bucket(t, "objects")) },
	"s3 with a prefix": func(t *testing.T) *blob.Bucket {
		return open(t, strings.Replace(blobtest.Start(t, false).Bucket(t, "objects"), "?", "/a/b?", 1))
	},
}

func open(t *testing.T, url string) *blob.Bucket {
	t.Helper()
	bucket, err := blob.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bucket.Close() })
	return bucket
}

func each(t *testing.T, test func(*testing.T, *blob.Bucket)) {
	for name, driver := range drivers {
		t.Run(name, func(t *testing.T) { test(t, driver(t)) })
	}
}

func write(t *testing.T, bucket *blob.Bucket, key string, content []byte) {
	t.Helper()
	err := bucket.Write(t.Context(), key, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// content is many bytes that no compression and no repetition explains.
func content(size int) []byte {
	bytes := make([]byte, size)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(bytes)
	return bytes
}

func TestObjects(t *testing.T) {
	each(t, func(t *testing.T, bucket *blob.Bucket) {
		ctx := t.Context()
		if err := bucket.Check(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := bucket.ReadAll(ctx, "logs/a"); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("ReadAll of nothing: %v", err)
		}
		if _, err := bucket.Size(ctx, "logs/a"); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Size of nothing: %v", err)
		}
		for _, text := range []string{"first", "", "the second, longer"} {
			write(t, bucket, "logs/a", []byte(text))
			if got, err := bucket.ReadAll(ctx, "logs/a"); err != nil || string(got) != text {
				t.Errorf("ReadAll = %q, %v; want %q", got, err, text)
			}
			if size, err := bucket.Size(ctx, "logs/a"); err != nil || size != int64(len(text)) {
				t.Errorf("Size = %d, %v", size, err)
			}
		}
		part, err := bucket.Read(ctx, "logs/a", 4, 6)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(part); err != nil || string(got) != "second" {
			t.Errorf("a part is %q, %v", got, err)
		}
		if err := part.Close(); err != nil {
			t.Error(err)
		}
		write(t, bucket, "logs/b", []byte("b"))
		write(t, bucket, "other/a", []byte("o"))
		var listed []string
		for object, err := range bucket.List(ctx, "logs/") {
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, fmt.Sprint(object.Key, object.Size))
		}
		if fmt.Sprint(listed) != "[logs/a18 logs/b1]" {
			t.Errorf("listed %v", listed)
		}
		for range 2 {
			if err := bucket.DeleteAll(ctx, "logs/"); err != nil {
				t.Fatal(err)
			}
			if err := bucket.Delete(ctx, "logs/a"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := bucket.ReadAll(ctx, "other/a"); err != nil {
			t.Errorf("what has another prefix: %v", err)
		}
	})
}

// TestLargeObject is one that goes in several parts.
func TestLargeObject(t *testing.T) {
	each(t, func(t *testing.T, bucket *blob.Bucket) {
		want := content(40<<20 + 7)
		write(t, bucket, "large", want)
		got, err := bucket.ReadAll(t.Context(), "large")
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
		}
	})
}

var errBroken = errors.New("broken")

func TestFailedWriteLeavesTheObject(t *testing.T) {
	each(t, func(t *testing.T, bucket *blob.Bucket) {
		write(t, bucket, "k", []byte("old"))
		for _, size := range []int{0, 10, 20 << 20} {
			err := bucket.Write(t.Context(), "k", func(w io.Writer) error {
				if _, err := w.Write(content(size)); err != nil {
					return err
				}
				return errBroken
			})
			if !errors.Is(err, errBroken) {
				t.Errorf("after %d bytes: %v", size, err)
			}
		}
		cancelled, cancel := context.WithCancel(t.Context())
		err := bucket.Write(cancelled, "k", func(w io.Writer) error {
			_, err := w.Write([]byte("new"))
			cancel()
			return err
		})
		if err == nil {
			t.Error("a cancelled write returned nil")
		}
		if got, err := bucket.ReadAll(t.Context(), "k"); err != nil || string(got) != "old" {
			t.Errorf("it is %q, %v", got, err)
		}
		for object, err := range bucket.List(t.Context(), "") {
			if err != nil || object.Key != "k" {
				t.Errorf("left over: %s, %v", object.Key, err)
			}
		}
	})
}

func TestKeysAreRefused(t *testing.T) {
	each(t, func(t *testing.T, bucket *blob.Bucket) {
		for _, key := range []string{"", "/", "a/", "/a", "a//b", "..", "a/../b", "a b", "ä", "a.tmp", strings.Repeat("a", 256)} {
			err := bucket.Write(t.Context(), key, func(io.Writer) error { return nil })
			if err == nil || !strings.Contains(err.Error(), "is no key of an object") {
				t.Errorf("%q: %v", key, err)
			}
		}
	})
}

func TestContents(t *testing.T) {
	each(t, func(t *testing.T, bucket *blob.Bucket) {
		ctx := t.Context()
		manifests := blob.NewContents(bucket, "manifests")
		text := []byte(`{"kind": "Job"}`)
		sum, err := manifests.Put(ctx, text)
		if err != nil || sum != blob.Sum(text) {
			t.Fatalf("Put = %s, %v", sum, err)
		}
		if again, err := manifests.Put(ctx, text); err != nil || again != sum {
			t.Errorf("Put again = %s, %v", again, err)
		}
		if got, err := manifests.Content(ctx, sum); err != nil || !bytes.Equal(got, text) {
			t.Errorf("Content = %q, %v", got, err)
		}
		write(t, bucket, "manifests/"+sum[:2]+"/"+sum, []byte(`{"kind": "Cob"}`))
		if _, err := manifests.Content(ctx, sum); !errors.Is(err, blob.ErrCorrupt) {
			t.Errorf("a damaged content: %v", err)
		}
		if err := manifests.Delete(ctx, sum); err != nil {
			t.Fatal(err)
		}
		if _, err := manifests.Content(ctx, sum); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("a deleted content: %v", err)
		}
		for _, bad := range []string{"", "../x", strings.ToUpper(sum), sum[1:]} {
			if _, err := manifests.Content(ctx, bad); err == nil || errors.Is(err, blob.ErrNotFound) {
				t.Errorf("%q: %v", bad, err)
			}
		}
	})
}

// TestUploadGoesOn brings parts in the wrong order, one damaged on the way,
// and from a second bucket value, as after a restart.
func TestUploadGoesOn(t *testing.T) {
	each(t, func(t *testing.T, bucket *blob.Bucket) {
		ctx := t.Context()
		whole := content(3000)
		parts := [][]byte{whole[:1000], whole[1000:1001], whole[1001:]}
		first, err := blob.NewContents(bucket, "models").Upload("u-1")
		if err != nil {
			t.Fatal(err)
		}
		if err := first.Put(ctx, 3, blob.Sum(parts[2]), bytes.NewReader(parts[2])); err != nil {
			t.Fatal(err)
		}
		if err := first.Put(ctx, 1, blob.Sum(parts[0]), bytes.NewReader(whole[:999])); !errors.Is(err, blob.ErrCorrupt) {
			t.Errorf("a damaged part: %v", err)
		}

		models := blob.NewContents(bucket, "models")
		upload, err := models.Upload("u-1")
		if err != nil {
			t.Fatal(err)
		}
		if err := upload.Commit(ctx, blob.Sum(whole), 3); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Commit without all parts: %v", err)
		}
		arrived, err := upload.Parts(ctx)
		if err != nil || fmt.Sprint(arrived) != "[{3 1999}]" {
			t.Errorf("Parts = %v, %v", arrived, err)
		}
		for i, part := range parts {
			if err := upload.Put(ctx, i+1, blob.Sum(part), bytes.NewReader(part)); err != nil {
				t.Fatal(err)
			}
		}
		if err := upload.Commit(ctx, blob.Sum(parts[0]), 3); !errors.Is(err, blob.ErrCorrupt) {
			t.Errorf("Commit under another sum: %v", err)
		}
		if there, err := models.Has(ctx, blob.Sum(whole)); err != nil || there {
			t.Errorf("there before its Commit: %v, %v", there, err)
		}
		for range 2 {
			if err := upload.Commit(ctx, blob.Sum(whole), 3); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := models.Content(ctx, blob.Sum(whole)); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if arrived, err := upload.Parts(ctx); err != nil || len(arrived) != 0 {
			t.Errorf("parts after the Commit: %v, %v", arrived, err)
		}
	})
}

// TestReadGoesOnWhereItBroke cuts the answers of S3 in the middle.
func TestReadGoesOnWhereItBroke(t *testing.T) {
	service := blobtest.Start(t, false)
	target, err := url.Parse(service.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var cuts atomic.Int64
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		// The signature is over the name that the client called.
		r.Out.Host = r.In.Host
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/cut") && cuts.Add(1) <= 2 {
			w = &cutter{ResponseWriter: w, left: 100_000}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	want := content(1 << 20)
	bucket := open(t, strings.Replace(service.Bucket(t, "objects"), service.Endpoint, front.URL, 1))
	write(t, bucket, "cut", want)
	got, err := bucket.ReadAll(t.Context(), "cut")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
	}
	if cuts.Load() != 3 {
		t.Errorf("%d requests, want 3", cuts.Load())
	}
}

// cutter breaks the connection after some bytes.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

// TestDirectoryIsForItsOwner: what is archived may hold secrets.
func TestDirectoryIsForItsOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "objects")
	write(t, open(t, "file://"+dir), "a/b", []byte("x"))
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// What a crash leaves of a write is not listed, and goes with the rest.
	if err := os.WriteFile(filepath.Join(dir, "a", "c.18f.tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bucket := open(t, "file://"+dir)
	for object, err := range bucket.List(t.Context(), "a/") {
		if err != nil || object.Key != "a/b" {
			t.Errorf("listed %s, %v", object.Key, err)
		}
	}
	if err := bucket.DeleteAll(t.Context(), "a/"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a", "c.18f.tmp")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the leftover: %v", err)
	}
}

// TestCheckSaysWhatIsWrong: one clear error at start.
func TestCheckSaysWhatIsWrong(t *testing.T) {
	service := blobtest.Start(t, false)
	url := service.Bucket(t, "objects")
	missing := open(t, strings.Replace(url, "objects", "elsewhere", 1))
	if err := missing.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no bucket s3://elsewhere") {
		t.Errorf("a missing bucket: %v", err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
	if err := open(t, url).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "s3://objects") {
		t.Errorf("wrong credentials: %v", err)
	}
}

// TestFailedWriteLeavesNoParts: parts that are in S3 already when a write fails
// are taken back.
func TestFailedWriteLeavesNoParts(t *testing.T) {
	service := blobtest.Start(t, false)
	bucket := open(t, service.Bucket(t, "objects"))
	err := bucket.Write(t.Context(), "k", func(w io.Writer) error {
		if _, err := w.Write(content(40 << 20)); err != nil {
			return err
		}
		return errBroken
	})
	if !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	_ = filepath.WalkDir(service.Dir, func(path string, entry fs.DirEntry, _ error) error {
		if entry.Type().IsRegular() {
			t.Errorf("left over: %s", path)
		}
		return nil
	})
}
