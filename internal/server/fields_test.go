package server

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write fields.json anew from the comments of package api")

// TestFieldTextsAreThoseOfTheCode keeps fields.json, which the OpenAPI
// document and /docs are described with, with the comments in the code.
func TestFieldTextsAreThoseOfTheCode(t *testing.T) {
	texts := map[string]string{}
	structs := map[string]*ast.StructType{}
	for _, dir := range []string{filepath.Join("..", "..", "api"), filepath.Join("..", "capacity"), filepath.Join("..", "model")} {
		readComments(t, dir, texts, structs)
	}
	want, err := json.MarshalIndent(texts, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("fields.json", want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("fields.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("fields.json is not what the comments say; run go test ./internal/server -run FieldTexts -update")
	}
	s := start(t)
	for name, schema := range s.server.doc.Components.Schemas.Map() {
		if schema.Description == "" {
			t.Errorf("schema %s has no description", name)
		}
	}
}

func readComments(t *testing.T, dir string, texts map[string]string, structs map[string]*ast.StructType) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*ast.StructType{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			group, ok := n.(*ast.GenDecl)
			if !ok {
				return true
			}
			for _, spec := range group.Specs {
				typed, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				fields, ok := typed.Type.(*ast.StructType)
				// A type of api goes before one of the same name elsewhere.
				if ok && structs[typed.Name.Name] == nil {
					found[typed.Name.Name] = fields
					texts[typed.Name.Name] = plainText(group.Doc)
				}
			}
			return false
		})
	}
	maps.Copy(structs, found)
	for name, fields := range found {
		describeFields(name, fields, texts, structs)
	}
}

// describeFields takes the comments of a struct's fields, and of those that
// are embedded in it.
func describeFields(name string, fields *ast.StructType, texts map[string]string, structs map[string]*ast.StructType) {
	for _, field := range fields.Fields.List {
		if embedded, ok := field.Type.(*ast.Ident); ok && len(field.Names) == 0 && structs[embedded.Name] != nil {
			describeFields(name, structs[embedded.Name], texts, structs)
			continue
		}
		if field.Tag == nil {
			continue
		}
		tag := reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json")
		property, _, _ := strings.Cut(tag, ",")
		if text := plainText(field.Doc); text != "" && property != "" {
			texts[name+"."+property] = text
		}
	}
}

func plainText(comment *ast.CommentGroup) string {
	return strings.Join(strings.Fields(comment.Text()), " ")
}
