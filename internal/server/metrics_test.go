package server

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/store"
)

// gathered returns the server's own metrics by name.
func (s *system) gathered() []string {
	s.t.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, family := range families {
		names = append(names, family.GetName())
	}
	return names
}

// TestMetricsGuideHasEveryMetric keeps docs/metrics.md with the registry, and
// its alerts with metrics that exist.
func TestMetricsGuideHasEveryMetric(t *testing.T) {
	s := start(t)
	a := s.openRegion(testRegion)
	s.submit()
	a.claim()
	if _, err := s.admin.CreateWebhook(t.Context(), api.NewWebhook{URL: "https://example.com/"}); err != nil {
		t.Fatal(err)
	}
	names := s.gathered()
	guide := guideText(t, "metrics.md")
	documented := map[string]bool{}
	for _, match := range regexp.MustCompile("(?m)^\\| `(gco_[a-z_]+)").FindAllStringSubmatch(guide, -1) {
		documented[match[1]] = true
	}
	for _, name := range names {
		if !documented[name] {
			t.Errorf("docs/metrics.md does not list %s", name)
		}
	}
	for name := range documented {
		if !slices.Contains(names, name) {
			t.Errorf("docs/metrics.md lists %s, which is not there", name)
		}
	}
	for _, name := range regexp.MustCompile(`\bgco_[a-z_]+`).FindAllString(guide, -1) {
		plain := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"), "_sum")
		if !slices.Contains(names, plain) {
			t.Errorf("docs/metrics.md speaks of %s, which is not there", name)
		}
	}
}

func TestMetricsTellWhatHappened(t *testing.T) {
	s := start(t)
	a := s.openRegion(testRegion)
	s.submit()
	a.claim()
	if _, _, err := s.admin.Submit(t.Context(), hello(), "k"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.admin.Submit(t.Context(), hello(), "k"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.admin.Submit(t.Context(), api.Submission{}, ""); err == nil {
		t.Fatal("an empty submission was taken")
	}
	response, text := s.raw(get, "/metrics", map[string]string{"Authorization": ""}, "")
	if response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
	for _, line := range []string{
		`gco_submissions_total{result="created"} 2`, `gco_submissions_total{result="replayed"} 1`, `gco_submissions_total{result="refused"} 1`,
		`gco_http_requests_total{route="POST /api/v1/jobs",status="201"} 2`, `gco_http_requests_total{route="POST /api/v1/jobs",status="200"} 1`,
		`gco_http_requests_total{route="POST /api/v1/jobs",status="422"} 1`, `gco_http_request_seconds_count{route="POST /api/v1/jobs"} 4`,
		`gco_jobs{state="claimed"} 1`, `gco_region_lease{lease="live",region="us-east-1"} 1`, `gco_region_lease{lease="lost",region="us-east-1"} 0`,
		`gco_region_jobs{region="us-east-1",state="claimed"} 1`, `gco_store_up 1`, `gco_leader 1`, `gco_build_info{commit="none",go="go",version="test"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}

// blindStore cannot count.
type blindStore struct{ store.Store }

func (blindStore) Counts(context.Context) ([]store.Count, error) { return nil, errors.New("blind") }

func TestScrapeSurvivesTheStore(t *testing.T) {
	s := start(t, func(o *setUp) { o.wrapStore = func(db store.Store) store.Store { return blindStore{db} } })
	if response, text := s.raw(get, "/metrics", nil, ""); response.StatusCode != http.StatusOK || !strings.Contains(text, "gco_store_up 0\n") {
		t.Errorf("%s: %s", response.Status, text)
	}
}

func TestMetricsMayNeedAToken(t *testing.T) {
	s := start(t, func(o *setUp) { o.MetricsNeedToken = true })
	if response, _ := s.raw(get, "/metrics", map[string]string{"Authorization": ""}, ""); response.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: %s", response.Status)
	}
	if response, _ := s.raw(get, "/metrics", nil, ""); response.StatusCode != http.StatusOK {
		t.Errorf("with one: %s", response.Status)
	}
}

func TestHealthSaysWhatWorks(t *testing.T) {
	broken := &switches{}
	s := start(t, func(o *setUp) { o.wrapStore = func(db store.Store) store.Store { return brokenStore{db, broken} } })
	status := func(name string) string {
		health, err := s.admin.Health(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, check := range health.Checks {
			if check.Name == name {
				return check.Status
			}
		}
		return "missing"
	}
	eventually(t, func() bool { return status("leader") == checkOK })
	if got := status("regions"); got != checkDegraded {
		t.Errorf("without a region: %s", got)
	}
	s.openRegion(testRegion)
	if got := status("regions"); got != checkOK {
		t.Errorf("with a live region: %s", got)
	}
	if err := s.admin.Ready(t.Context()); err != nil {
		t.Errorf("ready: %v", err)
	}
	broken.down.Store(true)
	eventually(t, func() bool { return s.admin.Ready(t.Context()) != nil })
	if got := status("store"); got != checkFailed {
		t.Errorf("with the store down: %s", got)
	}
	if response, text := s.raw(get, "/healthz", nil, ""); response.StatusCode != http.StatusOK {
		t.Errorf("alive: %s: %s", response.Status, text)
	}
}
