package store

import (
	"context"

	"github.com/gco-project/gco/internal/template"
)

// Templates is the record of every version of every template, for the server
// and the queue. Names are global.
type Templates interface {
	// PutTemplate writes the next version: template.Version must be one more
	// than the newest there ever was under this name (1 if there was none),
	// else ErrConflict.
	PutTemplate(ctx context.Context, template template.Template) error
	// DeleteTemplate ends a template if its newest version is still the one
	// given, else ErrConflict; ErrNotFound where it does not exist or has been
	// deleted before. Its versions stay, for the jobs that name them, and the
	// name may be used again: it goes on with the next version.
	DeleteTemplate(ctx context.Context, name string, version int64) error

	// Template returns the newest version of a template that exists;
	// ErrNotFound if it never did, or was deleted.
	Template(ctx context.Context, name string) (template.Template, error)
	// LastTemplateVersion is the newest version that was ever written under a
	// name, deleted or not; 0 if none was.
	LastTemplateVersion(ctx context.Context, name string) (int64, error)
	// TemplateVersion returns one version, that of a deleted template too;
	// ErrNotFound if there never was one.
	TemplateVersion(ctx context.Context, name string, version int64) (template.Template, error)
	// Templates lists the newest versions of those that exist, by name, after
	// a name, without their Parameters and Job. Fewer than limit are the end.
	Templates(ctx context.Context, after string, limit int) ([]template.Template, error)
	// TemplateVersions lists the versions of a template, that of a deleted one
	// too, newest first, those before a version (0: from the newest on),
	// without their Parameters and Job. Fewer than limit are the end.
	TemplateVersions(ctx context.Context, name string, before int64, limit int) ([]template.Template, error)
}
