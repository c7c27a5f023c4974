package manifest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/yaml"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/manifest"
)

// tree is a decoded manifest, to be changed before it is sent.
type tree = map[string]any

// decoded is a fresh tree of smallJob.
func decoded(t testing.TB) tree {
	t.Helper()
	var out tree
	if err := json.Unmarshal([]byte(smallJob), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// at follows a path of keys and indexes; it makes objects that are not there.
func at(t testing.TB, from any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, ok := from.(tree)
			if !ok {
				t.Fatalf("%v is no object, looking for %s", from, step)
			}
			if object[step] == nil {
				object[step] = tree{}
			}
			from = object[step]
		case int:
			from = from.([]any)[step]
		}
	}
	return from
}

func podOf(t testing.TB, j tree) tree { return at(t, j, "spec", "template", "spec").(tree) }

func containerOf(t testing.TB, j tree) tree {
	return at(t, podOf(t, j), "containers", 0).(tree)
}

func encoded(t testing.TB, j any) []byte {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// overlay sets what the YAML says within a tree, object by object; lists and
// scalars replace what is there.
func overlay(t testing.TB, onto tree, text string) {
	t.Helper()
	var change tree
	if err := yaml.Unmarshal([]byte(text), &change); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	merge(onto, change)
}

func merge(onto, change tree) {
	for key, value := range change {
		object, isObject := value.(tree)
		if there, ok := onto[key].(tree); ok && isObject {
			merge(there, object)
		} else {
			onto[key] = value
		}
	}
}

func compile(t testing.TB, j any) manifest.Compiled {
	t.Helper()
	out, faults := manifest.Compile(encoded(t, j), "", manifest.DefaultPolicy())
	if len(faults) > 0 {
		t.Fatalf("compiling %s: %v", encoded(t, j), faults)
	}
	return out
}

// wantFault checks that there is one fault at the path, and that its message
// has the text.
func wantFault(t testing.TB, faults []job.Fault, path, text string) {
	t.Helper()
	for _, fault := range faults {
		if fault.Field == path && strings.Contains(fault.Message, text) {
			return
		}
	}
	t.Errorf("no fault at %s with %q; there are %s", path, text, faultLines(faults))
}

func faultLines(faults []job.Fault) string {
	lines := []string{fmt.Sprintf("%d faults", len(faults))}
	for _, fault := range faults {
		lines = append(lines, fault.Field+": "+fault.Message)
	}
	return strings.Join(lines, "\n")
}

func TestCompileTypicalJob(t *testing.T) {
	out, faults := manifest.Compile([]byte(typicalJob), "", manifest.DefaultPolicy())
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if out.Namespace != "gco-jobs" || out.Name != "train-resnet" || !maps.Equal(out.Labels, map[string]string{"team": "vision", "app": "resnet"}) {
		t.Errorf("identity is %s/%s %v", out.Namespace, out.Name, out.Labels)
	}
	if out.TTLAfterFinished == nil || *out.TTLAfterFinished != time.Hour {
		t.Errorf("TTL is %v", out.TTLAfterFinished)
	}
	if *out.Options.Retries != 2 || len(out.Options.Regions) != 2 {
		t.Errorf("options are %+v", out.Options)
	}
}

func TestCompileAcceptsEveryForm(t *testing.T) {
	asYAML, err := yaml.JSONToYAML([]byte(typicalJob))
	if err != nil {
		t.Fatal(err)
	}
	want, faults := manifest.Compile([]byte(typicalJob), "", manifest.DefaultPolicy())
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	for name, text := range map[string][]byte{
		"JSON with space around it":     []byte("\n  " + typicalJob + "\r\n"),
		"YAML":                          asYAML,
		"YAML with a marker":            append([]byte("# a comment\n---\n"), asYAML...),
		"YAML with an end marker":       append(bytes.Clone(asYAML), []byte("...\n")...),
		"YAML with a byte order mark":   append([]byte("\ufeff"), asYAML...),
		"YAML with CRLF":                bytes.ReplaceAll(asYAML, []byte("\n"), []byte("\r\n")),
		"JSON in a JSON string":         encoded(t, typicalJob),
		"YAML in a JSON string":         encoded(t, string(asYAML)),
		"YAML that begins with a quote": []byte(`"apiVersion": batch/v1` + "\n" + strings.Replace(string(asYAML), "apiVersion: batch/v1\n", "", 1)),
	} {
		t.Run(name, func(t *testing.T) {
			out, faults := manifest.Compile(text, "", manifest.DefaultPolicy())
			if len(faults) > 0 {
				t.Fatal(faultLines(faults))
			}
			if !bytes.Equal(out.JSON, want.JSON) {
				t.Errorf("canonical JSON differs:\n%s\n%s", out.JSON, want.JSON)
			}
		})
	}
}

func TestCompileYAMLScalars(t *testing.T) {
	text := `
apiVersion: batch/v1
kind: Job
metadata: {name: scalars}
spec:
  backoffLimit: 0x10
  completions: 1_0
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: +5
      containers:
      - name: a
        image: busybox
        env:
        - {name: NORWAY, value: no}
        - {name: DATE, value: 2026-11-22}
        - {name: QUOTED, value: "123"}
        - {name: BLOCK, value: |
            two
            lines
          }
        resources: {requests: {cpu: .5, memory: 1e6}}
        volumeMounts: [{name: v, mountPath: /v}]
      volumes:
      - name: v
        configMap: {name: c, defaultMode: 0644, optional: TRUE}
      nodeSelector: ~
`
	// A block scalar cannot stand in a flow mapping.
	text = strings.Replace(text, "- {name: BLOCK, value: |\n            two\n            lines\n          }", "- name: BLOCK\n          value: |\n            two\n            lines", 1)
	out, faults := manifest.Compile([]byte(text), "", manifest.DefaultPolicy())
	if len(faults) > 0 {
		t.Fatal(faultLines(faults))
	}
	for _, want := range []string{
		`"backoffLimit":16`, `"completions":10`, `"terminationGracePeriodSeconds":5`,
		`{"name":"NORWAY","value":"no"}`, `{"name":"DATE","value":"2026-11-22"}`, `{"name":"QUOTED","value":"123"}`,
		`{"name":"BLOCK","value":"two\nlines\n"}`, `"cpu":"500m"`, `"memory":"1e6"`, `"defaultMode":420`, `"optional":true`,
	} {
		if !strings.Contains(string(out.JSON), want) {
			t.Errorf("no %s in %s", want, out.JSON)
		}
	}
}

func TestCompileCanonicalJSON(t *testing.T) {
	j := decoded(t)
	overlay(t, j, `
metadata:
  namespace: gco-jobs
  uid: 6a0f2a9e-0000-4000-8000-000000000000
  generation: 3
  creationTimestamp: "2026-01-01T00:00:00Z"
  managedFields: [{manager: x, operation: Update}]
  labels: {b: "2", a: "<&>"}
spec: {ttlSecondsAfterFinished: 60}
status: {active: 3}
`)
	at(t, j, "metadata", "labels").(tree)["a"] = "1"
	containerOf(t, j)["command"] = []string{"sh", "-c", "a <b && c"}
	out := compile(t, j)
	want := `{"kind":"Job","apiVersion":"batch/v1","metadata":{"name":"hello","namespace":"gco-jobs","labels":{"a":"1","b":"2"}},` +
		`"spec":{"template":{"metadata":{},"spec":{"containers":[{"name":"hello","image":"busybox:1.36","command":["sh","-c","a <b && c"],` +
		`"resources":{},"securityContext":{"allowPrivilegeEscalation":false}}],"restartPolicy":"Never","automountServiceAccountToken":false}}}}`
	if string(out.JSON) != want {
		t.Errorf("canonical JSON is\n%s, want\n%s", out.JSON, want)
	}
	if out.TTLAfterFinished == nil || *out.TTLAfterFinished != time.Minute {
		t.Errorf("TTL is %v", out.TTLAfterFinished)
	}
	again, faults := manifest.Compile(out.JSON, "", manifest.DefaultPolicy())
	if len(faults) > 0 || !bytes.Equal(again.JSON, out.JSON) {
		t.Errorf("compiled again: %s %v", again.JSON, faults)
	}
}

func TestCompileTTL(t *testing.T) {
	for _, c := range []struct {
		name, change string
		want         time.Duration
		fault        string
	}{
		{"at once is a second", `spec: {ttlSecondsAfterFinished: 0}`, time.Second, ""},
		{"an hour", `spec: {ttlSecondsAfterFinished: 3600}`, time.Hour, ""},
		{"the same twice", `{spec: {ttlSecondsAfterFinished: 3600}, metadata: {annotations: {gco.dev/ttl-after-finished: 60m}}}`, time.Hour, ""},
		{
			"two answers", `{spec: {ttlSecondsAfterFinished: 3600}, metadata: {annotations: {gco.dev/ttl-after-finished: 61m}}}`, time.Hour,
			"manifest.metadata.annotations[gco.dev/ttl-after-finished]",
		},
		{"negative", `spec: {ttlSecondsAfterFinished: -1}`, time.Second, "manifest.spec.ttlSecondsAfterFinished"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := decoded(t)
			overlay(t, j, c.change)
			out, faults := manifest.Compile(encoded(t, j), "", manifest.DefaultPolicy())
			if *out.TTLAfterFinished != c.want {
				t.Errorf("TTL is %s", out.TTLAfterFinished)
			}
			if c.fault != "" {
				wantFault(t, faults, c.fault, "")
			}
			if (c.fault != "") != (len(faults) > 0) {
				t.Error(faultLines(faults))
			}
		})
	}
}

