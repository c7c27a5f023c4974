package server

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/queue"
)

func TestSubmitAndRead(t *testing.T) {
	s := start(t)
	priority := 7
	submission := hello()
	submission.Priority, submission.Labels = &priority, map[string]string{"team": "a"}
	j, replayed, err := s.admin.Submit(t.Context(), submission, "key-1")
	if err != nil || replayed {
		t.Fatalf("Submit = %v, %v", replayed, err)
	}
	if j.State != "queued" || j.Namespace != "default" || j.Name != "hello" || j.Priority != 7 || j.SubmittedBy != "admin" || j.Manifest != nil {
		t.Errorf("submitted %+v", j)
	}
	again, replayed, err := s.admin.Submit(t.Context(), submission, "key-1")
	if err != nil || !replayed || again.ID != j.ID {
		t.Errorf("replay = %s, %v, %v", again.ID, replayed, err)
	}
	submission.Labels["team"] = "b"
	if _, _, err := s.admin.Submit(t.Context(), submission, "key-1"); !client.Is(err, api.ProblemKeyReused) {
		t.Errorf("another body under the key: %v", err)
	}
	full, err := s.admin.Job(t.Context(), j.ID)
	if err != nil {
		t.Fatal(err)
	}
	if full.Demand == nil || len(full.Demand.Pods) != 1 || len(full.History) == 0 || full.History[0].Event != "submitted" ||
		!strings.Contains(string(full.Manifest), `"busybox:1.36"`) {
		t.Errorf("read %+v", full)
	}
}

func TestSubmitTakesManifestsAsTheyAre(t *testing.T) {
	s := start(t)
	yaml := "apiVersion: batch/v1\nkind: Job\nmetadata: {name: plain, namespace: team-a}\nspec:\n  template:\n    spec:\n" +
		"      restartPolicy: Never\n      containers:\n      - {name: main, image: busybox}\n"
	j, _, err := s.admin.SubmitManifest(t.Context(), []byte(yaml), "")
	if err != nil || j.Name != "plain" || j.Namespace != "team-a" {
		t.Errorf("YAML: %s/%s, %v", j.Namespace, j.Name, err)
	}
	for name, body := range map[string]string{
		"a manifest as JSON":   helloManifest,
		"a submission":         `{"manifest":` + helloManifest + `}`,
		"a string of JSON":     fmt.Sprintf(`{"manifest":%q}`, helloManifest),
		"a string of YAML":     fmt.Sprintf(`{"manifest":%q,"namespace":"team-a"}`, yaml),
		"with spaces around":   " \n{ \"manifest\" : " + helloManifest + " } \n",
		"an escaped name":      `{"\u006danifest":` + helloManifest + `}`,
		"with null for absent": `{"manifest":` + helloManifest + `,"priority":null,"labels":null,"placement":null}`,
	} {
		t.Run(name, func(t *testing.T) {
			response, text := s.raw(post, "/api/v1/jobs", map[string]string{"Content-Type": "application/json; charset=UTF-8"}, body)
			if response.StatusCode != http.StatusCreated || response.Header.Get("Location") == "" {
				t.Errorf("%s: %s", response.Status, text)
			}
		})
	}
}

func TestSubmitListsEveryFaultAtOnce(t *testing.T) {
	s := start(t)
	body := `{"manifest":{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"Not A Name"},"spec":{"template":{"spec":{
		"restartPolicy":"Never","hostNetwork":true,"containers":[{"name":"main","image":"busybox"}]}}}},
		"prority":3, "priority":"high", "retries":1.5, "deadline":"soon", "placement":{"regions":["EU"],"regoins":[]}}`
	response, text := s.raw(post, "/api/v1/jobs", map[string]string{"Content-Type": "application/json"}, body)
	p := problemIn(t, response, text)
	if p.Type != api.ProblemInvalid {
		t.Fatalf("%s: %s", response.Status, text)
	}
	for _, field := range []string{
		"manifest.metadata.name", "manifest.spec.template.spec.hostNetwork",
		"prority", "priority", "retries", "deadline", "placement.regoins",
	} {
		if !slices.ContainsFunc(p.Errors, func(e api.FieldError) bool { return e.Field == field }) {
			t.Errorf("no fault for %s in %s", field, text)
		}
	}
	if !strings.Contains(text, "did you mean priority?") {
		t.Errorf("no hint in %s", text)
	}
	if list, err := s.admin.Jobs(t.Context(), client.JobFilter{}); err != nil || len(list.Items) != 0 {
		t.Errorf("stored %d jobs, %v", len(list.Items), err)
	}
}

