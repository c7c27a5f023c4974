package infra

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// scratch holds the templates of all scenarios while the tests run.
var scratch string

// TestMain leaves the Node process to end by itself, when this one is gone:
// jsii.Close waits for it in two goroutines at once, which is a data race. What
// it would delete lies in scratch.
func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "gco-infra-"); err != nil {
		panic(err)
	}
	if err := os.Setenv("TMPDIR", scratch); err != nil {
		panic(err)
	}
	code := m.Run()
	if err := os.RemoveAll(scratch); err != nil {
		panic(err)
	}
	os.Exit(code)
}

// scenarios are the configurations that the tests look at, as text of gco.yaml.
// Each is synthesized once.
var scenarios = map[string]string{
	"seed with 3 regions": `
aws:
  profile: seed
  regions: [us-east-1, us-west-2, eu-west-1]
`,
	"seed with 1 region and other names": `
project: Acme-2
aws:
  profile: seed
  region: eu-central-1
  regions: [ap-southeast-2]
  accelerator:
    name: acme-front
    healthCheck: {path: '/ready?deep=1', intervalSeconds: 10}
  buckets: {accessLogRetentionDays: 7}
`,
	"seed with 10 regions": `
aws:
  profile: seed
  regions: ` + tenRegions,

	"production": `{}`,
	"production with 10 regions": `
aws:
  regions: ` + tenRegions + `
  alarms: {emails: [ops@example.com]}
`,
	"production with replicas": `
aws:
  region: us-east-2
  tables: {replicas: [eu-west-1, ap-northeast-1]}
  tags: {team: capacity}
`,
	"production with plain tables": `
aws:
  tables: {global: false}
  backup: {role: managed}
  removal: destroy
  buckets: {emptyOnDelete: true}
`,
}

const tenRegions = "[us-east-1, us-east-2, us-west-1, us-west-2, eu-west-1, eu-west-2, eu-central-1, ap-southeast-1, ap-northeast-1, sa-east-1]"

// synthesized is a scenario's outcome; err is set where Synth failed.
type synthesized struct {
	Assembly
	err error
}

var outcomes = func() map[string]func() synthesized {
	all := map[string]func() synthesized{}
	for name, text := range scenarios {
		all[name] = sync.OnceValue(func() synthesized {
			dir, err := os.MkdirTemp(scratch, "")
			if err != nil {
				return synthesized{err: err}
			}
			assembly, err := synthText(dir, text, nil)
			return synthesized{assembly, err}
		})
	}
	return all
}()

// synthText synthesizes a gco.yaml given as text. One kernel serves the process
// and takes one caller at a time, so no test that gets here runs in parallel.
func synthText(dir, text string, context map[string]any) (Assembly, error) {
	file := filepath.Join(dir, "gco.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return Assembly{}, err
	}
	return Synth(Options{Config: file, Context: context, OutDir: dir})
}

// scenario returns the outcome of a scenario that must have succeeded.
func scenario(t *testing.T, name string) Assembly {
	t.Helper()
	outcome, known := outcomes[name]
	if !known {
		t.Fatalf("no scenario %q", name)
	}
	got := outcome()
	if got.err != nil {
		t.Fatalf("%s: %v", name, got.err)
	}
	return got.Assembly
}

// cfnTemplate is a CloudFormation template in the readable form that the expected
// tables are written in.
type cfnTemplate struct {
	Resources, Outputs, Parameters map[string]any
}

// readTemplate reads a stack's template and makes it readable: see readable.
func readTemplate(t *testing.T, a Assembly, stack string) cfnTemplate {
	t.Helper()
	text, err := os.ReadFile(a.Template(stack))
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]any
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	section := func(name string) map[string]any {
		out := map[string]any{}
		members, _ := readable(raw[name]).(map[string]any)
		for id, value := range members {
			short := withoutHash(id)
			if _, twice := out[short]; twice {
				t.Fatalf("two %s are called %s", name, short)
			}
			out[short] = value
		}
		return out
	}
	return cfnTemplate{section("Resources"), section("Outputs"), section("Parameters")}
}

// readable rewrites intrinsic functions as text: {"Ref": X} becomes ${X},
// {"Fn::GetAtt": [X, "Arn"]} becomes ${X.Arn}, a Join its pieces in one string.
// CDK's hashes are cut off the logical ids.
func readable(node any) any {
	switch node := node.(type) {
	case []any:
		out := make([]any, len(node))
		for i, item := range node {
			out[i] = readable(item)
		}
		return out
	case map[string]any:
		if text, ok := intrinsic(node); ok {
			return text
		}
		out := map[string]any{}
		for key, value := range node {
			out[key] = readable(value)
		}
		if on, ok := out["DependsOn"].([]any); ok {
			for i := range on {
				on[i] = withoutHash(on[i].(string))
			}
		}
		return out
	default:
		return node
	}
}

func intrinsic(node map[string]any) (string, bool) {
	if len(node) != 1 {
		return "", false
	}
	for function, argument := range node {
		list, _ := argument.([]any)
		switch function {
		case "Ref":
			return "${" + withoutHash(argument.(string)) + "}", true
		case "Fn::GetAtt":
			return fmt.Sprintf("${%s.%s}", withoutHash(list[0].(string)), list[1]), true
		case "Fn::Join":
			var pieces []string
			for _, piece := range list[1].([]any) {
				pieces = append(pieces, fmt.Sprint(readable(piece)))
			}
			return strings.Join(pieces, list[0].(string)), true
		case "Fn::Select":
			return fmt.Sprintf("select(%v, %v)", list[0], readable(list[1])), true
		case "Fn::Split":
			return fmt.Sprintf("split(%v, %v)", list[0], readable(list[1])), true
		case "Fn::ImportValue":
			return fmt.Sprintf("import(%v)", readable(argument)), true
		case "Fn::Sub":
			return fmt.Sprint(argument), true
		}
	}
	return "", false
}

var hash = regexp.MustCompile(`[0-9A-F]{8}$`)

func withoutHash(id string) string { return hash.ReplaceAllString(id, "") }

// differences lists how got deviates from want, one line each, by path.
func differences(path string, got, want any) []string {
	g, gotObject := got.(map[string]any)
	w, wantObject := want.(map[string]any)
	if gotObject && wantObject {
		var lines []string
		keys := slices.Collect(maps.Keys(g))
		keys = append(keys, slices.Collect(maps.Keys(w))...)
		slices.Sort(keys)
		for _, key := range slices.Compact(keys) {
			lines = append(lines, differences(path+"."+key, g[key], w[key])...)
		}
		return lines
	}
	gl, gotList := got.([]any)
	wl, wantList := want.([]any)
	if gotList && wantList && len(gl) == len(wl) {
		var lines []string
		for i := range gl {
			lines = append(lines, differences(fmt.Sprintf("%s[%d]", path, i), gl[i], wl[i])...)
		}
		return lines
	}
	if reflect.DeepEqual(got, want) {
		return nil
	}
	return []string{fmt.Sprintf("%s\n\tgot  %s\n\twant %s", strings.TrimPrefix(path, "."), oneLine(got), oneLine(want))}
}

func oneLine(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}
