package dynamodb_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/gco-project/gco/internal/store/dynamodb"
)

var update = flag.Bool("update", false, "write tables.json anew")

//go:generate go test . -run ^TestTablesFileIsCurrent$ -update

// TestTablesFileIsCurrent: infra/ cannot import this package, since it is a
// module of its own; its tests read the file.
func TestTablesFileIsCurrent(t *testing.T) {
	want, err := json.MarshalIndent(dynamodb.Tables, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	const file = "tables.json"
	if *update {
		if err := os.WriteFile(file, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what schema.go says; run: go generate ./internal/store/dynamodb", file)
	}
}
