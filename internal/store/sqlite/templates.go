package sqlite

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/template"
)

var (
	stTemplateHead   = statement(`SELECT version, deleted FROM templates WHERE name = ?`)
	stPutTemplate    = statement(`INSERT INTO templates (name, version, deleted) VALUES (?, ?, 0) ON CONFLICT (name) DO UPDATE SET version = excluded.version, deleted = 0`)
	stDropTemplate   = statement(`UPDATE templates SET deleted = 1 WHERE name = ?`)
	stAddVersion     = statement(`INSERT INTO template_versions (name, version, summary, record) VALUES (?, ?, ?, ?)`)
	stTemplate       = statement(`SELECT v.record FROM templates t JOIN template_versions v ON v.name = t.name AND v.version = t.version WHERE t.name = ? AND t.deleted = 0`)
	stTemplateAt     = statement(`SELECT record FROM template_versions WHERE name = ? AND version = ?`)
	stTemplates      = statement(`SELECT v.summary FROM templates t JOIN template_versions v ON v.name = t.name AND v.version = t.version WHERE t.name > ? AND t.deleted = 0 ORDER BY t.name LIMIT ?`)
	stTemplateBefore = statement(`SELECT summary FROM template_versions WHERE name = ? AND version < ? ORDER BY version DESC LIMIT ?`)
)

// PutTemplate writes the next version of a template.
func (s *Store) PutTemplate(ctx context.Context, next template.Template) error {
	record, err := json.Marshal(next)
	if err != nil {
		return wrap(err, "encoding template %s", next.Name)
	}
	brief := next
	brief.Parameters, brief.Job = nil, nil
	summary, err := json.Marshal(brief)
	if err != nil {
		return wrap(err, "encoding template %s", next.Name)
	}
	err = s.writer.do(ctx, func(t *tx) error {
		last, _, err := t.templateHead(next.Name)
		if err != nil {
			return err
		}
		if next.Version != last+1 {
			return fmt.Errorf("%w: its newest version is %d", store.ErrConflict, last)
		}
		if _, err := t.exec(stAddVersion, next.Name, next.Version, string(summary), string(record)); err != nil {
			return err
		}
		_, err = t.exec(stPutTemplate, next.Name, next.Version)
		return err
	})
	return wrap(err, "writing version %d of template %s", next.Version, next.Name)
}

// DeleteTemplate ends a template; its versions stay.
func (s *Store) DeleteTemplate(ctx context.Context, name string, version int64) error {
	err := s.writer.do(ctx, func(t *tx) error {
		last, exists, err := t.templateHead(name)
		switch {
		case err != nil:
			return err
		case !exists:
			return store.ErrNotFound
		case last != version:
			return fmt.Errorf("%w: its newest version is %d", store.ErrConflict, last)
		}
		_, err = t.exec(stDropTemplate, name)
		return err
	})
	return wrap(err, "deleting template %s", name)
}

// templateHead returns the newest version there ever was of a name, and
// whether the template exists.
func (s *session) templateHead(name string) (version int64, exists bool, err error) {
	var deleted int64
	found, err := s.row(stTemplateHead, []any{name}, &version, &deleted)
	return version, found && deleted == 0, err
}

// Template returns the newest version of a template that exists.
func (s *Store) Template(ctx context.Context, name string) (template.Template, error) {
	return s.template(ctx, "template "+name, stTemplate, name)
}

// TemplateVersion returns one version, that of a deleted template too.
func (s *Store) TemplateVersion(ctx context.Context, name string, version int64) (template.Template, error) {
	return s.template(ctx, fmt.Sprintf("version %d of template %s", version, name), stTemplateAt, name, version)
}

func (s *Store) template(ctx context.Context, what string, id stmt, args ...any) (template.Template, error) {
	all, err := s.templates(ctx, what, id, args...)
	if err == nil && len(all) == 0 {
		err = wrap(store.ErrNotFound, "reading %s", what)
	}
	if err != nil {
		return template.Template{}, err
	}
	return all[0], nil
}

// LastTemplateVersion is the newest version that was ever written under a name.
func (s *Store) LastTemplateVersion(ctx context.Context, name string) (version int64, err error) {
	err = s.read(ctx, "template "+name, func(r *session) error {
		version, _, err = r.templateHead(name)
		return err
	})
	return version, err
}

// Templates lists the newest versions, by name, after a name.
func (s *Store) Templates(ctx context.Context, after string, limit int) ([]template.Template, error) {
	return s.templates(ctx, "templates", stTemplates, after, limit)
}

// TemplateVersions lists the versions of a template, newest first.
func (s *Store) TemplateVersions(ctx context.Context, name string, before int64, limit int) ([]template.Template, error) {
	return s.templates(ctx, "the versions of template "+name, stTemplateBefore, name, cmp.Or(before, math.MaxInt64), limit)
}

// templates reads the records that a statement selects.
func (s *Store) templates(ctx context.Context, what string, id stmt, args ...any) ([]template.Template, error) {
	var all []template.Template
	err := s.read(ctx, what, func(r *session) error {
		return r.each(id, args, func(scan func(...any) error) error {
			var record string
			if err := scan(&record); err != nil {
				return err
			}
			var one template.Template
			err := json.Unmarshal([]byte(record), &one)
			all = append(all, one)
			return err
		})
	})
	return all, err
}