func TestCompileNamespace(t *testing.T) {
	for _, c := range []struct {
		manifest, request, want, fault string
	}{
		{"", "", "default", ""},
		{"gco-jobs", "", "gco-jobs", ""},
		{"", "gco-jobs", "gco-jobs", ""},
		{"gco-jobs", "gco-jobs", "gco-jobs", ""},
		{"gco-jobs", "default", "gco-jobs", "but the request says"},
		{"kube-system", "", "kube-system", "not allowed here"},
		{"", "kube-system", "kube-system", "not allowed here"},
		{"kube-system", "default", "kube-system", "not allowed here"},
		{"", "default ", "default ", "DNS label"},
		{"Default", "", "Default", "DNS label"},
	} {
		t.Run(c.manifest+"+"+c.request, func(t *testing.T) {
			j := decoded(t)
			if c.manifest != "" {
				at(t, j, "metadata").(tree)["namespace"] = c.manifest
			}
			out, faults := manifest.Compile(encoded(t, j), c.request, manifest.DefaultPolicy())
			if out.Namespace != c.want {
				t.Errorf("namespace is %q", out.Namespace)
			}
			switch {
			case c.fault != "":
				wantFault(t, faults, "manifest.metadata.namespace", c.fault)
			case len(faults) > 0:
				t.Error(faultLines(faults))
			case !strings.Contains(string(out.JSON), `"namespace":"`+c.want+`"`):
				t.Errorf("the Job is not in its namespace: %s", out.JSON)
			}
		})
	}
}

