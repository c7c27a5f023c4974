package infra

import (
	"fmt"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatchactions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssnssubscriptions"
	"github.com/aws/jsii-runtime-go"

	"github.com/gco-project/gco/internal/config"
)

// acceleratorMetricsRegion is the one Region that has Global Accelerator's
// metrics. An alarm can only watch metrics of its own Region.
const acceleratorMetricsRegion = "us-west-2"

// alarms adds alarms to one stack, all of which notify one topic.
type alarms struct {
	stack   awscdk.Stack
	project string
	action  awscloudwatch.IAlarmAction
}

// newAlarms defines the topic and its key. CloudWatch can publish to an
// encrypted topic only if the topic's key lets it, which AWS's own key does
// not; hence one of ours.
func newAlarms(stack awscdk.Stack, conf config.Config) *alarms {
	key := awskms.NewKey(stack, jsii.String("AlarmTopicKey"), &awskms.KeyProps{
		Description:       jsii.String("KMS key for GCO alarm notifications"),
		EnableKeyRotation: jsii.Bool(true),
		RemovalPolicy:     awscdk.RemovalPolicy_DESTROY, // it protects messages in flight, no data at rest
	})
	key.AddToResourcePolicy(allowAlarms(stack, jsii.String("*"), "kms:Decrypt", "kms:GenerateDataKey*"), nil)

	topic := awssns.NewTopic(stack, jsii.String("AlarmTopic"), &awssns.TopicProps{
		DisplayName: jsii.String("GCO alarms of " + conf.Project),
		MasterKey:   key,
		EnforceSSL:  jsii.Bool(true),
	})
	// The rule against plain HTTP gives the topic a policy, and that replaces
	// the one by which every principal of the account may publish.
	topic.AddToResourcePolicy(allowAlarms(stack, topic.TopicArn(), "sns:Publish"))
	for _, address := range conf.AWS.Alarms.Emails {
		subscription := topic.AddSubscription(awssnssubscriptions.NewEmailSubscription(jsii.String(address), nil))
		suppress(subscription, []suppression{{
			rule:   "Serverless-SNSRedrivePolicy",
			reason: "A queue of mails that could not be delivered would have no reader; the alarm's state stays in CloudWatch.",
		}})
	}
	awscdk.NewCfnOutput(stack, jsii.String("AlarmTopicArn"), &awscdk.CfnOutputProps{
		Value:       topic.TopicArn(),
		Description: jsii.String("SNS topic that the alarms notify"),
		ExportName:  jsii.String(*stack.StackName() + "-alarm-topic-arn"),
	})
	return newAlarmsAt(stack, conf.Project, topic)
}

// newAlarmsAt is for alarms that ring at a topic of another stack.
func newAlarmsAt(stack awscdk.Stack, project string, topic awssns.ITopic) *alarms {
	return &alarms{stack: stack, project: project, action: awscloudwatchactions.NewSnsAction(topic)}
}

// allowAlarms lets the alarms of this account do something to the topic or key.
func allowAlarms(stack awscdk.Stack, resource *string, actions ...string) awsiam.PolicyStatement {
	return awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Sid:        jsii.String("AllowAlarmsToPublish"),
		Principals: &[]awsiam.IPrincipal{awsiam.NewServicePrincipal(jsii.String("cloudwatch.amazonaws.com"), nil)},
		Actions:    jsii.Strings(actions...),
		Resources:  &[]*string{resource},
		Conditions: &map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": stack.Account()}},
	})
}

// alarm is what one alarm watches and when it rings.
type alarm struct {
	id          string
	name        string // {project}-{name}
	description string
	metric      awscloudwatch.IMetric
	compare     awscloudwatch.ComparisonOperator
	threshold   float64
	periods     float64
}

// add defines an alarm that rings, and says when it is over. Missing data never
// rings: these metrics exist only while there is something to count.
func (a *alarms) add(spec alarm) {
	made := awscloudwatch.NewAlarm(a.stack, &spec.id, &awscloudwatch.AlarmProps{
		AlarmName:          jsii.String(a.project + "-" + spec.name),
		AlarmDescription:   &spec.description,
		Metric:             spec.metric,
		ComparisonOperator: spec.compare,
		Threshold:          &spec.threshold,
		EvaluationPeriods:  &spec.periods,
		TreatMissingData:   awscloudwatch.TreatMissingData_NOT_BREACHING,
	})
	made.AddAlarmAction(a.action)
	made.AddOkAction(a.action)
}

// addTable watches one table: throttled requests of the table and its indexes
// for three minutes on end, and any error of DynamoDB's own making.
func (a *alarms) addTable(t table) {
	name := t.construct.TableName()
	var throttles []awscloudwatch.IMetric
	for _, event := range []string{"ReadThrottleEvents", "WriteThrottleEvents"} {
		throttles = append(throttles, metric("AWS/DynamoDB", event, "Sum", 60, map[string]*string{"TableName": name}))
		for _, index := range t.spec.indexes {
			throttles = append(throttles, metric("AWS/DynamoDB", event, "Sum", 60, map[string]*string{
				"TableName": name, "GlobalSecondaryIndexName": jsii.String(index.name),
			}))
		}
	}
	a.add(alarm{
		id:          t.spec.id + "ThrottleAlarm",
		name:        t.spec.name + "-throttles",
		description: "DynamoDB throttles the table " + t.spec.name + " or one of its indexes. See docs/aws-alarms.md.",
		metric:      sum(throttles, 60),
		compare:     awscloudwatch.ComparisonOperator_GREATER_THAN_THRESHOLD,
		threshold:   0,
		periods:     3,
	})

	a.add(alarm{
		id:          t.spec.id + "SystemErrorAlarm",
		name:        t.spec.name + "-system-errors",
		description: "DynamoDB answers requests to the table " + t.spec.name + " with errors of its own (HTTP 500). See docs/aws-alarms.md.",
		metric:      a.systemErrors(t),
		compare:     awscloudwatch.ComparisonOperator_GREATER_THAN_THRESHOLD,
		threshold:   0,
		periods:     1,
	})
}

