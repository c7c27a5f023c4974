package infra

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/jsii-runtime-go"

	"github.com/gco-project/gco/internal/config"
)

// seedIdle are the suppressions of the seed that suppress nothing. They are part
// of it all the same.
var seedIdle = []string{
	"AwsSolutions-S1 on gco-global/ModelWeightsAccessLogsBucket/Resource",
	"HIPAA.Security-S3BucketLoggingEnabled on gco-global/ModelWeightsAccessLogsBucket/Resource",
	"NIST.800.53.R5-S3BucketLoggingEnabled on gco-global/ModelWeightsAccessLogsBucket/Resource",
	"PCI.DSS.321-S3BucketLoggingEnabled on gco-global/ModelWeightsAccessLogsBucket/Resource",
}

// TestSuppressionsAreUsed holds what the templates declare against what the
// packs say they suppressed.
func TestSuppressionsAreUsed(t *testing.T) {
	for name := range scenarios {
		t.Run(name, func(t *testing.T) {
			a := scenario(t, name)
			var used []string
			for _, finding := range a.Nag.Suppressed {
				used = append(used, finding.Rule+" on "+finding.Resource)
			}
			declared := declaredSuppressions(t, a)
			var idle []string
			for key, reason := range declared {
				if !slices.Contains(used, key) {
					idle = append(idle, key)
				}
				if len(reason) < 30 {
					t.Errorf("%s: %q is no reason", key, reason)
				}
			}
			slices.Sort(idle)

			var allowed []string
			if a.Config.AWS.Profile == config.ProfileSeed {
				for _, key := range seedIdle {
					allowed = append(allowed, strings.ReplaceAll(key, "gco-global", a.Stacks[0]))
				}
			}
			if !slices.Equal(idle, allowed) {
				t.Errorf("suppressions that suppress nothing:\n%s\nallowed:\n%s", strings.Join(idle, "\n"), strings.Join(allowed, "\n"))
			}
		})
	}
}

