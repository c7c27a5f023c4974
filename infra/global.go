package infra

import (
	"fmt"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsbackup"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsglobalaccelerator"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsssm"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/gco-project/gco/internal/config"
)

// GlobalStack holds what all regions share: the tables, the model bucket, their
// backups, and the accelerator with an endpoint group for each Region. It needs
// nothing from any region and is deployed first.
type GlobalStack struct {
	awscdk.Stack

	project string
	aws     config.AWS

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

// table is one of the four tables with its name, which the outputs and the
// alarms derive theirs from.
type table struct {
	spec      tableSpec
	construct awsdynamodb.ITable
}

// NewGlobalStack defines the stack under scope. conf has passed
// [config.Config.Validate]; anything else may panic inside CDK.
func NewGlobalStack(scope constructs.Construct, id string, conf config.Config) *GlobalStack {
	s := &GlobalStack{
		Stack: awscdk.NewStack(scope, &id, &awscdk.StackProps{
			Env:                   &awscdk.Environment{Region: optional(conf.AWS.Region)},
			TerminationProtection: jsii.Bool(conf.AWS.Removal == config.RemovalRetain),
		}),
		project:        conf.Project,
		aws:            conf.AWS,
		endpointGroups: map[string]awsglobalaccelerator.EndpointGroup{},
		loadBalancers:  map[string][]config.LoadBalancer{},
	}
	s.addTables()
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

// output adds an output that other stacks import as {project}-{export}.
func (s *GlobalStack) output(id string, value *string, description, export string) {
	awscdk.NewCfnOutput(s.Stack, &id, &awscdk.CfnOutputProps{
		Value:       value,
		Description: &description,
		ExportName:  jsii.String(s.project + "-" + export),
	})
}

// parameter adds a plain SSM parameter under /{project}/{name}, which programs
// in other Regions can read as well.
func (s *GlobalStack) parameter(id, name string, value *string, description string) {
	awsssm.NewStringParameter(s.Stack, &id, &awsssm.StringParameterProps{
		ParameterName: jsii.String("/" + s.project + "/" + name),
		StringValue:   value,
		Description:   &description,
	})
}

func (s *GlobalStack) removalPolicy() awscdk.RemovalPolicy {
	if s.aws.Removal == config.RemovalRetain {
		return awscdk.RemovalPolicy_RETAIN
	}
	return awscdk.RemovalPolicy_DESTROY
}

// constructRegion is a Region as construct ids carry it: us-east-1 becomes
// Useast1. Upper-case letters follow anything that is no letter, of which a
// Region's name has only its closing digit.
func constructRegion(region string) string {
	joined := strings.ReplaceAll(region, "-", "")
	return strings.ToUpper(joined[:1]) + joined[1:]
}
