package storetest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/store"
)

// newPipeline returns a valid one; alter may change the record.
func (c *client) newPipeline(alter ...func(*store.NewPipeline)) store.NewPipeline {
	p := store.NewPipeline{
		Pipeline: pipeline.Pipeline{
			ID: pipeline.NewID(), Namespace: "team-a", Name: "nightly", SubmittedBy: "someone",
			Version: 1, State: pipeline.Running, Run: 1,
			Steps: []pipeline.Step{
				{Name: "first", State: pipeline.StepRunning, Run: 1, Job: job.NewID(), Wanted: []string{"n"}},
				{
					Name: "second", State: pipeline.StepWaiting, Run: 1,
					After: []pipeline.Dependency{{Step: "first", Condition: pipeline.OnSuccess}, {Job: job.NewID(), Condition: pipeline.OnFinish, Ended: job.Failed}},
				},
			},
			SubmittedAt: c.now, UpdatedAt: c.now, DueAt: c.now,
		},
	}
	for _, change := range alter {
		change(&p)
	}
	if p.Document == nil {
		p.Document = []byte(`{"of":"` + string(p.Pipeline.ID) + `"}`)
	}
	return p
}

// pipeline inserts one.
func (c *client) pipeline(alter ...func(*store.NewPipeline)) pipeline.Pipeline {
	c.Helper()
	stored, created, err := c.InsertPipeline(c.ctx, c.newPipeline(alter...))
	c.must(err)
	if !created {
		c.Fatalf("pipeline %s was not created", stored.ID)
	}
	return stored
}

func testPipelines(t *testing.T, open Opener) {
	c := newClient(t, open)
	p := c.newPipeline()
	stored, created, err := c.InsertPipeline(c.ctx, p)
	c.must(err)
	if !created {
		t.Error("a new pipeline was not created")
	}
	c.same("what was inserted", stored, p.Pipeline)
	read, err := c.Pipeline(c.ctx, p.Pipeline.ID)
	c.must(err)
	c.same("the pipeline", read, p.Pipeline)
	document, err := c.PipelineDocument(c.ctx, p.Pipeline.ID)
	c.must(err)
	if !bytes.Equal(document, p.Document) {
		t.Errorf("the document is %s instead of %s", document, p.Document)
	}
	_, _, err = c.InsertPipeline(c.ctx, p)
	c.want(err, store.ErrConflict)

	next := read
	next.Version, next.State, next.Message, next.FinishedAt = 2, pipeline.Failed, "step first failed", c.now
	next.Steps[0].State, next.Steps[0].Outputs = pipeline.StepFailed, job.Outputs{"n": []byte(`3`)}
	c.must(c.UpdatePipeline(c.ctx, next))
	c.want(c.UpdatePipeline(c.ctx, next), store.ErrConflict)
	read, err = c.Pipeline(c.ctx, p.Pipeline.ID)
	c.must(err)
	c.same("the pipeline after an update", read, next)

	c.want(c.DeletePipeline(c.ctx, next.ID, 1), store.ErrConflict)
	c.must(c.DeletePipeline(c.ctx, next.ID, 2))
	c.want(c.DeletePipeline(c.ctx, next.ID, 2), store.ErrNotFound)
	next.Version = 3
	c.want(c.UpdatePipeline(c.ctx, next), store.ErrNotFound)
	_, err = c.Pipeline(c.ctx, next.ID)
	c.want(err, store.ErrNotFound)
	_, err = c.PipelineDocument(c.ctx, next.ID)
	c.want(err, store.ErrNotFound)
}

func testPipelineKeys(t *testing.T, open Opener) {
	c := newClient(t, open)
	key := store.IdempotencyKey{Identity: "ci", Namespace: "team-a", Key: "k", BodyHash: "h"}
	with := func(k store.IdempotencyKey) func(*store.NewPipeline) {
		return func(p *store.NewPipeline) { p.Pipeline.Namespace, p.Key = k.Namespace, &k }
	}
	first := c.pipeline(with(key))
	first.Version, first.Message = 2, "later"
	c.must(c.UpdatePipeline(c.ctx, first))
	replay, created, err := c.InsertPipeline(c.ctx, c.newPipeline(with(key)))
	c.must(err)
	if created {
		t.Error("a replay created a pipeline")
	}
	c.same("a replay", replay, first)
	made, err := c.PipelineMadeBy(c.ctx, key)
	c.must(err)
	c.same("the pipeline of the key", made, first)

	other := key
	other.BodyHash = "other"
	_, _, err = c.InsertPipeline(c.ctx, c.newPipeline(with(other)))
	c.want(err, store.ErrKeyReused)
	_, err = c.PipelineMadeBy(c.ctx, other)
	c.want(err, store.ErrKeyReused)
	for _, change := range []func(*store.IdempotencyKey){
		func(k *store.IdempotencyKey) { k.Identity = "cd" },
		func(k *store.IdempotencyKey) { k.Namespace = "team-b" },
		func(k *store.IdempotencyKey) { k.Key = "l" },
	} {
		k := key
		change(&k)
		_, err := c.PipelineMadeBy(c.ctx, k)
		c.want(err, store.ErrNotFound)
		c.pipeline(with(k))
	}
	// A job's key of the same name is another key.
	s := c.submission()
	s.Key = &key
	c.insert(s)

	c.must(c.DeletePipeline(c.ctx, first.ID, 2))
	c.pipeline(with(other))
}

