package structure

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"testing"
)

func TestDecisionsSayContextChoiceAndCost(t *testing.T) {
	records, err := fs.Glob(repository, "docs/decisions/*.md")
	if err != nil || len(records) < 2 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, name := range records {
		if path.Base(name) == "README.md" {
			continue
		}
		text, err := fs.ReadFile(repository, name)
		if err != nil {
			t.Fatal(err)
		}
		var headings []string
		for line := range bytes.Lines(text) {
			if heading, found := bytes.CutPrefix(line, []byte("## ")); found {
				headings = append(headings, string(bytes.TrimSpace(heading)))
			}
		}
		if want := []string{"Context", "Choice", "Cost"}; !slices.Equal(headings, want) {
			t.Errorf("%s has the headings %q; want %q", name, headings, want)
		}
		if !bytes.HasPrefix(text, []byte("# ")) {
			t.Errorf("%s does not begin with a title", name)
		}
	}
}
