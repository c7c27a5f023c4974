package structure

import (
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

var (
	// A Markdown link or picture, with what it points at.
	link = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	// An HTML attribute that points at a file, as pictures have it.
	picture = regexp.MustCompile(`\bsrc(?:set)?="([^"]+)"`)
)

// brokenLinks lists links of a tree's Markdown files to files or headings that
// are not there. Links to other hosts are not followed.
func brokenLinks(tree fs.FS) ([]string, error) {
	var faults []string
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if base := path.Base(name); base == "node_modules" || base == "dist" || base != "." && strings.HasPrefix(base, ".") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".md" {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		for _, target := range targets(string(text)) {
			if fault := broken(tree, name, target); fault != "" {
				faults = append(faults, name+" links to "+target+": "+fault)
			}
		}
		return nil
	})
	return faults, err
}

func targets(text string) []string {
	var list []string
	text = withoutCode(text)
	for _, pattern := range []*regexp.Regexp{link, picture} {
		for _, match := range pattern.FindAllStringSubmatch(text, -1) {
			if target := match[1]; !strings.Contains(target, "://") && !strings.HasPrefix(target, "mailto:") {
				list = append(list, target)
			}
		}
	}
	return list
}

// withoutCode leaves out what stands between fences.
func withoutCode(text string) string {
	var kept strings.Builder
	code := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			code = !code
		} else if !code {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

func broken(tree fs.FS, from, target string) string {
	file, heading, _ := strings.Cut(target, "#")
	to := from
	if file != "" {
		to = path.Join(path.Dir(from), file)
	}
	if _, err := fs.Stat(tree, to); err != nil {
		return "no such file"
	}
	if heading == "" || path.Ext(to) != ".md" {
		return ""
	}
	text, err := fs.ReadFile(tree, to)
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(withoutCode(string(text))) {
		if strings.HasPrefix(line, "#") && anchor(line) == heading {
			return ""
		}
	}
	return "no such heading"
}

// anchor is the fragment of a heading, as GitHub makes it.
func anchor(heading string) string {
	heading = strings.ToLower(strings.TrimSpace(strings.TrimLeft(heading, "#")))
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 127:
			return r
		default:
			return -1
		}
	}, heading)
}

func TestLinksInDocumentsLeadSomewhere(t *testing.T) {
	faults, err := brokenLinks(repository)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range faults {
		t.Error(fault)
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	tree := fstest.MapFS{
		"README.md":     {Data: []byte("[a](docs/a.md) [b](docs/a.md#the-end) [c](https://example.com/x) [d](#top)\n# Top\n```\n[e](gone.md)\n```\n")},
		"docs/a.md":     {Data: []byte("# A\n\n## The end\n[f](../README.md) <img src=\"../p.svg\">\n")},
		"p.svg":         {},
		"docs/wrong.md": {Data: []byte("[a](b.md) [b](a.md#start) <img src=\"q.svg\">\n")},
	}
	faults, err := brokenLinks(tree)
	if err != nil {
		t.Fatal(err)
	}
	want := "docs/wrong.md links to b.md: no such file\n" +
		"docs/wrong.md links to a.md#start: no such heading\n" +
		"docs/wrong.md links to q.svg: no such file"
	if got := strings.Join(faults, "\n"); got != want {
		t.Errorf("faults are\n%s\nwant\n%s", got, want)
	}
}
