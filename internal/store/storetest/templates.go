package storetest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/template"
)

// template returns one version of a template with every field set.
func (c *client) template(name string, version int64) template.Template {
	least, most := 1.0, 8.0
	return template.Template{
		Name: name, Version: version, Description: fmt.Sprintf("version %d", version),
		Parameters: []template.Parameter{
			{Name: "gpus", Type: template.Integer, Minimum: &least, Maximum: &most, Default: json.RawMessage(`2`)},
			{Name: "note", Type: template.String, Required: true, Pattern: "[a-z]+"},
		},
		Job:       json.RawMessage(`{"manifest":{"kind":"Job","n":"{{gpus}}","note":"<{{note}}> & more"}}`),
		CreatedAt: c.now, UpdatedAt: c.now.Add(time.Duration(version) * time.Second), UpdatedBy: "someone",
	}
}

// brief is a template as lists show it.
func brief(t template.Template) template.Template {
	t.Parameters, t.Job = nil, nil
	return t
}

func testTemplates(t *testing.T, open Opener) {
	c := newClient(t, open)
	first, second := c.template("train", 1), c.template("train", 2)
	c.want(c.PutTemplate(c.ctx, second), store.ErrConflict)
	c.must(c.PutTemplate(c.ctx, first))
	c.want(c.PutTemplate(c.ctx, first), store.ErrConflict)
	c.want(c.PutTemplate(c.ctx, c.template("train", 3)), store.ErrConflict)
	c.must(c.PutTemplate(c.ctx, second))
	c.must(c.PutTemplate(c.ctx, c.template("eval", 1)))

	got, err := c.Template(c.ctx, "train")
	c.must(err)
	c.same("the newest version", got, second)
	for version, want := range map[int64]template.Template{1: first, 2: second} {
		got, err := c.TemplateVersion(c.ctx, "train", version)
		c.must(err)
		c.same("a version", got, want)
	}
	last, err := c.LastTemplateVersion(c.ctx, "train")
	c.must(err)
	c.same("the last version", last, 2)
}

// testLargeTemplate writes one of the largest that there may be, with a text
// that cannot be made much shorter.
func testLargeTemplate(t *testing.T, open Opener) {
	c := newClient(t, open)
	noise := make([]byte, template.MaxSize*3/4-1000)
	_, err := rand.NewChaCha8([32]byte{}).Read(noise)
	c.must(err)
	large := c.template("large", 1)
	large.Job = fmt.Appendf(nil, `{"manifest":%q}`, base64.StdEncoding.EncodeToString(noise))
	c.must(c.PutTemplate(c.ctx, large))
	got, err := c.Template(c.ctx, "large")
	c.must(err)
	c.same("a large template", got, large)
}

func testTemplateNotFound(t *testing.T, open Opener) {
	c := newClient(t, open)
	c.must(c.PutTemplate(c.ctx, c.template("train", 1)))
	_, err := c.Template(c.ctx, "trai")
	c.want(err, store.ErrNotFound)
	for name, version := range map[string]int64{"train": 2, "trai": 1, "training": 1} {
		_, err := c.TemplateVersion(c.ctx, name, version)
		c.want(err, store.ErrNotFound)
	}
	_, err = c.TemplateVersion(c.ctx, "train", 0)
	c.want(err, store.ErrNotFound)
	c.want(c.DeleteTemplate(c.ctx, "trai", 1), store.ErrNotFound)
	last, err := c.LastTemplateVersion(c.ctx, "trai")
	c.must(err)
	c.same("the last version of nothing", last, 0)
	versions, err := c.TemplateVersions(c.ctx, "trai", 0, 10)
	c.must(err)
	c.same("the versions of nothing", versions, []template.Template{})
}

// testDeleteTemplate also uses the name again: no number comes twice, so a job
// that names a version always means the same one.
func testDeleteTemplate(t *testing.T, open Opener) {
	c := newClient(t, open)
	first, second, third := c.template("train", 1), c.template("train", 2), c.template("train", 3)
	c.must(c.PutTemplate(c.ctx, first))
	c.must(c.PutTemplate(c.ctx, second))
	c.want(c.DeleteTemplate(c.ctx, "train", 1), store.ErrConflict)
	c.want(c.DeleteTemplate(c.ctx, "train", 3), store.ErrConflict)
	c.must(c.DeleteTemplate(c.ctx, "train", 2))
	c.want(c.DeleteTemplate(c.ctx, "train", 2), store.ErrNotFound)

	_, err := c.Template(c.ctx, "train")
	c.want(err, store.ErrNotFound)
	all, err := c.Templates(c.ctx, "", 10)
	c.must(err)
	c.same("templates after the only one was deleted", all, []template.Template{})
	old, err := c.TemplateVersion(c.ctx, "train", 1)
	c.must(err)
	c.same("a version of a deleted template", old, first)
	last, err := c.LastTemplateVersion(c.ctx, "train")
	c.must(err)
	c.same("the last version of a deleted template", last, 2)

	c.want(c.PutTemplate(c.ctx, first), store.ErrConflict)
	c.must(c.PutTemplate(c.ctx, third))
	got, err := c.Template(c.ctx, "train")
	c.must(err)
	c.same("a template whose name came free", got, third)
	versions, err := c.TemplateVersions(c.ctx, "train", 0, 10)
	c.must(err)
	c.same("its versions", versions, []template.Template{brief(third), brief(second), brief(first)})
	c.must(c.DeleteTemplate(c.ctx, "train", 3))
}

