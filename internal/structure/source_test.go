package structure

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/gco-project/gco/"

// repository is the checkout that this package stands in.
var repository = os.DirFS("../..")

// pkg is one folder of Go files. Paths are relative to the module, and imports
// are those of its own packages.
type pkg struct {
	path    string
	name    string
	doc     string
	imports []string
	files   []source
	// test says that the folder has test files only.
	test bool
}

// source is one Go file.
type source struct {
	syntax *ast.File
	lines  int
}

// readPackages parses every package of the main module: no nested modules and
// nothing that the go command leaves out.
func readPackages(tree fs.FS) ([]*pkg, error) {
	var packages []*pkg
	err := fs.WalkDir(tree, ".", func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if dir != "." && skipped(tree, dir) {
			return fs.SkipDir
		}
		p, err := readPackage(tree, dir)
		if p != nil {
			packages = append(packages, p)
		}
		return err
	})
	return packages, err
}

func skipped(tree fs.FS, dir string) bool {
	name := path.Base(dir)
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "node_modules" {
		return true
	}
	_, err := fs.Stat(tree, path.Join(dir, "go.mod"))
	return err == nil
}

func readPackage(tree fs.FS, dir string) (*pkg, error) {
	names, err := fs.Glob(tree, path.Join(dir, "*.go"))
	if err != nil || len(names) == 0 {
		return nil, err
	}
	p := &pkg{path: dir, test: true}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		p.test = false
		p.add(source{file, bytes.Count(text, []byte("\n"))})
	}
	slices.Sort(p.imports)
	p.imports = slices.Compact(p.imports)
	return p, nil
}

func (p *pkg) add(file source) {
	p.name = file.syntax.Name.Name
	if file.syntax.Doc != nil {
		p.doc += file.syntax.Doc.Text()
	}
	for _, spec := range file.syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if own, found := strings.CutPrefix(imported, module); err == nil && found {
			p.imports = append(p.imports, own)
		}
	}
	p.files = append(p.files, file)
}

// section returns the lines of a Markdown document between a heading and the
// next one.
func section(document []byte, heading string) string {
	_, after, found := bytes.Cut(document, []byte("\n## "+heading+"\n"))
	if !found {
		return ""
	}
	text, _, _ := bytes.Cut(after, []byte("\n## "))
	return string(text)
}

// rows returns the cells of the Markdown table in text, without its heading.
func rows(text string) [][]string {
	var table [][]string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		table = append(table, cells)
	}
	if len(table) < 2 {
		return nil
	}
	return table[2:]
}

// quoted returns what stands in backquotes.
func quoted(text string) []string {
	var words []string
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 {
			words = append(words, part)
		}
	}
	return words
}

func architecture(t *testing.T) []byte {
	t.Helper()
	text, err := fs.ReadFile(repository, "ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// thisRepository reads the packages that the tests are about, and makes sure
// that there are some.
func thisRepository(t *testing.T) []*pkg {
	t.Helper()
	packages, err := readPackages(repository)
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 10 {
		t.Fatalf("only %d packages found", len(packages))
	}
	return packages
}
