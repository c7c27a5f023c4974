// Package endpoint holds what an inference endpoint is: what its users want of
// it (Endpoint, with its revisions), what the control plane decided for each
// region (Plan), what a region says of it (Observed), and the rules between
// them: which edits there are, how replicas spread over regions, how one
// region goes from one revision to the next, and when a revision has failed.
// It is pure: the time comes as an argument. serving decides by it on the
// control plane, agent in a region; store keeps the records.
package endpoint

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// KeepRevisions is how many revisions an endpoint remembers.
const KeepRevisions = 10

// Endpoint is the record of what is wanted. Only edits change it: those of
// users, and those that serving makes in their name, such as a rollback.
type Endpoint struct {
	// UID is new for each endpoint that is made, also under an old name.
	UID  string `json:"uid"`
	Name string `json:"name"`
	// Version counts the edits.
	Version int64 `json:"version"`
	// Spec is the last one that was asked for. While a canary is on trial, its
	// Container is that of the canary.
	Spec Spec `json:"spec"`
	// Stopped endpoints keep their spec and have no replicas.
	Stopped bool `json:"stopped,omitempty"`
	// Deleting endpoints go as soon as no region has a replica any more.
	Deleting bool `json:"deleting,omitempty"`

	// Revision is the number of the one that serves.
	Revision int `json:"revision"`
	// Canary is a second revision with a share of the requests.
	Canary *Canary `json:"canary,omitempty"`
	// Revisions are the last ones, newest first; those in use are among them.
	Revisions []Revision `json:"revisions"`

	// WokenAt is when a request last waited for a replica, of an endpoint that
	// has none.
	WokenAt   time.Time `json:"wokenAt,omitzero"`
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy,omitempty"`
	UpdatedAt time.Time `json:"updatedAt"`
	// UpdatedBy is who made the last edit, and Reason why, where that was not
	// a user.
	UpdatedBy string `json:"updatedBy,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

// Revision is one version of what a replica is. It never changes, but for its
// Failure and its Trials.
type Revision struct {
	Number    int       `json:"number"`
	Container Container `json:"container"`
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy,omitempty"`
	// Failure says why it was rolled back; empty for one that was not.
	Failure string `json:"failure,omitempty"`
	// Trials are the last verdicts on it as a canary, oldest first.
	Trials []Trial `json:"trials,omitempty"`
}

// Canary is a revision on trial. Its share goes by Spec.Canary.
type Canary struct {
	Revision int `json:"revision"`
	// Weight is its share of the requests in the regions of the trial, in
	// percent.
	Weight int `json:"weight"`
	// Since is when it got this weight.
	Since time.Time `json:"since"`
}

// The edits that the state of an endpoint does not allow.
var (
	// ErrDeleting: nothing more can be asked of it.
	ErrDeleting = errors.New("the endpoint is being deleted")
	// ErrNoCanary: there is nothing to promote or to weigh.
	ErrNoCanary = errors.New("the endpoint has no canary")
	// ErrNoRevision: it is not remembered, or there is none before this one.
	ErrNoRevision = errors.New("there is no such revision")
	// ErrAutoscaled: the number of replicas is not the user's to say.
	ErrAutoscaled = errors.New("the endpoint is autoscaled")
)

// New returns the record of an endpoint that was just asked for. The spec has
// its defaults and no faults.
func New(uid, name string, spec Spec, by string, now time.Time) Endpoint {
	return Endpoint{
		UID: uid, Name: name, Version: 1, Spec: spec, Revision: 1,
		Revisions: []Revision{{Number: 1, Container: spec.Container, CreatedAt: now, CreatedBy: by}},
		CreatedAt: now, CreatedBy: by, UpdatedAt: now, UpdatedBy: by,
	}
}

// Find returns a revision by its number.
func (e *Endpoint) Find(number int) (Revision, bool) {
	i := slices.IndexFunc(e.Revisions, func(r Revision) bool { return r.Number == number })
	if i < 0 {
		return Revision{}, false
	}
	return e.Revisions[i], true
}

// edited returns a copy for the next version, whose revisions may be changed.
func (e *Endpoint) edited(by, reason string, now time.Time) (Endpoint, error) {
	if e.Deleting {
		return *e, ErrDeleting
	}
	next := *e
	next.Revisions = slices.Clone(e.Revisions)
	if e.Canary != nil {
		canary := *e.Canary
		next.Canary = &canary
	}
	next.Version++
	next.UpdatedAt, next.UpdatedBy, next.Reason = now, by, reason
	return next, nil
}

