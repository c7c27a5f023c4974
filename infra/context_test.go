package infra

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/config"
)

func TestContextOverridesFile(t *testing.T) {
	const file = "project: filed\naws: {regions: [us-east-1], tags: {a: file}}"
	for name, test := range map[string]struct {
		context map[string]any
		got     func(config.Config) any
		want    any
	}{
		"dotted path":        {map[string]any{"aws.region": "eu-west-1"}, func(c config.Config) any { return c.AWS.Region }, "eu-west-1"},
		"number as text":     {map[string]any{"aws.buckets.accessLogRetentionDays": "7"}, func(c config.Config) any { return c.AWS.Buckets.AccessLogRetentionDays }, 7},
		"list with commas":   {map[string]any{"aws.regions": "eu-west-1,sa-east-1"}, func(c config.Config) any { return strings.Join(c.AWS.Regions, " ") }, "eu-west-1 sa-east-1"},
		"one as a list":      {map[string]any{"aws.regions": "eu-west-1"}, func(c config.Config) any { return strings.Join(c.AWS.Regions, " ") }, "eu-west-1"},
		"list as text":       {map[string]any{"aws.regions": "[eu-west-1, sa-east-1]"}, func(c config.Config) any { return strings.Join(c.AWS.Regions, " ") }, "eu-west-1 sa-east-1"},
		"object":             {map[string]any{"aws": map[string]any{"buckets": map[string]any{"accessLogRetentionDays": float64(9)}}}, func(c config.Config) any { return c.AWS.Buckets.AccessLogRetentionDays }, 9},
		"profile":            {map[string]any{"profile": "seed"}, func(c config.Config) any { return c.AWS.Removal }, config.RemovalDestroy},
		"project":            {map[string]any{"project": "named"}, func(c config.Config) any { return c.Project }, "named"},
		"older project":      {map[string]any{"project_name": "older"}, func(c config.Config) any { return c.Project }, "older"},
		"older regions":      {map[string]any{"deployment_regions": map[string]any{"regional": []any{"us-west-1"}, "global": "us-east-1"}}, func(c config.Config) any { return c.AWS.Region + strings.Join(c.AWS.Regions, " ") }, "us-east-1us-west-1"},
		"older accelerator":  {map[string]any{"global_accelerator": map[string]any{"name": "n", "health_check_path": "/p", "health_check_interval": float64(10)}}, func(c config.Config) any { return c.AWS.Accelerator }, config.Accelerator{Name: "n", HealthCheck: config.HealthCheck{Path: "/p", IntervalSeconds: 10}}},
		"older retention":    {map[string]any{"s3_access_logs": map[string]any{"retention_days": float64(5)}}, func(c config.Config) any { return c.AWS.Buckets.AccessLogRetentionDays }, 5},
		"older tags":         {map[string]any{"tags": map[string]any{"b": "context"}}, func(c config.Config) any { return c.AWS.Tags["a"] + c.AWS.Tags["b"] }, "filecontext"},
		"CDK's own are not":  {map[string]any{"@aws-cdk/core:x": true, "aws:cdk:bundling-stacks": []any{"**"}, "availability-zones:account=1": "x", "config": "elsewhere"}, func(c config.Config) any { return c.Project }, "filed"},
		"nothing is nothing": {nil, func(c config.Config) any { return c.AWS.Tags["a"] }, "file"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := config.Parse("gco.yaml", []byte(file), overlays(test.context)...)
			if err != nil {
				t.Fatal(err)
			}
			if got := test.got(c); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestContextFaults: what is wrong in the context is reported like what is wrong
// in the file, all at once, and says where it came from.
func TestContextFaults(t *testing.T) {
	_, err := config.Parse("gco.yaml", []byte("aws: {regions: []}"), overlays(map[string]any{
		"aws.buckets.accessLogRetentionDays": "0",
		"global_accelerator":                 map[string]any{"health_check_interval": float64(15), "health_check_timeout": float64(5)},
		"projekt":                            "x",
	})...)
	var invalid *config.Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("got %v", err)
	}
	var got []string
	for _, fault := range invalid.Faults {
		got = append(got, fault.String())
	}
	want := []string{
		"aws.accelerator.healthCheck.intervalSeconds: must be 10 or 30, is 15 (CDK context global_accelerator.health_check_interval)",
		"aws.buckets.accessLogRetentionDays: must be at least 1, is 0 (CDK context aws.buckets.accessLogRetentionDays)",
		"aws.regions: must not be empty (line 1)",
		"projekt: unknown key, did you mean project? (CDK context projekt)",
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("missing: %s", line)
		}
	}
	if len(got) != len(want)+1 || !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "global_accelerator: unknown key") }) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// TestFaultyConfigurationStopsSynth: nothing is written for a faulty file.
func TestFaultyConfigurationStopsSynth(t *testing.T) {
	a, err := synthText(t.TempDir(), "aws: {regions: [nowhere]}", map[string]any{"profile": "sead"})
	var invalid *config.Invalid
	if !errors.As(err, &invalid) || len(invalid.Faults) != 2 || a.Dir != "" {
		t.Errorf("%v, wrote %q", err, a.Dir)
	}
}
