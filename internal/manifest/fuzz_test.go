package manifest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"sigs.k8s.io/yaml"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/manifest"
)

// FuzzCompile: it never panics; a refusal says what and where; what is
// accepted gives the same again from its own JSON, is within the caps, and
// has nothing in it that the default policy forbids.
func FuzzCompile(f *testing.F) {
	for _, text := range seeds(f) {
		f.Add(text, "")
		f.Add(text, "gco-jobs")
	}
	policy := manifest.DefaultPolicy()
	f.Fuzz(func(t *testing.T, text []byte, namespace string) {
		out, faults := manifest.Compile(text, namespace, policy)
		if len(faults) > 0 {
			checkRefusal(t, out, faults)
			return
		}
		checkDemand(t, out, policy)
		if found := forbidden(t, out.JSON); len(found) > 0 {
			t.Errorf("%s has %v", out.JSON, found)
		}
		again, faults := manifest.Compile(out.JSON, out.Namespace, policy)
		if len(faults) > 0 {
			t.Fatalf("%s does not compile again: %s", out.JSON, faultLines(faults))
		}
		again.TTLAfterFinished = out.TTLAfterFinished // it is taken out of the JSON
		if !reflect.DeepEqual(again, out) {
			t.Errorf("compiled\n%+v %s\nand again\n%+v %s", out, out.JSON, again, again.JSON)
		}
	})
}

// seeds are manifests of all sorts, good and bad.
func seeds(t testing.TB) [][]byte {
	t.Helper()
	typicalYAML, err := yaml.JSONToYAML([]byte(typicalJob))
	if err != nil {
		t.Fatal(err)
	}
	out := [][]byte{
		[]byte(typicalJob), []byte(smallJob), typicalYAML, encoded(t, smallJob), encoded(t, string(typicalYAML)),
		[]byte(""), []byte("null"), []byte("[]"), []byte(`"`), []byte(`""`), []byte("a: &b c\nd: *b"), []byte("--- {}\n--- {}"), []byte("{}{}"), []byte("\xff"),
		[]byte(strings.Repeat("[", 60)), []byte(strings.Replace(smallJob, `"image"`, `"resources":{"limits":{"cpu":1e9}},"image"`, 1)),
	}
	for _, path := range append(faulty(t), examples(t)...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, text)
	}
	return out
}

func checkRefusal(t *testing.T, out manifest.Compiled, faults []job.Fault) {
	t.Helper()
	for _, fault := range faults {
		if fault.Field == "" || fault.Message == "" || !utf8.ValidString(fault.Field) || !utf8.ValidString(fault.Message) {
			t.Errorf("a fault that does not say what and where: %+v", fault)
		}
	}
	if len(out.JSON) > 0 && (!json.Valid(out.JSON) || out.Name == "" || out.Namespace == "") {
		t.Errorf("half identified: %+v", out)
	}
}

func checkDemand(t *testing.T, out manifest.Compiled, policy manifest.Policy) {
	t.Helper()
	if len(out.Demand.Pods) != 1 {
		t.Fatalf("demand is %+v", out.Demand)
	}
	group := out.Demand.Pods[0]
	if group.Count < 1 || group.Count > policy.MaxPods || group.Requests["pods"] != 1 {
		t.Errorf("demand is %+v", group)
	}
	for name, amount := range out.Demand.Total() {
		if amount <= 0 || amount > 1e15 {
			t.Errorf("%d %s", amount, name)
		}
		if most, extended := policy.MaxResources["*"]; extended && strings.Contains(name, "/") && amount > most {
			t.Errorf("%d %s", amount, name)
		}
	}
}

// forbidden walks JSON without knowing any type, and tells what the default
// policy should not have let through.
func forbidden(t *testing.T, text []byte) []string {
	t.Helper()
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	w := walker{}
	w.walk("", tree)
	return w.found
}

type walker struct{ found []string }

func (w *walker) walk(path string, value any) {
	switch v := value.(type) {
	case []any:
		for i, item := range v {
			w.walk(fmt.Sprintf("%s[%d]", path, i), item)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			w.member(path+"."+key, key, v[key])
		}
		if image, is := v["image"].(string); is && (v["name"] != nil || v["command"] != nil) {
			w.container(path, v, image)
		}
	}
}

// neverTrue may be there as false; neverThere not at all, whatever it holds.
var (
	neverTrue  = []string{"privileged", "allowPrivilegeEscalation", "hostNetwork", "hostPID", "hostIPC", "hostProcess", "automountServiceAccountToken", "suspend", "manualSelector"}
	neverThere = []string{
		"hostPath", "hostPort", "hostIP", "nodeName", "ephemeralContainers", "serviceAccountToken", "podCertificate", "priorityClassName", "schedulingGates",
		"resourceClaims", "claims", "nfs", "flexVolume", "gitRepo", "local", "status", "ownerReferences", "finalizers", "ttlSecondsAfterFinished", "generateName",
	}
)

func (w *walker) member(path, key string, value any) {
	truth, _ := value.(bool)
	_, isText := value.(string)
	switch {
	// Labels and selectors may have any key, but their values are text.
	case slices.Contains(neverTrue, key) && truth,
		slices.Contains(neverThere, key) && (!isText || key == "nodeName" && !strings.Contains(path, "abels")) && !strings.Contains(path, "elector."),
		key == "add" && strings.Contains(path, "capabilities"),
		key == "procMount" && value != "Default",
		key == "type" && value == "Unconfined":
		w.found = append(w.found, path)
	}
	w.walk(path, value)
}

func (w *walker) container(path string, container map[string]any, image string) {
	host, _, found := strings.Cut(image, "/")
	if found && strings.ContainsAny(host, ".:") && !slices.Contains(manifest.DefaultPolicy().AllowedRegistries, strings.TrimPrefix(strings.ToLower(host), "index.")) {
		w.found = append(w.found, path+".image "+image)
	}
	context, _ := container["securityContext"].(map[string]any)
	if escalates, said := context["allowPrivilegeEscalation"].(bool); !said || escalates {
		w.found = append(w.found, path+" may escalate")
	}
}

// The walker has to see what it is for.
func TestForbidden(t *testing.T) {
	out := compile(t, decoded(t))
	if found := forbidden(t, out.JSON); len(found) > 0 {
		t.Errorf("%s has %v", out.JSON, found)
	}
	for _, c := range [][2]string{
		{`"restartPolicy"`, `"hostNetwork":true,"restartPolicy"`},
		{`"restartPolicy"`, `"volumes":[{"name":"v","hostPath":{"path":"/"}}],"restartPolicy"`},
		{`"restartPolicy"`, `"nodeName":"n","restartPolicy"`},
		{`"allowPrivilegeEscalation":false`, `"allowPrivilegeEscalation":true`},
		{`"allowPrivilegeEscalation":false`, `"privileged":true,"allowPrivilegeEscalation":false`},
		{`"allowPrivilegeEscalation":false`, `"capabilities":{"add":["A"]},"allowPrivilegeEscalation":false`},
		{`"allowPrivilegeEscalation":false`, ``},
		{`"automountServiceAccountToken":false`, `"automountServiceAccountToken":true`},
		{`busybox:1.36`, `evil.example.com/x`},
	} {
		changed := bytes.Replace(out.JSON, []byte(c[0]), []byte(c[1]), 1)
		if bytes.Equal(changed, out.JSON) || len(forbidden(t, changed)) == 0 {
			t.Errorf("not seen: %s", changed)
		}
	}
}
