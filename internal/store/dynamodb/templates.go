package dynamodb

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/template"
)

// Table job-templates has an item under each name, which says what its newest
// version is, and one under "name#version" for each version. Its key can't list
// them: table state has the lists, without what is long.
const (
	pkTemplates = "templates"
	// kindTemplate starts the key of the versions of one template.
	kindTemplate = "template"

	attrVersion = "newest"
	attrEnded   = "deleted"
)

func templateHead(name string) item { return item{attrTemplate: text(name)} }
func templateAt(name string, version int64) item {
	return item{attrTemplate: text(key(name, versionKey(version)))}
}
func versionKey(version int64) string { return fmt.Sprintf("%016d", version) }

// readTemplateHead returns the newest version there ever was of a name, and
// whether the template exists.
func (s *Store) readTemplateHead(ctx context.Context, name string) (version int64, exists bool, own stamp, err error) {
	found, err := s.get(ctx, TableTemplates, templateHead(name))
	if errors.Is(err, store.ErrNotFound) {
		return 0, false, "", nil
	}
	return numberOf(found, attrVersion), err == nil && !has(found, attrEnded), stamp(textOf(found, attrStamp)), err
}

// headAction writes the head of a template if it is as it was read.
func (s *Store) templateHeadAction(name string, more item, before, after stamp) types.TransactWriteItem {
	i := with(templateHead(name), more)
	i[attrStamp] = text(string(after))
	if before == "" {
		return s.putAction(TableTemplates, i, "attribute_not_exists(template_name)", nil)
	}
	return s.putAction(TableTemplates, i, "stamp = :before", item{":before": text(string(before))})
}

// changedUnless is what it means that an item is not as it was read.
func changedUnless(own stamp) func(int, item) error {
	return func(_ int, found item) error {
		if textOf(found, attrStamp) == string(own) {
			return nil
		}
		return store.ErrConflict
	}
}

// PutTemplate writes the next version of a template.
func (s *Store) PutTemplate(ctx context.Context, next template.Template) error {
	last, _, before, err := s.readTemplateHead(ctx, next.Name)
	if err == nil && next.Version != last+1 {
		err = fmt.Errorf("%w: its newest version is %d", store.ErrConflict, last)
	}
	if err != nil {
		return wrap(err, "writing version %d of template %s", next.Version, next.Name)
	}
	brief := next
	brief.Parameters, brief.Job = nil, nil
	body, err := packJSON(next)
	if err != nil {
		return wrap(err, "encoding template %s", next.Name)
	}
	summary, err := packJSON(brief)
	if err != nil {
		return wrap(err, "encoding template %s", next.Name)
	}
	own := s.stamps.next(before)
	err = s.transactOne(ctx, unit{
		actions: []types.TransactWriteItem{
			s.templateHeadAction(next.Name, item{attrVersion: number(next.Version)}, before, own),
			s.putAction(TableTemplates, with(templateAt(next.Name, next.Version), item{attrBody: body}), "", nil),
			s.putAction(TableState, with(at(pkTemplates, next.Name), item{attrBody: summary}), "", nil),
			s.putAction(TableState, with(at(key(kindTemplate, next.Name), versionKey(next.Version)), item{attrBody: summary}), "", nil),
		},
		refused: changedUnless(own),
	})
	return wrap(err, "writing version %d of template %s", next.Version, next.Name)
}

// DeleteTemplate ends a template; its versions stay.
func (s *Store) DeleteTemplate(ctx context.Context, name string, version int64) error {
	last, exists, before, err := s.readTemplateHead(ctx, name)
	switch {
	case err != nil:
	case !exists:
		err = store.ErrNotFound
	case last != version:
		err = fmt.Errorf("%w: its newest version is %d", store.ErrConflict, last)
	}
	if err != nil {
		return wrap(err, "deleting template %s", name)
	}
	own := s.stamps.next(before)
	err = s.transactOne(ctx, unit{
		actions: []types.TransactWriteItem{
			s.templateHeadAction(name, item{attrVersion: number(last), attrEnded: number(1)}, before, own),
			s.deleteAction(TableState, at(pkTemplates, name), "", nil),
		},
		refused: changedUnless(own),
	})
	return wrap(err, "deleting template %s", name)
}

// Template returns the newest version of a template that exists.
func (s *Store) Template(ctx context.Context, name string) (template.Template, error) {
	last, exists, _, err := s.readTemplateHead(ctx, name)
	if err == nil && !exists {
		err = store.ErrNotFound
	}
	if err != nil {
		return template.Template{}, wrap(err, "reading template %s", name)
	}
	return s.TemplateVersion(ctx, name, last)
}

// LastTemplateVersion is the newest version that was ever written under a name.
func (s *Store) LastTemplateVersion(ctx context.Context, name string) (int64, error) {
	last, _, _, err := s.readTemplateHead(ctx, name)
	return last, wrap(err, "reading template %s", name)
}

// TemplateVersion returns one version, that of a deleted template too.
func (s *Store) TemplateVersion(ctx context.Context, name string, version int64) (t template.Template, err error) {
	found, err := s.get(ctx, TableTemplates, templateAt(name, version))
	if err == nil {
		err = unpackJSON(found, attrBody, &t)
	}
	return t, wrap(err, "reading version %d of template %s", version, name)
}

// Templates lists the newest versions, by name, after a name.
func (s *Store) Templates(ctx context.Context, after string, limit int) ([]template.Template, error) {
	from := ""
	if after != "" {
		from = after + "\x01"
	}
	return s.templates(ctx, query{table: TableState, pk: pkTemplates, from: from, limit: limit})
}

// TemplateVersions lists the versions of a template, newest first.
func (s *Store) TemplateVersions(ctx context.Context, name string, before int64, limit int) ([]template.Template, error) {
	to := ""
	if before > 0 {
		to = versionKey(before - 1)
	}
	return s.templates(ctx, query{table: TableState, pk: key(kindTemplate, name), to: to, newest: true, limit: limit})
}

func (s *Store) templates(ctx context.Context, q query) ([]template.Template, error) {
	if q.limit <= 0 {
		return nil, nil
	}
	items, err := s.all(ctx, q)
	if err != nil {
		return nil, wrap(err, "reading templates")
	}
	all := make([]template.Template, len(items))
	for n, i := range items {
		if err := unpackJSON(i, attrBody, &all[n]); err != nil {
			return nil, wrap(err, "reading templates")
		}
	}
	return all, nil
}
