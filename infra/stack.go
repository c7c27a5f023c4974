package infra

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsssm"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/gco-project/gco/internal/config"
)

// The names of the stacks that hold data.
func globalStackName(project string) string { return project + "-global" }
func stateStackName(project string) string  { return project + "-state" }

// stack is what the stacks that hold data have in common.
type stack struct {
	awscdk.Stack

	project string
	aws     config.AWS
}

func newStack(scope constructs.Construct, id string, conf config.Config) stack {
	return stack{
		Stack: awscdk.NewStack(scope, &id, &awscdk.StackProps{
			Env:                   &awscdk.Environment{Region: optional(conf.AWS.Region)},
			TerminationProtection: jsii.Bool(conf.AWS.Removal == config.RemovalRetain),
		}),
		project: conf.Project,
		aws:     conf.AWS,
	}
}

// output adds an output that other stacks import as {project}-{export}.
func (s *stack) output(id string, value *string, description, export string) {
	awscdk.NewCfnOutput(s.Stack, &id, &awscdk.CfnOutputProps{
		Value:       value,
		Description: &description,
		ExportName:  jsii.String(s.project + "-" + export),
	})
}

// parameter adds a plain SSM parameter under /{project}/{name}, which programs
// in other Regions can read as well.
func (s *stack) parameter(id, name string, value *string, description string) {
	awsssm.NewStringParameter(s.Stack, &id, &awsssm.StringParameterProps{
		ParameterName: jsii.String("/" + s.project + "/" + name),
		StringValue:   value,
		Description:   &description,
	})
}

func (s *stack) removalPolicy() awscdk.RemovalPolicy {
	if s.aws.Removal == config.RemovalRetain {
		return awscdk.RemovalPolicy_RETAIN
	}
	return awscdk.RemovalPolicy_DESTROY
}
