package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/gateway"
)

// TestWhoMayInvoke asks by the route that gateways use, and by requests
// themselves.
func TestWhoMayInvoke(t *testing.T) {
	s := start(t, func(o *setUp) { o.Inference = &gateway.Options{} })
	region := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Gco-Region", "east")
		_, _ = io.WriteString(w, r.URL.Path+" "+r.Header.Get("Gco-Via"))
	}))
	defer region.Close()
	s.server.Gateway().Apply(gateway.Table{Endpoints: []gateway.Endpoint{{
		Name: "llm", Replicas: []gateway.Replica{{Address: region.Listener.Addr().String(), Region: "east"}},
	}}})
	for name, c := range map[string]struct {
		token  api.NewToken
		status int
	}{
		"admin":            {api.NewToken{Role: "admin"}, 0},
		"submitter":        {api.NewToken{Role: "submitter"}, 0},
		"any endpoint":     {api.NewToken{Role: "invoker"}, 0},
		"this endpoint":    {api.NewToken{Role: "invoker", Endpoints: []string{"llm"}}, 0},
		"another endpoint": {api.NewToken{Role: "invoker", Endpoints: []string{"other"}}, http.StatusForbidden},
		"viewer":           {api.NewToken{Role: "viewer"}, http.StatusForbidden},
		"agent":            {api.NewToken{Role: "agent", Region: "east"}, http.StatusForbidden},
	} {
		c.token.Name = "of-" + strings.ReplaceAll(name, " ", "-")
		secret := s.secret(c.token)
		if err := s.admin.MayInvoke(t.Context(), secret, "llm"); client.Status(err) != c.status || c.status == 0 && err != nil {
			t.Errorf("%s may invoke: %v", name, err)
		}
		response, err := s.client(secret).Invoke(t.Context(), client.Invocation{Endpoint: "llm", Method: http.MethodGet, Path: "/v1/models"})
		if client.Status(err) != c.status || c.status == 0 && err != nil {
			t.Errorf("%s invokes: %v", name, err)
		}
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if string(text) != "/inference/llm/v1/models control-plane" {
			t.Errorf("the region was asked for %q", text)
		}
	}
	response, text := s.raw(http.MethodGet, "/inference/llm/", map[string]string{"Authorization": ""}, "")
	if response.StatusCode != http.StatusUnauthorized || response.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("without a token: %s %s", response.Status, text)
	}
	response, text = s.raw(http.MethodGet, "/inference/none/", map[string]string{}, "")
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("an endpoint that does not exist: %s %s", response.Status, text)
	}
}