func testPipelineLists(t *testing.T, open Opener) {
	c := newClient(t, open)
	var all []pipeline.Pipeline
	for i := range 12 {
		all = append(all, c.pipeline(func(p *store.NewPipeline) {
			p.Pipeline.Namespace = fmt.Sprintf("team-%d", i%3)
			p.Pipeline.State = pipeline.States[i%len(pipeline.States)]
		}))
	}
	slices.Reverse(all)
	for name, query := range map[string]store.PipelineQuery{
		"all":             {},
		"one namespace":   {Namespaces: []string{"team-1"}},
		"two namespaces":  {Namespaces: []string{"team-0", "team-2"}},
		"a state":         {States: []pipeline.State{pipeline.Failed}},
		"both":            {Namespaces: []string{"team-0"}, States: []pipeline.State{pipeline.Running, pipeline.Succeeded}},
		"nothing matches": {Namespaces: []string{"team-9"}},
	} {
		var want []pipeline.ID
		for _, p := range all {
			if (query.Namespaces == nil || slices.Contains(query.Namespaces, p.Namespace)) && (query.States == nil || slices.Contains(query.States, p.State)) {
				want = append(want, p.ID)
			}
		}
		for _, limit := range []int{1, 3, 4, 100} {
			query.Before, query.Limit = "", limit
			var got []pipeline.ID
			for more := true; more; {
				page, err := c.Pipelines(c.ctx, query)
				c.must(err)
				if len(page.Pipelines) > limit {
					t.Fatalf("%s: %d pipelines on a page of %d", name, len(page.Pipelines), limit)
				}
				for _, p := range page.Pipelines {
					got = append(got, p.ID)
				}
				query.Before, more = page.Next, page.More
			}
			c.same(fmt.Sprintf("%s by %d", name, limit), got, want)
		}
	}
	some, err := c.PipelinesByID(c.ctx, []pipeline.ID{all[3].ID, pipeline.NewID(), all[5].ID})
	c.must(err)
	c.same("some by ID", some, map[pipeline.ID]pipeline.Pipeline{all[3].ID: all[3], all[5].ID: all[5]})
}

func testDuePipelines(t *testing.T, open Opener) {
	c := newClient(t, open)
	at := func(d time.Duration) func(*store.NewPipeline) {
		return func(p *store.NewPipeline) { p.Pipeline.DueAt = c.now.Add(d) }
	}
	third, first, second := c.pipeline(at(time.Hour)), c.pipeline(at(-time.Minute)), c.pipeline(at(0))
	due := func(before time.Duration, limit int) []pipeline.ID {
		found, err := c.DuePipelines(c.ctx, c.now.Add(before), limit)
		c.must(err)
		var ids []pipeline.ID
		for _, p := range found {
			ids = append(ids, p.ID)
		}
		return ids
	}
	c.same("what is due now", due(0, 10), []pipeline.ID{first.ID})
	c.same("what is due at once", due(1, 10), []pipeline.ID{first.ID, second.ID})
	c.same("a part", due(2*time.Hour, 2), []pipeline.ID{first.ID, second.ID})
	first.Version, first.DueAt = 2, c.now.Add(2*time.Hour)
	c.must(c.UpdatePipeline(c.ctx, first))
	c.must(c.DeletePipeline(c.ctx, second.ID, 1))
	c.same("what is due later", due(3*time.Hour, 10), []pipeline.ID{third.ID, first.ID})
}

// testRaceForPipeline lets many change one record: each version has one
// author.
func testRaceForPipeline(t *testing.T, open Opener) {
	c := newClient(t, open)
	p := c.pipeline()
	const racers, rounds = 8, 10
	var mu sync.Mutex
	authors := map[int64]int{}
	var group sync.WaitGroup
	for racer := range racers {
		group.Go(func() {
			for range rounds {
				mine, err := c.Pipeline(c.ctx, p.ID)
				if err != nil {
					t.Error(err)
					return
				}
				mine.Version++
				mine.Message = fmt.Sprint(racer)
				err = c.UpdatePipeline(c.ctx, mine)
				if err != nil && !errors.Is(err, store.ErrConflict) {
					t.Error(err)
					return
				}
				if err == nil {
					mu.Lock()
					authors[mine.Version]++
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	last, err := c.Pipeline(c.ctx, p.ID)
	c.must(err)
	for version := int64(2); version <= last.Version; version++ {
		if authors[version] != 1 {
			t.Errorf("version %d has %d authors", version, authors[version])
		}
	}
	if int(last.Version) != len(authors)+1 || last.Version < 1+rounds {
		t.Errorf("the last version is %d after %d changes", last.Version, len(authors))
	}
}

// testRaceForPipelineKey lets many insert under one key: one of them creates.
func testRaceForPipelineKey(t *testing.T, open Opener) {
	c := newClient(t, open)
	key := store.IdempotencyKey{Identity: "ci", Namespace: "team-a", Key: "k", BodyHash: "h"}
	const racers = 8
	made := make([]pipeline.ID, racers)
	creations := make([]bool, racers)
	var group sync.WaitGroup
	for i := range racers {
		p := c.newPipeline(func(p *store.NewPipeline) { p.Key = &key })
		group.Go(func() {
			stored, created, err := c.InsertPipeline(c.ctx, p)
			if err != nil {
				t.Error(err)
			}
			made[i], creations[i] = stored.ID, created
		})
	}
	group.Wait()
	slices.SortFunc(made, cmp.Compare)
	if len(slices.Compact(made)) != 1 {
		t.Errorf("one key made %v", made)
	}
	creations = slices.DeleteFunc(creations, func(created bool) bool { return !created })
	if len(creations) != 1 {
		t.Errorf("%d of %d created the pipeline", len(creations), racers)
	}
}