// TestSeedSuppressions lists all that profile seed suppresses. The last line is
// the one that nag needs beyond the seed's text.
func TestSeedSuppressions(t *testing.T) {
	got := slices.Sorted(maps.Keys(declaredSuppressions(t, scenario(t, "seed with 3 regions"))))
	want := append(slices.Clone(seedIdle),
		"HIPAA.Security-S3BucketReplicationEnabled on gco-global/ModelWeightsBucket/Resource",
		"NIST.800.53.R5-S3BucketReplicationEnabled on gco-global/ModelWeightsBucket/Resource",
		"PCI.DSS.321-S3BucketReplicationEnabled on gco-global/ModelWeightsBucket/Resource",
		"HIPAA.Security-S3BucketReplicationEnabled on gco-global/ModelWeightsAccessLogsBucket/Resource",
		"HIPAA.Security-S3DefaultEncryptionKMS on gco-global/ModelWeightsAccessLogsBucket/Resource",
		"NIST.800.53.R5-S3BucketReplicationEnabled on gco-global/ModelWeightsAccessLogsBucket/Resource",
		"NIST.800.53.R5-S3DefaultEncryptionKMS on gco-global/ModelWeightsAccessLogsBucket/Resource",
		"PCI.DSS.321-S3BucketReplicationEnabled on gco-global/ModelWeightsAccessLogsBucket/Resource",
		"PCI.DSS.321-S3DefaultEncryptionKMS on gco-global/ModelWeightsAccessLogsBucket/Resource",
		"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup] on gco-global/DynamoDBBackupPlan/DynamoDBTablesSelection/Role/Resource",
	)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestFindingFailsSynth puts a resource into the app that breaks rules of
// several packs, and expects to hear of it and to find nothing to deploy.
func TestFindingFailsSynth(t *testing.T) {
	dir := t.TempDir()
	app := newApp(dir)
	a := Assembly{Config: config.Default(), Stacks: []string{"gco-global"}}
	a.Global = NewGlobalStack(app, "gco-global", a.Config)
	awss3.NewBucket(a.Global.Stack, jsii.String("Careless"), nil)

	_, report, err := write(app, a.Stacks)
	if err == nil {
		t.Fatal("a careless bucket passed")
	}
	for _, file := range []string{"manifest.json", "gco-global.template.json"} {
		if _, err := os.Stat(filepath.Join(dir, file)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", file, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "AwsSolutions--gco-global-NagReport.json")); err != nil {
		t.Errorf("the report should stay: %v", err)
	}
	for _, rule := range []string{"AwsSolutions-S1 ", "AwsSolutions-S10 ", "HIPAA.Security-S3BucketLoggingEnabled ", "NIST.800.53.R5-S3BucketReplicationEnabled ", "PCI.DSS.321-S3DefaultEncryptionKMS "} {
		if !strings.Contains(err.Error(), "  "+rule+"on gco-global/Careless/Resource: ") {
			t.Errorf("%s is not reported in:\n%v", rule, err)
		}
	}
	for _, finding := range report.Open {
		if finding.Resource != "gco-global/Careless/Resource" {
			t.Errorf("finding elsewhere: %s", finding)
		}
	}
}

// TestEveryPackRan guards against a pack that silently drops out.
func TestEveryPackRan(t *testing.T) {
	a := scenario(t, "production")
	for _, pack := range packs {
		text, err := os.ReadFile(filepath.Join(a.Dir, pack+"--gco-global-NagReport.json"))
		if err != nil {
			t.Error(err)
		}
		// Nothing in this stack is a concern of the Serverless pack.
		if pack != "Serverless" && !strings.Contains(string(text), "gco-global/ModelWeightsBucket/Resource") {
			t.Errorf("%s says nothing of the model bucket", pack)
		}
	}
	if err := os.Rename(a.Dir, a.Dir+"-away"); err != nil {
		t.Fatal(err)
	}
	_, err := readNag(a.Dir, a.Stacks)
	if err := os.Rename(a.Dir+"-away", a.Dir); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		t.Error("reports that are missing count as no findings")
	}
}

func TestBrokenRuleIsOpen(t *testing.T) {
	report, err := NagReport{}.add("AwsSolutions", "gco-global", []byte(`{"lines":[
		{"ruleId":"AwsSolutions-A","resourceId":"x","compliance":"UNKNOWN"},
		{"ruleId":"AwsSolutions-B","resourceId":"x","compliance":"Compliant"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Open) != 1 || report.Open[0].Rule != "AwsSolutions-A" || report.Checked != 2 {
		t.Errorf("%+v", report)
	}
}

// declaredSuppressions are the reasons in the templates' metadata, by finding
// and construct path as the reports name them.
func declaredSuppressions(t *testing.T, a Assembly) map[string]string {
	t.Helper()
	declared := map[string]string{}
	for _, stack := range a.Stacks {
		paths := constructPaths(t, a, stack)
		var file struct {
			Resources map[string]struct {
				Metadata struct {
					Nag struct {
						Rules []struct {
							ID        string   `json:"id"`
							Reason    string   `json:"reason"`
							AppliesTo []string `json:"applies_to"`
						} `json:"rules_to_suppress"`
					} `json:"cdk_nag"`
				}
			}
		}
		readJSON(t, a.Template(stack), &file)
		for id, resource := range file.Resources {
			for _, rule := range resource.Metadata.Nag.Rules {
				findings := []string{rule.ID}
				if len(rule.AppliesTo) > 0 {
					findings = nil
					for _, finding := range rule.AppliesTo {
						findings = append(findings, rule.ID+"["+finding+"]")
					}
				}
				for _, finding := range findings {
					declared[finding+" on "+paths[id]] = rule.Reason
				}
			}
		}
	}
	return declared
}

// constructPaths are the construct paths of a stack by logical id.
func constructPaths(t *testing.T, a Assembly, stack string) map[string]string {
	t.Helper()
	var file map[string][]struct {
		Type string `json:"type"`
		Data any    `json:"data"`
	}
	readJSON(t, filepath.Join(a.Dir, stack+".metadata.json"), &file)
	paths := map[string]string{}
	for path, entries := range file {
		for _, entry := range entries {
			if id, ok := entry.Data.(string); ok && entry.Type == "aws:cdk:logicalId" {
				paths[id] = strings.TrimPrefix(path, "/")
			}
		}
	}
	return paths
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
