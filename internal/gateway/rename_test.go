package gateway

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"testing"
)

func TestModelNamesAreMapped(t *testing.T) {
	models := map[string]string{"small": "/models/a \"b\"", "": "none"}
	for document, want := range map[string]string{
		`{"model":"small"}`: `{"model":"/models/a \"b\""}`,
		` { "messages": [{"model":"small"}], "model" : "small" , "n":1.50}`: ` { "messages": [{"model":"small"}], "model" : "/models/a \"b\"" , "n":1.50}`,
		`{"mod\u0065l":"small","x":"é"}`:                                    `{"mod\u0065l":"/models/a \"b\"","x":"é"}`,
		`{"model":"other"}`:                                                 `{"model":"other"}`,
		`{"model":7}`:                                                       `{"model":7}`,
		`{"a":{}}`:                                                          `{"a":{}}`,
		`["small"]`:                                                         `["small"]`,
		`{"model":"small"`:                                                  `{"model":"small"`,
		`no JSON`:                                                           `no JSON`,
		``:                                                                  ``,
	} {
		if got := string(renamed([]byte(document), models)); got != want {
			t.Errorf("%s\nbecame %s\nwant   %s", document, got, want)
		}
	}
}

func TestOnlyNamesOfModelsChangeOnTheWay(t *testing.T) {
	r := newReplica(t, func(w http.ResponseWriter, q *http.Request) { _, _ = io.Copy(w, q.Body) })
	e := at(r.address())
	e.Models = map[string]string{"gpt": "tiny"}
	url := open(t, newGateway(t, Options{}, e)) + "/inference/e/v1/chat/completions"
	if got := send(t, http.MethodPost, url, `{"model":"gpt"}`, "Content-Type", "application/json; charset=utf-8"); got.body != `{"model":"tiny"}` {
		t.Errorf("%s", got.body)
	}
	if got := send(t, http.MethodPost, url, `{"model":"gpt"}`, "Content-Type", "text/plain"); got.body != `{"model":"gpt"}` {
		t.Errorf("%s", got.body)
	}
}

// FuzzModelNames checks against the decoder of the standard library: only the
// value of the last member model changes.
func FuzzModelNames(f *testing.F) {
	for _, seed := range []string{`{"model":"a"}`, `{"model":"b","model":"a","x":[1,{}]}`, `{"m":null,"model":{}}`, `[]`, `{`, `{"model":"\u0061"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		got := renamed(bytes.Clone(document), map[string]string{"a": "mapped"})
		var before, after map[string]any
		if json.Unmarshal(document, &before) != nil {
			return
		}
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatalf("%q became %q: %v", document, got, err)
		}
		if before["model"] == "a" {
			before["model"] = "mapped"
		}
		if !reflect.DeepEqual(before, after) {
			t.Errorf("%q became %q", document, got)
		}
	})
}
