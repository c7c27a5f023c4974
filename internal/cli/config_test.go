package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/aws/awstest"
)

func projectParameters(project string) map[string]string {
	parameters := map[string]string{"/" + project + "/objects-bucket-name": "bucket-of-" + project}
	for parameter, table := range map[string]string{
		"templates": "job-templates", "webhooks": "webhooks", "jobs": "jobs", "inference-endpoints": "inference-endpoints",
		"state": "state", "events": "events",
	} {
		parameters["/"+project+"/"+parameter+"-table-name"] = project + "-" + table
	}
	return parameters
}

// TestConfigShowsWhereEachValueCameFrom: a default, the file, a flag and a
// parameter of the account, and a file overrides what the account says.
func TestConfigShowsWhereEachValueCameFrom(t *testing.T) {
	ssm := awstest.StartSSM(t, "us-east-2", projectParameters("acme"))
	file := filepath.Join(t.TempDir(), "gco.yaml")
	if err := os.WriteFile(file, []byte("server: {listen: '127.0.0.1:9000'}\nstore:\n  tables: {jobs: my-jobs}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, out, errs := testProgram(t)
	if code := p.RunContext(t.Context(), []string{"config", "show", file, "--project", "acme", "--global-region", "us-east-2"}); code != ExitDone {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{
		"project\tacme\t--project",
		"server.listen\t127.0.0.1:9000\t" + file + ":1",
		"server.bucket\ts3://bucket-of-acme?region=us-east-2\tSSM parameter /acme/objects-bucket-name",
		"store.driver\tdynamodb\t--global-region",
		"store.region\tus-east-2\t--global-region",
		"store.tables.jobs\tmy-jobs\t" + file + ":3",
		"store.tables.state\tacme-state\tSSM parameter /acme/state-table-name",
		"store.tables.jobTemplates\tacme-job-templates\tSSM parameter /acme/templates-table-name",
		"limits.submissionsPerSecond\t",
	} {
		if !strings.Contains("\n"+out.String(), "\n"+want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	for _, name := range ssm.Names {
		if name == "/acme/jobs-table-name" {
			t.Error("it asked for what the file says")
		}
	}
}

func TestServerSaysWhatItDoesNotFind(t *testing.T) {
	ssm := awstest.StartSSM(t, "us-east-2", projectParameters("gco"))
	delete(ssm.Parameters, "/gco/state-table-name")
	tests := map[string]struct {
		args []string
		want string
	}{
		"a missing parameter": {[]string{"--project", "gco", "--global-region", "us-east-2"}, "the SSM parameters /gco/state-table-name are missing in us-east-2"},
		"another Region":      {[]string{"--project", "gco", "--global-region", "eu-west-1"}, "eu-west-1 has none of the SSM parameters"},
		"no Region at all":    {[]string{"--project", "gco", "--global-region", "us-esat-2"}, `store.region: "us-esat-2" is not an AWS Region, did you mean us-east-2? (--global-region)`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p, _, errs := testProgram(t)
			code := p.RunContext(t.Context(), append([]string{"server", "--dir", t.TempDir()}, test.args...))
			if code == ExitDone || !strings.Contains(errs.String(), test.want) {
				t.Errorf("exit %d, %q is not in\n%s", code, test.want, errs)
			}
		})
	}
}