func TestSubmitRefusesWhatIsNoRequest(t *testing.T) {
	s := start(t)
	deep := strings.Repeat(`{"a":`, 60) + "1" + strings.Repeat("}", 60)
	tests := []struct {
		name    string
		headers map[string]string
		body    string
		status  int
	}{
		{"no content type", map[string]string{}, `{}`, 415},
		{"a form", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, `a=b`, 415},
		{"another charset", map[string]string{"Content-Type": "application/json; charset=latin1"}, `{}`, 415},
		{"compressed", map[string]string{"Content-Type": "application/json", "Content-Encoding": "gzip"}, `{}`, 415},
		{"a broken type", map[string]string{"Content-Type": "application/json;;;"}, `{}`, 415},
		{"nothing", nil, ``, 400},
		{"not JSON", nil, `manifest: x`, 400},
		{"cut off", nil, `{"manifest":{"a":1}`, 400},
		{"trailing data", nil, `{"manifest":` + helloManifest + `}{}`, 400},
		{"a repeated name", nil, `{"namespace":"a","namespace":"b","manifest":` + helloManifest + `}`, 400},
		{"a repeated name, escaped", nil, `{"namespace":"a","n\u0061mespace":"b","manifest":` + helloManifest + `}`, 400},
		{"a repeated name in the manifest", nil, `{"manifest":{"apiVersion":"batch/v1","kind":"Job","kind":"Job"}}`, 400},
		{"too deep", nil, `{"manifest":` + deep + `}`, 400},
		{"not UTF-8", nil, "{\"namespace\":\"\xff\"}", 400},
		{"a control character", nil, "{\"namespace\":\"\x01\"}", 400},
		{"a bad literal", nil, `{"priority":tru}`, 400},
		{"a bad number", nil, `{"priority":1x}`, 400},
		{"a list", nil, `[]`, 422},
		{"a string", nil, `"x"`, 422},
		{"null", nil, `null`, 422},
		{"nothing in it", nil, `{}`, 422},
		{"another case", nil, `{"Manifest":` + helloManifest + `}`, 422},
		{"a huge number", nil, `{"priority":99999999999999999999,"manifest":` + helloManifest + `}`, 422},
		{"too large", nil, `{"namespace":"` + strings.Repeat("x", maxBody) + `"}`, 413},
		{"an empty key", map[string]string{"Content-Type": "application/json", "Idempotency-Key": " "}, `{"manifest":` + helloManifest + `}`, 422},
		{"a long key", map[string]string{"Content-Type": "application/json", "Idempotency-Key": strings.Repeat("k", 256)}, `{"manifest":` + helloManifest + `}`, 422},
		{"a key that is not ASCII", map[string]string{"Content-Type": "application/json", "Idempotency-Key": "ключ"}, `{"manifest":` + helloManifest + `}`, 422},
		{"YAML with an alias", map[string]string{"Content-Type": "application/yaml"}, "a: &x 1\nb: *x\n", 422},
		{"YAML that is not UTF-8", map[string]string{"Content-Type": "application/yaml"}, "a: \xff\n", 400},
		{"empty YAML", map[string]string{"Content-Type": "application/yaml"}, "", 400},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			headers := test.headers
			if headers == nil {
				headers = map[string]string{"Content-Type": "application/json"}
			}
			response, text := s.raw(post, "/api/v1/jobs", headers, test.body)
			if p := problemIn(t, response, text); p.Status != test.status {
				t.Errorf("%s, want %d: %s", response.Status, test.status, text)
			}
		})
	}
	if list, err := s.admin.Jobs(t.Context(), client.JobFilter{}); err != nil || len(list.Items) != 0 {
		t.Errorf("stored %d jobs, %v", len(list.Items), err)
	}
}

