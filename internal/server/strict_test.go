package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gco-project/gco/api"
)

func TestDecodeStrictNamesEveryFault(t *testing.T) {
	text := `{"cluster":null,"maxStart":"3","waitSeconds":true,"observations":[
		{"jobId":"x","attempt":1.5,"phase":"dead","startedAt":"yesterday"},{"attempt":1,"jobId":"y","phase":"lost","exitCode":null}],
		"inventory":[],"capacity":{"nodes":[{"count":1,"free":{"cpu":"1"},"total":{}}]},"Known":[],"epcoh":1}`
	var request api.SyncRequest
	faults, err := decodeStrict([]byte(text), syncShape, &request)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range faults {
		got = append(got, f.Field+": "+f.Message)
	}
	want := []string{
		"cluster: is null, and should be a string",
		"maxStart: is a string, and should be a whole number",
		"waitSeconds: is true, and should be a number",
		"observations[0].attempt: 1.5 is not a whole number",
		`observations[0].phase: "dead" is not one of applied, running, succeeded, failed, released, stopped, lost`,
		`observations[0].startedAt: "yesterday" is not a time of RFC 3339, such as 2026-01-31T12:00:00Z`,
		"inventory: is a list, and should be an object",
		"capacity.nodes[0].free.cpu: is a string, and should be a whole number",
		"Known: is no field here; did you mean known?",
		"epcoh: is no field here; did you mean epoch?",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestDecodeStrictBoundsItsWork(t *testing.T) {
	var text strings.Builder
	text.WriteString(`{"labels":{`)
	for i := range 100_000 {
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteString(`"k` + strings.Repeat("x", i%7) + json.Number(strings.Repeat("1", 1+i%5)).String() + `":1`)
	}
	text.WriteString("}}")
	if _, err := decodeStrict([]byte(text.String()), submissionShape, new(api.Submission)); err == nil {
		t.Error("repeated names passed")
	}
	many := "["
	for range 1000 {
		many += `{"x":1},`
	}
	of := &shape{kind: kindList, element: &shape{kind: kindStruct}}
	if faults, err := decodeStrict([]byte(many+"{}]"), of, new([]struct{})); err != nil || len(faults) != maxFaults {
		t.Errorf("%d faults, %v", len(faults), err)
	}
}

// FuzzDecodeStrict holds the scanner against encoding/json: it accepts nothing
// that encoding/json refuses, what it finds without fault decodes without
// loss, and it never panics.
func FuzzDecodeStrict(f *testing.F) {
	for _, seed := range []string{
		helloManifest, richManifest, `{"manifest":{},"priority":1}`, `{"a":1,"a":2}`, `{"\u0061":1,"a":2}`, `[[[[1]]]]`, `{"x":`,
		`"\ud800"`, `{"placement":{"regions":["a"]}}`, `nul`, `-`, `1e999`, "\xff", ` `, `{"manifest":` + strings.Repeat("[", 60),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var strict api.Submission
		faults, err := decodeStrict(text, submissionShape, &strict)
		if m, ok := errors.AsType[*malformed](err); err != nil && (!ok || m.message == "") {
			t.Fatalf("error %v", err)
		}
		if err == nil && !json.Valid(text) {
			t.Fatalf("%q is not JSON and was taken", text)
		}
		for _, fault := range faults {
			if fault.Message == "" {
				t.Fatalf("fault %+v", fault)
			}
		}
		if err != nil || len(faults) > 0 {
			return
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		var plain api.Submission
		if err := decoder.Decode(&plain); err != nil {
			t.Fatalf("%q was taken, and encoding/json says %v", text, err)
		}
	})
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add([]byte(`{"items":[{"manifest":` + helloManifest + `},{"idempotencyKey":"k"}]}`))
	f.Add([]byte(`{"items":[1,"x",null,[]]}`))
	f.Add([]byte(`{"items":{},"x":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		items, err := decodeBatch(text)
		if err == nil && (!json.Valid(text) || len(items) == 0) {
			t.Fatalf("%q gave %d items", text, len(items))
		}
		if err != nil && problemOf(err).Status >= 500 {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

func FuzzSync(f *testing.F) {
	f.Add([]byte(`{"cluster":"c","maxStart":1}`))
	f.Add([]byte(`{"cluster":"c","maxStart":1,"capacity":{"nodes":[{"count":1,"free":{"cpu":1},"total":{"cpu":-1}}]},"inventory":{"items":[{"jobId":"x","attempt":0}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var request api.SyncRequest
		faults, err := decodeStrict(text, syncShape, &request)
		if err != nil || len(faults) > 0 {
			return
		}
		for _, fault := range syncFaults(request) {
			if fault.Field == "" || fault.Message == "" {
				t.Fatalf("fault %+v", fault)
			}
		}
	})
}

func TestAbsurdSyncsAreRefused(t *testing.T) {
	many := make([]api.NodeShape, maxShapes)
	resources := map[string]int64{}
	for i := range maxResources + 1 {
		resources[fmt.Sprintf("example.com/%d", i)] = 1
	}
	for field, request := range map[string]api.SyncRequest{
		"":                        {Capacity: &api.Snapshot{Nodes: many}},
		"capacity":                {Capacity: &api.Snapshot{Nodes: many, Provisionable: many[:1]}},
		"capacity.nodes[0].total": {Capacity: &api.Snapshot{Nodes: []api.NodeShape{{Total: resources}}}},
		"capacity.nodes[1].count": {Capacity: &api.Snapshot{Nodes: []api.NodeShape{{}, {Count: -1}}}},
		"maxStart":                {MaxStart: -1},
		"waitSeconds":             {WaitSeconds: 1e300},
		"known[0].jobId":          {Known: []api.AttemptRef{{JobID: "../../etc", Attempt: 1}}},
	} {
		request.Cluster = "c"
		faults := syncFaults(request)
		if field == "" && len(faults) > 0 || field != "" && (len(faults) != 1 || faults[0].Field != field) {
			t.Errorf("want a fault of %q, got %+v", field, faults)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(writeCursor("a", "b"))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if mark, position, ok := readCursor(text); ok {
			if again, at, ok := readCursor(writeCursor(mark, position)); !ok || again != mark || at != position {
				t.Fatalf("%q: %q %q became %q %q", text, mark, position, again, at)
			}
		}
		if _, err := readEventCursor("life", text); err != nil && problemOf(err).Status >= 500 {
			t.Fatal(err)
		}
	})
}

func TestNearest(t *testing.T) {
	for given, want := range map[string]string{
		"prority": "priority", "Priority": "priority", "retires": "retries", "deadlines": "deadline", "xyz": "", "manifset": "manifest",
	} {
		hint := submissionShape.nearest(given)
		if want == "" && hint != "" || want != "" && hint != "; did you mean "+want+"?" {
			t.Errorf("%s: %q", given, hint)
		}
	}
}
