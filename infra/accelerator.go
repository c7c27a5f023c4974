package infra

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsglobalaccelerator"
	"github.com/aws/jsii-runtime-go"

	"github.com/gco-project/gco/internal/config"
)

// maxEndpoints is Global Accelerator's limit of endpoints in an endpoint group.
const maxEndpoints = 10

func (s *GlobalStack) addAccelerator() {
	s.accelerator = awsglobalaccelerator.NewAccelerator(s.Stack, jsii.String("GCOAccelerator"), &awsglobalaccelerator.AcceleratorProps{
		AcceleratorName: jsii.String(s.aws.Accelerator.Name),
		Enabled:         jsii.Bool(true),
	})
	s.acceleratorID = segment(s.accelerator.AcceleratorArn(), 1)

	s.listener = s.accelerator.AddListener(jsii.String("GCOListener"), &awsglobalaccelerator.ListenerOptions{
		PortRanges: &[]*awsglobalaccelerator.PortRange{
			{FromPort: jsii.Number(80), ToPort: jsii.Number(80)},
			{FromPort: jsii.Number(443), ToPort: jsii.Number(443)},
		},
		Protocol:       awsglobalaccelerator.ConnectionProtocol_TCP,
		ClientAffinity: awsglobalaccelerator.ClientAffinity_NONE,
	})
	for _, region := range s.aws.Regions {
		s.addEndpointGroup(region)
	}
	for _, balancer := range s.aws.LoadBalancers {
		if err := s.Register(balancer); err != nil {
			panic(fmt.Sprintf("infra: registering a configured load balancer: %v", err)) // validation lets none through
		}
	}

	s.output("GlobalAcceleratorDnsName", s.AcceleratorDNSName(), "Global Accelerator DNS name for global endpoint", "global-accelerator-dns")
	s.output("GlobalAcceleratorArn", s.AcceleratorARN(), "Global Accelerator ARN", "global-accelerator-arn")
	s.output("GlobalAcceleratorListenerArn", s.ListenerARN(), "Global Accelerator Listener ARN", "global-accelerator-listener-arn")
}

// addEndpointGroup defines a Region's endpoint group and tells its ARN by
// output and parameter. The health check asks the service behind the load
// balancer for its health; an open port would not tell whether it can serve.
func (s *GlobalStack) addEndpointGroup(region string) {
	id := "EndpointGroup" + constructRegion(region)
	check := s.aws.Accelerator.HealthCheck
	group := s.listener.AddEndpointGroup(&id, &awsglobalaccelerator.EndpointGroupOptions{
		Region:               &region,
		HealthCheckPort:      jsii.Number(80),
		HealthCheckProtocol:  awsglobalaccelerator.HealthCheckProtocol_HTTP,
		HealthCheckPath:      &check.Path,
		HealthCheckInterval:  awscdk.Duration_Seconds(jsii.Number(check.IntervalSeconds)),
		HealthCheckThreshold: jsii.Number(3),
	})
	s.endpointGroups[region] = group
	if s.aws.Profile == config.ProfileProduction {
		s.applyMembers(region)
	}

	name := "endpoint-group-" + region + "-arn"
	s.output(id+"Arn", group.EndpointGroupArn(), "Endpoint group ARN for "+region, name)
	s.parameter(id+"ArnParam", name, group.EndpointGroupArn(), "Global Accelerator endpoint group ARN for "+region)
}

// Register makes a load balancer a member of its Region's endpoint group, by
// the group's own property: CloudFormation adds, changes and removes it, and no
// function of ours runs. Registering the same load balancer again changes
// nothing but its weight and client address settings.
//
// It is an error to name a Region without an endpoint group, and to register
// more load balancers in one than a group takes.
func (s *GlobalStack) Register(balancer config.LoadBalancer) error {
	if _, err := s.endpointGroup(balancer.Region); err != nil {
		return err
	}
	members := s.loadBalancers[balancer.Region]
	for i, member := range members {
		if member.ARN == balancer.ARN {
			members[i] = balancer
			s.applyMembers(balancer.Region)
			return nil
		}
	}
	if len(members) == maxEndpoints {
		return fmt.Errorf("endpoint group of %s is full: it takes %d endpoints", balancer.Region, maxEndpoints)
	}
	s.loadBalancers[balancer.Region] = append(members, balancer)
	s.applyMembers(balancer.Region)
	return nil
}

// LoadBalancers are the ARNs of the load balancers registered in a Region.
func (s *GlobalStack) LoadBalancers(region string) []string {
	var arns []string
	for _, member := range s.loadBalancers[region] {
		arns = append(arns, member.ARN)
	}
	return arns
}

// applyMembers sets the group's members, all of them. It goes past CDK's
// EndpointGroup, which can only add, and which leaves an empty list out: to
// CloudFormation a list that is left out means the members there are, and an
// empty one that there are none.
func (s *GlobalStack) applyMembers(region string) {
	members := []any{}
	for _, member := range s.loadBalancers[region] {
		members = append(members, map[string]any{
			"EndpointId":                  member.ARN,
			"Weight":                      member.Weight,
			"ClientIPPreservationEnabled": member.PreserveClientIP,
		})
	}
	group, ok := s.endpointGroups[region].Node().DefaultChild().(awsglobalaccelerator.CfnEndpointGroup)
	if !ok {
		panic("infra: the endpoint group of " + region + " has no resource")
	}
	group.AddPropertyOverride(jsii.String("EndpointConfigurations"), members)
}

// segment is the index-th part of an ARN between slashes, cut at deployment.
func segment(arn *string, index int) *string {
	return awscdk.Fn_Select(jsii.Number(index), awscdk.Fn_Split(jsii.String("/"), arn, nil))
}
