package blob_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/gco-project/gco/internal/blob"
)

func TestOneOfManyCreates(t *testing.T) {
	each(t, func(t *testing.T, bucket *blob.Bucket) {
		const tries = 20
		var group sync.WaitGroup
		errs := make([]error, tries)
		for i := range tries {
			group.Go(func() { errs[i] = bucket.Create(t.Context(), "races/one", fmt.Append(nil, i)) })
		}
		group.Wait()
		there, err := bucket.ReadAll(t.Context(), "races/one")
		if err != nil {
			t.Fatal(err)
		}
		for i, err := range errs {
			if won := string(there) == fmt.Sprint(i); won != (err == nil) || !won && !errors.Is(err, blob.ErrExists) {
				t.Errorf("%d, where %s is there: %v", i, there, err)
			}
		}
		if err := bucket.Create(t.Context(), "races/one", there); err != nil {
			t.Errorf("the same again: %v", err)
		}
		for object, err := range bucket.List(t.Context(), "races/") {
			if err != nil || object.Key != "races/one" {
				t.Errorf("there is %s, too (%v)", object.Key, err)
			}
		}
	})
}

// TestListsWhileObjectsComeAndGo has writers whose temporary files appear and
// vanish under a list.
func TestListsWhileObjectsComeAndGo(t *testing.T) {
	bucket, err := blob.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer bucket.Close()
	write(t, bucket, "o/stays", []byte("x"))
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for range 50 {
				key := fmt.Sprint("o/", i)
				write(t, bucket, key, []byte("x"))
				if err := bucket.Delete(t.Context(), key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		stays := false
		for object, err := range bucket.List(t.Context(), "o/") {
			if err != nil {
				t.Fatal(err)
			}
			stays = stays || object.Key == "o/stays"
		}
		if !stays {
			t.Fatal("an object that is there was not listed")
		}
	}
	group.Wait()
}
