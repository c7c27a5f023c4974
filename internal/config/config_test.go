package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// messages are the faults of an error as lines, without the places.
func messages(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var invalid *Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("not an *Invalid: %v", err)
	}
	var lines []string
	for _, fault := range invalid.Faults {
		fault.Where = ""
		lines = append(lines, fault.String())
	}
	return lines
}

func TestDefaultIsValid(t *testing.T) {
	for _, profile := range []Profile{ProfileProduction, ProfileSeed} {
		if err := defaultFor(profile).Validate(); err != nil {
			t.Errorf("%s: %v", profile, err)
		}
	}
}

func TestEmptyFileIsDefault(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "aws:\n", "aws:\n  accelerator:\n"} {
		got, err := Parse("gco.yaml", []byte(text))
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got.Project != "gco" || got.AWS.Profile != ProfileProduction || !slices.Equal(got.AWS.Regions, []string{"us-east-1"}) {
			t.Errorf("%q gives %+v", text, got.AWS)
		}
	}
}

func TestProfilesDiffer(t *testing.T) {
	production, err := Parse("", []byte("aws: {profile: production}"))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := Parse("", []byte("aws: {profile: seed}"))
	if err != nil {
		t.Fatal(err)
	}
	if p := production.AWS; p.Removal != RemovalRetain || p.Buckets.EmptyOnDelete || !p.Tables.DeletionProtection ||
		!p.Tables.Global || p.Backup.Role != BackupRoleScoped || !p.Alarms.Enabled {
		t.Errorf("production is not safe: %+v", p)
	}
	if s := seed.AWS; s.Region != "" || s.Removal != RemovalDestroy || !s.Buckets.EmptyOnDelete || s.Tables.DeletionProtection ||
		s.Tables.Global || s.Backup.Role != BackupRoleManaged || s.Alarms.Enabled {
		t.Errorf("seed is not the seed: %+v", s)
	}
	mixed, err := Parse("", []byte("aws: {profile: seed, tables: {deletionProtection: true}}"))
	if err != nil {
		t.Fatal(err)
	}
	if !mixed.AWS.Tables.DeletionProtection || mixed.AWS.Removal != RemovalDestroy {
		t.Errorf("a setting over a profile gives %+v", mixed.AWS)
	}
}

