package infra

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// cdk runs the CDK command line that package.json pins, as a user would in this
// directory, on a gco.yaml given as text. It has a kernel of its own, so from
// here on the test is a parallel one: scenarios are to be had before.
func cdk(t *testing.T, conf string, args ...string) (string, error) {
	t.Helper()
	t.Parallel()
	file := filepath.Join(t.TempDir(), "gco.yaml")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append(args, "-c", "config="+file)
	tool := filepath.Join("node_modules", "aws-cdk", "bin", "cdk")
	if _, err := os.Stat(tool); err != nil {
		t.Fatalf("the CDK command line is missing: run npm ci --ignore-scripts in infra/ (%v)", err)
	}
	command := exec.CommandContext(t.Context(), "node", append([]string{tool}, args...)...)
	out, err := command.CombinedOutput()
	return string(out), err
}

// TestCommandLineWritesTheSameTemplates: what is tested and what npx aws-cdk
// deploys are one and the same, byte for byte.
func TestCommandLineWritesTheSameTemplates(t *testing.T) {
	const name = "production with replicas"
	a := scenario(t, name)
	dir := t.TempDir()
	if out, err := cdk(t, scenarios[name], "synth", "--quiet", "--output", dir); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, stack := range a.Stacks {
		ours, err := os.ReadFile(a.Template(stack))
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := os.ReadFile(filepath.Join(dir, stack+".template.json"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(ours, theirs) {
			t.Errorf("%s differs between the two", stack)
		}
	}
}

// TestDiffWithATemplate: a change shows before it is deployed, and without
// credentials.
func TestDiffWithATemplate(t *testing.T) {
	base := scenario(t, "production").Template("gco-global")
	out, err := cdk(t, "", "diff", "*-global", "--template", base, "-c", "aws.accelerator.healthCheck.intervalSeconds=10")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(out, "HealthCheckIntervalSeconds") || !strings.Contains(out, "[-] 30") || !strings.Contains(out, "[+] 10") {
		t.Errorf("the change does not show in\n%s", out)
	}
	if strings.Count(out, "[~] AWS::") != 1 {
		t.Errorf("more than the change shows in\n%s", out)
	}
}

func TestCommandLineFailsOnFaults(t *testing.T) {
	out, err := cdk(t, "", "synth", "--quiet", "--output", t.TempDir(), "-c", "aws.regions=[nowhere]", "-c", "aws.buckets.accessLogRetentionDays=0")
	if err == nil {
		t.Fatal("a faulty context passed")
	}
	for _, fault := range []string{`aws.regions[0]: "nowhere" is not an AWS Region`, `aws.buckets.accessLogRetentionDays: must be at least 1, is 0`} {
		if !strings.Contains(out, fault) {
			t.Errorf("not told: %s in\n%s", fault, out)
		}
	}
}

// TestPinnedPackages: exact versions, and a lock file that names no host.
func TestPinnedPackages(t *testing.T) {
	var manifest struct {
		DevDependencies map[string]string `json:"devDependencies"`
	}
	readJSON(t, "package.json", &manifest)
	for name, version := range manifest.DevDependencies {
		if strings.ContainsAny(version, "^~*<>x ") {
			t.Errorf("%s is not pinned: %s", name, version)
		}
	}
	if len(manifest.DevDependencies) == 0 {
		t.Error("no packages at all")
	}
	lock, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(lock), "://") {
		t.Error("package-lock.json names a host")
	}
}

// TestFeatureFlagsReachTheApp: with the flag for bucket policies off, the log
// bucket would have an ACL instead, as it does without our context.
func TestFeatureFlagsReachTheApp(t *testing.T) {
	flags := featureFlags()
	if on, _ := flags["@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy"].(bool); !on || len(flags) < 50 {
		t.Errorf("%d flags", len(flags))
	}
	bucket := readTemplate(t, scenario(t, "seed with 3 regions"), "gco-global").Resources["ModelWeightsAccessLogsBucket"]
	if text := oneLine(bucket); strings.Contains(text, "AccessControl") {
		t.Errorf("the log bucket has an ACL: %s", text)
	}
}
