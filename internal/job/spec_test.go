package job

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/gco-project/gco/internal/capacity"
)

func validSpec() Spec {
	return Spec{Namespace: "default", Name: "hello"}.WithDefaults()
}

func TestASpecWithDefaultsIsValid(t *testing.T) {
	for _, policy := range []OnRegionLost{"", Requeue, Fail, Wait} {
		spec := Spec{Namespace: "default", Name: "hello", OnRegionLost: policy}.WithDefaults()
		if faults := spec.Validate(); len(faults) > 0 {
			t.Errorf("onRegionLost %q: %v", policy, faults)
		}
		if again := spec.WithDefaults(); again.OnRegionLost != spec.OnRegionLost || again.OnRegionLostLimit != spec.OnRegionLostLimit {
			t.Errorf("defaults upon defaults: %+v became %+v", spec, again)
		}
	}
}

// TestEachFieldIsChecked names, for each field, values on both sides of its
// limit.
func TestEachFieldIsChecked(t *testing.T) {
	names := func(n int) []string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprint("r", i)
		}
		return list
	}
	tests := []struct {
		name   string
		change func(*Spec)
		field  string // empty: valid
	}{
		{"namespace of 63", func(s *Spec) { s.Namespace = strings.Repeat("a", 63) }, ""},
		{"namespace of 64", func(s *Spec) { s.Namespace = strings.Repeat("a", 64) }, "namespace"},
		{"namespace with a dot", func(s *Spec) { s.Namespace = "a.b" }, "namespace"},
		{"namespace with a line end", func(s *Spec) { s.Namespace = "a\n" }, "namespace"},
		{"no namespace", func(s *Spec) { s.Namespace = "" }, "namespace"},
		{"name of 253", func(s *Spec) { s.Name = strings.Repeat("a", 253) }, ""},
		{"name of 254", func(s *Spec) { s.Name = strings.Repeat("a", 254) }, "name"},
		{"name in capitals", func(s *Spec) { s.Name = "Hello" }, "name"},
		{"highest priority", func(s *Spec) { s.Priority = MaxPriority }, ""},
		{"priority over it", func(s *Spec) { s.Priority = MaxPriority + 1 }, "priority"},
		{"priority below zero", func(s *Spec) { s.Priority = -1 }, "priority"},
		{"most retries", func(s *Spec) { s.Retries = MaxRetries }, ""},
		{"retries over it", func(s *Spec) { s.Retries = MaxRetries + 1 }, "retries"},
		{"retries below zero", func(s *Spec) { s.Retries = -1 }, "retries"},
		{"longest deadline", func(s *Spec) { s.Deadline = MaxDuration }, ""},
		{"deadline over it", func(s *Spec) { s.Deadline = MaxDuration + 1 }, "deadline"},
		{"deadline below zero", func(s *Spec) { s.Deadline = -1 }, "deadline"},
		{"ttl over the longest", func(s *Spec) { s.TTLAfterFinished = MaxDuration + 1 }, "ttlAfterFinished"},
		{"policy that does not exist", func(s *Spec) { s.OnRegionLost = "pray" }, "onRegionLost"},
		{"limit with wait", func(s *Spec) { s.OnRegionLost, s.OnRegionLostLimit = Wait, time.Minute }, ""},
		{"limit without wait", func(s *Spec) { s.OnRegionLostLimit = time.Minute }, "onRegionLostLimit"},
		{"limit over the longest", func(s *Spec) { s.OnRegionLost, s.OnRegionLostLimit = Wait, MaxDuration+1 }, "onRegionLostLimit"},
		{"too many labels", func(s *Spec) {
			s.Labels = map[string]string{}
			for i := range MaxLabels + 1 {
				s.Labels[fmt.Sprint("k", i)] = ""
			}
		}, "labels"},
		{"label key with two dots in its prefix", func(s *Spec) { s.Labels = map[string]string{"a..b/c": ""} }, "labels"},
		{"label value with a space", func(s *Spec) { s.Labels = map[string]string{"team/a": "b c"} }, "labels[team/a]"},
		{"as many regions as may be", func(s *Spec) { s.Placement.Regions = names(maxRegionsInOneField) }, ""},
		{"one region more", func(s *Spec) { s.Placement.Regions = names(maxRegionsInOneField + 1) }, "placement.regions"},
		{"a region twice", func(s *Spec) { s.Placement.AvoidRegions = []string{"a", "b", "a"} }, "placement.avoidRegions[2]"},
		{"a region that is no name", func(s *Spec) { s.Placement.Regions = []string{"a", "B"} }, "placement.regions[1]"},
		{"spot", func(s *Spec) { s.Placement.CapacityType = capacity.Spot }, ""},
		{"a market that does not exist", func(s *Spec) { s.Placement.CapacityType = "gift" }, "placement.capacityType"},
		{"a price below zero", func(s *Spec) { s.Placement.MaxPricePerHour = -0.01 }, "placement.maxPricePerHour"},
		{"a price that is no number", func(s *Spec) { s.Placement.MaxPricePerHour = math.NaN() }, "placement.maxPricePerHour"},
		{"a price without end", func(s *Spec) { s.Placement.MaxPricePerHour = math.Inf(1) }, "placement.maxPricePerHour"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec := validSpec()
			test.change(&spec)
			var fields []string
			for _, fault := range spec.Validate() {
				fields = append(fields, fault.Field)
				if fault.Message == "" {
					t.Errorf("%s has a fault without a message", fault.Field)
				}
			}
			want := []string{test.field}
			if test.field == "" {
				want = nil
			}
			if !slices.Equal(fields, want) {
				t.Errorf("faults at %q; want %q", fields, want)
			}
		})
	}
}

