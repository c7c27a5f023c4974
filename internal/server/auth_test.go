package server

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	clocktest "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/job"
)

// concrete fills the parameters of a path.
func concrete(path string) string {
	return strings.NewReplacer("{id}", string(job.NewID()), "{region}", testRegion, "{job}", string(job.NewID()), "{attempt}", "1").Replace(path)
}

// TestEveryRouteWithEveryRole holds the table against what the server does:
// whoever is not named is refused, and before anything is read.
func TestEveryRouteWithEveryRole(t *testing.T) {
	s := start(t)
	tokens := map[Role]string{}
	for _, role := range Roles {
		request := api.NewToken{Role: string(role)}
		if role == Agent {
			request.Region = testRegion
		}
		tokens[role] = s.secret(request)
	}
	open := map[string]bool{
		"/healthz": true, "/readyz": true, "/metrics": true, "/api/v1/health": true, "/openapi.json": true, "/docs": true,
	}
	for _, r := range s.server.routes {
		if (len(r.roles) == 0) != open[r.path] {
			t.Errorf("%s %s needs roles %v", r.method, r.path, r.roles)
		}
		if open[r.path] {
			if response, text := s.raw(r.method, r.path, map[string]string{"Authorization": ""}, ""); response.StatusCode != http.StatusOK {
				t.Errorf("%s without a token: %s: %s", r.path, response.Status, text)
			}
			continue
		}
		path := concrete(r.path)
		if response, text := s.raw(r.method, path, map[string]string{"Authorization": ""}, ""); response.StatusCode != http.StatusUnauthorized ||
			response.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s %s without a token: %s: %s", r.method, r.path, response.Status, text)
		}
		for role, token := range tokens {
			allowed := false
			for _, may := range r.roles {
				allowed = allowed || may == role
			}
			headers := map[string]string{"Authorization": "Bearer " + token}
			if r.path == "/api/v1/events" {
				path += "?follow=false"
			}
			response, text := s.raw(r.method, path, headers, "")
			if refused := response.StatusCode == http.StatusForbidden; refused == allowed {
				t.Errorf("%s %s as %s: %s: %s", r.method, r.path, role, response.Status, text)
			}
			path = concrete(r.path)
		}
	}
}

func TestTokensThatAreNone(t *testing.T) {
	s := start(t)
	for name, header := range map[string]string{
		"another scheme": "Basic Z2NvOmdjbw==", "no scheme": s.token, "nothing": "Bearer", "empty": "Bearer ",
		"unknown": "Bearer gco_aaaaaaaa_" + strings.Repeat("a", 32), "cut": "Bearer " + s.token[:len(s.token)-1],
		"long": "Bearer gco_" + strings.Repeat("a", 5000), "not ours": "Bearer abc", "other case": "Bearer " + strings.ToUpper(s.token),
	} {
		t.Run(name, func(t *testing.T) {
			response, text := s.raw(get, "/api/v1/jobs", map[string]string{"Authorization": header}, "")
			if p := problemIn(t, response, text); p.Type != api.ProblemUnauthenticated {
				t.Errorf("%s: %s", response.Status, text)
			}
		})
	}
}

