package server

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/template"
)

func (b brokenStore) PutTemplate(ctx context.Context, t template.Template) error {
	if b.down.Load() {
		return fmt.Errorf("writing: %w", store.ErrUnavailable)
	}
	return b.Store.PutTemplate(ctx, t)
}

func (b brokenStore) DeleteTemplate(ctx context.Context, name string, version int64) error {
	if b.down.Load() {
		return fmt.Errorf("writing: %w", store.ErrUnavailable)
	}
	return b.Store.DeleteTemplate(ctx, name, version)
}

func (b brokenQueue) Render(ctx context.Context, submission queue.Submission) (queue.Rendered, error) {
	return b.Queue.Render(ctx, submission)
}

// richTemplate has a parameter of every type, and uses every limit.
func richTemplate(name string) api.NewTemplate {
	least, most := 1.0, 8.0
	return api.NewTemplate{
		Name: name, Description: "everything that a template can hold",
		Parameters: []api.Parameter{
			{Name: "run", Type: "string", Required: true, Pattern: "[a-z0-9-]+", MinLength: 1, MaxLength: 20, Description: "ends the name"},
			{Name: "cpus", Type: "integer", Minimum: &least, Maximum: &most, Default: json.RawMessage(`1`)},
			{Name: "price", Type: "number"},
			{Name: "size", Type: "choice", Choices: []string{"small", "large"}, Default: json.RawMessage(`"small"`)},
			{Name: "debug", Type: "boolean", Default: json.RawMessage(`false`)},
			{Name: "args", Type: "list", Items: "string", MinItems: 1, MaxItems: 5, Default: json.RawMessage(`["a"]`)},
		},
		Job: json.RawMessage(`{"priority":"{{cpus}}","retries":2,"deadline":"1h","labels":{"size":"{{size}}"},"onRegionLost":"wait",
			"placement":{"maxPricePerHour":"{{price}}"},
			"manifest":{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"train-{{run}}"},"spec":{"template":{"spec":{
				"restartPolicy":"Never","containers":[{"name":"main","image":"busybox:1.36","args":["--debug={{debug}}","{{args}}"],
				"env":[{"name":"CPUS","value":"{{cpus|string}}"}],
				"resources":{"requests":{"cpu":"{{cpus}}"}}}]}}}}}`),
	}
}

func parameters(text string) map[string]json.RawMessage {
	var of map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &of); err != nil {
		panic(err)
	}
	return of
}

func (sc *scenario) templates() {
	sc.templateRecords()
	sc.templateJobs()
	sc.templateEnds()
}

// templateRecords writes two templates, and versions of one.
func (sc *scenario) templateRecords() {
	ctx := sc.t.Context()
	rich := richTemplate("rich")
	_, err := sc.admin.CreateTemplate(ctx, rich)
	sc.must(err)
	_, err = sc.admin.CreateTemplate(ctx, rich)
	sc.mustFail(409, err)
	_, err = sc.admin.CreateTemplate(ctx, richTemplate("other"))
	sc.must(err)

	rich.Description = "better"
	_, err = sc.admin.UpdateTemplate(ctx, rich, "")
	sc.mustFail(428, err)
	_, err = sc.admin.UpdateTemplate(ctx, rich, client.IfVersion(7))
	sc.mustFail(412, err)
	_, err = sc.admin.UpdateTemplate(ctx, rich, client.IfVersion(1))
	sc.must(err)
	_, err = sc.admin.UpdateTemplate(ctx, richTemplate("none"), client.AnyVersion)
	sc.mustFail(404, err)
	sc.down.Store(true)
	_, err = sc.admin.UpdateTemplate(ctx, richTemplate("rich"), client.AnyVersion)
	sc.mustFail(503, err)
	_, err = sc.admin.CreateTemplate(ctx, richTemplate("new"))
	sc.mustFail(503, err)
	sc.mustFail(503, sc.admin.DeleteTemplate(ctx, "rich", ""))
	sc.down.Store(false)

	for _, read := range []func(limit int, cursor string) (api.TemplateList, error){
		func(limit int, cursor string) (api.TemplateList, error) {
			return sc.admin.Templates(ctx, limit, cursor)
		},
		func(limit int, cursor string) (api.TemplateList, error) {
			return sc.admin.TemplateVersions(ctx, "rich", limit, cursor)
		},
	} {
		page, err := read(1, "")
		sc.must(err)
		_, err = read(1, page.NextCursor)
		sc.must(err)
		_, err = read(1, "bm9uc2Vuc2U")
		sc.mustFail(400, err)
	}
	_, err = sc.admin.TemplateVersions(ctx, "none", 0, "")
	sc.mustFail(404, err)
	_, err = sc.admin.Template(ctx, "rich")
	sc.must(err)
	_, err = sc.admin.Template(ctx, "none")
	sc.mustFail(404, err)
	_, err = sc.admin.TemplateVersion(ctx, "rich", 1)
	sc.must(err)
	_, err = sc.admin.TemplateVersion(ctx, "rich", 9)
	sc.mustFail(404, err)
}

// templateJobs submits from a template, in both ways.
func (sc *scenario) templateJobs() {
	ctx := sc.t.Context()
	given := api.Submission{Parameters: parameters(`{"run":"1","price":2.5}`)}
	named := given
	named.Template = &api.TemplateRef{Name: "rich", Version: 1}
	_, _, err := sc.admin.Submit(ctx, named, "")
	sc.must(err)
	page, err := sc.admin.Jobs(ctx, client.JobFilter{Template: "rich"})
	sc.must(err)
	if len(page.Items) != 1 || *page.Items[0].Template != *named.Template {
		sc.t.Errorf("the jobs from a template are %+v", page.Items)
	}
	batch, err := sc.admin.SubmitBatch(ctx, []api.BatchItem{{Submission: named}})
	sc.must(err)
	if batch.Items[0].Status != 201 {
		sc.t.Errorf("in a batch it is %+v", batch.Items[0])
	}
	for range 2 {
		_, _, err = sc.admin.SubmitTemplate(ctx, "rich", 2, given, "from-a-template")
		sc.must(err)
	}
	_, _, err = sc.admin.SubmitTemplate(ctx, "rich", 0, given, "from-a-template")
	sc.mustFail(409, err)
	_, _, err = sc.admin.SubmitTemplate(ctx, "none", 0, given, "")
	sc.mustFail(404, err)
	sc.limited.Store(true)
	_, _, err = sc.admin.SubmitTemplate(ctx, "rich", 0, given, "")
	sc.mustFail(429, err)
	sc.limited.Store(false)
	sc.down.Store(true)
	_, _, err = sc.admin.SubmitTemplate(ctx, "rich", 0, given, "")
	sc.mustFail(503, err)
	sc.down.Store(false)

	for _, version := range []int64{0, 1} {
		_, err = sc.admin.RenderTemplate(ctx, "rich", version, given)
		sc.must(err)
	}
	_, err = sc.admin.RenderTemplate(ctx, "rich", 9, given)
	sc.mustFail(422, err)
	_, err = sc.admin.RenderTemplate(ctx, "none", 0, given)
	sc.mustFail(404, err)
}

func (sc *scenario) templateEnds() {
	ctx := sc.t.Context()
	sc.mustFail(412, sc.admin.DeleteTemplate(ctx, "rich", client.IfVersion(1)))
	sc.must(sc.admin.DeleteTemplate(ctx, "rich", client.IfVersion(2)))
	sc.mustFail(404, sc.admin.DeleteTemplate(ctx, "rich", ""))
}
