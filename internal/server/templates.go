package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/template"
)

var newTemplateShape = shapeOf[api.NewTemplate]().withoutRequired()

// templatesMark is the mark of cursors in the list of templates.
const templatesMark = "templates"

// mayEdit refuses tokens with a limit to namespaces: names are global, and who
// changes a template changes what others run in their namespaces.
func (c *call) mayEdit() error {
	if len(c.who.namespaces) > 0 {
		return newProblem(api.ProblemForbidden, "templates are shared by all namespaces, and this token is only for %s; an admin, or a submitter of all namespaces, may change them",
			strings.Join(c.who.namespaces, ", "))
	}
	return nil
}

// templateName reads the name in the path.
func (c *call) templateName() string { return c.r.PathValue("name") }

// template reads the template in the path as it is now.
func (c *call) template() (template.Template, error) {
	t, err := c.store.Template(c.r.Context(), c.templateName())
	if errors.Is(err, store.ErrNotFound) {
		return t, newProblem(api.ProblemNotFound, "there is no template %q", shorten([]byte(c.templateName())))
	}
	if err != nil {
		return t, fmt.Errorf("reading template %s: %w", c.templateName(), err)
	}
	return t, nil
}

// readTemplate reads and checks the body. name is what the path says; empty
// where it says nothing.
func (c *call) readTemplate(name string) (template.Template, error) {
	if _, err := c.contentType(); err != nil {
		return template.Template{}, err
	}
	var request api.NewTemplate
	var faults []job.Fault
	err := c.read(func(text []byte) (err error) {
		faults, err = decodeStrict(text, newTemplateShape, &request)
		return malformedBody(err)
	})
	if err != nil {
		return template.Template{}, err
	}
	if name != "" && request.Name != "" && request.Name != name {
		faults = append(faults, job.Fault{Field: "name", Message: fmt.Sprintf("is %q, and the path says %q", shorten([]byte(request.Name)), shorten([]byte(name)))})
	}
	if name != "" {
		request.Name = name
	}
	next := templateOf(request)
	told := map[string]bool{}
	for _, fault := range faults {
		told[fault.Field] = true
	}
	for _, fault := range next.Validate() {
		if !told[fault.Field] {
			faults = append(faults, fault)
		}
	}
	if len(faults) > 0 {
		return template.Template{}, invalid(faults)
	}
	now := c.clock.Now()
	next.CreatedAt, next.UpdatedAt, next.UpdatedBy = now, now, c.who.name
	return next, nil
}

func (c *call) createTemplate() error {
	if err := c.mayEdit(); err != nil {
		return err
	}
	next, err := c.readTemplate("")
	if err != nil {
		return err
	}
	taken := newProblem(api.ProblemConflict, "there is a template %q already; update it, or use another name", next.Name)
	_, err = c.store.Template(c.r.Context(), next.Name)
	switch {
	case err == nil:
		return taken
	case !errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("reading template %s: %w", next.Name, err)
	}
	last, err := c.store.LastTemplateVersion(c.r.Context(), next.Name)
	if err != nil {
		return fmt.Errorf("reading template %s: %w", next.Name, err)
	}
	next.Version = last + 1
	if err := c.putTemplate(next); errors.Is(err, store.ErrConflict) {
		return taken
	} else if err != nil {
		return err
	}
	c.w.Header().Set("Location", "/api/v1/templates/"+next.Name)
	return c.answerTemplate(http.StatusCreated, next)
}

func (c *call) putTemplate(next template.Template) error {
	if err := c.store.PutTemplate(c.r.Context(), next); err != nil {
		return fmt.Errorf("writing template %s: %w", next.Name, err)
	}
	c.log.Info("template written", "template", next.Name, "version", next.Version, "by", c.who.name)
	return nil
}

// answerTemplate answers a template with its version as the ETag.
func (c *call) answerTemplate(status int, t template.Template) error {
	c.w.Header().Set("ETag", etag(t.Version))
	return c.json(status, templateOnWire(t))
}

// updateTemplate writes the next version. What says the same as the current
// version makes none, so that a repeated call does no harm.
func (c *call) updateTemplate() error {
	if err := c.mayEdit(); err != nil {
		return err
	}
	next, err := c.readTemplate(c.templateName())
	if err != nil {
		return err
	}
	current, err := c.template()
	if err != nil {
		return err
	}
	if current.Same(next) {
		return c.answerTemplate(http.StatusOK, current)
	}
	given := c.r.Header.Values("If-Match")
	if len(given) == 0 {
		return newProblem(api.ProblemPreconditionRequired,
			"send If-Match with the ETag that the change is based on (now %s), or * to replace whatever there is", etag(current.Version))
	}
	if !matches(given, current.Version) {
		return staleTemplate(current)
	}
	next.Version, next.CreatedAt = current.Version+1, current.CreatedAt
	if err := c.putTemplate(next); errors.Is(err, store.ErrConflict) {
		return staleTemplate(current)
	} else if err != nil {
		return err
	}
	return c.answerTemplate(http.StatusOK, next)
}