func TestEveryFaultIsReportedAtOnce(t *testing.T) {
	spec := Spec{
		Namespace: "_", Name: "_", Priority: -1, Retries: -1, Deadline: -1, TTLAfterFinished: -1,
		OnRegionLost: "_", OnRegionLostLimit: -1, Labels: map[string]string{"_": "_"},
		Placement: Constraints{Regions: []string{"_", "_"}, AvoidRegions: []string{"_"}, CapacityType: "_", MaxPricePerHour: -1},
	}
	want := []string{
		"namespace", "name", "priority", "retries", "deadline", "ttlAfterFinished", "onRegionLostLimit",
		"onRegionLost", "onRegionLostLimit", "labels", "labels[_]",
		"placement.regions[0]", "placement.regions[1]", "placement.avoidRegions[0]", "placement.capacityType", "placement.maxPricePerHour",
	}
	var fields []string
	faults := spec.Validate()
	for _, fault := range faults {
		fields = append(fields, fault.Field)
	}
	if !slices.Equal(fields, want) {
		t.Errorf("faults at\n%q; want\n%q", fields, want)
	}
	if text := (&Invalid{faults}).Error(); !strings.HasPrefix(text, "namespace: ") || !strings.HasSuffix(text, "(and 15 more)") {
		t.Errorf("the error reads %q", text)
	}
}

// FuzzNames holds our rules for names against Kubernetes' own.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{
		"", "a", "a-b", "-a", "a-", "a.b", "a..b", "A", "a/b", "a/b/c", "/a", "a/", "a..b/c", "x.y/Z_1", "a\n", "ä",
		strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a.", 126) + "a", strings.Repeat("a", 254) + "/b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		spec := validSpec()
		check := func(what string, ours bool, theirs []string) {
			t.Helper()
			if ours != (len(theirs) == 0) {
				t.Errorf("%s %q: we say %t, Kubernetes says %q", what, text, ours, theirs)
			}
		}
		spec.Namespace = text
		check("namespace", len(spec.Validate()) == 0, validation.IsDNS1123Label(text))
		check("region", ValidRegionName(text), validation.IsDNS1123Label(text))

		spec = validSpec()
		spec.Name = text
		check("name", len(spec.Validate()) == 0, validation.IsDNS1123Subdomain(text))

		spec = validSpec()
		spec.Labels = map[string]string{text: ""}
		check("label key", len(spec.Validate()) == 0, validation.IsQualifiedName(text))
		spec.Labels = map[string]string{"key": text}
		check("label value", len(spec.Validate()) == 0, validation.IsValidLabelValue(text))
	})
}

// FuzzValidate decodes a spec from anything that JSON can hold; a valid one
// must survive storage unchanged.
func FuzzValidate(f *testing.F) {
	full := validSpec()
	full.Labels = map[string]string{"team": "a"}
	full.Placement = Constraints{Regions: []string{"a"}, AvoidRegions: []string{"b"}, CapacityType: capacity.Spot, MaxPricePerHour: 1.5}
	full.Deadline, full.Class, full.RetryOf = time.Hour, "c", "r"
	for _, spec := range []Spec{{}, validSpec(), full} {
		seed, err := json.Marshal(spec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Add([]byte(`{"labels":{"":"\u0000"},"placement":{"regions":["a","a",""],"maxPricePerHour":-1e308}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var spec Spec
		if json.Unmarshal(text, &spec) != nil {
			return
		}
		faults := spec.Validate()
		for _, fault := range faults {
			if fault.Field == "" || fault.Message == "" {
				t.Errorf("a fault says nothing: %+v", fault)
			}
		}
		if len(faults) == 0 {
			sameJSON(t, spec)
		}
	})
}

// sameJSON checks that a value is the same after a way through JSON.
func sameJSON[T any](t *testing.T, value T) {
	t.Helper()
	once, err := json.Marshal(value)
	if err != nil {
		t.Fatalf("%+v cannot be stored: %v", value, err)
	}
	var read T
	if err := json.Unmarshal(once, &read); err != nil {
		t.Fatalf("what was stored cannot be read: %v\n%s", err, once)
	}
	twice, err := json.Marshal(read)
	if err != nil || !bytes.Equal(once, twice) {
		t.Errorf("stored as\n%s, read back as\n%s (%v)", once, twice, err)
	}
}
