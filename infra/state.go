package infra

import (
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsbackup"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/gco-project/gco/internal/config"
)

// StateStack holds what the control plane keeps beside the tables of the
// global stack: two tables, a bucket, their place in the backup plan, and the
// policy with which gco server may use all of it. It is deployed after the
// global stack, which knows nothing of it.
type StateStack struct {
	stack

	tables       []table
	accessLogs   awss3.Bucket
	objects      awss3.Bucket
	selection    awsbackup.BackupSelection
	backupPolicy awsiam.ManagedPolicy
	serverPolicy awsiam.ManagedPolicy
}

// stateTables are the tables of this stack. The driver describes the same in
// internal/store/dynamodb, and a test holds the two together.
var stateTables = []tableSpec{
	{
		id: "StateTable", name: "state", partitionKey: "pk", sortKey: "sk", ttl: "ttl",
		outputs: "State", export: "state", about: "queues, sessions and leases",
	},
	{
		id: "EventsTable", name: "events", partitionKey: "pk", sortKey: "sk", ttl: "ttl",
		outputs: "Events", export: "events", about: "history and events",
	},
}

// NewStateStack defines the stack under scope. conf has passed
// [config.Config.Validate]; anything else may panic inside CDK.
func NewStateStack(scope constructs.Construct, id string, conf config.Config) *StateStack {
	s := &StateStack{stack: newStack(scope, id, conf)}
	s.tables = s.addTables(stateTables)
	s.addObjectsBucket()
	s.addBackupSelection()
	s.addServerPolicy()
	if conf.AWS.Alarms.Enabled {
		s.addAlarms()
	}
	s.suppressFindings()
	return s
}

// addObjectsBucket defines the bucket of archived logs and large manifests.
func (s *StateStack) addObjectsBucket() {
	s.accessLogs = awss3.NewBucket(s.Stack, jsii.String("ObjectsAccessLogsBucket"), s.bucketProps(func(p *awss3.BucketProps) {
		p.Encryption = awss3.BucketEncryption_S3_MANAGED
		p.LifecycleRules = &[]*awss3.LifecycleRule{s.accessLogsRule()}
	}))
	s.objects = awss3.NewBucket(s.Stack, jsii.String("ObjectsBucket"), s.bucketProps(func(p *awss3.BucketProps) {
		// AWS's own key for S3: a principal of this account that may use the
		// bucket may use the key.
		p.Encryption = awss3.BucketEncryption_KMS_MANAGED
		p.BucketKeyEnabled = jsii.Bool(true)
		p.LifecycleRules = &[]*awss3.LifecycleRule{{
			Id:      jsii.String("ExpireDeletedObjects"),
			Enabled: jsii.Bool(true),
			// As long as daily backups of the tables that name the objects.
			NoncurrentVersionExpiration:         awscdk.Duration_Days(jsii.Number(dailyBackupDays)),
			AbortIncompleteMultipartUploadAfter: awscdk.Duration_Days(jsii.Number(7)),
		}}
		p.ServerAccessLogsBucket = s.accessLogs
		p.ServerAccessLogsPrefix = jsii.String("objects-bucket-logs/")
	}))
	s.output("ObjectsBucketName", s.objects.BucketName(), "S3 bucket for archived logs and large manifests", "objects-bucket-name")
	s.output("ObjectsBucketArn", s.objects.BucketArn(), "S3 bucket ARN for archived logs and large manifests", "objects-bucket-arn")
	s.parameter("ObjectsBucketNameParam", "objects-bucket-name", s.objects.BucketName(), "S3 bucket name for archived logs and large manifests")
}

// addBackupSelection adds the tables to the global stack's plan, and so to its
// vault, by the plan's export. That plan stays as it is.
func (s *StateStack) addBackupSelection() {
	// arn:aws:backup:REGION:ACCOUNT:backup-plan:ID
	const partOfID = 6
	planARN := awscdk.Fn_ImportValue(jsii.String(s.project + "-backup-plan-arn"))
	planID := awscdk.Fn_Select(jsii.Number(partOfID), awscdk.Fn_Split(jsii.String(":"), planARN, nil))
	props := &awsbackup.BackupSelectionProps{
		BackupPlan: awsbackup.BackupPlan_FromBackupPlanId(s.Stack, jsii.String("BackupPlan"), planID),
		Resources:  backupResources(s.tables),
	}
	if s.aws.Backup.Role == config.BackupRoleScoped {
		props.Role, s.backupPolicy = s.addBackupRole(s.tables, awscdk.Fn_ImportValue(jsii.String(s.project+"-backup-vault-arn")))
		props.DisableDefaultBackupPolicy = jsii.Bool(true)
	}
	s.selection = awsbackup.NewBackupSelection(s.Stack, jsii.String("StateTablesSelection"), props)
}

