package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/runtime"
)

// What the Lease says beside who holds it.
const (
	// annotationUntil is until when fenced attempts may run, annotationTrust
	// what was left of that when it was written.
	annotationUntil = "gco.dev/trust-until"
	annotationTrust = "gco.dev/trust"
	// annotationTerm is also on Jobs: a fenced attempt of another term than the
	// Lease's has been fenced, and is to be ended wherever it shows up.
	annotationTerm = "gco.dev/term"
)

// lease is one agent's hold on the cluster, kept in a Lease object that all
// replicas of the agent share. In it also stands until when fenced attempts
// may run, so that whoever holds it next knows. One rule covers an agent that
// died, one that lost the control plane, and a cluster that could not be
// reached:
//
//  1. What runs may run until the deadline that the Lease records. Renew asks
//     for a later one; it counts once it is written.
//  2. When that time has passed, the holder begins a new term. Attempts of an
//     earlier term are ended as soon as the cluster can be reached, also those
//     whose creation was still under way.
//  3. Nothing is applied before the new term is recorded.
//
// A holder that has not renewed the object for its duration may be replaced.
// That is judged by the watching replica's own clock since it last saw the
// object change. A holder of the same identity is this one's former life.
type lease struct {
	client *client
	clock  clock.WithTicker
	log    *slog.Logger
	// identity names this process; nobody else ever runs under it at the same
	// time.
	identity        string
	namespace, name string
	duration        time.Duration
	// begin is called, without the lock, when a new term has begun by itself.
	begin func()

	mu     sync.Mutex
	object *coordinationv1.Lease // as it was last read or written
	term   string
	// wanted is the deadline that was asked for in this term, recorded the one
	// that is written with it; zero is none.
	wanted, recorded time.Time
	// armed says that the term may end by itself, unwritten that it is not
	// recorded yet.
	armed, unwritten bool
	// contact is when the last write that succeeded was begun, failed how many
	// have failed since.
	contact time.Time
	failed  int
	err     error
	nextTry time.Time
	// lost is closed when another holder was seen.
	lost    chan struct{}
	changed chan struct{} // closed and replaced at each change
	wake    chan struct{}
}

func newLease(c *client, o Options, begin func()) *lease {
	return &lease{
		client: c, clock: o.Clock, log: o.Log, identity: o.Identity, namespace: o.Namespace, name: leaseName,
		duration: o.LeaseDuration, begin: begin,
		lost: make(chan struct{}), changed: make(chan struct{}), wake: make(chan struct{}, 1),
	}
}

// acquire takes the Lease. While another agent holds it, runtime.ErrLocked is
// returned, or, with wait, it goes on until that one is gone.
func (l *lease) acquire(ctx context.Context, wait bool) error {
	var seen, told string
	var since time.Time
	for {
		found, err := l.client.lease(ctx, l.namespace, l.name)
		if apierrors.IsNotFound(err) {
			found = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: l.name}}
		} else if err != nil {
			return fmt.Errorf("reading the agents' lease %s/%s: %w", l.namespace, l.name, err)
		}
		if found.ResourceVersion != seen {
			seen, since = found.ResourceVersion, l.clock.Now()
		}
		holder := deref(found.Spec.HolderIdentity)
		if holder == "" || holder == l.identity || l.clock.Since(since) > keeps(found, l.duration) {
			err := l.take(ctx, found)
			if err == nil || !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
				return err
			}
			continue // someone was faster
		}
		if !wait {
			return fmt.Errorf("%w: %s", runtime.ErrLocked, holder)
		}
		if holder != told {
			told = holder
			l.log.Info("another agent drives this cluster; standing by", "holder", holder)
		}
		if err := pause(ctx, l.clock, l.duration/4); err != nil {
			return err
		}
	}
}

// keeps is for how long a Lease keeps others out.
func keeps(l *coordinationv1.Lease, otherwise time.Duration) time.Duration {
	if seconds := deref(l.Spec.LeaseDurationSeconds); seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	return otherwise
}

