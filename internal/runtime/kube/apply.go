package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/runtime"
)

// Apply makes the attempt's Job by a server-side apply:
//
//  1. The attempt is compiled to a Job.
//  2. It waits until the lease is recorded, and until nothing runs any more
//     that an earlier term allowed.
//  3. What the Job refers to must be there.
//  4. The Job is applied, within the lease. It says of which term it is, so
//     that a call which takes effect later is ended like what was fenced.
func (r *Runtime) Apply(ctx context.Context, a runtime.Attempt) error {
	if held, err := r.holds(a); held || err != nil {
		return err
	}
	s, err := r.compile(a)
	if err != nil {
		return err
	}
	term, until, err := r.admit(ctx)
	if err != nil {
		return err
	}
	defer r.left(term)
	ctx, cancel := context.WithTimeout(ctx, until.Sub(r.options.Clock.Now()))
	defer cancel()
	if err := r.checkReferences(ctx, a.Namespace, &s.job.Spec.Template.Spec); err != nil {
		return err
	}
	object, err := s.encode(term)
	if err != nil {
		return err
	}
	applied, err := r.client.applyJob(ctx, a.Namespace, s.name, object)
	if err != nil {
		return r.refused(ctx, a, s, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.takeIn(applied)
	r.poke()
	return nil
}

// holds tells whether there is nothing to apply.
func (r *Runtime) holds(a runtime.Attempt) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.held[a.ID]
	if h != nil && h.incarnation != a.Incarnation {
		return false, fmt.Errorf("applying attempt %d of job %s: one of another incarnation (%s) is still there", a.ID.Attempt, a.ID.Job, h.incarnation)
	}
	return h != nil, nil
}

// admit waits for the right to apply something, and counts the call until left.
func (r *Runtime) admit(ctx context.Context) (term string, until time.Time, err error) {
	for {
		if term, until, err = r.lease.allows(ctx); err != nil {
			return "", time.Time{}, err
		}
		r.mu.Lock()
		updated, fencing := r.updated, r.fencing()
		if !fencing {
			r.applies++
			r.applying[term]++
			r.mu.Unlock()
			return term, until, nil
		}
		r.mu.Unlock()
		select {
		case <-updated:
		case <-ctx.Done():
			return "", time.Time{}, fmt.Errorf("waiting for fenced attempts to end: %w", ctx.Err())
		}
	}
}

func (r *Runtime) left(term string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applies--
	if r.applying[term]--; r.applying[term] == 0 {
		delete(r.applying, term)
	}
	if term != r.lease.current() {
		r.signal() // for a fence that waits for it
	}
}

// refused says what it means that the cluster did not take a Job. What is not
// a *runtime.Rejected may be tried again.
func (r *Runtime) refused(ctx context.Context, a runtime.Attempt, s *spec, err error) error {
	message := err.Error()
	rejected := func(reason string, format string, args ...any) error {
		return &runtime.Rejected{Reason: reason, Message: fmt.Sprintf(format, args...)}
	}
	kind, resource := refusal(message)
	switch {
	case kind != "":
		return &runtime.Rejected{
			Reason: string(kind), Message: message,
			Capacity: &runtime.CapacityFailure{Resource: resource, Kind: kind, Message: message},
		}
	case strings.Contains(message, "admission webhook") && strings.Contains(message, "denied the request"):
		return rejected("AdmissionDenied", "%s", message)
	case apierrors.IsForbidden(err):
		// The job is not to blame, and another region may take it; here nothing
		// starts before an operator has acted.
		why := fmt.Sprintf("the agent may not create Jobs in namespace %s: %s", a.Namespace, message)
		return &runtime.Rejected{
			Reason: "Forbidden", Message: why,
			Capacity: &runtime.CapacityFailure{Resource: capacity.Pods, Kind: capacity.Quota, Message: why},
		}
	case apierrors.IsNotFound(err):
		return rejected("NoNamespace", "region %s has no namespace %s; create it there, or submit to another one", r.options.Region, a.Namespace)
	case apierrors.IsConflict(err), apierrors.IsInvalid(err):
		return r.taken(ctx, a, s, err)
	case apierrors.IsBadRequest(err):
		return rejected("Invalid", "the cluster does not take the Job: %s", message)
	}
	return fmt.Errorf("applying attempt %d of job %s: %w", a.ID.Attempt, a.ID.Job, err)
}

// taken tells a Job that is wrong from a name that somebody else's object has.
func (r *Runtime) taken(ctx context.Context, a runtime.Attempt, s *spec, cause error) error {
	found, err := r.client.job(ctx, a.Namespace, s.name)
	switch {
	case apierrors.IsNotFound(err) && apierrors.IsInvalid(cause):
		return &runtime.Rejected{Reason: "Invalid", Message: "the cluster does not take the Job: " + cause.Error()}
	case err != nil:
		return fmt.Errorf("applying attempt %d of job %s: %w", a.ID.Attempt, a.ID.Job, errors.Join(cause, err))
	case ours(found, a):
		// Two calls at once, or one that was made again.
		return fmt.Errorf("applying attempt %d of job %s: %w", a.ID.Attempt, a.ID.Job, cause)
	}
	return &runtime.Rejected{
		Reason:  "NameTaken",
		Message: fmt.Sprintf("namespace %s of region %s has a Job %s that is not GCO's; delete it there, then retry the job", a.Namespace, r.options.Region, s.name),
	}
}

func ours(j *batchv1.Job, a runtime.Attempt) bool {
	id, ok := attemptOf(j)
	return ok && id == a.ID
}
