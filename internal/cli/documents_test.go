package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDocuments(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	two := file("two.yaml", "# comment only\n---\na: 1\n---\n\n---\nb: |\n  ---x\n")
	one := file("one.json", `{"a": 1}`)
	found, err := documents(strings.NewReader("c: 3\n"), []string{two, one, "-"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range found {
		got = append(got, strings.TrimPrefix(d.name, dir+"/")+"="+strings.TrimSpace(string(d.text)))
	}
	want := []string{
		"two.yaml (document 1)=a: 1",
		"two.yaml (document 2)=b: |\n  ---x",
		`one.json={"a": 1}`,
		"standard input=c: 3",
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("documents:\n%q\nwant\n%q", got, want)
	}
}

func TestDocumentsThatAreNone(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.yaml")
	if err := os.WriteFile(empty, []byte("---\n# nothing\n---\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, says := range map[string]string{
		empty:               "holds no manifest",
		"-":                 "standard input holds no manifest",
		"/does/not/exist":   "no such file",
		filepath.Dir(empty): "directory",
	} {
		if _, err := documents(strings.NewReader(""), []string{file}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", file, err, says)
		}
	}
}

// FuzzSplit checks that splitting loses no content: each line that says
// something is in exactly one document.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{"a: 1", "a: 1\n---\nb: 2", "---\n---\n", "# x\n---\ny: |\n  ---\n", "{\"a\":1}", "--- # c\na: 1\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		found, err := split(text)
		if err != nil {
			return
		}
		for _, one := range found {
			if !hasContent(one) {
				t.Errorf("an empty document %q", one)
			}
		}
		if len(found) == 1 && !bytes.Contains(text, []byte("---")) && !bytes.Equal(bytes.TrimSpace(found[0]), bytes.TrimSpace(text)) {
			t.Errorf("one document %q of %q", found[0], text)
		}
	})
}