// Update replaces the spec. A container unlike the current one makes a
// revision: a canary where the spec asks for one and something serves already,
// else it takes over by a rolling update.
func (e *Endpoint) Update(spec Spec, by string, now time.Time) (Endpoint, error) {
	next, err := e.edited(by, "", now)
	if err != nil {
		return *e, err
	}
	changed := !spec.Container.Same(e.Spec.Container)
	next.Spec = spec
	if spec.Canary == nil && next.Canary != nil {
		next.Revision, next.Canary = next.Canary.Revision, nil
	}
	if !changed {
		return next, nil
	}
	number := next.add(spec.Container, by, now)
	if spec.Canary != nil && !next.Stopped {
		next.Canary = &Canary{Revision: number, Weight: spec.Canary.first(), Since: now}
	} else {
		next.Revision, next.Canary = number, nil
	}
	next.forget()
	return next, nil
}

// add makes a revision, and returns its number.
func (e *Endpoint) add(container Container, by string, now time.Time) int {
	number := 1
	for _, r := range e.Revisions {
		number = max(number, r.Number+1)
	}
	made := Revision{Number: number, Container: container, CreatedAt: now, CreatedBy: by}
	e.Revisions = slices.Insert(e.Revisions, 0, made)
	return number
}

// forget drops the oldest revisions, and none that is in use.
func (e *Endpoint) forget() {
	for i := len(e.Revisions) - 1; i > 0 && len(e.Revisions) > KeepRevisions; i-- {
		number := e.Revisions[i].Number
		if number != e.Revision && (e.Canary == nil || number != e.Canary.Revision) {
			e.Revisions = slices.Delete(e.Revisions, i, i+1)
		}
	}
}

// Scale sets the number of replicas; ErrAutoscaled.
func (e *Endpoint) Scale(replicas int, by string, now time.Time) (Endpoint, error) {
	if e.Spec.Autoscaling != nil {
		return *e, ErrAutoscaled
	}
	next, err := e.edited(by, "", now)
	next.Spec.Replicas = replicas
	return next, err
}

// SetStopped stops or starts the endpoint. A trial does not survive a stop.
func (e *Endpoint) SetStopped(stopped bool, by string, now time.Time) (Endpoint, error) {
	next, err := e.edited(by, "", now)
	if err != nil {
		return *e, err
	}
	next.Stopped = stopped
	if stopped && next.Canary != nil {
		next.endTrial("the endpoint was stopped")
	}
	return next, nil
}

// Delete asks for the end of the endpoint.
func (e *Endpoint) Delete(by string, now time.Time) (Endpoint, error) {
	next, err := e.edited(by, "", now)
	if err != nil {
		return *e, err
	}
	next.Deleting, next.Canary = true, nil
	return next, nil
}

// SetWeight gives the canary another share of the requests; ErrNoCanary.
func (e *Endpoint) SetWeight(weight int, by, reason string, now time.Time) (Endpoint, error) {
	if e.Canary == nil {
		return *e, ErrNoCanary
	}
	next, err := e.edited(by, reason, now)
	if err != nil {
		return *e, err
	}
	next.Canary.Weight, next.Canary.Since = weight, now
	return next, nil
}

// Promote makes the canary the revision that serves; ErrNoCanary.
func (e *Endpoint) Promote(by, reason string, now time.Time) (Endpoint, error) {
	if e.Canary == nil {
		return *e, ErrNoCanary
	}
	next, err := e.edited(by, reason, now)
	if err != nil {
		return *e, err
	}
	next.Revision, next.Canary = next.Canary.Revision, nil
	return next, nil
}

// Rollback goes back to a revision; 0 ends a trial, or goes back to the one
// before the one that serves, leaving out those that failed. Where it ends a
// trial, or reason is set, the revision that it leaves is marked as failed.
// ErrNoRevision.
func (e *Endpoint) Rollback(to int, by, reason string, now time.Time) (Endpoint, error) {
	next, err := e.edited(by, reason, now)
	if err != nil {
		return *e, err
	}
	switch {
	case e.Canary != nil && (to == 0 || to == e.Revision):
		next.endTrial(cmp.Or(reason, "rolled back by "+by))
		return next, nil
	case to == 0:
		to = e.before(e.Revision)
	}
	target, found := next.Find(to)
	if !found || to == e.Revision && e.Canary == nil {
		return *e, fmt.Errorf("%w: %d", ErrNoRevision, to)
	}
	next.fail(next.Revision, reason)
	next.Revision, next.Canary, next.Spec.Container = to, nil, target.Container
	return next, nil
}

// endTrial gives all requests back to the revision that serves.
func (e *Endpoint) endTrial(reason string) {
	e.fail(e.Canary.Revision, reason)
	e.Canary = nil
	if serving, found := e.Find(e.Revision); found {
		e.Spec.Container = serving.Container
	}
}

func (e *Endpoint) fail(number int, reason string) {
	for i := range e.Revisions {
		if e.Revisions[i].Number == number && reason != "" {
			e.Revisions[i].Failure = reason
		}
	}
}

// before is the newest revision older than one that did not fail; 0 if there
// is none.
func (e *Endpoint) before(number int) int {
	found := 0
	for _, r := range e.Revisions {
		if r.Number < number && r.Failure == "" {
			found = max(found, r.Number)
		}
	}
	return found
}
