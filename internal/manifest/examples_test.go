package manifest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/manifest"
)

// examples lists the manifests in examples/.
func examples(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("../../examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// A configuration and documents of other kinds, not manifests.
	others := []string{"gco.yaml", "pipeline.yaml", "schedule.yaml", "endpoint.yaml", "endpoint-openai.yaml"}
	paths = slices.DeleteFunc(paths, func(path string) bool { return slices.Contains(others, filepath.Base(path)) })
	if len(paths) < 9 {
		t.Fatalf("only %d examples", len(paths))
	}
	return paths
}

// Every example is accepted as it is where nothing is configured, says on
// top what it shows and how to run it, and is called as its file.
func TestExamples(t *testing.T) {
	for _, path := range examples(t) {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			out, faults := manifest.Compile(text, "", manifest.DefaultPolicy())
			if len(faults) > 0 {
				t.Fatal(faultLines(faults))
			}
			if out.Name != strings.TrimSuffix(name, ".yaml") {
				t.Errorf("its job is called %s", out.Name)
			}
			how := regexp.MustCompile(`(?m)\A(# .*\n)+#\n#   gco submit examples/` + regexp.QuoteMeta(name) + ` `)
			if !how.Match(text) {
				t.Errorf("it begins with\n%.200s", text)
			}
		})
	}
}
