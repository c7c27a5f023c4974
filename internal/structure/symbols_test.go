package structure

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// symbols indexes what packages declare, as package.Name and
// package.Type.Member (a method, a field, or a method of an interface).
func symbols(packages []*pkg) map[string]bool {
	index := map[string]bool{}
	for _, p := range packages {
		name := path.Base(p.path)
		for _, file := range p.files {
			for _, declaration := range file.syntax.Decls {
				for _, symbol := range declared(declaration) {
					index[name+"."+symbol] = true
				}
			}
		}
	}
	return index
}

func declared(declaration ast.Decl) []string {
	switch d := declaration.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return []string{d.Name.Name}
		}
		return []string{receiver(d.Recv.List[0].Type) + "." + d.Name.Name}
	case *ast.GenDecl:
		var names []string
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, spec.Name.Name)
				for _, member := range members(spec.Type) {
					names = append(names, spec.Name.Name+"."+member)
				}
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					names = append(names, name.Name)
				}
			}
		}
		return names
	default:
		return nil
	}
}

func receiver(expression ast.Expr) string {
	switch e := expression.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	default:
		return ""
	}
}

func members(expression ast.Expr) []string {
	var fields *ast.FieldList
	switch e := expression.(type) {
	case *ast.StructType:
		fields = e.Fields
	case *ast.InterfaceType:
		fields = e.Methods
	default:
		return nil
	}
	var names []string
	for _, field := range fields.List {
		for _, name := range field.Names {
			names = append(names, name.Name)
		}
	}
	return names
}

// unresolved lists the symbols of a table's last column that do not exist, and
// rows that name none.
func unresolved(table [][]string, index map[string]bool) []string {
	var faults []string
	for _, cells := range table {
		named := quoted(cells[len(cells)-1])
		if len(named) == 0 {
			faults = append(faults, fmt.Sprintf("step %q names no symbol", cells[0]))
		}
		for _, symbol := range named {
			if !index[symbol] {
				faults = append(faults, fmt.Sprintf("step %q names %s, which does not exist", cells[0], symbol))
			}
		}
	}
	return faults
}

func TestAJobsWayNamesSymbolsThatExist(t *testing.T) {
	way := rows(section(architecture(t), "A job's way"))
	if len(way) < 8 {
		t.Fatalf("the way of a job has %d steps", len(way))
	}
	for _, fault := range unresolved(way, symbols(thisRepository(t))) {
		t.Error(fault)
	}
}

func TestUnresolvedSymbolsAreFound(t *testing.T) {
	packages, err := readPackages(fstest.MapFS{"internal/deep/a.go": {Data: []byte(`package deep
type T struct{ Field int }
type I interface{ Method() }
const A, B = 1, 2
var v int
func F() {}
func (T) M() {}
func (t *T) p() {}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	index := symbols(packages)
	for _, symbol := range []string{"T", "T.Field", "I.Method", "A", "B", "v", "F", "T.M", "T.p"} {
		if faults := unresolved([][]string{{"step", "`deep." + symbol + "`"}}, index); len(faults) > 0 {
			t.Error(faults)
		}
	}
	for _, symbol := range []string{"deep.M", "deep.T.Q", "other.F", "deep"} {
		if faults := unresolved([][]string{{"step", "`" + symbol + "`"}}, index); len(faults) != 1 {
			t.Errorf("%s resolves", symbol)
		}
	}
	if faults := unresolved([][]string{{"step", "prose"}}, index); !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, "names no symbol") }) {
		t.Error("a step without a symbol is accepted")
	}
}
