package queue

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/manifest"
	"github.com/gco-project/gco/internal/store"
)

// Submission is one job that somebody asks for.
type Submission struct {
	// Identity is who asks; idempotency keys and rates are counted by it.
	Identity string
	// Key is the idempotency key; empty is none.
	Key     string
	Request api.Submission
	// Namespaces are those that the identity may submit to; empty is all.
	Namespaces []string
	// Faults were found while the request was decoded. The submission is
	// refused with these and its own.
	Faults []job.Fault
	// model is the reference to a model that was asked for.
	model string
}

// NotYourNamespace says that the identity may not submit to a namespace.
type NotYourNamespace struct {
	Namespace string
	Allowed   []string
}

func (e *NotYourNamespace) Error() string {
	return fmt.Sprintf("this token may not submit to namespace %q, only to %s", e.Namespace, strings.Join(e.Allowed, ", "))
}

// Submitted answers one Submission.
type Submitted struct {
	Job job.Job
	// Created is false when the key had made the job before.
	Created bool
	// Err is nil, *job.Invalid, *Limited, *NotYourNamespace, or a wrapped
	// error of store.
	Err error
}

// Submit validates and stores each submission by itself. When it returns, the
// jobs without an error are durable.
func (q *Queue) Submit(ctx context.Context, submissions []Submission) []Submitted {
	now := q.Clock.Now()
	results := make([]Submitted, len(submissions))
	var inserts []store.Submission
	var places []int
	known := q.newTemplates()
	for i, submission := range submissions {
		if err := q.submissions.take(submission.Identity, 1, now); err != nil {
			results[i].Err = err
			continue
		}
		insert, err := q.compile(ctx, known, submission, now)
		if err != nil {
			results[i] = q.refuse(ctx, known, submission, err)
			continue
		}
		inserts = append(inserts, insert)
		places = append(places, i)
	}
	for k, result := range q.insert(ctx, inserts) {
		results[places[k]] = result
	}
	return results
}

func (q *Queue) insert(ctx context.Context, inserts []store.Submission) []Submitted {
	results := make([]Submitted, len(inserts))
	if len(inserts) == 0 {
		return results
	}
	inserted, err := q.Store.Insert(ctx, inserts)
	if err != nil {
		for i := range results {
			results[i].Err = fmt.Errorf("storing the job: %w", err)
		}
		return results
	}
	for i, in := range inserted {
		results[i] = Submitted{Job: in.Job, Created: in.Created, Err: in.Err}
		if errors.Is(in.Err, store.ErrNamespaceFull) {
			results[i].Err = &Limited{
				RetryAfter: 10 * time.Second,
				Message: fmt.Sprintf("namespace %q has its limit of %d waiting jobs; try again when some have run",
					inserts[i].Job.Spec.Namespace, //nolint:gosec // there is an answer for each insert
					q.Limits.QueuedPerNamespace),
			}
		}
	}
	q.events.notify("")
	q.wakePlacer()
	return results
}

// compile turns what was sent into what is stored; the error is *job.Invalid
// with every fault at once, or that the template could not be read.
func (q *Queue) compile(ctx context.Context, known *templates, submission Submission, now time.Time) (store.Submission, error) {
	request, from, faults, err := known.expand(ctx, submission.Request)
	if err != nil {
		return store.Submission{}, err
	}
	var compiled manifest.Compiled
	if len(faults) == 0 {
		compiled, faults = manifest.Compile(request.Manifest, request.Namespace, q.Admission)
	}
	if allowed := submission.Namespaces; len(allowed) > 0 && compiled.Namespace != "" && !slices.Contains(allowed, compiled.Namespace) {
		return store.Submission{}, &NotYourNamespace{Namespace: compiled.Namespace, Allowed: allowed}
	}
	spec, more := specOf(request, compiled)
	submission.model = spec.Placement.Model
	exact, unknown, err := q.exactModel(ctx, submission.model)
	if err != nil {
		return store.Submission{}, err
	}
	spec.Placement.Model = exact
	faults = slices.Concat(submission.Faults, faults, more, unknown)
	if len(compiled.JSON) > 0 {
		// Without a manifest that decodes, name and namespace are not known,
		// and their absence is no fault of its own.
		faults = append(faults, spec.Validate()...)
	}
	if len(faults) > 0 {
		return store.Submission{}, &job.Invalid{Faults: faults}
	}
	compiled = compiled.OfType(spec.Placement.CapacityType)
	spec.SubmittedBy, spec.Template = submission.Identity, from
	return q.newSubmission(spec, compiled.Demand, compiled.JSON, submission, now), nil
}

