package infra

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"

	"github.com/gco-project/gco/internal/config"
)

const (
	eastBalancer  = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/gate-a/0123456789abcdef"
	otherBalancer = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/gate-b/fedcba9876543210"
)

func TestAccessors(t *testing.T) {
	app := newApp(t.TempDir())
	conf := config.Default()
	conf.AWS.Accelerator.Name = "front"
	conf.AWS.Regions = []string{"us-east-1", "eu-west-1"}
	s := NewGlobalStack(app, "gco-global", conf)

	group, err := s.EndpointGroupARN("eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	if s.AcceleratorName() != "front" {
		t.Errorf("name %q", s.AcceleratorName())
	}
	for name, test := range map[string]struct {
		got  *string
		want string
	}{
		"DNS name":       {s.AcceleratorDNSName(), "${GCOAccelerator.DnsName}"},
		"ARN":            {s.AcceleratorARN(), "${GCOAccelerator.AcceleratorArn}"},
		"ID":             {s.AcceleratorID(), "select(1, split(/, ${GCOAccelerator.AcceleratorArn}))"},
		"listener":       {s.ListenerARN(), "${GCOAcceleratorGCOListener.ListenerArn}"},
		"endpoint group": {group, "${GCOAcceleratorGCOListenerEndpointGroupEuwest1.EndpointGroupArn}"},
	} {
		if got := readable(s.Resolve(awscdk.Token_AsAny(test.got))); got != test.want {
			t.Errorf("%s is %v, want %s", name, got, test.want)
		}
	}

	if _, err := s.EndpointGroupARN("eu-west-2"); err == nil || err.Error() != "no endpoint group found for region: eu-west-2" {
		t.Errorf("unknown region: %v", err)
	}
}

// TestRegistration follows a region's load balancer through its life, as the
// operator's edits of gco.yaml: each step is a deployment, and CloudFormation
// makes the group's members what the template says.
func TestRegistration(t *testing.T) {
	for _, step := range []struct {
		name string
		yaml string
		want string
	}{
		{"no load balancer yet", `[]`, `[]`},
		{
			"create", `[{region: us-east-1, arn: '` + eastBalancer + `'}]`,
			`[{"ClientIPPreservationEnabled":true,"EndpointId":"` + eastBalancer + `","Weight":128}]`,
		},
		{
			"create again: idempotent", `[{region: us-east-1, arn: '` + eastBalancer + `'}]`,
			`[{"ClientIPPreservationEnabled":true,"EndpointId":"` + eastBalancer + `","Weight":128}]`,
		},
		{
			"update: taken out of traffic", `[{region: us-east-1, arn: '` + eastBalancer + `', weight: 0, preserveClientIP: false}]`,
			`[{"ClientIPPreservationEnabled":false,"EndpointId":"` + eastBalancer + `","Weight":0}]`,
		},
		{
			"second cluster of the Region", `[{region: us-east-1, arn: '` + eastBalancer + `'}, {region: us-east-1, arn: '` + otherBalancer + `', weight: 64}]`,
			`[{"ClientIPPreservationEnabled":true,"EndpointId":"` + eastBalancer + `","Weight":128},{"ClientIPPreservationEnabled":true,"EndpointId":"` + otherBalancer + `","Weight":64}]`,
		},
		{
			"replace", `[{region: us-east-1, arn: '` + otherBalancer + `'}]`,
			`[{"ClientIPPreservationEnabled":true,"EndpointId":"` + otherBalancer + `","Weight":128}]`,
		},
		{"delete: an empty list, or the members would stay", `[]`, `[]`},
	} {
		t.Run(step.name, func(t *testing.T) {
			a, err := synthText(t.TempDir(), "aws: {regions: [us-east-1, eu-west-1], loadBalancers: "+step.yaml+"}", nil)
			if err != nil {
				t.Fatal(err)
			}
			resources := readTemplate(t, a, "gco-global").Resources
			if got := oneLine(members(resources, "Useast1")); got != step.want {
				t.Errorf("members\n got %s\nwant %s", got, step.want)
			}
			if got := oneLine(members(resources, "Euwest1")); got != "[]" {
				t.Errorf("the other Region's group has %s", got)
			}
			for id, resource := range resources {
				if kind := resource.(map[string]any)["Type"].(string); strings.HasPrefix(kind, "Custom::") || kind == "AWS::Lambda::Function" {
					t.Errorf("registration brings %s, a %s", id, kind)
				}
			}
		})
	}
}

// TestSeedRegistersNothing: the seed's groups have no property for members, and
// get one only with the first.
func TestSeedRegistersNothing(t *testing.T) {
	resources := readTemplate(t, scenario(t, "seed with 3 regions"), "gco-global").Resources
	if got := members(resources, "Useast1"); got != nil {
		t.Errorf("members %v", got)
	}
	a, err := synthText(t.TempDir(), "aws: {profile: seed, loadBalancers: [{region: us-east-1, arn: '"+eastBalancer+"'}]}", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := members(readTemplate(t, a, "gco-global").Resources, "Useast1"); len(got.([]any)) != 1 {
		t.Errorf("members %v", got)
	}
}

func TestRegisterInCode(t *testing.T) {
	s := NewGlobalStack(newApp(t.TempDir()), "gco-global", config.Default())
	if err := s.Register(config.LoadBalancer{Region: "eu-west-1", ARN: "x"}); err == nil || err.Error() != "no endpoint group found for region: eu-west-1" {
		t.Errorf("unknown region: %v", err)
	}
	for i := range maxEndpoints {
		if err := s.Register(config.LoadBalancer{Region: "us-east-1", ARN: fmt.Sprint("lb-", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Register(config.LoadBalancer{Region: "us-east-1", ARN: "lb-3", Weight: 7}); err != nil {
		t.Errorf("registering again: %v", err)
	}
	if err := s.Register(config.LoadBalancer{Region: "us-east-1", ARN: "lb-10"}); err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("eleventh endpoint: %v", err)
	}
	if got := s.LoadBalancers("us-east-1"); len(got) != maxEndpoints || got[3] != "lb-3" {
		t.Errorf("endpoints %v", got)
	}
}

func TestConstructRegion(t *testing.T) {
	// Every Region's id is its own, or two groups would be one.
	seen := map[string]string{}
	for region := range strings.FieldsSeq("us-east-1 us-east-2 ap-southeast-1 ap-northeast-3 me-central-1 il-central-1") {
		id := constructRegion(region)
		if other, twice := seen[id]; twice {
			t.Errorf("%s and %s are both %s", region, other, id)
		}
		seen[id] = region
	}
	want := []string{"Apnortheast3", "Apsoutheast1", "Ilcentral1", "Mecentral1", "Useast1", "Useast2"}
	if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func members(resources map[string]any, title string) any {
	group := resources["GCOAcceleratorGCOListenerEndpointGroup"+title].(map[string]any)
	return group["Properties"].(map[string]any)["EndpointConfigurations"]
}