func testListTemplates(t *testing.T, open Opener) {
	c := newClient(t, open)
	var want []template.Template
	for i := range 23 {
		name := fmt.Sprintf("t-%02d", (i*7)%23)
		c.must(c.PutTemplate(c.ctx, c.template(name, 1)))
		newest := c.template(name, 1)
		for version := range int64(i % 3) {
			newest = c.template(name, version+2)
			c.must(c.PutTemplate(c.ctx, newest))
		}
		if i%5 == 4 {
			c.must(c.DeleteTemplate(c.ctx, name, newest.Version))
			continue
		}
		want = append(want, brief(newest))
	}
	slices.SortFunc(want, func(a, b template.Template) int { return strings.Compare(a.Name, b.Name) })
	for _, limit := range []int{1, 4, 18, 19, 100} {
		var all []template.Template
		for after := ""; ; {
			page, err := c.Templates(c.ctx, after, limit)
			c.must(err)
			all = append(all, page...)
			if len(page) < limit {
				break
			}
			after = page[len(page)-1].Name
		}
		c.same(fmt.Sprintf("templates, %d a page", limit), all, want)
	}
}

func testTemplateVersions(t *testing.T, open Opener) {
	c := newClient(t, open)
	var want []template.Template
	for version := range int64(11) {
		next := c.template("train", version+1)
		c.must(c.PutTemplate(c.ctx, next))
		c.must(c.PutTemplate(c.ctx, c.template("other", version+1)))
		want = append(want, brief(next))
	}
	slices.Reverse(want)
	for _, limit := range []int{1, 3, 11, 50} {
		var all []template.Template
		for before := int64(0); ; {
			page, err := c.TemplateVersions(c.ctx, "train", before, limit)
			c.must(err)
			all = append(all, page...)
			if len(page) < limit || page[len(page)-1].Version == 1 {
				break
			}
			before = page[len(page)-1].Version
		}
		c.same(fmt.Sprintf("versions, %d a page", limit), all, want)
	}
}

// testRaceForTemplate lets callers write the same next version, and then some
// delete what others update.
func testRaceForTemplate(t *testing.T, open Opener) {
	c := newClient(t, open)
	for round := range int64(5) {
		var winners atomic.Int64
		race(racers, func(i int) {
			next := c.template("train", round+1)
			next.UpdatedBy = fmt.Sprint(i)
			if err := c.PutTemplate(c.ctx, next); err == nil {
				winners.Add(1)
			} else if !errors.Is(err, store.ErrConflict) {
				t.Error(err)
			}
		})
		if winners.Load() != 1 {
			t.Fatalf("%d callers wrote version %d", winners.Load(), round+1)
		}
	}
	var put, deleted atomic.Int64
	race(racers, func(i int) {
		var err error
		if i%2 == 0 {
			if err = c.PutTemplate(c.ctx, c.template("train", 6)); err == nil {
				put.Add(1)
			}
		} else if err = c.DeleteTemplate(c.ctx, "train", 5); err == nil {
			deleted.Add(1)
		}
		if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
		}
	})
	last, err := c.LastTemplateVersion(c.ctx, "train")
	c.must(err)
	// The update may follow the deletion, and so bring the template back; a
	// deletion of version 5 cannot follow the update. All updates may have met
	// the deletion, and failed.
	if put.Load() > 1 || deleted.Load() > 1 || put.Load()+deleted.Load() == 0 || last != 5+put.Load() {
		t.Errorf("%d updates and %d deletions of one version won, and the last is %d", put.Load(), deleted.Load(), last)
	}
	if _, err = c.Template(c.ctx, "train"); put.Load() == 1 {
		c.must(err)
	} else {
		c.want(err, store.ErrNotFound)
	}
}