func (q *Queue) newSubmission(spec job.Spec, demand capacity.Demand, text []byte, from Submission, now time.Time) store.Submission {
	spec.Class = capacity.ClassOf(demand, spec.Placement)
	record, transition := job.New(job.ID(q.NewID()), spec, now)
	out := store.Submission{
		Job: record, Transition: transition, Demand: demand, Manifest: text,
		MaxQueued: q.Limits.QueuedPerNamespace,
	}
	if from.Key != "" {
		out.Key = &store.IdempotencyKey{
			Identity: from.Identity, Namespace: spec.Namespace, Key: from.Key, BodyHash: bodyHash(asAsked(spec, demand, from.model), text, from.Request),
		}
	}
	return out
}

// asAsked has the model as it was asked for: a tag may name another version by
// the time that the same request comes again.
func asAsked(spec job.Spec, demand capacity.Demand, model string) job.Spec {
	spec.Placement.Model = model
	spec.Class = capacity.ClassOf(demand, spec.Placement)
	return spec
}

// bodyHash is over what was understood, so that the same submission written
// in another way has the same hash. Of a template it is over what was asked
// for: the same request is a replay although the template was updated since.
func bodyHash(spec job.Spec, manifestText []byte, request api.Submission) string {
	if request.Template != nil {
		return hashOf(Canonical(request), nil)
	}
	text, err := json.Marshal(spec)
	if err != nil {
		panic("queue: a spec that JSON cannot hold: " + err.Error())
	}
	return hashOf(text, manifestText)
}

func hashOf(text, manifestText []byte) string {
	sum := sha256.New()
	sum.Write(text)
	sum.Write([]byte{0})
	sum.Write(manifestText)
	return hex.EncodeToString(sum.Sum(nil))
}

// Canonical is a document as JSON in one form: what was sent as JSON inside
// of it loses its spaces, its escapes and the order of its members. Numbers
// stay as they are written.
func Canonical(document any) []byte {
	text, err := json.Marshal(document)
	if err != nil {
		panic("queue: a document that JSON cannot hold: " + err.Error())
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		panic("queue: JSON that cannot be read: " + err.Error())
	}
	if text, err = json.Marshal(value); err != nil {
		panic("queue: a value that JSON cannot hold: " + err.Error())
	}
	return text
}

// specOf merges the request over the manifest's annotations, which it
// overrides field by field.
func specOf(request api.Submission, compiled manifest.Compiled) (job.Spec, []job.Fault) {
	var faults []job.Fault
	duration := func(field, text string, annotated *time.Duration) time.Duration {
		if text == "" {
			return deref(annotated)
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			faults = append(faults, job.Fault{Field: field, Message: fmt.Sprintf("%q is not a duration such as 90s or 1h30m", text)})
		} else if d <= 0 {
			faults = append(faults, job.Fault{Field: field, Message: fmt.Sprintf("%q is not positive", text)})
		}
		return d
	}
	options := compiled.Options
	if options.TTLAfterFinished == nil {
		options.TTLAfterFinished = compiled.TTLAfterFinished
	}
	spec := job.Spec{
		Namespace:         compiled.Namespace,
		Name:              compiled.Name,
		Labels:            mergeLabels(compiled.Labels, request.Labels),
		Priority:          deref(first(request.Priority, options.Priority)),
		Retries:           deref(first(request.Retries, options.Retries)),
		Deadline:          duration("deadline", request.Deadline, options.Deadline),
		TTLAfterFinished:  duration("ttlAfterFinished", request.TTLAfterFinished, options.TTLAfterFinished),
		OnRegionLost:      job.OnRegionLost(request.OnRegionLost),
		OnRegionLostLimit: duration("onRegionLostLimit", request.OnRegionLostLimit, options.OnRegionLostLimit),
		Placement: job.Constraints{
			Regions: options.Regions, AvoidRegions: options.AvoidRegions,
			CapacityType: deref(options.CapacityType), MaxPricePerHour: deref(options.MaxPricePerHour),
			Model: cmp.Or(request.Model, deref(options.Model)),
		},
	}
	if spec.OnRegionLost == "" {
		spec.OnRegionLost = deref(options.OnRegionLost)
	}
	if p := request.Placement; p != nil {
		spec.Placement = overridden(spec.Placement, *p)
	}
	return spec.WithDefaults(), faults
}

func overridden(c job.Constraints, p api.Placement) job.Constraints {
	if p.Regions != nil {
		c.Regions = p.Regions
	}
	if p.AvoidRegions != nil {
		c.AvoidRegions = p.AvoidRegions
	}
	if p.CapacityType != "" {
		c.CapacityType = capacity.Type(p.CapacityType)
	}
	if p.MaxPricePerHour != 0 {
		c.MaxPricePerHour = p.MaxPricePerHour
	}
	return c
}

func mergeLabels(base, over map[string]string) map[string]string {
	if len(over) == 0 {
		return base
	}
	merged := make(map[string]string, len(base)+len(over))
	maps.Copy(merged, base)
	maps.Copy(merged, over)
	return merged
}

func first[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
