package manifest_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/manifest"
)

var update = flag.Bool("update", false, "write the expected faults anew")

// Each manifest in testdata/faults has its faults beside it, as a user would
// read them: one a line, field and message.
func TestFaults(t *testing.T) {
	for _, path := range faulty(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, faults := manifest.Compile(text, "", manifest.DefaultPolicy())
			var got strings.Builder
			for _, fault := range faults {
				got.WriteString(fault.Field + ": " + fault.Message + "\n")
			}
			golden := path + ".faults"
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) || len(faults) == 0 {
				t.Errorf("faults are\n%swant\n%s", got.String(), want)
			}
		})
	}
}

// faulty lists the manifests in testdata/faults.
func faulty(t testing.TB) []string {
	t.Helper()
	asYAML, err := filepath.Glob("testdata/faults/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := filepath.Glob("testdata/faults/*.json")
	if err != nil || len(asYAML) < 10 || len(asJSON) < 3 {
		t.Fatalf("%d and %d files, %v", len(asYAML), len(asJSON), err)
	}
	return append(asYAML, asJSON...)
}
