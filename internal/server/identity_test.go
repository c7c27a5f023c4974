package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gco-project/gco/api"
)

// people is an Identifier for tests: a credential "person:NAME".
type people map[string]Identity

func (p people) Takes(credential string) bool { return strings.HasPrefix(credential, "person:") }

func (p people) Identify(_ context.Context, credential string) (Identity, error) {
	name := strings.TrimPrefix(credential, "person:")
	switch identity, known := p[name]; {
	case known:
		return identity, nil
	case name == "later":
		return Identity{}, fmt.Errorf("%w: nobody answers", ErrIdentity)
	case name == "broken":
		return Identity{}, errors.New("broken")
	default:
		return Identity{}, &Refusal{Message: "nobody knows " + name}
	}
}

func TestIdentifiedCallers(t *testing.T) {
	s := start(t, func(set *setUp) {
		set.Identifier = people{
			"ann": {Name: "ann", Role: Admin},
			"sue": {Name: "sue", Role: Submitter, Namespaces: []string{"team-a"}},
			"joe": {Name: "joe", Role: Agent, Region: testRegion},
		}
	})
	tests := []struct {
		credential, method, path string
		status                   int
		says                     string
	}{
		{"person:ann", http.MethodGet, "/api/v1/tokens", http.StatusOK, ""},
		{"person:sue", http.MethodGet, "/api/v1/tokens", http.StatusForbidden, ""},
		{"person:sue", http.MethodGet, "/api/v1/jobs", http.StatusOK, ""},
		{"person:joe", http.MethodPost, "/api/v1/regions/elsewhere/sync", http.StatusForbidden, "speaks for region"},
		{"person:eve", http.MethodGet, "/api/v1/jobs", http.StatusUnauthorized, "nobody knows eve"},
		{"person:later", http.MethodGet, "/api/v1/jobs", http.StatusServiceUnavailable, "cannot be found out now"},
		{"person:broken", http.MethodGet, "/api/v1/jobs", http.StatusInternalServerError, ""},
		{"stranger:ann", http.MethodGet, "/api/v1/jobs", http.StatusUnauthorized, "no token of GCO"},
	}
	for _, test := range tests {
		response, text := s.raw(test.method, test.path, map[string]string{"Authorization": "Bearer " + test.credential}, "")
		if response.StatusCode != test.status || !strings.Contains(text, test.says) {
			t.Errorf("%s %s as %s: %s: %s", test.method, test.path, test.credential, response.Status, text)
		}
		if test.status == http.StatusUnauthorized && response.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no WWW-Authenticate", test.credential)
		}
		if test.status == http.StatusServiceUnavailable && response.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", test.credential)
		}
	}
	// A token goes on working beside it, and so does its absence of rights.
	if response, text := s.raw(http.MethodGet, "/api/v1/jobs", map[string]string{"Authorization": "Bearer " + s.secret(api.NewToken{Role: "viewer"})}, ""); response.StatusCode != http.StatusOK {
		t.Errorf("a token: %s: %s", response.Status, text)
	}
}