func TestNamespacesOfOthersDoNotExist(t *testing.T) {
	s := start(t)
	inA := s.submit(func(sub *api.Submission) { sub.Namespace = "team-a" })
	inB := s.submit(func(sub *api.Submission) { sub.Namespace = "team-b" })
	mine := s.as(api.NewToken{Role: "submitter", Namespaces: []string{"team-a"}})

	if _, err := mine.Job(t.Context(), inA.ID); err != nil {
		t.Errorf("own job: %v", err)
	}
	calls := map[string]func() error{
		"get":     func() error { _, err := mine.Job(t.Context(), inB.ID); return err },
		"cancel":  func() error { _, err := mine.CancelJob(t.Context(), inB.ID); return err },
		"retry":   func() error { _, err := mine.RetryJob(t.Context(), inB.ID); return err },
		"delete":  func() error { return mine.DeleteJob(t.Context(), inB.ID) },
		"explain": func() error { _, err := mine.ExplainJob(t.Context(), inB.ID); return err },
		"logs":    func() error { _, err := mine.Logs(t.Context(), inB.ID, client.LogOptions{}); return err },
		"pods":    func() error { _, err := mine.Pods(t.Context(), inB.ID); return err },
		"events":  func() error { _, err := mine.ClusterEvents(t.Context(), inB.ID); return err },
	}
	for name, call := range calls {
		if err := call(); client.Status(err) != http.StatusNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	for filter, want := range map[string]int{"": 1, "team-a": 1, "team-b": 0} {
		list, err := mine.Jobs(t.Context(), client.JobFilter{Namespace: filter})
		if err != nil || len(list.Items) != want {
			t.Errorf("list of %q: %d jobs, %v", filter, len(list.Items), err)
		}
	}
	stats, err := mine.Stats(t.Context())
	if err != nil || stats.Jobs["queued"] != 1 || len(stats.ByNamespace) != 1 || len(stats.LastHour) != 0 {
		t.Errorf("stats %+v, %v", stats, err)
	}
	submission := hello()
	submission.Namespace = "team-b"
	if _, _, err := mine.Submit(t.Context(), submission, ""); !client.Is(err, api.ProblemForbidden) {
		t.Errorf("submitting elsewhere: %v", err)
	}
	submission.Namespace = "team-a"
	if _, _, err := mine.Submit(t.Context(), submission, ""); err != nil {
		t.Errorf("submitting at home: %v", err)
	}
	result, err := mine.SubmitBatch(t.Context(), []api.BatchItem{{Submission: submission}, {Submission: hello()}})
	if err != nil || result.Items[0].Status != 201 || result.Items[1].Status != 403 {
		t.Errorf("batch %+v, %v", result, err)
	}
}

func TestAgentSpeaksForItsOwnRegion(t *testing.T) {
	s := start(t)
	a := s.openRegion(testRegion)
	if _, err := a.Sync(t.Context(), "eu-west-1", api.SyncRequest{Cluster: "c"}); !client.Is(err, api.ProblemForbidden) {
		t.Errorf("sync of another region: %v", err)
	}
	if err := a.ArchiveLogs(t.Context(), "eu-west-1", api.AttemptRef{JobID: string(job.NewID()), Attempt: 1}, false, strings.NewReader("")); !client.Is(err, api.ProblemForbidden) {
		t.Errorf("logs of another region: %v", err)
	}
}

func TestTokenLife(t *testing.T) {
	clock := clocktest.NewFakeClock(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC))
	s := start(t, func(o *setUp) { o.clock, o.noLoops = clock, true })
	created, err := s.admin.CreateToken(t.Context(), api.NewToken{Name: "ci", Role: "viewer", Namespaces: []string{"team-a"}, ExpiresIn: "1h"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(created.Secret, "gco_"+created.ID+"_") || created.ExpiresAt == nil {
		t.Errorf("created %+v", created)
	}
	list, err := s.admin.Tokens(t.Context())
	if err != nil || len(list.Items) != 2 || list.Items[0].Name != "admin" || list.Items[1].Name != "ci" {
		t.Errorf("list %+v, %v", list, err)
	}
	if one, err := s.admin.Token(t.Context(), created.ID); err != nil || one.Name != "ci" {
		t.Errorf("show %+v, %v", one, err)
	}
	if _, err := s.admin.CreateToken(t.Context(), api.NewToken{Name: "ci", Role: "viewer"}); !client.Is(err, api.ProblemConflict) {
		t.Errorf("the name again: %v", err)
	}
	ci := s.client(created.Secret)
	if _, err := ci.Jobs(t.Context(), client.JobFilter{}); err != nil {
		t.Errorf("used: %v", err)
	}
	clock.Step(time.Hour)
	if _, err := ci.Jobs(t.Context(), client.JobFilter{}); !client.Is(err, api.ProblemUnauthenticated) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("after its end: %v", err)
	}

	short, err := s.admin.CreateToken(t.Context(), api.NewToken{Name: "short", Role: "viewer"})
	if err != nil {
		t.Fatal(err)
	}
	other := s.client(short.Secret)
	if _, err := other.Jobs(t.Context(), client.JobFilter{}); err != nil {
		t.Errorf("used: %v", err)
	}
	if err := s.admin.DeleteToken(t.Context(), short.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Jobs(t.Context(), client.JobFilter{}); !client.Is(err, api.ProblemUnauthenticated) {
		t.Errorf("after its deletion: %v", err)
	}
	if _, err := s.admin.Token(t.Context(), short.ID); client.Status(err) != 404 {
		t.Errorf("deleted and shown: %v", err)
	}
	if err := s.admin.DeleteToken(t.Context(), list.Items[0].ID); !client.Is(err, api.ProblemConflict) {
		t.Errorf("the last admin's token was deleted: %v", err)
	}
}

func TestTokenThatAnotherServerDeleted(t *testing.T) {
	clock := clocktest.NewFakeClock(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC))
	s := start(t, func(o *setUp) { o.clock, o.noLoops = clock, true })
	created, err := s.admin.CreateToken(t.Context(), api.NewToken{Name: "x", Role: "viewer"})
	if err != nil {
		t.Fatal(err)
	}
	c := s.client(created.Secret)
	if _, err := c.Regions(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.store.DeleteToken(t.Context(), created.ID); err != nil {
		t.Fatal(err)
	}
	clock.Step(tokenTTL)
	if _, err := c.Regions(t.Context()); !client.Is(err, api.ProblemUnauthenticated) {
		t.Errorf("after the cache's time: %v", err)
	}
}

func TestNewTokensAreChecked(t *testing.T) {
	s := start(t, func(o *setUp) { o.noLoops = true })
	tests := map[string]struct {
		token api.NewToken
		field string
	}{
		"no name":              {api.NewToken{Role: "admin"}, "name"},
		"a name with spaces":   {api.NewToken{Name: "a b", Role: "admin"}, "name"},
		"unknown role":         {api.NewToken{Name: "a", Role: "root"}, "role"},
		"agent of nothing":     {api.NewToken{Name: "a", Role: "agent"}, "region"},
		"viewer of a region":   {api.NewToken{Name: "a", Role: "viewer", Region: testRegion}, "region"},
		"admin of a namespace": {api.NewToken{Name: "a", Role: "admin", Namespaces: []string{"x"}}, "namespaces"},
		"bad namespace":        {api.NewToken{Name: "a", Role: "viewer", Namespaces: []string{"x", "Y"}}, "namespaces[1]"},
		"bad duration":         {api.NewToken{Name: "a", Role: "viewer", ExpiresIn: "-1h"}, "expiresIn"},
		"endpoints":            {api.NewToken{Name: "a", Role: "viewer", Endpoints: []string{"x"}}, "endpoints"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := s.admin.CreateToken(t.Context(), test.token)
			refused, ok := errors.AsType[*client.Error](err)
			if !ok || refused.Problem.Type != api.ProblemInvalid || len(refused.Problem.Errors) != 1 || refused.Problem.Errors[0].Field != test.field {
				t.Errorf("%v", err)
			}
		})
	}
	if secret, err := Bootstrap(t.Context(), s.store, time.Now()); secret != "" || err != nil {
		t.Errorf("a second first token: %q, %v", secret, err)
	}
}
