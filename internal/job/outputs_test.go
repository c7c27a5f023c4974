package job

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseOutputs(t *testing.T) {
	tests := map[string]string{
		"":    `null`,
		" \n": `null`,
		`{"n":3,"big":12345678901234567890,"f":1.50,"yes":true,"text":"a<b\n"}`: `{"big":12345678901234567890,"f":1.50,"n":3,"text":"a<b\n","yes":true}`,
		"{}":                             `{}`,
		"a=1\r\nb = x = y\n\n# c=3\na=2": `{"a":"2","b":" x = y"}`,
		"key_1.x-y=":                     `{"key_1.x-y":""}`,
	}
	for text, want := range tests {
		outputs, err := ParseOutputs(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		var got strings.Builder
		encoder := json.NewEncoder(&got)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(outputs); err != nil || strings.TrimSpace(got.String()) != want {
			t.Errorf("%q became %s (%v); want %s", text, got.String(), err, want)
		}
	}
	for text, want := range map[string]string{
		`{"a":[1]}`:                           "neither a string nor a number nor a boolean",
		`{"a":null}`:                          "neither a string",
		`{"a":{}}`:                            "neither a string",
		`{"a":1`:                              "not a JSON object",
		`{"a":1} x`:                           "not a JSON object",
		`{"1a":1}`:                            `"1a" cannot be a key`,
		"a=1\nb":                              "line 2 is not KEY=VALUE",
		"=1":                                  `"" cannot be a key`,
		strings.Repeat("k", 64) + "=":         "cannot be a key",
		"a=" + strings.Repeat("x", MaxResult): "over the limit of 4096 bytes",
		"a=\xff":                              "not UTF-8",
	} {
		if outputs, err := ParseOutputs(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, %v; want %q", text, outputs, err, want)
		}
	}
}

func FuzzParseOutputs(f *testing.F) {
	for _, seed := range []string{"", "a=1\nb=2", `{"a":1,"b":"x","c":true}`, `{"a":{"b":1}}`, "#", "=\n", `{"a":"\ud800"}`, `{"a":1e999}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		outputs, err := ParseOutputs(text)
		if err != nil {
			return
		}
		// What was read can be written, and read again as the same.
		whole, err := json.Marshal(outputs)
		if err != nil {
			t.Fatalf("%q became what JSON cannot hold: %v", text, err)
		}
		again := Outputs{}
		if err := json.Unmarshal(whole, &again); err != nil || len(again) != len(outputs) {
			t.Fatalf("%q became %s, and that %v (%v)", text, whole, again, err)
		}
		for key, value := range outputs {
			if !ValidOutput(key) {
				t.Fatalf("%q has the key %q", text, key)
			}
			var scalar any
			if err := json.Unmarshal(value, &scalar); err != nil && !strings.Contains(err.Error(), "cannot unmarshal number") {
				t.Fatalf("%q has the value %s", text, value)
			}
		}
	})
}