// addServerPolicy defines what gco server may do in AWS. Whoever runs it
// attaches the policy to the role that it runs as. There is no Scan in it: no
// request needs one.
func (s *StateStack) addServerPolicy() {
	var tables, indexes, backups []*string
	parameters := []*string{
		s.arn("ssm", "parameter", s.project+"/objects-bucket-name"),
		s.arn("ssm", "parameter", s.project+"/model-bucket-name"),
	}
	for _, spec := range slices.Concat(tableSpecs, stateTables) {
		table := *s.tableName(spec)
		tables = append(tables, s.arn("dynamodb", "table", table))
		backups = append(backups, s.arn("dynamodb", "table", table+"/backup/*"))
		for _, index := range spec.indexes {
			indexes = append(indexes, s.arn("dynamodb", "table", table+"/index/"+index.name))
		}
		parameters = append(parameters, s.arn("ssm", "parameter", s.project+"/"+spec.export+"-table-name"))
	}
	objects := jsii.String(*s.objects.BucketArn() + "/*")
	s.serverPolicy = awsiam.NewManagedPolicy(s.Stack, jsii.String("ServerPolicy"), &awsiam.ManagedPolicyProps{
		Description: jsii.String("What gco server does in AWS"),
		Statements: &[]awsiam.PolicyStatement{
			allow(tables, "dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query",
				"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem", "dynamodb:ConditionCheckItem",
				"dynamodb:CreateBackup", "dynamodb:DescribeContinuousBackups"),
			allow(indexes, "dynamodb:Query"),
			// On-demand backups, which it also prunes. It may not restore.
			allow(backups, "dynamodb:DescribeBackup", "dynamodb:DeleteBackup"),
			allow([]*string{jsii.String("*")}, "dynamodb:ListBackups"), // which knows no resources
			allow(parameters, "ssm:GetParameters"),
			allow([]*string{s.objects.BucketArn()}, "s3:ListBucket"),
			allow([]*string{objects}, "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"),
		},
	})
	s.output("ServerPolicyArn", s.serverPolicy.ManagedPolicyArn(), "IAM policy for gco server", "server-policy-arn")
}

// arn is that of a resource in this account and Region.
func (s *StateStack) arn(service, resource, name string) *string {
	return s.FormatArn(&awscdk.ArnComponents{Service: &service, Resource: &resource, ResourceName: &name})
}

// addAlarms watches the tables, and rings at the global stack's topic.
func (s *StateStack) addAlarms() {
	topic := awssns.Topic_FromTopicArn(s.Stack, jsii.String("AlarmTopic"),
		awscdk.Fn_ImportValue(jsii.String(globalStackName(s.project)+"-alarm-topic-arn")))
	a := newAlarmsAt(s.Stack, s.project, topic)
	for _, t := range s.tables {
		a.addTable(t)
	}
}

const objectsReplicationReason = "Logs and manifests belong to tables that are in this Region alone."

var objectsSuppressions = []suppression{
	{rule: "HIPAA.Security-S3BucketReplicationEnabled", reason: objectsReplicationReason},
	{rule: "NIST.800.53.R5-S3BucketReplicationEnabled", reason: objectsReplicationReason},
	{rule: "PCI.DSS.321-S3BucketReplicationEnabled", reason: objectsReplicationReason},
}

func (s *StateStack) suppressFindings() {
	suppress(s.objects, objectsSuppressions)
	suppress(s.accessLogs, accessLogsSuppressions)
	suppress(s.serverPolicy, s.serverSuppressions())
	switch s.aws.Backup.Role {
	case config.BackupRoleManaged:
		suppressManagedRole(s.selection)
	case config.BackupRoleScoped:
		s.suppressBackupPolicy(s.backupPolicy, s.tables)
	}
}

func (s *StateStack) serverSuppressions() []suppression {
	var backups []string
	for _, spec := range slices.Concat(tableSpecs, stateTables) {
		// As cdk-nag writes what CloudFormation alone knows.
		partition, region := "aws", s.aws.Region
		if region == "" {
			partition, region = "<AWS::Partition>", "<AWS::Region>"
		}
		backups = append(backups, "Resource::arn:"+partition+":dynamodb:"+region+":<AWS::AccountId>:table/"+*s.tableName(spec)+"/backup/*")
	}
	return []suppression{
		{
			rule:      "AwsSolutions-IAM5",
			reason:    "The objects of the one bucket, whose keys hold the IDs of jobs.",
			appliesTo: []string{"Resource::<" + s.logicalID(s.objects) + ".Arn>/*"},
		},
		{
			rule:      "AwsSolutions-IAM5",
			reason:    "DynamoDB gives a backup its name when it makes it, so the ARN below the table can't be known before.",
			appliesTo: backups,
		},
		{
			rule:      "AwsSolutions-IAM5",
			reason:    "ListBackups can't be limited to resources; it tells names and times only.",
			appliesTo: []string{"Resource::*"},
		},
	}
}