// take makes this process the holder, and adopts what the Lease records.
func (l *lease) take(ctx context.Context, found *coordinationv1.Lease) error {
	now := l.clock.Now()
	l.mu.Lock()
	l.object = found
	l.term = found.Annotations[annotationTerm]
	l.recorded = recordedDeadline(found, now)
	if l.term == "" {
		l.term, l.recorded = uuid.NewString(), time.Time{}
	}
	l.wanted, l.armed = l.recorded, !l.recorded.IsZero()
	if deref(found.Spec.HolderIdentity) != l.identity {
		transitions := deref(found.Spec.LeaseTransitions) + 1
		l.object.Spec.LeaseTransitions = &transitions
		l.object.Spec.AcquireTime = &metav1.MicroTime{Time: now}
	}
	l.mu.Unlock()
	return l.write(ctx)
}

// recordedDeadline is the deadline by this process's clock. That of the writer
// may have been ahead, so no more is left than was when it wrote.
func recordedDeadline(l *coordinationv1.Lease, now time.Time) time.Time {
	until, err := time.Parse(time.RFC3339Nano, l.Annotations[annotationUntil])
	if err != nil {
		return time.Time{}
	}
	trust, err := time.ParseDuration(l.Annotations[annotationTrust])
	if err != nil {
		return time.Time{}
	}
	// Not until itself, which has no monotonic reading.
	return now.Add(min(until.Sub(now), trust))
}

