package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

func TestPathsAndMethodsThatAreNot(t *testing.T) {
	s := start(t)
	for _, path := range []string{"/", "/api", "/api/v1", "/api/v1/nothing", "/api/v1/jobs/a/b/c", "//api/v1/jobs", "/api/v1/../v1/jobs", "/api/v1/jobs//x", "/docs/x"} {
		response, text := s.raw(get, path, nil, "")
		if p := problemIn(t, response, text); p.Type != api.ProblemNotFound {
			t.Errorf("%s: %s", path, response.Status)
		}
	}
	for path, want := range map[string]string{
		"/api/v1/jobs": "GET, HEAD, POST", "/api/v1/jobs:batch": "POST", "/api/v1/jobs/x": "GET, HEAD, DELETE",
		"/api/v1/regions/x/sync": "POST", "/healthz": "GET, HEAD",
	} {
		for _, method := range []string{http.MethodPatch, http.MethodPut, http.MethodOptions, "BREW"} {
			response, text := s.raw(method, path, nil, "")
			if p := problemIn(t, response, text); p.Type != api.ProblemMethod || response.Header.Get("Allow") != want {
				t.Errorf("%s %s: %s, Allow %q", method, path, response.Status, response.Header.Get("Allow"))
			}
		}
	}
	if response, text := s.raw(http.MethodHead, "/api/v1/jobs", nil, ""); response.StatusCode != http.StatusOK || text != "" {
		t.Errorf("HEAD: %s", response.Status)
	}
}

func TestRequestIDs(t *testing.T) {
	s := start(t)
	for given, kept := range map[string]bool{"mine-1": true, "": false, strings.Repeat("x", 129): false, "with space": false} {
		response, _ := s.raw(get, "/healthz", map[string]string{"X-Request-Id": given}, "")
		got := response.Header.Get("X-Request-Id")
		if kept && got != given || !kept && !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(got) {
			t.Errorf("%q became %q", given, got)
		}
	}
}

// panicQueue has a fault of its own.
type panicQueue struct{ Queue }

func (panicQueue) Explain(context.Context, job.ID) (api.Explanation, error) { panic("a secret inside") }

