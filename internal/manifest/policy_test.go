package manifest_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/gco-project/gco/internal/manifest"
)

func TestDefaultPolicyIsValid(t *testing.T) {
	if faults := manifest.DefaultPolicy().Validate(); len(faults) > 0 {
		t.Error(faultLines(faults))
	}
}

// Whatever a policy does not say is not allowed.
func TestZeroPolicyAdmitsNothing(t *testing.T) {
	_, faults := manifest.Compile([]byte(smallJob), "", manifest.Policy{})
	for path, text := range map[string]string{
		"manifest.metadata.namespace":                     "policy.allowedNamespaces: none",
		"manifest.spec.template.spec.containers[0].image": "policy.allowedRegistries: none",
		"manifest.spec.template.spec.serviceAccountName":  "policy.allowedServiceAccounts: none",
	} {
		wantFault(t, faults, path, text)
	}
}

// A cap that cannot be read is no reason to admit anything.
func TestBrokenCapAdmitsNothing(t *testing.T) {
	for _, limit := range []string{"lots", "-1", "1e999999999"} {
		policy := manifest.DefaultPolicy()
		policy.MaxMemory = limit
		_, faults := manifest.Compile([]byte(smallJob), "", policy)
		wantFault(t, faults, "manifest.spec", "policy.maxMemory")
	}
}

func TestPolicyValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*manifest.Policy)
		path   string
	}{
		{"no namespaces", func(p *manifest.Policy) { p.AllowedNamespaces = nil }, "policy.allowedNamespaces"},
		{"no namespace", func(p *manifest.Policy) { p.AllowedNamespaces = []string{"default", "a b"} }, "policy.allowedNamespaces[1]"},
		{"no registries", func(p *manifest.Policy) { p.AllowedRegistries = nil }, "policy.allowedRegistries"},
		{"a registry with a scheme", func(p *manifest.Policy) { p.AllowedRegistries = []string{"https://docker.io"} }, "policy.allowedRegistries[0]"},
		{"a registry that is none", func(p *manifest.Policy) { p.AllowedRegistries = []string{"library"} }, "policy.allowedRegistries[0]"},
		{"CPU", func(p *manifest.Policy) { p.MaxCPU = "ten" }, "policy.maxCPU"},
		{"memory", func(p *manifest.Policy) { p.MaxMemory = "-1Gi" }, "policy.maxMemory"},
		{"storage", func(p *manifest.Policy) { p.MaxEphemeralStorage = "1e99999999" }, "policy.maxEphemeralStorage"},
		{"a resource that has a cap of its own", func(p *manifest.Policy) { p.MaxResources = map[string]int64{"cpu": 1} }, "policy.maxResources[cpu]"},
		{"a negative cap", func(p *manifest.Policy) { p.MaxResources = map[string]int64{"*": -1} }, "policy.maxResources[*]"},
		{"pods", func(p *manifest.Policy) { p.MaxPods = -1 }, "policy.maxPods"},
		{"service account", func(p *manifest.Policy) { p.AllowedServiceAccounts = []string{""} }, "policy.allowedServiceAccounts[0]"},
		{"priority class", func(p *manifest.Policy) { p.AllowedPriorityClasses = []string{"A"} }, "policy.allowedPriorityClasses[0]"},
		{"volume", func(p *manifest.Policy) { p.AllowedVolumes = []string{"emptydir"} }, "policy.allowedVolumes[0]"},
		{"hostPath", func(p *manifest.Policy) { p.AllowedVolumes = []string{"hostPath"} }, "policy.allowedVolumes[0]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			policy := manifest.DefaultPolicy()
			c.change(&policy)
			faults := policy.Validate()
			if len(faults) != 1 {
				t.Error(faultLines(faults))
			}
			wantFault(t, faults, c.path, "")
		})
	}
	if faults := permissive().Validate(); len(faults) > 0 {
		t.Errorf("a permissive policy: %s", faultLines(faults))
	}
}

// Every field has one name in JSON and YAML, a text for readers, and comes
// back as it went.
func TestPolicyFields(t *testing.T) {
	for f := range reflect.TypeFor[manifest.Policy]().Fields() {
		want := strings.ToLower(f.Name[:1]) + f.Name[1:]
		if f.Tag.Get("json") != want || f.Tag.Get("yaml") != want || f.Tag.Get("doc") == "" {
			t.Errorf("tags of %s are %s", f.Name, f.Tag)
		}
	}
	policy := permissive()
	var fromJSON, fromYAML manifest.Policy
	if err := json.Unmarshal(encoded(t, policy), &fromJSON); err != nil || !reflect.DeepEqual(fromJSON, policy) {
		t.Errorf("through JSON: %+v, %v", fromJSON, err)
	}
	text, err := yaml.Marshal(policy)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &fromYAML); err != nil || !reflect.DeepEqual(fromYAML, policy) {
		t.Errorf("through YAML: %+v, %v", fromYAML, err)
	}
}

// A caller may change what it got.
func TestDefaultPolicyIsFresh(t *testing.T) {
	one, two := manifest.DefaultPolicy(), manifest.DefaultPolicy()
	one.AllowedNamespaces[0] = "changed"
	maps.DeleteFunc(one.MaxResources, func(string, int64) bool { return true })
	if !slices.Contains(two.AllowedNamespaces, "default") || len(two.MaxResources) == 0 {
		t.Errorf("the default changed: %+v", two)
	}
}