func TestSubmitBatch(t *testing.T) {
	s := start(t)
	bad := hello()
	bad.Deadline = "soon"
	items := []api.BatchItem{
		{Submission: hello(), IdempotencyKey: "a"},
		{Submission: bad},
		{Submission: hello(), IdempotencyKey: "a"},
		{Submission: hello(), IdempotencyKey: "bad\n"},
		{Submission: hello()},
	}
	result, err := s.admin.SubmitBatch(t.Context(), items)
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, item := range result.Items {
		got = append(got, item.Status)
		if (item.Job == nil) == (item.Problem == nil) {
			t.Errorf("item with job %v and problem %v", item.Job, item.Problem)
		}
	}
	if want := []int{201, 422, 200, 422, 201}; !slices.Equal(got, want) {
		t.Fatalf("statuses %v, want %v", got, want)
	}
	if result.Items[0].Job.ID != result.Items[2].Job.ID {
		t.Error("one key made two jobs")
	}
	for name, test := range map[string]struct {
		body   string
		status int
	}{
		"none":                {`{"items":[]}`, 422},
		"no list":             {`{"items":{}}`, 422},
		"missing":             {`{}`, 422},
		"another field":       {`{"items":[{}],"x":1}`, 422},
		"too many":            {`{"items":[` + strings.Repeat(`{},`, 1000) + `{}]}`, 422},
		"one that is no JSON": {`{"items":[{"manifest":` + helloManifest + `},{"manifest":tru}]}`, 400},
		"a fault of one":      {`{"items":[{"manifest":1,"x":2},7]}`, 200},
		"too large":           {`{"items":["` + strings.Repeat("x", maxBatchBody) + `"]}`, 413},
	} {
		t.Run(name, func(t *testing.T) {
			response, text := s.raw(post, "/api/v1/jobs:batch", map[string]string{"Content-Type": "application/json"}, test.body)
			if response.StatusCode != test.status {
				t.Errorf("%s, want %d: %.300s", response.Status, test.status, text)
			}
		})
	}
	if list, err := s.admin.Jobs(t.Context(), client.JobFilter{}); err != nil || len(list.Items) != 2 {
		t.Errorf("stored %d jobs, %v", len(list.Items), err)
	}
}

func TestOneKeyFromManyClientsIsOneJob(t *testing.T) {
	s := start(t)
	ids := make([]string, 100)
	created := make([]bool, len(ids))
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			j, replayed, err := s.admin.Submit(t.Context(), hello(), "the-key")
			if err != nil {
				t.Error(err)
			}
			ids[i], created[i] = j.ID, !replayed
		})
	}
	all.Wait()
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != 1 {
		t.Errorf("%d jobs", n)
	}
	if n := len(slices.DeleteFunc(created, func(c bool) bool { return !c })); n != 1 {
		t.Errorf("%d answers said created", n)
	}
}

func TestLimitsAreToldWithRetryAfter(t *testing.T) {
	s := start(t, func(o *setUp) { o.limits = queue.Limits{SubmissionsPerSecond: 0.1, SubmissionBurst: 2} })
	s.submit()
	s.submit()
	_, _, err := s.admin.Submit(t.Context(), hello(), "")
	limited, ok := errors.AsType[*client.Error](err)
	if !ok || limited.Problem.Type != api.ProblemLimited || limited.RetryAfter <= 0 {
		t.Errorf("third submission: %v", err)
	}
	full := start(t, func(o *setUp) { o.limits = queue.Limits{QueuedPerNamespace: 1} })
	full.submit()
	_, _, err = full.admin.Submit(t.Context(), hello(), "")
	if limited, ok = errors.AsType[*client.Error](err); !ok || limited.Problem.Status != 429 || limited.RetryAfter <= 0 {
		t.Errorf("over the namespace's limit: %v", err)
	}
}
