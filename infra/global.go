package infra

import (
	"fmt"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsbackup"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsglobalaccelerator"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/constructs-go/constructs/v10"

	"github.com/gco-project/gco/internal/config"
)

// GlobalStack holds what all regions share: the tables, the model bucket, their
// backups, and the accelerator with an endpoint group for each Region. It needs
// nothing from any region and is deployed first.
type GlobalStack struct {
	stack

	tables       []table
	modelKey     awskms.Key
	accessLogs   awss3.Bucket
	modelBucket  awss3.Bucket
	vault        awsbackup.BackupVault
	plan         awsbackup.BackupPlan
	backupRole   awsiam.Role
	backupPolicy awsiam.ManagedPolicy

	accelerator    awsglobalaccelerator.Accelerator
	acceleratorID  *string
	listener       awsglobalaccelerator.Listener
	endpointGroups map[string]awsglobalaccelerator.EndpointGroup
	// loadBalancers are the members of each Region's endpoint group, in the
	// order in which they were registered.
	loadBalancers map[string][]config.LoadBalancer
}

// NewGlobalStack defines the stack under scope. conf has passed
// [config.Config.Validate]; anything else may panic inside CDK.
func NewGlobalStack(scope constructs.Construct, id string, conf config.Config) *GlobalStack {
	s := &GlobalStack{
		stack:          newStack(scope, id, conf),
		endpointGroups: map[string]awsglobalaccelerator.EndpointGroup{},
		loadBalancers:  map[string][]config.LoadBalancer{},
	}
	s.tables = s.addTables(tableSpecs)
	s.addModelBucket()
	s.addBackupPlan()
	s.addAccelerator()
	if conf.AWS.Alarms.Enabled {
		s.addAlarms(conf)
	}
	s.suppressFindings()
	return s
}

// AcceleratorDNSName is the name under which the accelerator is reached, as a
// token that CloudFormation resolves.
func (s *GlobalStack) AcceleratorDNSName() *string { return s.accelerator.DnsName() }

// AcceleratorARN is the accelerator's ARN, as a token.
func (s *GlobalStack) AcceleratorARN() *string { return s.accelerator.AcceleratorArn() }

// AcceleratorName is the accelerator's configured name.
func (s *GlobalStack) AcceleratorName() string { return s.aws.Accelerator.Name }

// AcceleratorID is the part of the accelerator's ARN after the slash, as a
// token. CloudWatch knows the accelerator by it, not by name or ARN.
func (s *GlobalStack) AcceleratorID() *string { return s.acceleratorID }

// ListenerARN is the listener's ARN, as a token.
func (s *GlobalStack) ListenerARN() *string { return s.listener.ListenerArn() }

// EndpointGroupARN is the ARN, as a token, of a Region's endpoint group. It is
// an error to ask for a Region that the configuration does not list.
func (s *GlobalStack) EndpointGroupARN(region string) (*string, error) {
	group, err := s.endpointGroup(region)
	if err != nil {
		return nil, err
	}
	return group.EndpointGroupArn(), nil
}

func (s *GlobalStack) endpointGroup(region string) (awsglobalaccelerator.EndpointGroup, error) {
	if group, ok := s.endpointGroups[region]; ok {
		return group, nil
	}
	return nil, fmt.Errorf("no endpoint group found for region: %s", region)
}

// constructRegion is a Region as construct ids carry it: us-east-1 becomes
// Useast1. Upper-case letters follow anything that is no letter, of which a
// Region's name has only its closing digit.
func constructRegion(region string) string {
	joined := strings.ReplaceAll(region, "-", "")
	return strings.ToUpper(joined[:1]) + joined[1:]
}
