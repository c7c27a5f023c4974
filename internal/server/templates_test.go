package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// createTemplate makes a template that must be good.
func (s *system) createTemplate(t *testing.T, name string) api.Template {
	t.Helper()
	created, err := s.admin.CreateTemplate(t.Context(), richTemplate(name))
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func TestTemplateKeepsWhatWasWritten(t *testing.T) {
	s := start(t)
	created := s.createTemplate(t, "train")
	if created.Version != 1 || created.UpdatedBy != "admin" || created.CreatedAt.IsZero() || !created.CreatedAt.Equal(created.UpdatedAt) {
		t.Errorf("created %+v", created)
	}
	read, err := s.admin.Template(t.Context(), "train")
	if err != nil {
		t.Fatal(err)
	}
	want := richTemplate("train")
	got, _ := json.Marshal(api.NewTemplate{Name: read.Name, Description: read.Description, Parameters: read.Parameters, Job: read.Job})
	if text, _ := json.Marshal(want); !bytes.Equal(got, text) {
		t.Errorf("read %s\nwrote %s", got, text)
	}
	list, err := s.admin.Templates(t.Context(), 0, "")
	if err != nil || len(list.Items) != 1 || list.Items[0].Job != nil || list.Items[0].Parameters != nil || list.Items[0].Description == "" {
		t.Errorf("the list is %+v, %v", list, err)
	}
}

func TestTemplateFaultsAreToldAtOnce(t *testing.T) {
	s := start(t)
	for body, want := range map[string][]string{
		`{"name":"Train","parameters":[{"name":"a b","type":"integer","pattern":"x"}],"job":{"manifest":{}}}`: {"name"},
		`{"name":"t","parameters":[{"name":"a b","type":"integer","pattern":"x"}],"job":{"priority":"{{p}}"}}`: {
			"parameters[0].name", "parameters[0]", "job.manifest", "job.priority",
		},
		`{"name":"t","params":[],"job":{"manifest":{}}}`:               {"params"},
		`{"name":"t","parameters":[{"typ":"text"}],"job":{}}`:          {"parameters[0].typ", "parameters[0].name", "parameters[0].type", "job.manifest"},
		`{"name":"t","parameters":[{"name":"a","type":"map"}]}`:        {"parameters[0].type", "job"},
		`{"name":"t","description":"x"}`:                               {"job"},
		`{"name":"t","job":{"manifest":{"{{a}}":1,"b":"{{\"{{\"}}"}}}`: {"job.manifest[{{a}}]"},
	} {
		response, text := s.raw(post, "/api/v1/templates", map[string]string{"Content-Type": "application/json"}, body)
		p := problemIn(t, response, text)
		var fields []string
		for _, fault := range p.Errors {
			fields = append(fields, fault.Field)
		}
		if response.StatusCode != http.StatusUnprocessableEntity || !slices.Equal(fields, want) {
			t.Errorf("%s: %s with faults in %v, want %v", body, response.Status, fields, want)
		}
	}
	other := richTemplate("other")
	text, _ := json.Marshal(other)
	s.createTemplate(t, "train")
	response, answer := s.raw(put, "/api/v1/templates/train", map[string]string{"Content-Type": "application/json", "If-Match": "*"}, string(text))
	if p := problemIn(t, response, answer); len(p.Errors) != 1 || p.Errors[0].Field != "name" {
		t.Errorf("a name beside that of the path: %s", answer)
	}
}

// TestTemplateEditsAreNotLost lets many add their mark to a template at once,
// each on top of what it has read: every mark is there in the end, each
// version was written once.
func TestTemplateEditsAreNotLost(t *testing.T) {
	s := start(t)
	s.createTemplate(t, "train")
	const editors = 8
	var refused atomic.Int64
	var all sync.WaitGroup
	for i := range editors {
		all.Go(func() {
			for {
				read, err := s.admin.Template(t.Context(), "train")
				if err != nil {
					t.Error(err)
					return
				}
				next := richTemplate("train")
				next.Description = read.Description + fmt.Sprintf("[%d]", i)
				_, err = s.admin.UpdateTemplate(t.Context(), next, client.IfVersion(read.Version))
				if err == nil {
					return
				}
				if !client.Is(err, api.ProblemPreconditionFailed) {
					t.Error(err)
					return
				}
				refused.Add(1)
			}
		})
	}
	all.Wait()
	last, err := s.admin.Template(t.Context(), "train")
	if err != nil {
		t.Fatal(err)
	}
	if last.Version != editors+1 {
		t.Errorf("%d edits made version %d; %d were refused", editors, last.Version, refused.Load())
	}
	for i := range editors {
		if !strings.Contains(last.Description, fmt.Sprintf("[%d]", i)) {
			t.Errorf("the edit of %d was lost: %s", i, last.Description)
		}
	}
}

func TestUpdateWithoutAChangeMakesNoVersion(t *testing.T) {
	s := start(t)
	created := s.createTemplate(t, "train")
	same := richTemplate("train")
	same.Job = json.RawMessage(strings.ReplaceAll(string(same.Job), "\n", " "))
	for _, ifMatch := range []string{"", client.IfVersion(9), client.AnyVersion} {
		got, err := s.admin.UpdateTemplate(t.Context(), same, ifMatch)
		if err != nil || got.Version != 1 || !got.UpdatedAt.Equal(created.UpdatedAt) {
			t.Errorf("If-Match %q: version %d, %v", ifMatch, got.Version, err)
		}
	}
}

func TestIfMatch(t *testing.T) {
	for given, want := range map[string]bool{
		`"3"`: true, `*`: true, `"2", "3"`: true, `"2","4"`: false, `3`: false, `W/"3"`: false, ``: false, `"33"`: false,
	} {
		if matches([]string{given}, 3) != want {
			t.Errorf("%s matches version 3: %t", given, !want)
		}
	}
}

// TestTemplateOutlivesItsEnd: jobs show what they ran, and the name goes on
// with the next version.
func TestTemplateOutlivesItsEnd(t *testing.T) {
	s := start(t)
	s.createTemplate(t, "train")
	given := api.Submission{Parameters: parameters(`{"run":"1"}`)}
	j, _, err := s.admin.SubmitTemplate(t.Context(), "train", 0, given, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.admin.DeleteTemplate(t.Context(), "train", client.IfVersion(1)); err != nil {
		t.Fatal(err)
	}
	read, err := s.admin.Job(t.Context(), j.ID)
	if err != nil || *read.Template != (api.TemplateRef{Name: "train", Version: 1}) || !strings.Contains(string(read.Manifest), `"train-1"`) {
		t.Errorf("the job is %+v, %v", read, err)
	}
	old, err := s.admin.TemplateVersion(t.Context(), "train", 1)
	if err != nil || len(old.Job) == 0 {
		t.Errorf("the version it ran is %+v, %v", old, err)
	}
	if _, _, err := s.admin.SubmitTemplate(t.Context(), "train", 1, given, ""); !client.Is(err, api.ProblemNotFound) {
		t.Errorf("submitting from a deleted template: %v", err)
	}
	if again := s.createTemplate(t, "train"); again.Version != 2 {
		t.Errorf("the new template of that name is version %d", again.Version)
	}
	versions, err := s.admin.TemplateVersions(t.Context(), "train", 0, "")
	if err != nil || len(versions.Items) != 2 || versions.Items[0].Version != 2 {
		t.Errorf("its versions are %+v, %v", versions, err)
	}
}

func TestWhoMayWriteTemplates(t *testing.T) {
	s := start(t)
	s.createTemplate(t, "train")
	changed := richTemplate("train")
	changed.Description = "changed"
	for _, test := range []struct {
		token            api.NewToken
		write, use, read bool
	}{
		{api.NewToken{Name: "a", Role: "submitter"}, true, true, true},
		{api.NewToken{Name: "b", Role: "submitter", Namespaces: []string{"team-a"}}, false, true, true},
		{api.NewToken{Name: "c", Role: "viewer"}, false, false, true},
		{api.NewToken{Name: "d", Role: "agent", Region: testRegion}, false, false, false},
	} {
		c := s.as(test.token)
		_, updating := c.UpdateTemplate(t.Context(), changed, client.AnyVersion)
		_, creating := c.CreateTemplate(t.Context(), richTemplate("by-"+test.token.Name))
		deleting := c.DeleteTemplate(t.Context(), "by-"+test.token.Name, "")
		given := api.Submission{Namespace: "team-a", Parameters: parameters(`{"run":"1"}`)}
		_, _, using := c.SubmitTemplate(t.Context(), "train", 0, given, "")
		_, reading := c.Template(t.Context(), "train")
		_, rendering := c.RenderTemplate(t.Context(), "train", 0, given)
		for what, of := range map[string]struct {
			err error
			may bool
		}{
			"update": {updating, test.write}, "create": {creating, test.write}, "delete": {deleting, test.write},
			"use": {using, test.use}, "read": {reading, test.read}, "render": {rendering, test.read},
		} {
			if of.may && of.err != nil || !of.may && !client.Is(of.err, api.ProblemForbidden) {
				t.Errorf("%s %v: %s: %v", test.token.Role, test.token.Namespaces, what, of.err)
			}
		}
		given.Namespace = "team-b"
		_, _, err := c.SubmitTemplate(t.Context(), "train", 0, given, "")
		if len(test.token.Namespaces) > 0 && !client.Is(err, api.ProblemForbidden) {
			t.Errorf("into another namespace: %v", err)
		}
	}
}

func TestParametersOfATemplateAllAtOnce(t *testing.T) {
	s := start(t)
	s.createTemplate(t, "train")
	body := `{"parameters":{"cpu":1,"cpus":"two","debug":"no","args":[],"size":"huge"},"deadline":"soon","prority":1}`
	for _, path := range []string{"/api/v1/templates/train/jobs", "/api/v1/templates/train/render"} {
		response, text := s.raw(post, path, map[string]string{"Content-Type": "application/json"}, body)
		p := problemIn(t, response, text)
		for _, field := range []string{
			"parameters.cpu", "parameters.cpus", "parameters.debug", "parameters.args", "parameters.size", "parameters.run", "deadline", "prority",
		} {
			if !slices.ContainsFunc(p.Errors, func(e api.FieldError) bool { return e.Field == field }) {
				t.Errorf("%s: no fault for %s in %s", path, field, text)
			}
		}
	}
	_, _, err := s.admin.SubmitTemplate(t.Context(), "train", 0, api.Submission{Template: &api.TemplateRef{Name: "train"}}, "")
	if !client.Is(err, api.ProblemInvalid) {
		t.Errorf("a template beside that of the path: %v", err)
	}
}
