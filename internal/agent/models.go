package agent

import (
	"errors"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/model/cache"
	"github.com/gco-project/gco/internal/runtime"
)

// Models is what a region has of models: a *cache.Cache.
type Models interface {
	// Path is the directory of a version that is here; see cache.Cache.Path.
	Path(ref string) (string, error)
	// Prefetch brings versions that will be needed.
	Prefetch(refs []string)
	// Present are here; Known are, or are on their way.
	Present() []string
	Known() []string
	// Changed is signalled after something has come, or failed to.
	Changed() <-chan struct{}
}

var _ Models = (*cache.Cache)(nil)

// reasonModel is why an attempt is not run whose model does not come.
const reasonModel = "ModelUnavailable"

// modelsChanged is nil, and so never signalled, where there are no models.
func (a *Agent) modelsChanged() <-chan struct{} {
	if a.Models == nil {
		return nil
	}
	return a.Models.Changed()
}

// modelOf finds the model of an attempt. Until it is here, the attempt rests,
// and the control plane repeats it; if it does not come, the attempt goes
// elsewhere, or fails where no such version is. a.mu must be held.
func (a *Agent) modelOf(id job.AttemptID, name string) (dir string, here bool) {
	if name == "" {
		return "", true
	}
	err := errors.New("this region keeps no models")
	if a.Models != nil {
		if dir, err = a.Models.Path(name); err == nil {
			return dir, true
		}
	}
	if errors.Is(err, cache.ErrFetching) {
		a.leave(id, retryPause, false)
		return "", false
	}
	o := api.Observation{
		AttemptRef: ref(id), Phase: string(runtime.PhaseReleased), Reason: reasonModel, Message: name + ": " + err.Error(),
	}
	if errors.Is(err, cache.ErrGone) {
		o.Phase = string(runtime.PhaseFailed)
	}
	a.unheld[id] = o
	a.notice()
	return "", false
}