// What a faulty manifest says all the same lets the caller look further,
// unless that would only repeat the fault.
func TestCompileKeepsWhatItKnows(t *testing.T) {
	for _, c := range []struct {
		name, change string
		identified   bool
	}{
		{"a fault elsewhere", `spec: {suspend: true}`, true},
		{"a wrong type elsewhere", `spec: {suspend: "yes"}`, true},
		{"no name", `metadata: {name: ""}`, false},
		{"a name of a wrong type", `metadata: {name: 5}`, false},
		{"a bad label", `metadata: {labels: {"a b": c}}`, false},
		{"labels of a wrong type", `metadata: {labels: []}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := decoded(t)
			overlay(t, j, c.change)
			out, faults := manifest.Compile(encoded(t, j), "", manifest.DefaultPolicy())
			if len(faults) == 0 || len(out.JSON) > 0 != c.identified {
				t.Errorf("%d faults, JSON %s", len(faults), out.JSON)
			}
		})
	}
}

// A value that is at fault is the only one: nothing that follows from it is.
func TestCompileTellsNoConsequences(t *testing.T) {
	for _, c := range []struct{ name, change, path string }{
		{
			"quantity", `spec: {template: {spec: {containers: [{name: a, image: b, resources: {requests: {cpu: much}, limits: {cpu: "1"}}}]}}}`,
			"manifest.spec.template.spec.containers[0].resources.requests[cpu]",
		},
		{"containers", `spec: {template: {spec: {containers: none}}}`, "manifest.spec.template.spec.containers"},
		{"one container", `spec: {template: {spec: {containers: [7]}}}`, "manifest.spec.template.spec.containers[0]"},
		{"parallelism", `spec: {parallelism: "0"}`, "manifest.spec.parallelism"},
		{"template", `spec: {template: []}`, "manifest.spec.template"},
		{"name", `metadata: {name: 7}`, "manifest.metadata.name"},
		{
			"volumes", `spec: {template: {spec: {volumes: v, containers: [{name: a, image: b, volumeMounts: [{name: v, mountPath: /v}]}]}}}`,
			"manifest.spec.template.spec.volumes",
		},
		{"restart policy", `spec: {podFailurePolicy: {rules: []}, template: {spec: {restartPolicy: [Never]}}}`, "manifest.spec.template.spec.restartPolicy"},
		{"completion mode", `spec: {completions: 1, completionMode: 1, backoffLimitPerIndex: 1}`, "manifest.spec.completionMode"},
		{"toleration", `spec: {template: {spec: {tolerations: [{key: 1, operator: Exists}]}}}`, "manifest.spec.template.spec.tolerations[0].key"},
		{"kind", `kind: 7`, "manifest.kind"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := decoded(t)
			overlay(t, j, c.change)
			_, faults := manifest.Compile(encoded(t, j), "", manifest.DefaultPolicy())
			if len(faults) != 1 || faults[0].Field != c.path {
				t.Error(faultLines(faults))
			}
		})
	}
}

func TestCompileLimits(t *testing.T) {
	long := strings.Repeat("x", 1<<20-len(smallJob))
	nested := func(depth int) string { // metadata.managedFields[].fieldsV1 takes any JSON
		inner := strings.Repeat(`{"a":`, depth-5) + "{}" + strings.Repeat("}", depth-5)
		return strings.Replace(smallJob, `"name":"hello"}`, `"name":"hello","managedFields":[{"manager":"`+`m","fieldsV1":`+inner+`}]}`, 1)
	}
	asYAML := func(text string) string {
		out, err := yaml.JSONToYAML([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for _, c := range []struct{ name, text, fault string }{
		{"exactly 1 MiB", strings.Replace(smallJob, "echo hello", "echo hello"+long, 1), ""},
		{"a byte more", strings.Replace(smallJob, "echo hello", "echo hello"+long+"x", 1), "1 MiB"},
		{"depth 50", nested(50), ""},
		{"depth 51", nested(51), "nested more than 50 deep"},
		{"depth 50 in YAML", asYAML(nested(50)), ""},
		{"depth 51 in YAML", asYAML(nested(51)), "nested more than 50 deep"},
		{"many values", strings.Replace(smallJob, `"containers":[`, `"containers":[`+strings.Repeat("{},", 20_000), 1), "more than 20000 values"},
		{"many values in YAML", "a: [" + strings.Repeat("{},", 20_000) + "]", "more than 20000 values"},
		{"brackets in strings do not count", strings.Replace(smallJob, "echo hello", strings.Repeat(`{[\"\\`, 100), 1), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, faults := manifest.Compile([]byte(c.text), "", manifest.DefaultPolicy())
			if c.fault == "" && len(faults) > 0 {
				t.Error(faultLines(faults))
			} else if c.fault != "" {
				wantFault(t, faults, "manifest", c.fault)
			}
		})
	}
}

// A hundred faults are enough of an answer, and none of them may be long.
func TestCompileBoundsTheAnswer(t *testing.T) {
	j := decoded(t)
	pod := podOf(t, j)
	for i := range 300 {
		pod[fmt.Sprintf("%s%d", strings.Repeat("long", 500), i)] = strings.Repeat("x", 500)
	}
	containerOf(t, j)["image"] = strings.Repeat("Y", 100_000)
	_, faults := manifest.Compile(encoded(t, j), "", manifest.DefaultPolicy())
	if len(faults) != 101 {
		t.Errorf("%d faults", len(faults))
	}
	wantFault(t, faults, "manifest", "more faults than the first 100")
	for _, fault := range faults {
		if len(fault.Field)+len(fault.Message) > 1000 {
			t.Fatalf("a fault of %d bytes", len(fault.Field)+len(fault.Message))
		}
	}
}

// The same manifest gives the same faults in the same order, though maps are
// gone through.
func TestCompileIsDeterministic(t *testing.T) {
	j := decoded(t)
	overlay(t, j, `
metadata:
  labels: {gco.dev/a: x, gco.dev/b: x, "c ": x, "d ": x}
  annotations: {gco.dev/prio: "1", gco.dev/region: x, gco.dev/deadline: x, "e ": x}
spec:
  template:
    metadata: {annotations: {gco.dev/retries: "1", gco.dev/x: "1"}}
    spec: {nodeSelector: {"f ": x, "g ": x, h: "x "}}
`)
	containerOf(t, j)["resources"] = tree{"limits": tree{"a": 1, "b": 1, "cpu": -1, "memory": -1, "nvidia.com/gpu": 99, "x.y/z": 99}}
	_, want := manifest.Compile(encoded(t, j), "", manifest.DefaultPolicy())
	if len(want) < 15 {
		t.Fatal(faultLines(want))
	}
	for range 20 {
		if _, faults := manifest.Compile(encoded(t, j), "", manifest.DefaultPolicy()); faultLines(faults) != faultLines(want) {
			t.Fatalf("%s\nthen\n%s", faultLines(want), faultLines(faults))
		}
	}
}

// jobOf decodes canonical JSON.
func jobOf(t testing.TB, text []byte) batchv1.Job {
	t.Helper()
	var j batchv1.Job
	if err := json.Unmarshal(text, &j); err != nil {
		t.Fatal(err)
	}
	return j
}

// jsonFields are the names of a struct's fields in JSON.
func jsonFields(structure any) map[string]bool {
	out := map[string]bool{}
	for f := range reflect.TypeOf(structure).Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out[name] = true
	}
	return out
}

// Of a template's metadata, Kubernetes gives labels and annotations to pods.
func TestCompileTemplateMetadata(t *testing.T) {
	j := decoded(t)
	overlay(t, j, `
spec:
  template:
    metadata: {name: pod, uid: u, creationTimestamp: null, managedFields: [{manager: m}], labels: {a: b}, annotations: {c: d}}
`)
	if out := compile(t, j); !strings.Contains(string(out.JSON), `"template":{"metadata":{"labels":{"a":"b"},"annotations":{"c":"d"}},`) {
		t.Errorf("the template is in %s", out.JSON)
	}
}
