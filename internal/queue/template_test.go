package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/template"
)

// trainTemplate is a template that sets some of everything.
func trainTemplate(version int64) template.Template {
	return template.Template{
		Name: "train", Version: version,
		Parameters: []template.Parameter{
			{Name: "name", Type: template.String, Required: true},
			{Name: "gpus", Type: template.Integer, Default: json.RawMessage(`1`)},
			{Name: "team", Type: template.String},
			{Name: "privileged", Type: template.Boolean},
			{Name: "image", Type: template.String, Default: json.RawMessage(`"busybox:1.36"`)},
		},
		Job: json.RawMessage(`{"namespace":"{{team}}","priority":7,"retries":2,"deadline":"{{gpus}}h","labels":{"a":"1","b":"{{gpus|string}}"},
			"placement":{"regions":["east","west"],"maxPricePerHour":5},
			"manifest":{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"{{name}}"},"spec":{"template":{"spec":{
				"restartPolicy":"Never",
				"containers":[{"name":"main","securityContext":{"privileged":"{{privileged}}"},"image":"{{image}}","command":["sh","-c","echo '{{name}}'"],
				"resources":{"limits":{"nvidia.com/gpu":"{{gpus}}"}}}]}}}}}`),
	}
}

func (f *fixture) putTemplate(t template.Template) {
	f.t.Helper()
	if err := f.Store.PutTemplate(f.t.Context(), t); err != nil {
		f.t.Fatal(err)
	}
}

// from is a request for a job from the template train.
func from(version int64, parameters string) api.Submission {
	request := api.Submission{Template: &api.TemplateRef{Name: "train", Version: version}}
	if err := json.Unmarshal([]byte(parameters), &request.Parameters); err != nil {
		panic(err)
	}
	return request
}

func (f *fixture) try(request api.Submission, change ...func(*Submission)) Submitted {
	f.t.Helper()
	submission := Submission{Identity: "ann", Request: request}
	for _, c := range change {
		c(&submission)
	}
	return f.Submit(f.t.Context(), []Submission{submission})[0]
}

func anyNamespace(o *Options) { o.Admission.AllowedNamespaces = []string{"*"} }

func TestSubmitFromTemplate(t *testing.T) {
	f := newFixture(t, anyNamespace)
	f.putTemplate(trainTemplate(1))
	result := f.try(from(0, `{"name":"first","gpus":4,"team":"team-a"}`))
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	spec := result.Job.Spec
	if spec.Template != (job.TemplateRef{Name: "train", Version: 1}) {
		t.Errorf("the job says it came from %+v", spec.Template)
	}
	if spec.Name != "first" || spec.Namespace != "team-a" || spec.Priority != 7 || spec.Retries != 2 || spec.Deadline != 4*time.Hour ||
		spec.Labels["b"] != "4" || !slices.Equal(spec.Placement.Regions, []string{"east", "west"}) {
		t.Errorf("the spec is %+v", spec)
	}
	text, err := f.Store.Manifest(t.Context(), result.Job.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"nvidia.com/gpu":"4"`, `"echo 'first'"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the manifest has no %s: %s", want, text)
		}
	}

	// What the request says stands above the template.
	request := from(1, `{"name":"second"}`)
	none, least := 0, 1
	request.Namespace, request.Priority, request.Retries, request.Deadline = "team-b", &none, &least, "5m"
	request.Labels = map[string]string{"b": "mine", "c": "3"}
	request.Placement = &api.Placement{Regions: []string{"north"}, CapacityType: "spot"}
	spec = f.try(request).Job.Spec
	if spec.Namespace != "team-b" || spec.Priority != 0 || spec.Retries != 1 || spec.Deadline != 5*time.Minute ||
		spec.Labels["a"] != "1" || spec.Labels["b"] != "mine" || spec.Labels["c"] != "3" ||
		!slices.Equal(spec.Placement.Regions, []string{"north"}) || spec.Placement.MaxPricePerHour != 5 || spec.Placement.CapacityType != capacity.Spot {
		t.Errorf("the spec is %+v", spec)
	}
}

