package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gco-project/gco/api"
)

// AnyVersion is the If-Match that holds for every version.
const AnyVersion = "*"

// IfVersion is the If-Match that holds for one version of a template or an endpoint.
func IfVersion(version int64) string { return strconv.Quote(strconv.FormatInt(version, 10)) }

// Templates returns one page of templates by name, without their parameters
// and jobs. An empty cursor is the first page, a limit of 0 the server's
// default.
func (c *Client) Templates(ctx context.Context, limit int, cursor string) (api.TemplateList, error) {
	return c.templates(ctx, root+"/templates", limit, cursor)
}

// TemplateVersions returns one page of the versions of a template, deleted or
// not, newest first.
func (c *Client) TemplateVersions(ctx context.Context, name string, limit int, cursor string) (api.TemplateList, error) {
	return c.templates(ctx, templatePath(name)+"/versions", limit, cursor)
}

func (c *Client) templates(ctx context.Context, path string, limit int, cursor string) (api.TemplateList, error) {
	query := url.Values{}
	set(query, "cursor", cursor)
	if limit != 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	var list api.TemplateList
	err := c.get(ctx, path, query, &list)
	return list, err
}

// AllTemplates goes through all pages that read returns, such as those of
// Templates. It ends after the first error.
func AllTemplates(read func(cursor string) (api.TemplateList, error)) iter.Seq2[api.Template, error] {
	return func(yield func(api.Template, error) bool) {
		for cursor := ""; ; {
			page, err := read(cursor)
			if err != nil {
				yield(api.Template{}, err)
				return
			}
			for _, template := range page.Items {
				if !yield(template, nil) {
					return
				}
			}
			if cursor = page.NextCursor; cursor == "" {
				return
			}
		}
	}
}

// Template returns the newest version of a template.
func (c *Client) Template(ctx context.Context, name string) (api.Template, error) {
	var template api.Template
	err := c.get(ctx, templatePath(name), nil, &template)
	return template, err
}

// TemplateVersion returns one version, that of a deleted template too.
func (c *Client) TemplateVersion(ctx context.Context, name string, version int64) (api.Template, error) {
	var template api.Template
	err := c.get(ctx, fmt.Sprintf("%s/versions/%d", templatePath(name), version), nil, &template)
	return template, err
}

// CreateTemplate stores a new template; 409 when the name is taken.
func (c *Client) CreateTemplate(ctx context.Context, template api.NewTemplate) (api.Template, error) {
	var created api.Template
	err := c.post(ctx, root+"/templates", template, &created)
	return created, err
}

// UpdateTemplate writes the next version of a template; 412 when ifMatch (see
// IfVersion) does not hold. It is repeated when an answer is lost: the server
// makes no version that says the same as the one before.
func (c *Client) UpdateTemplate(ctx context.Context, template api.NewTemplate, ifMatch string) (api.Template, error) {
	text, err := json.Marshal(template)
	if err != nil {
		return api.Template{}, fmt.Errorf("writing the request as JSON: %w", err)
	}
	what := call{
		method: http.MethodPut, path: templatePath(template.Name), header: ifMatchHeader(ifMatch),
		body: text, contentType: "application/json", repeat: true,
	}
	var updated api.Template
	_, err = c.do(ctx, what, &updated)
	return updated, err
}

// DeleteTemplate ends a template; its versions can still be read. An empty
// ifMatch deletes whatever there is.
func (c *Client) DeleteTemplate(ctx context.Context, name, ifMatch string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: templatePath(name), header: ifMatchHeader(ifMatch)}, nil)
	return err
}

// SubmitTemplate submits one job from a template; version 0 is the newest. See
// Submit for the key.
func (c *Client) SubmitTemplate(ctx context.Context, name string, version int64, submission api.Submission, key string) (job api.Job, replayed bool, err error) {
	what, err := jsonCall(templatePath(name)+"/jobs", submission)
	if err != nil {
		return api.Job{}, false, err
	}
	what.query = versionQuery(version)
	return c.submit(ctx, what, key)
}

// RenderTemplate returns what SubmitTemplate would submit.
func (c *Client) RenderTemplate(ctx context.Context, name string, version int64, submission api.Submission) (api.Rendering, error) {
	what, err := jsonCall(templatePath(name)+"/render", submission)
	if err != nil {
		return api.Rendering{}, err
	}
	what.query, what.repeat = versionQuery(version), true
	var rendering api.Rendering
	_, err = c.do(ctx, what, &rendering)
	return rendering, err
}

func versionQuery(version int64) url.Values {
	if version == 0 {
		return nil
	}
	return url.Values{"version": {strconv.FormatInt(version, 10)}}
}

func ifMatchHeader(ifMatch string) http.Header {
	if ifMatch == "" {
		return nil
	}
	return http.Header{"If-Match": {ifMatch}}
}

func templatePath(name string) string { return root + "/templates/" + url.PathEscape(name) }
