package queue

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/model"
)

// tagged is a registry with llama, whose tag prod names a version that changes.
type tagged struct {
	prod int64
	down error
}

func (r *tagged) options(o *Options) {
	o.Model = func(_ context.Context, ref model.Ref) (model.Ref, error) {
		switch {
		case r.down != nil:
			return ref, r.down
		case ref.Name != "llama":
			return ref, ErrNoModel
		case ref.Tag == "prod":
			ref = model.Ref{Name: "llama", Version: r.prod}
		}
		return ref, nil
	}
}

func withModel(ref string) func(*api.Submission) {
	return func(s *api.Submission) { s.Model = ref }
}

func TestAJobGoesWhereItsModelIs(t *testing.T) {
	f := newFixture(t, (&tagged{prod: 3}).options)
	f.open("a", 4)
	there := f.open("z", 4)
	there.request.Inventory, there.request.Capacity = nil, nodesOf(4)
	there.request.Capacity.Models = []string{"llama@3"}
	there.mustSync()
	j := f.submit(withModel("llama@prod"))
	if j.Spec.Placement.Model != "llama@3" {
		t.Errorf("the job names %q", j.Spec.Placement.Model)
	}
	f.step()
	if placed := f.wantState(j.ID, job.Placed); placed.Region != "z" {
		t.Errorf("placed to %s", placed.Region)
	}
	there.request.Capacity = nil
	there.mustSync()
	if len(there.response.Start) != 1 || there.response.Start[0].Model != "llama@3" {
		t.Errorf("to start: %+v", there.response.Start)
	}
}

// TestWhatFitsNowhereIsFetchedAhead tells the regions that could run the job if
// they were empty, until they say that they fetch.
func TestWhatFitsNowhereIsFetchedAhead(t *testing.T) {
	f := newFixture(t, (&tagged{prod: 3}).options)
	large := func(s *api.Submission) { s.Manifest = manifestOf("large", "3") }
	regions := []*remote{f.open("a", 1), f.open("b", 1)}
	sync := func() (models []string) {
		for _, r := range regions {
			r.request.Inventory, r.request.Capacity = nil, nil
			r.mustSync()
			models = append(models, r.response.Models...)
		}
		return models
	}
	f.submit(large)
	f.submit(large)
	f.step()
	sync()
	only := func(s *api.Submission) { s.Placement = &api.Placement{Regions: []string{"b"}} }
	f.submit(large, withModel("llama@1"), only)
	f.submit(func(s *api.Submission) { s.Manifest = manifestOf("huge", "5") }, withModel("llama@2"))
	f.step()
	sync()
	if got := regions[0].response.Models; len(got) > 0 {
		t.Errorf("region a is told of %v", got)
	}
	if got := regions[1].response.Models; !slices.Equal(got, []string{"llama@1"}) {
		t.Errorf("region b is told of %v", got)
	}
	regions[1].request.Models = []string{"llama@1"}
	if got := sync(); len(got) > 0 {
		t.Errorf("told again: %v", got)
	}
}

func TestModelsThatAreNot(t *testing.T) {
	for _, test := range []struct {
		name, ref string
		change    func(*Options)
	}{
		{"no such model", "other@1", (&tagged{}).options},
		{"no reference", "Not one", (&tagged{}).options},
		{"no registry", "llama@1", func(*Options) {}},
	} {
		f := newFixture(t, test.change)
		request := api.Submission{Manifest: manifestOf("work", "1"), Model: test.ref}
		err := f.Submit(t.Context(), []Submission{{Identity: "ann", Request: request}})[0].Err
		invalid, ok := errors.AsType[*job.Invalid](err)
		if !ok || len(invalid.Faults) != 1 || invalid.Faults[0].Field != "model" {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	away := errors.New("the bucket is away")
	f := newFixture(t, (&tagged{down: away}).options)
	request := api.Submission{Manifest: manifestOf("work", "1"), Model: "llama"}
	if err := f.Submit(t.Context(), []Submission{{Identity: "ann", Request: request}})[0].Err; !errors.Is(err, away) {
		t.Error(err)
	}
}

// TestAReplayAfterATagHasMoved is the job that the key made.
func TestAReplayAfterATagHasMoved(t *testing.T) {
	registry := &tagged{prod: 3}
	f := newFixture(t, registry.options)
	send := func() Submitted {
		request := api.Submission{Manifest: manifestOf("work", "1"), Model: "llama@prod"}
		return f.Submit(t.Context(), []Submission{{Identity: "ann", Key: "k", Request: request}})[0]
	}
	first := send()
	registry.prod = 4
	again := send()
	if first.Err != nil || again.Err != nil || again.Created || again.Job.ID != first.Job.ID || again.Job.Spec.Placement.Model != "llama@3" {
		t.Errorf("%+v, then %+v", first, again)
	}
}