func staleTemplate(current template.Template) error {
	return newProblem(api.ProblemPreconditionFailed,
		"template %q was changed since it was read (version %d is of %s, by %s); read it again, and make the change on top of that",
		current.Name, current.Version, current.UpdatedAt.UTC().Format("2006-01-02 15:04:05"), current.UpdatedBy)
}

// deleteTemplate ends a template; its versions stay.
func (c *call) deleteTemplate() error {
	if err := c.mayEdit(); err != nil {
		return err
	}
	current, err := c.template()
	if err != nil {
		return err
	}
	if given := c.r.Header.Values("If-Match"); len(given) > 0 && !matches(given, current.Version) {
		return staleTemplate(current)
	}
	err = c.store.DeleteTemplate(c.r.Context(), current.Name, current.Version)
	if errors.Is(err, store.ErrConflict) {
		return staleTemplate(current)
	}
	if err != nil {
		return fmt.Errorf("deleting template %s: %w", current.Name, err)
	}
	c.log.Info("template deleted", "template", current.Name, "version", current.Version, "by", c.who.name)
	return c.nothing()
}

// etag is the version as HTTP has it.
func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// matches tells whether If-Match names the version.
func matches(given []string, version int64) bool {
	for tag := range strings.SplitSeq(strings.Join(given, ","), ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || tag == etag(version) {
			return true
		}
	}
	return false
}

func (c *call) showTemplate() error {
	t, err := c.template()
	if err != nil {
		return err
	}
	return c.answerTemplate(http.StatusOK, t)
}

// showTemplateVersion answers one version, that of a deleted template too.
func (c *call) showTemplateVersion() error {
	text := c.r.PathValue("version")
	version, err := strconv.ParseInt(text, 10, 64)
	var t template.Template
	if err == nil {
		t, err = c.store.TemplateVersion(c.r.Context(), c.templateName(), version)
	} else {
		err = store.ErrNotFound
	}
	if errors.Is(err, store.ErrNotFound) {
		return newProblem(api.ProblemNotFound, "there is no version %s of a template %q", shorten([]byte(text)), shorten([]byte(c.templateName())))
	}
	if err != nil {
		return fmt.Errorf("reading version %d of template %s: %w", version, c.templateName(), err)
	}
	return c.answerTemplate(http.StatusOK, t)
}

func (c *call) listTemplates() error {
	return c.pageOfTemplates(templatesMark, c.store.Templates, func(last template.Template) string { return last.Name })
}

// listTemplateVersions answers the versions of a template, deleted or not.
func (c *call) listTemplateVersions() error {
	name := c.templateName()
	versions := func(ctx context.Context, before string, limit int) ([]template.Template, error) {
		var version int64
		if before != "" {
			var err error
			if version, err = strconv.ParseInt(before, 10, 64); err != nil {
				return nil, badTemplateCursor()
			}
		}
		all, err := c.store.TemplateVersions(ctx, name, version, limit)
		if err == nil && len(all) == 0 && before == "" {
			err = newProblem(api.ProblemNotFound, "there never was a template %q", shorten([]byte(name)))
		}
		return all, err
	}
	return c.pageOfTemplates("versions-"+name, versions, func(last template.Template) string { return strconv.FormatInt(last.Version, 10) })
}

// pageOfTemplates answers one page of a list that goes on after a position.
func (c *call) pageOfTemplates(
	mark string,
	read func(ctx context.Context, after string, limit int) ([]template.Template, error),
	position func(last template.Template) string,
) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	limit := q.whole("limit", defaultLimit, 1, maxLimit)
	if err := q.err(); err != nil {
		return err
	}
	after := ""
	if cursor := q.text("cursor"); cursor != "" {
		of, position, ok := readCursor(cursor)
		if !ok || of != mark {
			return badTemplateCursor()
		}
		after = position
	}
	// One more than a page tells whether there is another.
	page, err := read(c.r.Context(), after, limit+1)
	if err != nil {
		return fmt.Errorf("listing templates: %w", err)
	}
	list := api.TemplateList{Items: make([]api.Template, min(limit, len(page)))}
	for i := range list.Items {
		list.Items[i] = templateOnWire(page[i])
	}
	if len(page) > limit {
		list.NextCursor = writeCursor(mark, position(page[limit-1]))
	}
	return c.json(http.StatusOK, list)
}

