package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write docs/gco.schema.json anew")

const schemaFile = "../../docs/gco.schema.json"

func TestSchemaFileIsCurrent(t *testing.T) {
	if *update {
		if err := os.WriteFile(schemaFile, Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, Schema()) {
		t.Errorf("%s is not what the types say; run: go test ./internal/config -run Schema -update", schemaFile)
	}
}

// TestSchemaSays looks at the schema through the eyes of an editor.
func TestSchemaSays(t *testing.T) {
	var schema any
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	at := func(path ...string) any {
		node := schema
		for _, key := range path {
			object, ok := node.(map[string]any)
			if !ok {
				t.Fatalf("%v: no object above %q", path, key)
			}
			node = object[key]
		}
		return node
	}
	aws := []string{"properties", "aws", "properties"}
	known, err := json.Marshal(awsRegions)
	if err != nil {
		t.Fatal(err)
	}
	regions := string(known)
	for _, test := range []struct {
		path []string
		want string
	}{
		{[]string{"additionalProperties"}, `false`},
		{[]string{"properties", "project", "default"}, `"gco"`},
		{append(aws, "additionalProperties"), `null`},
		{append(aws, "profile", "enum"), `["production","seed"]`},
		{append(aws, "regions", "minItems"), `1`},
		{append(aws, "regions", "type"), `"array"`},
		{append(aws, "regions", "items", "enum"), regions},
		{append(aws, "region", "enum"), `["",` + regions[1:]},
		{append(aws, "tables", "properties", "replicas", "items", "enum"), regions},
		{append(aws, "loadBalancers", "items", "properties", "region", "enum"), regions},
		{append(aws, "regions", "uniqueItems"), `true`},
		{append(aws, "regions", "default"), `["us-east-1"]`},
		{append(aws, "removal", "default"), `"retain"`},
		{append(aws, "buckets", "properties", "accessLogRetentionDays", "minimum"), `1`},
		{append(aws, "accelerator", "properties", "healthCheck", "properties", "intervalSeconds", "enum"), `[10,30]`},
		{append(aws, "loadBalancers", "items", "properties", "weight", "default"), `128`},
		{append(aws, "loadBalancers", "items", "additionalProperties"), `false`},
	} {
		got, err := json.Marshal(at(test.path...))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != test.want {
			t.Errorf("%v is %s, want %s", test.path, got, test.want)
		}
	}
}