// TestRequestStandsAboveItsTemplate sets each text of a submission in either.
func TestRequestStandsAboveItsTemplate(t *testing.T) {
	of := reflect.TypeFor[api.Submission]()
	for i := range of.NumField() {
		if of.Field(i).Type.Kind() != reflect.String {
			continue
		}
		var base, over api.Submission
		reflect.ValueOf(&base).Elem().Field(i).SetString("template's")
		if got := overlaid(base, over); !reflect.DeepEqual(got, base) {
			t.Errorf("%s: without the request's the submission is %+v", of.Field(i).Name, got)
		}
		reflect.ValueOf(&over).Elem().Field(i).SetString("request's")
		if got := overlaid(base, over); !reflect.DeepEqual(got, over) {
			t.Errorf("%s: with the request's the submission is %+v", of.Field(i).Name, got)
		}
	}
}

// TestTemplateFaultsAllAtOnce joins the faults of parameters with those of the
// rest of the request.
func TestTemplateFaultsAllAtOnce(t *testing.T) {
	f := newFixture(t, anyNamespace)
	f.putTemplate(trainTemplate(1))
	request := from(0, `{"gpu":2,"gpus":"many","team":null}`)
	request.Deadline = "soon"
	for _, test := range []struct {
		request api.Submission
		want    []string
	}{
		{request, []string{"Idempotency-Key", "parameters.gpu", "parameters.gpus", "parameters.team", "parameters.name", "deadline"}},
		{from(3, `{"name":"x"}`), []string{"Idempotency-Key", "template.version"}},
		{from(-1, `{"name":"x"}`), []string{"Idempotency-Key", "template.version"}},
		{api.Submission{Template: &api.TemplateRef{Name: "trian"}}, []string{"Idempotency-Key", "template.name"}},
		{api.Submission{Template: &api.TemplateRef{Name: "train"}, Manifest: manifestOf("a", "1")}, []string{"Idempotency-Key", "template"}},
		{api.Submission{Parameters: map[string]json.RawMessage{"a": nil}, Manifest: manifestOf("a", "1")}, []string{"Idempotency-Key", "parameters"}},
		// What is rendered is checked as any other submission.
		{from(0, `{"name":"Not A Name","image":"bad image","team":"No","gpus":-1}`), []string{
			"Idempotency-Key", "manifest.metadata.name", "manifest.metadata.namespace",
			"manifest.spec.template.spec.containers[0].resources.limits[nvidia.com/gpu]",
			"manifest.spec.template.spec.containers[0].image", "deadline",
		}},
	} {
		result := f.try(test.request, func(s *Submission) { s.Faults = []job.Fault{{Field: "Idempotency-Key"}} })
		invalid, ok := errors.AsType[*job.Invalid](result.Err)
		if !ok {
			t.Errorf("%+v: %v", test.request, result.Err)
			continue
		}
		var fields []string
		for _, fault := range invalid.Faults {
			fields = append(fields, fault.Field)
		}
		if !slices.Equal(fields, test.want) {
			t.Errorf("faults of %+v are in %v, want %v", test.request.Template, fields, test.want)
		}
	}
}

// TestTemplateDoesNotEvadeAdmission tries what the policy forbids by way of
// parameters: structure that the template has no room for, and a namespace
// that the identity may not use.
func TestTemplateDoesNotEvadeAdmission(t *testing.T) {
	f := newFixture(t, anyNamespace)
	f.putTemplate(trainTemplate(1))
	result := f.try(from(0, `{"name":"a","privileged":true}`))
	if invalid, ok := errors.AsType[*job.Invalid](result.Err); !ok || !strings.Contains(invalid.Error(), "privileged") {
		t.Errorf("a privileged container: %v", result.Err)
	}
	result = f.try(from(0, `{"name":"a","image":"busybox:1.36\",\"securityContext\":{\"privileged\":true},\"x\":\""}`))
	if _, ok := errors.AsType[*job.Invalid](result.Err); !ok {
		t.Errorf("an image that closes its quote: %v", result.Err)
	}
	result = f.try(from(0, `{"name":"a","team":"team-b"}`), func(s *Submission) { s.Namespaces = []string{"team-a"} })
	if _, ok := errors.AsType[*NotYourNamespace](result.Err); !ok {
		t.Errorf("another's namespace: %v", result.Err)
	}
	_, err := f.Render(t.Context(), Submission{Identity: "ann", Namespaces: []string{"team-a"}, Request: from(0, `{"name":"a","team":"team-b"}`)})
	if _, ok := errors.AsType[*NotYourNamespace](err); !ok {
		t.Errorf("another's namespace, rendered: %v", err)
	}
}