func badTemplateCursor() error {
	return newProblem(api.ProblemBadCursor, "the cursor is not from this list; start without one")
}

// readTemplateJob reads a submission whose template stands in the path.
func (c *call) readTemplateJob() (queue.Submission, error) {
	q, err := c.query()
	if err != nil {
		return queue.Submission{}, err
	}
	version := q.whole("version", 0, 1, maxTemplateVersion)
	if err := q.err(); err != nil {
		return queue.Submission{}, err
	}
	var submission queue.Submission
	if _, err := c.contentType(); err != nil {
		return submission, err
	}
	err = c.read(func(text []byte) (err error) {
		submission.Faults, err = decodeStrict(text, submissionShape, &submission.Request)
		return malformedBody(err)
	})
	if err != nil {
		return submission, err
	}
	if submission.Request.Template != nil {
		submission.Faults = append(submission.Faults, job.Fault{Field: "template", Message: "stands in the path already; leave it out"})
	}
	if _, err := c.template(); err != nil && len(submission.Faults) == 0 {
		return submission, err
	}
	submission.Request.Template = &api.TemplateRef{Name: c.templateName(), Version: int64(version)}
	return submission, nil
}

// submitTemplate submits one job from the template in the path.
func (c *call) submitTemplate() error {
	key, err := idempotencyKey(c.r.Header.Values("Idempotency-Key"))
	if err != nil {
		return err
	}
	submission, err := c.readTemplateJob()
	if err != nil {
		return err
	}
	submission.Key = key
	return c.answerSubmission(submission)
}

// renderTemplate shows what submitTemplate would submit.
func (c *call) renderTemplate() error {
	submission, err := c.readTemplateJob()
	if err != nil {
		return err
	}
	submission.Identity, submission.Namespaces = c.who.name, c.who.namespaces
	rendered, err := c.queue.Render(c.r.Context(), submission)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, renderingOnWire(rendered))
}

// templateOf and the functions below go between the wire and the domain, where
// a template has the same fields.
func templateOf(request api.NewTemplate) template.Template {
	t := template.Template{Name: request.Name, Description: request.Description, Job: slices.Clone(request.Job)}
	for _, p := range request.Parameters {
		t.Parameters = append(t.Parameters, template.Parameter{
			Name: p.Name, Type: template.Type(p.Type), Description: p.Description, Required: p.Required, Default: slices.Clone(p.Default),
			Pattern: p.Pattern, MinLength: p.MinLength, MaxLength: p.MaxLength, Minimum: p.Minimum, Maximum: p.Maximum,
			Choices: p.Choices, Items: template.Type(p.Items), MinItems: p.MinItems, MaxItems: p.MaxItems,
		})
	}
	return t
}

func templateOnWire(t template.Template) api.Template {
	out := api.Template{
		Name: t.Name, Version: t.Version, Description: t.Description, Job: t.Job,
		CreatedAt: t.CreatedAt.UTC(), UpdatedAt: t.UpdatedAt.UTC(), UpdatedBy: t.UpdatedBy,
	}
	for _, p := range t.Parameters {
		out.Parameters = append(out.Parameters, api.Parameter{
			Name: p.Name, Type: string(p.Type), Description: p.Description, Required: p.Required, Default: p.Default,
			Pattern: p.Pattern, MinLength: p.MinLength, MaxLength: p.MaxLength, Minimum: p.Minimum, Maximum: p.Maximum,
			Choices: p.Choices, Items: string(p.Items), MinItems: p.MinItems, MaxItems: p.MaxItems,
		})
	}
	return out
}

func renderingOnWire(r queue.Rendered) api.Rendering {
	spec := r.Spec
	return api.Rendering{
		Template: api.TemplateRef{Name: spec.Template.Name, Version: spec.Template.Version},
		Submission: api.Submission{
			Manifest: r.Manifest, Namespace: spec.Namespace, Priority: &spec.Priority, Labels: spec.Labels,
			Placement: placementOnWire(spec.Placement), Retries: &spec.Retries, Deadline: durationOnWire(spec.Deadline),
			TTLAfterFinished: durationOnWire(spec.TTLAfterFinished), OnRegionLost: string(spec.OnRegionLost),
			OnRegionLostLimit: durationOnWire(spec.OnRegionLostLimit),
		},
		Demand: r.Demand,
	}
}
