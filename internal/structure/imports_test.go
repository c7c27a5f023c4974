package structure

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// layer is one row of the import table: a package and what it may import.
type layer struct {
	path    string
	imports []string
}

// importTable reads the table in ARCHITECTURE.md: package, what it owns, what
// it may import.
func importTable(document []byte) ([]layer, error) {
	var table []layer
	for _, cells := range rows(section(document, "Imports")) {
		names := quoted(cells[0])
		if len(cells) != 3 || len(names) != 1 {
			return nil, fmt.Errorf("a row of the import table is not | `package` | what it owns | imports |: %q", cells)
		}
		table = append(table, layer{names[0], quoted(cells[2])})
	}
	if len(table) == 0 {
		return nil, fmt.Errorf("no import table under the heading Imports")
	}
	return table, nil
}

// wrongImports lists where packages and table differ, in both directions, and
// rows that let a package import one above it.
func wrongImports(packages []*pkg, table []layer) []string {
	var faults []string
	rank := map[string]int{}
	allowed := map[string][]string{}
	for i, row := range table {
		rank[row.path], allowed[row.path] = i, row.imports
	}
	seen := map[string]bool{}
	for _, p := range packages {
		if p.test {
			continue
		}
		seen[p.path] = true
		may, found := allowed[p.path]
		if !found {
			faults = append(faults, p.path+" has no row in the table")
			continue
		}
		for _, imported := range p.imports {
			if !slices.Contains(may, imported) {
				faults = append(faults, p.path+" imports "+imported+", which its row does not allow")
			}
		}
		for _, imported := range may {
			if !slices.Contains(p.imports, imported) {
				faults = append(faults, p.path+" may import "+imported+" and does not: take it out of the table")
			}
		}
	}
	for i, row := range table {
		if !seen[row.path] {
			faults = append(faults, row.path+" has a row in the table and is no package")
		}
		for _, imported := range row.imports {
			if below, found := rank[imported]; found && below <= i {
				faults = append(faults, row.path+" may import "+imported+", which stands above it")
			}
		}
	}
	return faults
}

func TestPackagesImportOnlyWhatTheTableAllows(t *testing.T) {
	table, err := importTable(architecture(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range wrongImports(thisRepository(t), table) {
		t.Error(fault)
	}
}

// TestWrongImportsAreFound shows each fault to the check above.
func TestWrongImportsAreFound(t *testing.T) {
	const table = "# A\n\n## Imports\n\nText.\n\n| package | owns | imports |\n|---|---|---|\n" +
		"| `top` | | `middle`, `low` |\n| `middle` | | `low` |\n| `low` | | |\n\n## Next\n\n| `no` | row |\n"
	tree := func(changes map[string]string) fstest.MapFS {
		files := fstest.MapFS{}
		for name, imports := range map[string]string{"top": "middle low", "middle": "low", "low": ""} {
			if other, changed := changes[name]; changed {
				imports = other
			}
			files[name+"/a.go"] = goFile(name, imports)
		}
		for name, imports := range changes {
			if name != "nested" {
				files[name+"/a.go"] = goFile(name, imports)
			}
		}
		return files
	}
	tests := []struct {
		name    string
		table   string
		changes map[string]string
		want    string // empty: no fault
	}{
		{"as the table says", table, nil, ""},
		{"an edge up", table, map[string]string{"low": "top"}, "low imports top, which its row does not allow"},
		{"an edge that is not there", table, map[string]string{"middle": ""}, "middle may import low and does not"},
		{"a package without a row", table, map[string]string{"new": ""}, "new has no row"},
		{"a row without a package", strings.Replace(table, "| `low` | | |", "| `low` | | |\n| `gone` | | |", 1), nil, "gone has a row"},
		{"a row that points up", strings.Replace(table, "| `low` | | |", "| `low` | | `top` |", 1), nil, "low may import top, which stands above it"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			rows, err := importTable([]byte(test.table))
			if err != nil {
				t.Fatal(err)
			}
			packages, err := readPackages(tree(test.changes))
			if err != nil {
				t.Fatal(err)
			}
			faults := strings.Join(wrongImports(packages, rows), "\n")
			if test.want == "" && faults != "" || !strings.Contains(faults, test.want) {
				t.Errorf("faults are %q; want %q", faults, test.want)
			}
		})
	}
	if _, err := importTable([]byte("# A\n\n## Other\n")); err == nil {
		t.Error("a document without a table is accepted")
	}
}

func goFile(name, imports string) *fstest.MapFile {
	text := "package " + name + "\n"
	for imported := range strings.FieldsSeq(imports) {
		text += fmt.Sprintf("import _ %q\n", module+imported)
	}
	return &fstest.MapFile{Data: []byte(text)}
}

// TestOnlyTestsImportTheSuites keeps conformance suites and the simulation out
// of the product.
func TestOnlyTestsImportTheSuites(t *testing.T) {
	suites := []string{"internal/aws/awstest", "internal/blob/blobtest", "internal/kubelab/kubelabtest", "internal/store/dynamodb/cost", "internal/store/storetest", "internal/runtime/runtimetest", "internal/sim", "internal/structure"}
	for _, p := range thisRepository(t) {
		for _, imported := range p.imports {
			if slices.Contains(suites, imported) {
				t.Errorf("%s imports %s outside its tests", p.path, imported)
			}
		}
	}
}