func TestPanicIsOneProblemAndOneLogLine(t *testing.T) {
	s := start(t, func(o *setUp) { o.wrapQueue = func(q Queue) Queue { return panicQueue{q} } })
	j := s.submit()
	response, text := s.raw(get, "/api/v1/jobs/"+j.ID+"/explain", map[string]string{"X-Request-Id": "find-me"}, "")
	if p := problemIn(t, response, text); p.Type != api.ProblemInternal || strings.Contains(text, "secret") {
		t.Errorf("%s: %s", response.Status, text)
	}
	if n := strings.Count(s.log.String(), "find-me"); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
	if n := s.counter("gco_http_panics_total"); n != 1 {
		t.Errorf("%v panics were counted", n)
	}
	if _, err := s.admin.Job(t.Context(), j.ID); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

// wrongStore answers with an error that nobody has a row for.
type wrongStore struct{ store.Store }

func (wrongStore) History(context.Context, job.ID) ([]job.Transition, error) {
	return nil, errors.New("disk /secret/path is on fire")
}

func TestUnknownErrorsKeepTheirTextToTheLog(t *testing.T) {
	s := start(t, func(o *setUp) { o.wrapStore = func(db store.Store) store.Store { return wrongStore{db} } })
	j := s.submit()
	_, err := s.admin.Job(t.Context(), j.ID)
	if !client.Is(err, api.ProblemInternal) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
	if !strings.Contains(s.log.String(), "/secret/path is on fire") {
		t.Error("the log does not have the reason")
	}
}

// TestMalformedSubmissions sends 10,000 broken bodies, made by breaking good
// ones: each is the client's fault, none is the server's, nothing is stored.
func TestMalformedSubmissions(t *testing.T) {
	s := start(t, func(o *setUp) { o.noLoops = true })
	const total, workers = 10_000, 8
	var all sync.WaitGroup
	for worker := range workers {
		random := rand.New(rand.NewPCG(1, uint64(worker)))
		all.Go(func() {
			for range total / workers {
				path, contentType, body := breakSubmission(random)
				response, text, err := s.send(path, contentType, body)
				if err != nil {
					t.Error(err)
					return
				}
				if path == "/api/v1/jobs:batch" && response.StatusCode == http.StatusOK {
					refuseAll(t, text, body)
				} else if response.StatusCode < 400 || response.StatusCode >= 500 {
					t.Errorf("%s for %s: %.200s -> %.200s", response.Status, contentType, body, text)
				}
			}
		})
	}
	all.Wait()
	if list, err := s.admin.Jobs(t.Context(), client.JobFilter{}); err != nil || len(list.Items) != 0 {
		t.Errorf("%d jobs were stored, %v: %+v", len(list.Items), err, list.Items)
	}
}

func refuseAll(t *testing.T, text, body string) {
	var result api.BatchResult
	if err := json.Unmarshal([]byte(text), &result); err != nil {
		t.Error(err)
	}
	for _, item := range result.Items {
		if item.Status < 400 || item.Status >= 500 {
			t.Errorf("item with %d: %.300s", item.Status, body)
		}
	}
}

// breakSubmission returns a body that is certainly not acceptable.
func breakSubmission(random *rand.Rand) (path, contentType, body string) {
	good := []string{`{"manifest":` + helloManifest + `}`, helloManifest, `{"manifest":` + richManifest + `,"priority":3,"retries":1}`}
	text := good[random.IntN(len(good))]
	at := random.IntN(len(text)-2) + 1
	switch random.IntN(9) {
	case 0: // cut
		body = text[:at]
	case 1: // a stray byte between two tokens or inside of one: never valid outside of strings
		body = strings.Replace(text, `:{`, `:{"`+string(rune('a'+random.IntN(26)))+`"`, 1)
	case 2:
		body = text + string("}]x,1"[random.IntN(5)])
	case 3: // an unknown field, anywhere
		body = strings.Replace(text, "{", fmt.Sprintf(`{"nonsense%d":%d,`, random.IntN(1000), random.IntN(10)), 1+random.IntN(3))
	case 4: // a wrong kind
		body = strings.Replace(text, `"containers":[`, `"containers":[`+[]string{"1,", `"x",`, "[],", "true,"}[random.IntN(4)], 1)
	case 5: // a repeated name
		body = strings.Replace(text, `"spec":{`, `"spec":{},"spec":{`, 1)
	case 6: // noise
		noise := make([]byte, random.IntN(200))
		for i := range noise {
			noise[i] = byte(random.IntN(256))
		}
		body = "{" + string(noise)
	case 7: // against the rules
		body = strings.Replace(text, `"restartPolicy":"Never"`, []string{
			`"restartPolicy":"Always"`, `"restartPolicy":"Never","hostNetwork":true`, `"restartPolicy":"Never","volumes":[{"name":"x","hostPath":{"path":"/"}}]`,
		}[random.IntN(3)], 1)
	default: // deep
		body = strings.Replace(text, `"spec":{`, `"spec":{"deep":`+strings.Repeat("[", 50+random.IntN(100))+`,`, 1)
	}
	switch random.IntN(10) {
	case 0:
		return "/api/v1/jobs:batch", "application/json", `{"items":[` + body + `]}`
	case 1:
		return "/api/v1/jobs", "application/yaml", "\t" + body
	case 2:
		return "/api/v1/jobs", []string{"text/plain", "", "application/xml", "application/json; charset=utf-16"}[random.IntN(4)], text
	default:
		return "/api/v1/jobs", "application/json", body
	}
}

func (s *system) send(path, contentType, body string) (*http.Response, string, error) {
	request, err := http.NewRequestWithContext(s.t.Context(), post, s.url+path, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := s.http.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response, string(text), err
}

func TestDocumentationPageLoadsNothing(t *testing.T) {
	s := start(t)
	response, page := s.raw(get, "/docs", nil, "")
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") {
		t.Fatal(response.Status)
	}
	for _, outside := range []string{"<script", "<link", "<img", "src=", "@import", "url("} {
		if strings.Contains(page, outside) {
			t.Errorf("the page has %q", outside)
		}
	}
	for _, r := range s.server.routes {
		if !strings.Contains(page, r.path) || !strings.Contains(page, r.id) {
			t.Errorf("the page does not have %s %s", r.method, r.path)
		}
	}
	for kind := range problemKinds {
		if !strings.Contains(page, kind) {
			t.Errorf("the page does not have %s", kind)
		}
	}
}

// TestGuideHasEveryRoute keeps docs/api.md with the table of routes.
func TestGuideHasEveryRoute(t *testing.T) {
	s := start(t)
	guide := guideText(t, "api.md")
	var rows []string
	for line := range strings.Lines(guide) {
		if cells := strings.Split(line, "|"); len(cells) > 4 && strings.Contains(cells[1], " /") {
			rows = append(rows, strings.Trim(cells[1], " `")+" "+strings.TrimSpace(cells[2]))
		}
	}
	var want []string
	for _, r := range s.server.routes {
		roles := rolesOf(r)
		want = append(want, strings.ToUpper(r.method)+" "+r.path+" "+roles)
	}
	for i, row := range rows {
		rows[i] = strings.ReplaceAll(row, "`", "")
	}
	slices.Sort(rows)
	slices.Sort(want)
	for _, row := range want {
		if !slices.Contains(rows, row) {
			t.Errorf("docs/api.md has no row for %s", row)
		}
	}
	for _, row := range rows {
		if !slices.Contains(want, row) {
			t.Errorf("docs/api.md has a row for %s, which is not served", row)
		}
	}
	for kind := range problemKinds {
		if !strings.Contains(guide, "`"+strings.TrimPrefix(kind, "urn:gco:problem:")+"`") {
			t.Errorf("docs/api.md does not explain %s", kind)
		}
	}
}

func rolesOf(r *route) string {
	if len(r.roles) == 0 {
		return "anyone"
	}
	var roles []string
	for _, role := range r.roles {
		roles = append(roles, string(role))
	}
	return strings.Join(roles, ", ")
}

func guideText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
