package sqlite

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocs runs the statements of docs/storage.md, and looks for every table
// there.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../../docs/storage.md")
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, s)
	insertOne(t, s)
	examples := 0
	for _, block := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		for text := range strings.SplitSeq(block[1], ";\n") {
			if strings.TrimSpace(text) != "" {
				rows(t, s.writer.session, text)
				examples++
			}
		}
	}
	if examples < 4 {
		t.Errorf("%d statements were found", examples)
	}
	for _, row := range rows(t, s.writer.session, "SELECT name FROM sqlite_schema WHERE type = 'table'") {
		if name, _ := row[0].(string); !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("table %s is not described", name)
		}
	}
}
