package infra

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"

	"github.com/gco-project/gco/internal/config"
)

// suppression says why a finding of cdk-nag is accepted. appliesTo narrows it
// to single findings of a rule that has several.
type suppression struct {
	rule      string
	reason    string
	appliesTo []string
}

const (
	replicationReason = "Model weights are user-uploaded artifacts that can be re-uploaded. " +
		"Cross-region replication is not required; the inference_monitor " +
		"syncs models from S3 to each region's EFS at pod startup."
	logsBucketReason      = "This is the server access logs destination bucket."
	logsReplicationReason = "Access logs do not require replication."
	logsEncryptionReason  = "SSE-S3 is sufficient for access logs."
)

var modelBucketSuppressions = []suppression{
	{rule: "HIPAA.Security-S3BucketReplicationEnabled", reason: replicationReason},
	{rule: "NIST.800.53.R5-S3BucketReplicationEnabled", reason: replicationReason},
	{rule: "PCI.DSS.321-S3BucketReplicationEnabled", reason: replicationReason},
}

var accessLogsSuppressions = []suppression{
	{rule: "HIPAA.Security-S3BucketReplicationEnabled", reason: logsReplicationReason},
	{rule: "HIPAA.Security-S3DefaultEncryptionKMS", reason: logsEncryptionReason},
	{rule: "NIST.800.53.R5-S3BucketReplicationEnabled", reason: logsReplicationReason},
	{rule: "NIST.800.53.R5-S3DefaultEncryptionKMS", reason: logsEncryptionReason},
	{rule: "PCI.DSS.321-S3BucketReplicationEnabled", reason: logsReplicationReason},
	{rule: "PCI.DSS.321-S3DefaultEncryptionKMS", reason: logsEncryptionReason},
}

// idleSuppressions are part of the seed though they suppress nothing: a rule of
// cdk-nag already lets a bucket pass that is the target of access logs.
var idleSuppressions = []suppression{
	{rule: "AwsSolutions-S1", reason: logsBucketReason},
	{rule: "HIPAA.Security-S3BucketLoggingEnabled", reason: logsBucketReason},
	{rule: "NIST.800.53.R5-S3BucketLoggingEnabled", reason: logsBucketReason},
	{rule: "PCI.DSS.321-S3BucketLoggingEnabled", reason: logsBucketReason},
}

func (s *GlobalStack) suppressFindings() {
	suppress(s.modelBucket, modelBucketSuppressions)
	suppress(s.accessLogs, accessLogsSuppressions)
	if s.aws.Profile == config.ProfileSeed {
		suppress(s.accessLogs, idleSuppressions)
	}

	switch s.aws.Backup.Role {
	case config.BackupRoleManaged:
		suppressManagedRole(s.plan.Node().FindChild(jsii.String("DynamoDBTablesSelection")))
	case config.BackupRoleScoped:
		s.suppressBackupPolicy(s.backupPolicy, s.tables)
	}
}

// suppressManagedRole is for the role that CDK makes for a selection.
func suppressManagedRole(selection constructs.IConstruct) {
	suppress(selection.Node().FindChild(jsii.String("Role")), []suppression{{
		rule:      "AwsSolutions-IAM4",
		reason:    "AWS's own policy for backups, asked for by aws.backup.role: managed. The default, scoped, does without it.",
		appliesTo: []string{"Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup"},
	}})
}

func (s *stack) suppressBackupPolicy(policy awsiam.ManagedPolicy, tables []table) {
	var findings []string
	for _, t := range tables {
		findings = append(findings, "Resource::<"+s.logicalID(t.construct)+".Arn>/backup/*")
	}
	suppress(policy, []suppression{{
		rule:      "AwsSolutions-IAM5",
		reason:    "DynamoDB gives a backup its name when it makes it, so the ARN below the table can't be known before.",
		appliesTo: findings,
	}})
}

// logicalID is the name that a construct's resource has in the template.
func (s *stack) logicalID(construct constructs.IConstruct) string {
	element, ok := construct.Node().DefaultChild().(awscdk.CfnElement)
	if !ok {
		panic("infra: " + *construct.Node().Path() + " is no single resource")
	}
	return *s.GetLogicalId(element)
}

func suppress(construct constructs.IConstruct, suppressions []suppression) {
	var list []*cdknag.NagPackSuppression
	for _, s := range suppressions {
		item := &cdknag.NagPackSuppression{Id: jsii.String(s.rule), Reason: jsii.String(s.reason)}
		if len(s.appliesTo) > 0 {
			var findings []any
			for _, finding := range s.appliesTo {
				findings = append(findings, finding)
			}
			item.AppliesTo = &findings
		}
		list = append(list, item)
	}
	cdknag.NagSuppressions_AddResourceSuppressions(construct, &list, nil)
}