func TestLoadReadsEverySetting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gco.yaml")
	if err := os.WriteFile(path, []byte(`
project: acme
aws:
  profile: seed
  region: eu-west-1
  regions: [eu-west-1, us-west-2]
  accelerator:
    name: front-door
    healthCheck: {path: /healthy, intervalSeconds: 10}
  loadBalancers:
    - region: us-west-2
      arn: arn:aws:elasticloadbalancing:us-west-2:123456789012:loadbalancer/net/gate/0123456789abcdef
      preserveClientIP: false
    - region: eu-west-1
      arn: arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/gate/fedcba9876543210
      weight: 0
  tables: {deletionProtection: true, global: true, replicas: [us-east-1]}
  buckets: {accessLogRetentionDays: 7, emptyOnDelete: false}
  backup: {role: scoped}
  alarms: {enabled: true, emails: [ops@example.com]}
  removal: retain
  tags: {team: "42"}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	a := got.AWS
	for name, ok := range map[string]bool{
		"project":                got.Project == "acme",
		"region":                 a.Region == "eu-west-1" && slices.Equal(a.Regions, []string{"eu-west-1", "us-west-2"}),
		"accelerator":            a.Accelerator == Accelerator{"front-door", HealthCheck{"/healthy", 10}},
		"balancer's defaults":    a.LoadBalancers[0].Weight == 128 && !a.LoadBalancers[0].PreserveClientIP,
		"balancer's zero weight": a.LoadBalancers[1].Weight == 0 && a.LoadBalancers[1].PreserveClientIP,
		"tables":                 a.Tables.DeletionProtection && a.Tables.Global && slices.Equal(a.Tables.Replicas, []string{"us-east-1"}),
		"buckets":                a.Buckets == Buckets{7, false},
		"backup":                 a.Backup.Role == BackupRoleScoped,
		"alarms":                 a.Alarms.Enabled && slices.Equal(a.Alarms.Emails, []string{"ops@example.com"}),
		"removal":                a.Removal == RemovalRetain,
		"tags":                   a.Tags["team"] == "42",
	} {
		if !ok {
			t.Errorf("%s not as in the file: %+v", name, a)
		}
	}
}

func TestEveryFaultIsNamed(t *testing.T) {
	const balancer = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/a/0"
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"unknown key":        {"aws: {regionss: []}", []string{`aws.regionss: unknown key, did you mean regions?`}},
		"unknown section":    {"zzzzzzzz: 1", []string{`zzzzzzzz: unknown key; known here: ` + strings.Join(topLevel(), ", ")}},
		"duplicate key":      {"project: a\nproject: b", []string{`project: key appears twice, first on line 1`}},
		"nested duplicate":   {"aws:\n  tags: {a: x, a: y}", []string{`aws.tags.a: key appears twice, first on line 2`}},
		"bad region":         {"aws: {regions: [us-east-1, us-esat-1]}", []string{`aws.regions[1]: "us-esat-1" is not an AWS Region, did you mean us-east-1?`}},
		"no region at all":   {"aws: {regions: [mars]}", []string{`aws.regions[0]: "mars" is not an AWS Region`}},
		"duplicate region":   {"aws: {regions: [us-east-1, eu-west-1, us-east-1]}", []string{`aws.regions[2]: duplicate of aws.regions[0]: us-east-1`}},
		"empty list":         {"aws: {regions: []}", []string{`aws.regions: must not be empty`}},
		"interval":           {"aws: {accelerator: {healthCheck: {intervalSeconds: 15}}}", []string{`aws.accelerator.healthCheck.intervalSeconds: must be 10 or 30, is 15`}},
		"retention":          {"aws: {buckets: {accessLogRetentionDays: 0}}", []string{`aws.buckets.accessLogRetentionDays: must be at least 1, is 0`}},
		"fraction":           {"aws: {buckets: {accessLogRetentionDays: 1.5}}", []string{`aws.buckets.accessLogRetentionDays: a whole number expected, found "1.5"`}},
		"not a bool":         {"aws: {alarms: {enabled: maybe}}", []string{`aws.alarms.enabled: true or false expected, found "maybe"`}},
		"number for a name":  {"project: 12", []string{`project: text expected, found "12"`}},
		"list for a mapping": {"aws: [x]", []string{`aws: a mapping expected, found a list`}},
		"text for a list":    {"aws: {regions: us-east-1}", []string{`aws.regions: a list expected, found "us-east-1"`}},
		"empty name":         {"project: ''", []string{`project: must not be empty`}},
		"bad name":           {"project: my_project", []string{`project: letters, digits and hyphens, starting with a letter expected, found "my_project"`}},
		"reserved name":      {"project: AWSome", []string{`project: must not start with "aws": AWS reserves such parameter names`}},
		"long name":          {"project: " + strings.Repeat("a", 65), []string{`project: must have at most 64 characters, has 65`}},
		"path":               {"aws: {accelerator: {healthCheck: {path: health}}}", []string{`aws.accelerator.healthCheck.path: an absolute URL path expected, found "health"`}},
		"profile":            {"aws: {profile: prod}", []string{`aws.profile: must be one of production, seed, is "prod"`}},
		"alias":              {"project: &p x\naws: {region: *p}", []string{`aws.region: anchors and aliases are not supported: write the value out`, `project: anchors and aliases are not supported: write the value out`}},
		"two documents":      {"project: a\n---\nproject: b", []string{`one YAML document expected, found another after it`}},
		"two with faults": {"project: 9\nfoo: 1\n---\nbar: 2", []string{
			`one YAML document expected, found another after it`,
			`foo: unknown key; known here: ` + strings.Join(topLevel(), ", "),
			`project: text expected, found "9"`,
		}},
		"items commented out": {"aws:\n  regions:\n#   - eu-west-1\n", []string{`aws.regions: a list expected, found nothing; leave the key out for its default`}},
		"null number":         {"aws: {buckets: {accessLogRetentionDays: null}}", []string{`aws.buckets.accessLogRetentionDays: a whole number expected, found nothing; leave the key out for its default`}},
		"null name":           {"project: ~", []string{`project: text expected, found nothing; leave the key out for its default`}},
		"null switch":         {"aws: {tables: {global: }}", []string{`aws.tables.global: true or false expected, found nothing; leave the key out for its default`}},
		"null duration":       {"timing: {lease: }", []string{`timing.lease: a duration such as 90s or 5m expected, found nothing; leave the key out for its default`}},
		"null entry": {"aws: {regions: [~]}", []string{
			`aws.regions[0]: text expected, found nothing; leave the key out for its default`, `aws.regions[0]: must not be empty`,
		}},
		"not YAML":           {"project: [", []string{`not YAML: line 1: did not find expected node content`}},
		"scalar document":    {"hello", []string{`a mapping expected, found "hello"`}},
		"no home":            {"aws: {region: ''}", []string{`aws.region: must not be empty`}},
		"replica at home":    {"aws: {region: us-east-1, tables: {replicas: [us-east-1]}}", []string{`aws.tables.replicas[0]: us-east-1 is the home Region, which always has the table`}},
		"replica not global": {"aws: {tables: {global: false, replicas: [us-east-1]}}", []string{`aws.tables.replicas: needs aws.tables.global: true`}},
		"emptying kept":      {"aws: {buckets: {emptyOnDelete: true}}", []string{`aws.buckets.emptyOnDelete: needs aws.removal: destroy; a retained bucket is not emptied`}},
		"reserved tag":       {"aws: {tags: {'aws:x': y}}", []string{`aws.tags.aws:x: keys that start with aws: belong to AWS`}},
		"address":            {"aws: {alarms: {emails: [ops]}}", []string{`aws.alarms.emails[0]: an email address expected, found "ops"`}},
		"balancer elsewhere": {"aws: {regions: [eu-west-1], loadBalancers: [{region: us-east-1, arn: '" + balancer + "'}]}", []string{`aws.loadBalancers[0].region: "us-east-1" is not one of aws.regions`}},
		"balancer's region":  {"aws: {regions: [eu-west-1], loadBalancers: [{region: eu-west-1, arn: '" + balancer + "'}]}", []string{`aws.loadBalancers[0].arn: the load balancer is in us-east-1, the endpoint group in "eu-west-1"`}},
		"balancer's ARN":     {"aws: {loadBalancers: [{region: us-east-1, arn: 'arn:aws:s3:::x'}]}", []string{`aws.loadBalancers[0].arn: the ARN of an application or network load balancer expected, found "arn:aws:s3:::x"`}},
		"balancer without":   {"aws: {loadBalancers: [{region: us-east-1}]}", []string{`aws.loadBalancers[0].arn: must not be empty`}},
		"balancer's weight":  {"aws: {loadBalancers: [{region: us-east-1, weight: 256, arn: '" + balancer + "'}]}", []string{`aws.loadBalancers[0].weight: must be at most 255, is 256`}},
		"balancer twice":     {"aws: {loadBalancers: [{region: us-east-1, arn: '" + balancer + "'}, {region: us-east-1, arn: '" + balancer + "'}]}", []string{`aws.loadBalancers[1].arn: duplicate of aws.loadBalancers[0]`}},
		"eleventh balancer":  {elevenBalancers(), []string{`aws.loadBalancers[10].region: an endpoint group takes at most 10 endpoints`}},
		"many faults at once": {
			"project: 9\nfoo: 1\naws:\n  regions: [us-east-1, us-east-1, nowhere]\n  buckets: {accessLogRetentionDays: -1}\n",
			[]string{
				`aws.buckets.accessLogRetentionDays: must be at least 1, is -1`,
				`aws.regions[1]: duplicate of aws.regions[0]: us-east-1`,
				`aws.regions[2]: "nowhere" is not an AWS Region`,
				`foo: unknown key; known here: ` + strings.Join(topLevel(), ", "),
				`project: text expected, found "9"`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("gco.yaml", []byte(test.text))
			if got := messages(t, err); !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func elevenBalancers() string {
	text := "aws:\n  loadBalancers:\n"
	for i := range 11 {
		text += "  - {region: us-east-1, arn: 'arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/a/" + string("0123456789a"[i]) + "'}\n"
	}
	return text
}

// topLevel are the sections, in the order of the struct.
func topLevel() []string { return fieldNames(reflect.TypeFor[Config]()) }

func TestFaultsSayWhere(t *testing.T) {
	_, err := Parse("my.yaml", []byte("project: ok\naws:\n  regions:\n    - us-east-1\n    - nowhere\n"),
		Overlay{Source: "flag --days", Value: map[string]any{"aws": map[string]any{"buckets": map[string]any{"accessLogRetentionDays": 0}}}})
	invalid, ok := errors.AsType[*Invalid](err)
	if !ok {
		t.Fatal(err)
	}
	want := "my.yaml: 2 faults\n" +
		"  aws.buckets.accessLogRetentionDays: must be at least 1, is 0 (flag --days)\n" +
		"  aws.regions[1]: \"nowhere\" is not an AWS Region (line 5)"
	if invalid.Error() != want {
		t.Errorf("got\n%s\nwant\n%s", invalid, want)
	}
}

func TestOverlayWinsAndMerges(t *testing.T) {
	over := func(value map[string]any) Overlay {
		return Overlay{Source: "test", Value: map[string]any{"aws": value}}
	}
	got, err := Parse("", []byte("aws: {region: us-east-1, regions: [us-east-1, us-west-2], tags: {a: x}}"),
		over(map[string]any{"regions": "eu-west-1, sa-east-1", "tags": map[string]any{"b": "y"}}),
		over(map[string]any{"profile": "seed", "accelerator": map[string]any{"healthCheck": map[string]any{"intervalSeconds": float64(10)}}}))
	if err != nil {
		t.Fatal(err)
	}
	a := got.AWS
	if !slices.Equal(a.Regions, []string{"eu-west-1", "sa-east-1"}) || a.Region != "us-east-1" || a.Tags["a"]+a.Tags["b"] != "xy" ||
		a.Accelerator.HealthCheck.IntervalSeconds != 10 || a.Removal != RemovalDestroy {
		t.Errorf("%+v", a)
	}
}

func TestMissingFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "absent.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestValidateInCode(t *testing.T) {
	c := Default()
	c.AWS.Regions = append(c.AWS.Regions, "here")
	c.AWS.Accelerator.HealthCheck.IntervalSeconds = 20
	want := []string{
		`aws.accelerator.healthCheck.intervalSeconds: must be 10 or 30, is 20`,
		`aws.regions[1]: "here" is not an AWS Region`,
	}
	if got := messages(t, c.Validate()); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// FuzzParse asks that no text makes the loader panic, and that what it accepts
// is valid.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "project: a", "aws: {regions: [us-east-1]}", "? [a]\n: b", "<<: {a: b}", "aws: {tags: {a: !!binary x}}", elevenBalancers()} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("fuzz", []byte(text))
		if err != nil {
			var invalid *Invalid
			if !errors.As(err, &invalid) || len(invalid.Faults) == 0 {
				t.Fatalf("no list of faults: %v", err)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("accepted, and not valid: %v", err)
		}
	})
}
