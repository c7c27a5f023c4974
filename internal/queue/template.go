package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/manifest"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/template"
)

// maxRenderedBytes bounds what the templates of one call are rendered to: a
// small batch can name a large template a thousand times. It is as much as a
// batch of manifests may have.
const maxRenderedBytes = 16 << 20

// templates are those that one call has read; the submissions of a batch
// often share one.
type templates struct {
	store store.Templates
	read  map[api.TemplateRef]template.Template
	// past are versions that replays were looked for in; nothing is submitted
	// from them.
	past map[api.TemplateRef]template.Template
	// left is what the call may still render, in bytes.
	left int
}

func (q *Queue) newTemplates() *templates {
	return &templates{store: q.Store, read: map[api.TemplateRef]template.Template{}, past: map[api.TemplateRef]template.Template{}, left: maxRenderedBytes}
}

// expand turns a request that names a template into one with a manifest, and
// returns which version it was. A request with a manifest stays as it is.
func (t *templates) expand(ctx context.Context, request api.Submission) (api.Submission, job.TemplateRef, []job.Fault, error) {
	var none job.TemplateRef
	if request.Template == nil {
		if len(request.Parameters) > 0 {
			return request, none, []job.Fault{{Field: "parameters", Message: "only have a meaning with a template"}}, nil
		}
		return request, none, nil, nil
	}
	if len(request.Manifest) > 0 {
		return request, none, []job.Fault{{Field: "template", Message: "stands beside a manifest; send one of them"}}, nil
	}
	of, faults, err := t.find(ctx, *request.Template)
	if err != nil || len(faults) > 0 {
		return request, none, faults, err
	}
	if t.left < len(of.Job) {
		return request, none, []job.Fault{{Field: "template", Message: fmt.Sprintf(
			"comes after submissions of the same batch that render to %d MiB; send fewer at once", maxRenderedBytes>>20)}}, nil
	}
	rendered, faults := template.Render(of, request.Parameters)
	t.left -= max(len(rendered), len(of.Job))
	if len(faults) > 0 {
		return request, none, faults, nil
	}
	var base api.Submission
	if err := json.Unmarshal(rendered, &base); err != nil {
		return request, none, nil, fmt.Errorf("reading what template %s renders to: %w", of.Name, err)
	}
	return overlaid(base, request), job.TemplateRef{Name: of.Name, Version: of.Version}, nil, nil
}

// find reads a template. A deleted one has old versions, and none that could
// be submitted.
func (t *templates) find(ctx context.Context, ref api.TemplateRef) (template.Template, []job.Fault, error) {
	if of, ok := t.read[ref]; ok {
		return of, nil, nil
	}
	if ref.Version < 0 {
		return template.Template{}, []job.Fault{{Field: "template.version", Message: fmt.Sprintf("%d is no version; they count from 1", ref.Version)}}, nil
	}
	of, err := t.store.Template(ctx, ref.Name)
	field, message := "template.name", fmt.Sprintf("there is no template %q", ref.Name)
	if err == nil && ref.Version != 0 && ref.Version != of.Version {
		field, message = "template.version", fmt.Sprintf("template %q has no version %d; its newest is %d", ref.Name, ref.Version, of.Version)
		of, err = t.store.TemplateVersion(ctx, ref.Name, ref.Version)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return template.Template{}, []job.Fault{{Field: field, Message: message}}, nil
	case err != nil:
		return template.Template{}, nil, fmt.Errorf("reading template %s: %w", ref.Name, err)
	}
	t.read[ref] = of
	return of, nil, nil
}

// maxEarlierVersions bounds how far back refuse looks.
const maxEarlierVersions = 20

// refuse answers a submission that cannot be accepted now. Where its template
// was changed or deleted since, it may be the replay of one that was accepted:
// that has the first answer.
func (q *Queue) refuse(ctx context.Context, known *templates, submission Submission, refusal error) Submitted {
	if _, invalid := errors.AsType[*job.Invalid](refusal); !invalid || submission.Key == "" || submission.Request.Template == nil {
		return Submitted{Err: refusal}
	}
	namespaces, err := q.namespaces(ctx, known, submission.Request)
	for _, namespace := range namespaces {
		if allowed := submission.Namespaces; len(allowed) > 0 && !slices.Contains(allowed, namespace) {
			continue
		}
		made, missing := q.Store.MadeBy(ctx, store.IdempotencyKey{
			Identity: submission.Identity, Namespace: namespace, Key: submission.Key,
			BodyHash: bodyHash(job.Spec{}, nil, submission.Request),
		})
		if missing == nil {
			return Submitted{Job: made}
		}
		if !errors.Is(missing, store.ErrNotFound) && !errors.Is(missing, store.ErrKeyReused) {
			err = missing
		}
	}
	if err != nil {
		return Submitted{Err: fmt.Errorf("looking for what the key has made: %w", err)}
	}
	return Submitted{Err: refusal}
}

