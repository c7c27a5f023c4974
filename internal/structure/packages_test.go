package structure

import (
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// vague are names that say nothing about what is inside.
var vague = []string{"util", "utils", "common", "helper", "helpers", "shared", "types", "misc", "base", "lib", "pkg"}

// longestMain is the number of lines that a file with package main may have
// under cmd/.
const longestMain = 20

// wrongPackages lists packages with a vague name, without a comment of a few
// words, or with a main that does more than start something.
func wrongPackages(packages []*pkg) []string {
	var faults []string
	for _, p := range packages {
		if p.test {
			continue
		}
		for _, name := range []string{p.name, path.Base(p.path)} {
			if slices.Contains(vague, name) {
				faults = append(faults, p.path+" is called "+name+", which says nothing")
			}
		}
		opening := "Package " + p.name + " "
		if p.name == "main" {
			opening = "Command " + path.Base(p.path) + " "
		}
		if !strings.HasPrefix(p.doc, opening) || len(strings.Fields(p.doc)) < 6 {
			faults = append(faults, p.path+" has no package comment that begins with "+opening)
		}
		if p.name == "main" && strings.HasPrefix(p.path, "cmd/") {
			for _, file := range p.files {
				if file.lines > longestMain {
					faults = append(faults, p.path+" does more than start the program")
				}
			}
		}
	}
	return faults
}

func TestPackagesAreCalledAndCommentedAsAgreed(t *testing.T) {
	for _, fault := range wrongPackages(thisRepository(t)) {
		t.Error(fault)
	}
}

func TestWrongPackagesAreFound(t *testing.T) {
	tests := []struct {
		file, text, want string
	}{
		{"a/a.go", "// Package a owns what is needed here.\npackage a\n", ""},
		{"cmd/x/main.go", "// Command x starts what is needed here.\npackage main\n", ""},
		{"a/util/a.go", "// Package util owns what is needed here.\npackage util\n", "says nothing"},
		{"a/b/a.go", "package b\n", "no package comment"},
		{"a/b/a.go", "// Package b.\npackage b\n", "no package comment"},
		{"cmd/x/main.go", "// Command x starts what is needed here.\npackage main\n" + strings.Repeat("\n//\n", 10), "more than start"},
	}
	for _, test := range tests {
		packages, err := readPackages(fstest.MapFS{test.file: {Data: []byte(test.text)}})
		if err != nil {
			t.Fatal(err)
		}
		faults := strings.Join(wrongPackages(packages), "\n")
		if test.want == "" && faults != "" || !strings.Contains(faults, test.want) {
			t.Errorf("%s: faults are %q; want %q", test.file, faults, test.want)
		}
	}
}
