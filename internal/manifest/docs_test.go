package manifest_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/manifest"
)

// docs/manifests.md names every annotation and every field of the policy with
// its default, and shows only answers that were given.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/manifests.md")
	if err != nil {
		t.Fatal(err)
	}
	docs := string(page)
	for _, name := range manifest.OptionNames() {
		if !strings.Contains(docs, "| `"+name+"` |") {
			t.Errorf("no word about the annotation %s", name)
		}
	}
	policy := reflect.ValueOf(manifest.DefaultPolicy())
	for f, value := range policy.Fields() {
		row := rowOf(docs, f.Tag.Get("json"))
		if row == "" {
			t.Errorf("no word about policy.%s", f.Tag.Get("json"))
		}
		for _, item := range texts(value) {
			if !strings.Contains(row, item) {
				t.Errorf("the default %s is not in %s", item, row)
			}
		}
	}
	checkAnswers(t, docs)
}

// rowOf is the line of a table about a field.
func rowOf(docs, field string) string {
	for line := range strings.Lines(docs) {
		if strings.HasPrefix(line, "| `"+field+"` |") {
			return line
		}
	}
	return ""
}

// texts are the parts of a default that a reader should find.
func texts(value reflect.Value) []string {
	switch v := value.Interface().(type) {
	case []string:
		return v
	case string:
		return []string{v}
	case bool:
		if v {
			return []string{"| true |"}
		}
		return []string{"| false |"}
	}
	return nil
}

// checkAnswers compares the faults on the page with those in testdata.
func checkAnswers(t *testing.T, docs string) {
	t.Helper()
	var given strings.Builder
	for _, path := range faulty(t) {
		text, err := os.ReadFile(path + ".faults")
		if err != nil {
			t.Fatal(err)
		}
		given.Write(text)
		if filepath.Base(path) == "train.yaml" {
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(docs, "```yaml\n"+string(source)+"```") {
				t.Error("the manifest on the page is not train.yaml")
			}
		}
	}
	shown := 0
	for line := range strings.Lines(docs) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "manifest.") && !strings.HasPrefix(line, "manifest:") {
			continue
		}
		shown++
		if !strings.Contains(given.String(), line+"\n") {
			t.Errorf("nobody was told %s", line)
		}
	}
	if shown < 10 {
		t.Errorf("only %d answers on the page", shown)
	}
}
