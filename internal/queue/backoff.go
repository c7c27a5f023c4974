package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
)

// Bounds of a region's back-off after a capacity failure. It doubles with
// each failure that comes before the one before is forgotten.
const (
	firstBackoff = 30 * time.Second
	maxBackoff   = 30 * time.Minute
)

// Bounds of what a region's agent may have remembered. They are written with
// each of its Syncs.
const (
	maxBackoffs        = 64
	maxResourceName    = 317 // a DNS name, a slash and a label, as in Kubernetes
	maxBackoffMessage  = 1024
	forgetBackoffAfter = maxBackoff
)

// backOff keeps the region from getting more work that needs the resource.
func (s *syncCall) backOff(ctx context.Context, failure api.CapacityFailure) error {
	now := s.q.Clock.Now()
	before, failedBefore := s.record.Backoffs[failure.Resource]
	switch {
	case failure.Resource == "" || len(failure.Resource) > maxResourceName:
		return nil
	case failedBefore && now.Before(before.Until):
		// The same shortage, seen through several attempts.
		return nil
	case !failedBefore && len(s.record.Backoffs) >= maxBackoffs:
		if err := s.forgetBackoffs(ctx, now); err != nil || len(s.record.Backoffs) >= maxBackoffs {
			return err
		}
	}
	backoff := capacity.Backoff{
		Kind: kindOf(failure.Kind), Failures: 1, Since: now, Message: cut(failure.Message, maxBackoffMessage),
	}
	if failedBefore && !forgotten(before, now) {
		backoff.Failures, backoff.Since = before.Failures+1, before.Since
	}
	pause := firstBackoff
	for i := 1; i < backoff.Failures && pause < maxBackoff; i++ {
		pause *= 2
	}
	backoff.Until = now.Add(min(pause, maxBackoff))
	return s.setBackoff(ctx, failure.Resource, backoff)
}

// kindOf takes an unknown kind for the one that passes by itself.
func kindOf(text string) capacity.FailureKind {
	switch kind := capacity.FailureKind(text); kind {
	case capacity.NeverFits, capacity.Quota:
		return kind
	default:
		return capacity.NoCapacity
	}
}

func forgotten(b capacity.Backoff, now time.Time) bool {
	return !now.Before(b.Until.Add(forgetBackoffAfter))
}

// forgetBackoffs removes those that mean nothing any more.
func (s *syncCall) forgetBackoffs(ctx context.Context, now time.Time) error {
	for resource, backoff := range s.record.Backoffs {
		if !forgotten(backoff, now) {
			continue
		}
		if err := s.setBackoff(ctx, resource, capacity.Backoff{}); err != nil {
			return err
		}
	}
	return nil
}

// setBackoff writes a back-off, or removes it where it is zero.
func (s *syncCall) setBackoff(ctx context.Context, resource string, backoff capacity.Backoff) error {
	if err := s.q.Store.SetBackoff(ctx, s.region, resource, backoff); err != nil {
		return fmt.Errorf("backing off %s in %s: %w", resource, s.region, err)
	}
	if backoff.Until.IsZero() {
		delete(s.record.Backoffs, resource)
		return nil
	}
	if s.record.Backoffs == nil {
		s.record.Backoffs = map[string]capacity.Backoff{}
	}
	s.record.Backoffs[resource] = backoff
	return nil
}