// systemErrors counts a table's system errors. CloudWatch has that metric by
// operation only; a query adds up those that exist, however many they are.
func (a *alarms) systemErrors(t table) awscloudwatch.IMetric {
	return awscloudwatch.NewMathExpression(&awscloudwatch.MathExpressionProps{
		Expression: jsii.String(fmt.Sprintf(
			`SELECT SUM(SystemErrors) FROM SCHEMA("AWS/DynamoDB", Operation, TableName) WHERE TableName = '%s-%s'`,
			a.project, t.spec.name)),
		Period: awscdk.Duration_Seconds(jsii.Number(300)),
	})
}

// addBackup watches for backup jobs into the vault that failed.
func (a *alarms) addBackup(vaultName *string) {
	a.add(alarm{
		id:          "BackupJobsFailedAlarm",
		name:        "backup-jobs-failed",
		description: "A backup of a table has failed. See docs/aws-alarms.md.",
		metric:      metric("AWS/Backup", "NumberOfBackupJobsFailed", "Sum", 3600, map[string]*string{"BackupVaultName": vaultName}),
		compare:     awscloudwatch.ComparisonOperator_GREATER_THAN_THRESHOLD,
		threshold:   0,
		periods:     1,
	})
}

// addEndpointGroup watches for an endpoint group in which nothing is healthy
// for three minutes on end.
func (a *alarms) addEndpointGroup(region string, acceleratorID, listenerID *string) {
	a.add(alarm{
		id:          "EndpointGroup" + constructRegion(region) + "HealthAlarm",
		name:        "no-healthy-endpoint-" + region,
		description: "No endpoint of the accelerator is healthy in " + region + ". See docs/aws-alarms.md.",
		metric: metric("AWS/GlobalAccelerator", "HealthyEndpointCount", "Maximum", 60, map[string]*string{
			"Accelerator": acceleratorID, "Listener": listenerID, "EndpointGroup": jsii.String(region),
		}),
		compare:   awscloudwatch.ComparisonOperator_LESS_THAN_THRESHOLD,
		threshold: 1,
		periods:   3,
	})
}

// addAlarms puts the alarms that can stand in the global stack into it. Those on
// the accelerator can do so only where its metrics are.
func (s *GlobalStack) addAlarms(conf config.Config) {
	a := newAlarms(s.Stack, conf)
	for _, t := range s.tables {
		a.addTable(t)
	}
	a.addBackup(s.vault.BackupVaultName())
	if s.aws.Region != acceleratorMetricsRegion {
		return
	}
	for _, region := range s.aws.Regions {
		a.addEndpointGroup(region, s.acceleratorID, segment(s.listener.ListenerArn(), 3))
	}
}

// newAcceleratorAlarms defines the stack of the accelerator's alarms, for a
// global stack whose home is another Region. The two ids come in as parameters,
// since CloudFormation can't hand a value from one Region to another.
func newAcceleratorAlarms(app awscdk.App, conf config.Config) awscdk.Stack {
	stack := awscdk.NewStack(app, jsii.String(conf.Project+"-accelerator-alarms"), &awscdk.StackProps{
		Env: &awscdk.Environment{Region: jsii.String(acceleratorMetricsRegion)},
	})
	acceleratorID := awscdk.NewCfnParameter(stack, jsii.String("AcceleratorId"), &awscdk.CfnParameterProps{
		Description:    jsii.String("Output GlobalAcceleratorArn of " + conf.Project + "-global, the part after accelerator/"),
		AllowedPattern: jsii.String("[0-9a-f-]{36}"),
	})
	listenerID := awscdk.NewCfnParameter(stack, jsii.String("ListenerId"), &awscdk.CfnParameterProps{
		Description:    jsii.String("Output GlobalAcceleratorListenerArn of " + conf.Project + "-global, the part after listener/"),
		AllowedPattern: jsii.String("[0-9a-z]+"),
	})
	a := newAlarms(stack, conf)
	for _, region := range conf.AWS.Regions {
		a.addEndpointGroup(region, acceleratorID.ValueAsString(), listenerID.ValueAsString())
	}
	return stack
}

func metric(namespace, name, statistic string, seconds int, dimensions map[string]*string) awscloudwatch.IMetric {
	return awscloudwatch.NewMetric(&awscloudwatch.MetricProps{
		Namespace:     &namespace,
		MetricName:    &name,
		Statistic:     &statistic,
		Period:        awscdk.Duration_Seconds(jsii.Number(seconds)),
		DimensionsMap: &dimensions,
	})
}

// sum adds metrics up, with a missing one counted as 0: without that a single
// missing metric would make the whole sum missing.
func sum(metrics []awscloudwatch.IMetric, seconds int) awscloudwatch.IMetric {
	using := map[string]awscloudwatch.IMetric{}
	var terms []string
	for i, m := range metrics {
		id := fmt.Sprintf("m%d", i)
		using[id] = m
		terms = append(terms, "FILL("+id+",0)")
	}
	return awscloudwatch.NewMathExpression(&awscloudwatch.MathExpressionProps{
		Expression:   jsii.String(strings.Join(terms, "+")),
		UsingMetrics: &using,
		Period:       awscdk.Duration_Seconds(jsii.Number(seconds)),
	})
}
