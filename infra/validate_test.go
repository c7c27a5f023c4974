package infra

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// acceptedRules are rules of the validator that our templates break, with the
// reason why they may.
var acceptedRules = map[string]string{
	"W3005": "CDK gives the function that empties the buckets a DependsOn that its reference implies already",
}

// maxTemplate is what CloudFormation takes in a request, in bytes. A larger
// template has to lie in a bucket first.
const maxTemplate = 51_200

type validation struct {
	Path     string `json:"path"`
	Status   string `json:"status"`
	Findings []struct {
		Rule     string `json:"ruleId"`
		Severity string `json:"severity"`
		Message  string `json:"message"`
		Property string `json:"propertyPath"`
		Entity   struct {
			LogicalID string `json:"logicalId"`
		} `json:"entity"`
	} `json:"findings"`
}

// validate runs the offline validator on templates, given with the Region each
// one is for, empty for any. One process for all of them: it takes seconds to
// start. It needs no kernel, so from here on the test is a parallel one.
func validate(t *testing.T, regions map[string]string) map[string]validation {
	t.Helper()
	t.Parallel()
	if _, err := os.Stat("node_modules/@aws/cloudformation-validate"); err != nil {
		t.Fatalf("the validator is missing: run npm ci --ignore-scripts in infra/ (%v)", err)
	}
	args := []string{"validate.mjs"}
	for _, path := range slices.Sorted(maps.Keys(regions)) {
		args = append(args, path, cmp.Or(regions[path], "us-east-1"))
	}
	var stderr bytes.Buffer
	command := exec.CommandContext(t.Context(), "node", args...)
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("validator: %v\n%s", err, stderr.String())
	}
	results := map[string]validation{}
	for line := range strings.Lines(string(out)) {
		var result validation
		if err := json.Unmarshal([]byte(line), &result); err != nil {
			t.Fatalf("validator said %q: %v", line, err)
		}
		results[result.Path] = result
	}
	if len(results) != len(regions) {
		t.Fatalf("validated %d of %d templates", len(results), len(regions))
	}
	return results
}

// TestTemplatesAreValid also gives the validator templates that it must object
// to, or its silence on ours would prove nothing.
func TestTemplatesAreValid(t *testing.T) {
	regions, names := map[string]string{}, map[string]string{}
	for name := range scenarios {
		a := scenario(t, name)
		for _, stack := range a.Stacks {
			region := a.Config.AWS.Region
			if strings.HasSuffix(stack, "-accelerator-alarms") {
				region = acceleratorMetricsRegion
			}
			regions[a.Template(stack)] = region
			names[a.Template(stack)] = name + ": " + stack
		}
	}
	broken := brokenTemplates(t)
	for _, path := range broken {
		regions[path] = "us-west-2"
	}
	accepted := map[string]bool{}
	for path, result := range validate(t, regions) {
		if slices.Contains(broken, path) {
			if len(result.Findings) == 0 {
				t.Errorf("%s passed", filepath.Base(path))
			}
			continue
		}
		if result.Status != "OK" {
			t.Errorf("%s: status %s", names[path], result.Status)
		}
		for _, finding := range result.Findings {
			if acceptedRules[finding.Rule] != "" {
				accepted[finding.Rule] = true
				continue
			}
			t.Errorf("%s: %s %s at %s %s: %s", names[path], finding.Severity, finding.Rule, finding.Entity.LogicalID, finding.Property, finding.Message)
		}
	}
	for rule := range acceptedRules {
		if !accepted[rule] {
			t.Errorf("%s is accepted, and nothing breaks it", rule)
		}
	}
}

// brokenTemplates writes a template broken in ways that the validator must see,
// and gives the paths.
func brokenTemplates(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(scenario(t, "production").Template("gco-global"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var paths []string
	breaks := map[string][2]string{
		"bad-enum.json":    {`"Protocol": "TCP"`, `"Protocol": "TPC"`},
		"unknown-key.json": {`"EndpointGroupRegion":`, `"EndpointGroupReigon":`},
		"wrong-type.json":  {`"ThresholdCount": 3`, `"ThresholdCount": "three"`},
		"dangling.json":    {`"Ref": "ModelWeightsAccessLogsBucket`, `"Ref": "ModelWeightsAccessLogsPail`},
	}
	for name, change := range breaks {
		broken := strings.Replace(string(text), change[0], change[1], 1)
		if broken == string(text) {
			t.Fatalf("%s: %q is not in the template", name, change[0])
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// TestWhatTheValidatorMisses covers what it lets pass: schedules and the health
// check's interval are plain text and any number to it.
func TestWhatTheValidatorMisses(t *testing.T) {
	cron := regexp.MustCompile(`^cron\((\d|[1-5]\d) (\d|1\d|2[0-3]) (\* \* \?|\? \* (SUN|MON|TUE|WED|THU|FRI|SAT)) \*\)$|^cron\((\d|[1-5]\d) (\d|1\d|2[0-3]) \* \* \? \*\)$`)
	for name := range scenarios {
		a := scenario(t, name)
		resources := readTemplate(t, a, a.Stacks[0]).Resources
		schedules, checks := 0, 0
		for id, resource := range resources {
			properties, _ := resource.(map[string]any)["Properties"].(map[string]any)
			if plan, ok := properties["BackupPlan"].(map[string]any); ok {
				for _, rule := range plan["BackupPlanRule"].([]any) {
					schedules++
					if expression := rule.(map[string]any)["ScheduleExpression"].(string); !cron.MatchString(expression) {
						t.Errorf("%s: %s: bad schedule %q", name, id, expression)
					}
				}
			}
			if interval, ok := properties["HealthCheckIntervalSeconds"]; ok {
				checks++
				if interval != 10.0 && interval != 30.0 {
					t.Errorf("%s: %s: interval %v", name, id, interval)
				}
			}
		}
		if schedules != 2 || checks != len(a.Config.AWS.Regions) {
			t.Errorf("%s: looked at %d schedules and %d health checks", name, schedules, checks)
		}
	}
}

func TestTemplateSize(t *testing.T) {
	for name := range scenarios {
		a := scenario(t, name)
		for _, stack := range a.Stacks {
			text, err := os.ReadFile(a.Template(stack))
			if err != nil {
				t.Fatal(err)
			}
			var compact bytes.Buffer
			if err := json.Compact(&compact, text); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %s: %d bytes", name, stack, compact.Len())
			if compact.Len() >= maxTemplate {
				t.Errorf("%s: %s has %d bytes, CloudFormation takes %d", name, stack, compact.Len(), maxTemplate)
			}
		}
	}
}