// write renews the Lease with what is wanted now.
func (l *lease) write(ctx context.Context) error {
	l.mu.Lock()
	now := l.clock.Now()
	object, term, wanted := l.object.DeepCopy(), l.term, l.wanted
	l.mu.Unlock()
	seconds := int32(max(l.duration.Seconds(), 1))
	object.Spec.HolderIdentity, object.Spec.LeaseDurationSeconds = &l.identity, &seconds
	object.Spec.RenewTime = &metav1.MicroTime{Time: now}
	object.Annotations = maps.Clone(object.Annotations)
	if object.Annotations == nil {
		object.Annotations = map[string]string{}
	}
	object.Annotations[annotationTerm] = term
	object.Annotations[annotationUntil] = wanted.UTC().Format(time.RFC3339Nano)
	object.Annotations[annotationTrust] = max(wanted.Sub(now), 0).String()
	if wanted.IsZero() {
		delete(object.Annotations, annotationUntil)
		delete(object.Annotations, annotationTrust)
	}
	ctx, cancel := context.WithTimeout(ctx, l.duration/3)
	defer cancel()
	written, err := l.client.writeLease(ctx, object)
	if err != nil {
		return fmt.Errorf("writing the agents' lease %s/%s: %w", l.namespace, l.name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.object, l.contact, l.failed, l.err = written, now, 0, nil
	if l.term == term {
		l.recorded, l.unwritten = wanted, false
	}
	l.tell()
	return nil
}

// tell wakes whoever awaits a change; l.mu must be held.
func (l *lease) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// run keeps the Lease until ctx ends or another holder is seen.
func (l *lease) run(ctx context.Context) {
	for ctx.Err() == nil {
		now := l.clock.Now()
		due, expiry := l.next(now)
		if !expiry.IsZero() && !expiry.After(now) {
			l.log.Warn("the lease has passed; ending what it allowed", "until", expiry)
			l.newTerm()
			l.begin()
			continue
		}
		if !due.After(now) {
			if !l.renewObject(ctx) {
				return
			}
			continue
		}
		if !expiry.IsZero() && expiry.Before(due) {
			due = expiry
		}
		timer := l.clock.NewTimer(due.Sub(now))
		select {
		case <-timer.C():
		case <-l.wake:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// next is when to write, and when the term ends (zero: not by itself).
func (l *lease) next(now time.Time) (due, expiry time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	due = l.contact.Add(l.duration / 3)
	// Half of what was asked for has to be recorded always.
	if l.unwritten || l.wanted.After(now) && l.recorded.Before(now.Add(l.wanted.Sub(now)/2)) {
		due = now
	}
	if l.nextTry.After(due) {
		due = l.nextTry
	}
	if l.armed {
		expiry = l.wanted
	}
	if l.armed && !l.recorded.IsZero() && l.recorded.Before(expiry) {
		expiry = l.recorded
	}
	return due, expiry
}

// renewObject writes once, and returns false when another holder has it.
func (l *lease) renewObject(ctx context.Context) bool {
	err := l.write(ctx)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		err = l.reread(ctx)
	}
	if errors.Is(err, runtime.ErrLocked) {
		l.mu.Lock()
		l.err = err
		close(l.lost)
		l.tell()
		l.mu.Unlock()
		return false
	}
	if err != nil && ctx.Err() == nil {
		l.mu.Lock()
		l.failed++
		if l.failed == 1 {
			l.log.Warn("the cluster's API does not take the agents' lease", "error", err)
		}
		l.err, l.nextTry = err, l.clock.Now().Add(max(l.duration/15, 50*time.Millisecond))
		l.tell()
		l.mu.Unlock()
	}
	return true
}

// reread looks at a Lease that somebody else wrote.
func (l *lease) reread(ctx context.Context) error {
	found, err := l.client.lease(ctx, l.namespace, l.name)
	if apierrors.IsNotFound(err) {
		found, err = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: l.name}}, nil
	}
	if err != nil {
		return fmt.Errorf("reading the agents' lease %s/%s: %w", l.namespace, l.name, err)
	}
	if holder := deref(found.Spec.HolderIdentity); holder != "" && holder != l.identity {
		return fmt.Errorf("%w: %s", runtime.ErrLocked, holder)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.object = found
	return nil
}

// renew asks for a deadline.
func (l *lease) renew(trust time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted, l.armed = l.clock.Now().Add(trust), true
	l.poke()
}

// poke makes run look again.
func (l *lease) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// newTerm ends the right of everything that was applied before.
func (l *lease) newTerm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.term, l.wanted, l.recorded, l.armed, l.unwritten = uuid.NewString(), time.Time{}, time.Time{}, false, true
	l.tell()
	l.poke()
}

// allows returns the term in which something may be applied, and until when.
// It waits for a deadline that was asked for and is not recorded yet.
func (l *lease) allows(ctx context.Context) (term string, until time.Time, err error) {
	for {
		l.mu.Lock()
		now := l.clock.Now()
		wanted, until, changed, failure := l.wanted, l.recorded, l.changed, l.err
		term, lapsed := l.term, now.Sub(l.contact) >= l.duration
		l.mu.Unlock()
		switch {
		case !wanted.After(now):
			return "", time.Time{}, runtime.ErrFenced
		case errors.Is(failure, runtime.ErrLocked):
			return "", time.Time{}, failure
		case until.After(now) && !lapsed:
			return term, until, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", time.Time{}, fmt.Errorf("waiting for the agents' lease: %w", errors.Join(ctx.Err(), failure))
		}
	}
}

// current is the term that attempts must be of.
func (l *lease) current() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term
}

// release lets the next replica take over at once. The deadline stays.
func (l *lease) release(ctx context.Context) error {
	l.mu.Lock()
	object := l.object.DeepCopy()
	l.mu.Unlock()
	nobody := ""
	object.Spec.HolderIdentity = &nobody
	_, err := l.client.writeLease(ctx, object)
	if apierrors.IsConflict(err) {
		return nil // another one has it already
	}
	return err
}

// contacted is how long ago the cluster's API last took the Lease, and what it
// has said since.
func (l *lease) contacted() (ago time.Duration, failed int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clock.Since(l.contact), l.failed, l.err
}
