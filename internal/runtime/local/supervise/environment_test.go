package supervise

import (
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

func TestExpand(t *testing.T) {
	env := environment{map[string]string{"A": "1", "B": "$(A)", "EMPTY": ""}}
	for text, want := range map[string]string{
		"":                 "",
		"plain":            "plain",
		"$(A)":             "1",
		"x$(A)y$(A)":       "x1y1",
		"$(B)":             "$(A)", // once only
		"$(EMPTY)":         "",
		"$(NONE)":          "$(NONE)",
		"$$(A)":            "$(A)",
		"$$$(A)":           "$1",
		"$$$$":             "$$",
		"$A ${A} $":        "$A ${A} $",
		"$(A":              "$(A",
		"$()":              "$()",
		"$(A)$(":           "1$(",
		"cost: $5 and $$5": "cost: $5 and $5",
	} {
		if got := env.expand(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func FuzzExpand(f *testing.F) {
	f.Add("$(A) $$(A) $(")
	f.Fuzz(func(t *testing.T, text string) {
		env := environment{map[string]string{"A": "1"}}
		got := env.expand(text)
		if !strings.Contains(text, "$") && got != text {
			t.Errorf("%q became %q", text, got)
		}
		if len(got) > len(text) {
			t.Errorf("%q grew to %q", text, got)
		}
	})
}

func TestGPUsAreSharedOut(t *testing.T) {
	template := attempt.Pod{
		Init: []attempt.Container{{Name: "side", GPUs: 1, Sidecar: true}, {Name: "init", GPUs: 2}},
		Containers: []attempt.Container{
			{Name: "none"}, {Name: "two", GPUs: 2}, {Name: "one", GPUs: 1},
		},
	}
	for name, want := range map[string]string{"side": "4", "init": "5,6", "none": "", "two": "5,6", "one": "7"} {
		if got := gpusOf(template, []int{4, 5, 6, 7}, name); got != want {
			t.Errorf("%s was given %q, want %q", name, got, want)
		}
	}
}

func TestLookPath(t *testing.T) {
	for name, want := range map[string]string{"/bin/sh": "/bin/sh", "./tool": "./tool", "sh": "/bin/sh"} {
		if got, err := lookPath(name, "/no/such:/bin", "/"); got != want || err != nil {
			t.Errorf("%s: %q (%v), want %q", name, got, err, want)
		}
	}
	if got, err := lookPath("sh", "/no/such", "/"); err == nil {
		t.Errorf("found %s", got)
	}
	if got, err := lookPath("bin", "/", "/"); err == nil {
		t.Errorf("took the directory %s for a command", got)
	}
}