// namespaces lists those that a request may have been accepted in, by the
// versions of its template that there were; an idempotency key belongs to one.
func (q *Queue) namespaces(ctx context.Context, known *templates, request api.Submission) ([]string, error) {
	if request.Namespace != "" {
		return []string{request.Namespace}, nil
	}
	version := request.Template.Version
	least := max(1, version)
	if version == 0 {
		last, err := q.Store.LastTemplateVersion(ctx, request.Template.Name)
		if err != nil {
			return nil, fmt.Errorf("reading template %s: %w", request.Template.Name, err)
		}
		version, least = last, max(1, last-maxEarlierVersions+1)
	}
	var all []string
	for ; version >= least && known.left > 0; version-- {
		of, err := known.version(ctx, api.TemplateRef{Name: request.Template.Name, Version: version})
		if errors.Is(err, store.ErrNotFound) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		rendered, faults := template.Render(of, request.Parameters)
		known.left -= max(len(rendered), len(of.Job))
		var base api.Submission
		if len(faults) > 0 || json.Unmarshal(rendered, &base) != nil {
			continue
		}
		compiled, _ := manifest.Compile(base.Manifest, base.Namespace, q.Admission)
		if compiled.Namespace != "" && !slices.Contains(all, compiled.Namespace) {
			all = append(all, compiled.Namespace)
		}
	}
	return all, nil
}

// version reads one version, that of a deleted template too.
func (t *templates) version(ctx context.Context, ref api.TemplateRef) (template.Template, error) {
	if of, ok := t.past[ref]; ok {
		return of, nil
	}
	of, err := t.store.TemplateVersion(ctx, ref.Name, ref.Version)
	if err != nil {
		return of, fmt.Errorf("reading template %s: %w", ref.Name, err)
	}
	t.past[ref] = of
	return of, nil
}

// overlaid sets what a request says over what its template says, field by
// field.
func overlaid(base, over api.Submission) api.Submission {
	base.Labels = mergeLabels(base.Labels, over.Labels)
	base.Priority = first(over.Priority, base.Priority)
	base.Retries = first(over.Retries, base.Retries)
	for _, field := range []struct{ to, from *string }{
		{&base.Namespace, &over.Namespace},
		{&base.Deadline, &over.Deadline},
		{&base.TTLAfterFinished, &over.TTLAfterFinished},
		{&base.OnRegionLost, &over.OnRegionLost},
		{&base.OnRegionLostLimit, &over.OnRegionLostLimit},
		{&base.Model, &over.Model},
	} {
		if *field.from != "" {
			*field.to = *field.from
		}
	}
	switch {
	case over.Placement == nil:
	case base.Placement == nil:
		base.Placement = over.Placement
	default:
		base.Placement = overlaidPlacement(*base.Placement, *over.Placement)
	}
	return base
}

func overlaidPlacement(base, over api.Placement) *api.Placement {
	if over.Regions != nil {
		base.Regions = over.Regions
	}
	if over.AvoidRegions != nil {
		base.AvoidRegions = over.AvoidRegions
	}
	if over.CapacityType != "" {
		base.CapacityType = over.CapacityType
	}
	if over.MaxPricePerHour != 0 {
		base.MaxPricePerHour = over.MaxPricePerHour
	}
	return &base
}

// Rendered is what a submission means.
type Rendered struct {
	Spec job.Spec
	// Manifest is canonical JSON.
	Manifest []byte
	Demand   capacity.Demand
}

// Render does all that Submit does, and stores nothing. The errors are those
// of Submitted.
func (q *Queue) Render(ctx context.Context, submission Submission) (Rendered, error) {
	made, err := q.compile(ctx, q.newTemplates(), submission, q.Clock.Now())
	if err != nil {
		return Rendered{}, err
	}
	return Rendered{Spec: made.Job.Spec, Manifest: made.Manifest, Demand: made.Demand}, nil
}
