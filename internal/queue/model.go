package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/model"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/store"
)

// ErrNoModel is what Options.Model answers for a reference that names nothing.
var ErrNoModel = errors.New("no such model")

// maxWanted is for how many classes of jobs that fit nowhere now regions fetch
// the models.
const maxWanted = 20

// ahead is what the Placer found no room for, and has models: regions fetch
// those while the jobs wait. It is known where the Placer runs, and is lost with
// that: the jobs then wait for their models a little longer.
type ahead struct {
	mu      sync.Mutex
	classes []store.WaitingClass
}

func (a *ahead) set(classes []store.WaitingClass) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.classes = classes
}

// of lists the models of jobs that could run in a region if it were empty.
func (a *ahead) of(region capacity.Region) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var models []string
	for _, class := range a.classes {
		c := class.Constraints
		if len(c.Regions) > 0 && !slices.Contains(c.Regions, region.Name) || slices.Contains(c.AvoidRegions, region.Name) || region.Cordoned {
			continue
		}
		if placement.Fits(class.Demand, emptied(region.Snapshot)) {
			models = append(models, c.Model)
		}
	}
	return models
}

// emptied is the snapshot of a region where nothing runs.
func emptied(s capacity.Snapshot) capacity.Snapshot {
	s.Nodes = slices.Clone(s.Nodes)
	for i := range s.Nodes {
		s.Nodes[i].Free = s.Nodes[i].Total
	}
	return s
}

// exactModel finds the version that a reference to a model names now.
func (q *Queue) exactModel(ctx context.Context, text string) (string, []job.Fault, error) {
	if text == "" {
		return "", nil, nil
	}
	wrong := func(format string, args ...any) (string, []job.Fault, error) {
		return "", []job.Fault{{Field: "model", Message: fmt.Sprintf(format, args...)}}, nil
	}
	ref, err := model.ParseRef(text)
	switch {
	case err != nil:
		return wrong("%s", err)
	case q.Model == nil:
		return wrong("%s can't be found: this server keeps no models", ref)
	}
	exact, err := q.Model(ctx, ref)
	if errors.Is(err, ErrNoModel) {
		return wrong("there is no %s in the model registry; 'gco models list' lists what there is", ref)
	}
	if err != nil {
		return "", nil, fmt.Errorf("looking for model %s: %w", ref, err)
	}
	return exact.String(), nil, nil
}