// TestVersionsOfTemplates: jobs keep what they ran, whatever becomes of the
// template.
func TestVersionsOfTemplates(t *testing.T) {
	f := newFixture(t, anyNamespace)
	f.putTemplate(trainTemplate(1))
	first := f.try(from(0, `{"name":"first"}`)).Job
	second := trainTemplate(2)
	second.Parameters = second.Parameters[1:]
	second.Job = json.RawMessage(strings.ReplaceAll(string(second.Job), "{{name}}", "fixed"))
	f.putTemplate(second)
	if got := f.try(from(0, `{}`)).Job.Spec; got.Template.Version != 2 || got.Name != "fixed" {
		t.Errorf("the newest version made %+v", got)
	}
	if got := f.try(from(1, `{"name":"old"}`)).Job.Spec; got.Template.Version != 1 || got.Name != "old" {
		t.Errorf("version 1 made %+v", got)
	}
	if err := f.Store.DeleteTemplate(t.Context(), "train", 2); err != nil {
		t.Fatal(err)
	}
	for _, version := range []int64{0, 1, 2} {
		if result := f.try(from(version, `{"name":"late"}`)); result.Err == nil {
			t.Errorf("version %d of a deleted template made a job", version)
		}
	}
	text, err := f.Store.Manifest(t.Context(), first.ID)
	if err != nil || !strings.Contains(string(text), "echo 'first'") {
		t.Errorf("the old job's manifest is %s (%v)", text, err)
	}
	if _, err := f.Cancel(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	retry, err := f.Retry(t.Context(), "ann", first.ID)
	if err != nil || retry.Spec.Template != first.Spec.Template {
		t.Errorf("the retry is from %+v (%v)", retry.Spec.Template, err)
	}
}

// TestKeysWithTemplates: the same request is the same job, although the
// template was updated between.
func TestKeysWithTemplates(t *testing.T) {
	f := newFixture(t, anyNamespace)
	f.putTemplate(trainTemplate(1))
	keyed := func(s *Submission) { s.Key = "k" }
	first := f.try(from(0, `{"name":"a","gpus":2}`), keyed)
	if first.Err != nil || !first.Created {
		t.Fatalf("%+v", first)
	}
	next := trainTemplate(2)
	next.Job = json.RawMessage(strings.Replace(string(next.Job), `"priority":7`, `"priority":8`, 1))
	f.putTemplate(next)
	again := f.try(from(0, `{"gpus": 2, "name": "a"}`), keyed)
	if again.Err != nil || again.Created || again.Job.ID != first.Job.ID || again.Job.Spec.Priority != 7 {
		t.Errorf("the same request made %+v", again)
	}
	for _, other := range []api.Submission{from(0, `{"name":"a","gpus":3}`), from(2, `{"name":"a","gpus":2}`), {Manifest: manifestOf("a", "1")}} {
		if result := f.try(other, keyed); !errors.Is(result.Err, store.ErrKeyReused) {
			t.Errorf("another request with the same key: %+v", result)
		}
	}
}

// TestKeysOutliveTemplates: what was accepted is answered again, although it
// would not be accepted any more.
func TestKeysOutliveTemplates(t *testing.T) {
	f := newFixture(t, anyNamespace)
	f.putTemplate(trainTemplate(1))
	keyed := func(s *Submission) { s.Key = "k" }
	team := func(s *Submission) { s.Key, s.Namespaces = "k", []string{"team"} }
	first := f.try(from(0, `{"name":"a","team":"team"}`), keyed)
	named := from(0, `{"name":"a"}`)
	named.Namespace = "other"
	second := f.try(named, keyed)
	if first.Err != nil || second.Err != nil || first.Job.Spec.Namespace != "team" {
		t.Fatalf("%+v, %+v", first, second)
	}
	check := func(when string) {
		t.Helper()
		for _, test := range []struct {
			request api.Submission
			key     func(*Submission)
			want    Submitted
		}{
			{from(0, `{"team":"team", "name":"\u0061"}`), keyed, first},
			{from(0, `{"name":"a","team":"team"}`), team, first},
			{named, keyed, second},
		} {
			got := f.try(test.request, test.key)
			if got.Err != nil || got.Created || got.Job.ID != test.want.Job.ID {
				t.Errorf("%s, the same request made %+v", when, got)
			}
		}
		for name, refused := range map[string]Submitted{
			"another body":      f.try(from(0, `{"name":"b","team":"team"}`), keyed),
			"another version":   f.try(from(1, `{"name":"a","team":"team"}`), func(s *Submission) { s.Key = "l" }),
			"another key":       f.try(from(0, `{"name":"a","team":"team"}`), func(s *Submission) { s.Key = "l" }),
			"no key":            f.try(from(0, `{"name":"a","team":"team"}`)),
			"another namespace": f.try(from(0, `{"name":"a","team":"team"}`), func(s *Submission) { s.Key, s.Namespaces = "k", []string{"other"} }),
			"another identity":  f.try(from(0, `{"name":"a","team":"team"}`), func(s *Submission) { s.Key, s.Identity = "k", "bob" }),
		} {
			if _, invalid := errors.AsType[*job.Invalid](refused.Err); !invalid {
				t.Errorf("%s, %s: %+v", when, name, refused)
			}
		}
	}
	if err := f.Store.DeleteTemplate(t.Context(), "train", 1); err != nil {
		t.Fatal(err)
	}
	check("without the template")
	next := trainTemplate(2)
	next.Parameters = append(next.Parameters, template.Parameter{Name: "new", Type: template.String, Required: true})
	next.Job = json.RawMessage(`{"namespace":"else","labels":{"x":"{{new}}"}` + strings.TrimPrefix(string(next.Job), `{"namespace":"{{team}}"`))
	f.putTemplate(next)
	if err := f.Store.DeleteTemplate(t.Context(), "train", 2); err != nil {
		t.Fatal(err)
	}
	check("after another version")
}

// countingStore counts how often a template is read.
type countingStore struct {
	store.Store
	reads int
	err   error
}

func (s *countingStore) Template(ctx context.Context, name string) (template.Template, error) {
	s.reads++
	if s.err != nil {
		return template.Template{}, s.err
	}
	return s.Store.Template(ctx, name)
}

func TestBatchReadsATemplateOnce(t *testing.T) {
	var counting *countingStore
	f := newFixture(t, anyNamespace, func(o *Options) {
		counting = &countingStore{Store: o.Store}
		o.Store = counting
	})
	f.putTemplate(trainTemplate(1))
	batch := slices.Repeat([]Submission{{Identity: "ann", Request: from(0, `{"name":"a"}`)}}, 50)
	for _, result := range f.Submit(t.Context(), batch) {
		if result.Err != nil {
			t.Fatal(result.Err)
		}
	}
	if counting.reads != 1 {
		t.Errorf("%d reads", counting.reads)
	}
	counting.err = store.ErrUnavailable
	if result := f.try(from(0, `{"name":"a"}`)); !errors.Is(result.Err, store.ErrUnavailable) {
		t.Errorf("with a store that cannot read: %v", result.Err)
	}
}

// TestBatchOfLargeTemplates: a small request does not become a large one.
func TestBatchOfLargeTemplates(t *testing.T) {
	f := newFixture(t, anyNamespace)
	large := trainTemplate(1)
	large.Job = json.RawMessage(strings.Replace(string(large.Job), `"echo '{{name}}'"`, `"`+strings.Repeat("x", 200<<10)+`"`, 1))
	f.putTemplate(large)
	known := f.newTemplates()
	rendered := 0
	for {
		request, _, faults, err := known.expand(t.Context(), from(0, `{"name":"a"}`))
		if err != nil {
			t.Fatal(err)
		}
		if len(faults) > 0 {
			if faults[0].Field != "template" {
				t.Error(faults)
			}
			break
		}
		if rendered += len(request.Manifest); rendered > maxRenderedBytes {
			t.Fatalf("%d bytes were rendered", rendered)
		}
	}
	if rendered < maxRenderedBytes/2 {
		t.Errorf("no more after %d bytes", rendered)
	}
}

func TestRenderStoresNothing(t *testing.T) {
	f := newFixture(t, anyNamespace)
	f.putTemplate(trainTemplate(1))
	request := Submission{Identity: "ann", Key: "k", Request: from(0, `{"name":"a","gpus":3}`)}
	rendered, err := f.Render(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	page, err := f.Store.List(t.Context(), store.ListQuery{Limit: 10})
	if err != nil || len(page.Jobs) != 0 {
		t.Errorf("%d jobs after rendering (%v)", len(page.Jobs), err)
	}
	submitted := f.Submit(t.Context(), []Submission{request})[0]
	if submitted.Err != nil {
		t.Fatal(submitted.Err)
	}
	text, err := f.Store.Manifest(t.Context(), submitted.Job.ID)
	if err != nil || !bytes.Equal(text, rendered.Manifest) || submitted.Job.Spec.Class != rendered.Spec.Class {
		t.Errorf("rendered %s, submitted %s (%v)", rendered.Manifest, text, err)
	}
}
