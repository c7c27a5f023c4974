package discovery

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/aws/awstest"
)

func parameters(project string) map[string]string {
	all := map[string]string{}
	for _, name := range parameterOf {
		all["/"+project+"/"+name] = project + " " + name
	}
	return all
}

func TestFind(t *testing.T) {
	ssm := awstest.StartSSM(t, "us-east-2", parameters("gco"))
	found, err := Find(t.Context(), "gco", "us-east-2", Keys())
	if err != nil {
		t.Fatal(err)
	}
	for key, name := range parameterOf {
		if found[key] != (Found{Value: "gco " + name, Parameter: "/gco/" + name}) {
			t.Errorf("%s = %+v", key, found[key])
		}
	}
	// Only what is asked for is read.
	ssm.Names = nil
	if _, err := Find(t.Context(), "gco", "us-east-2", []string{"store.tables.jobs"}); err != nil || strings.Join(ssm.Names, " ") != "/gco/jobs-table-name" {
		t.Errorf("read %v, %v", ssm.Names, err)
	}
}

func TestOneClearError(t *testing.T) {
	tests := map[string]struct {
		project, region string
		change          func(*awstest.SSM)
		says            []string
	}{
		"a missing parameter": {"gco", "us-east-2", func(s *awstest.SSM) { delete(s.Parameters, "/gco/state-table-name") }, []string{
			"the SSM parameters /gco/state-table-name are missing in us-east-2", "gco-state", "gco.yaml",
		}},
		"another project": {"acme", "us-east-2", nil, []string{`us-east-2 has none of the SSM parameters of project "acme"`, "/acme/jobs-table-name", "--global-region"}},
		"another Region":  {"gco", "eu-west-1", nil, []string{`eu-west-1 has none of the SSM parameters of project "gco"`}},
		"no permission": {"gco", "us-east-2", func(s *awstest.SSM) { s.Denied = true }, []string{
			"these credentials may not read the SSM parameters", "/gco/jobs-table-name", "server-policy-arn", "is not authorized to perform: ssm:GetParameters",
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ssm := awstest.StartSSM(t, "us-east-2", parameters("gco"))
			if test.change != nil {
				test.change(ssm)
			}
			found, err := Find(t.Context(), test.project, test.region, Keys())
			if err == nil {
				t.Fatalf("found %v", found)
			}
			for _, want := range test.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %q", want, err)
				}
			}
		})
	}
	t.Run("no credentials", func(t *testing.T) {
		awstest.StartSSM(t, "us-east-2", nil)
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		if _, err := Find(t.Context(), "gco", "us-east-2", Keys()); err == nil || !strings.Contains(err.Error(), "look at the credentials of AWS") {
			t.Error(err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		awstest.StartSSM(t, "us-east-2", nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Find(ctx, "gco", "us-east-2", Keys()); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
