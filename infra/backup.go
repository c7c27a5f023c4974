package infra

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsbackup"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/jsii-runtime-go"

	"github.com/gco-project/gco/internal/config"
)

// dailyBackupDays is how long a daily backup is kept.
const dailyBackupDays = 35

// addBackupPlan backs the four tables up daily and weekly. Point-in-time
// recovery of the tables themselves is a property of theirs and independent of
// this plan; see docs/decisions/infra-backup.md.
func (s *GlobalStack) addBackupPlan() {
	s.vault = awsbackup.NewBackupVault(s.Stack, jsii.String("DynamoDBBackupVault"), &awsbackup.BackupVaultProps{
		RemovalPolicy: s.removalPolicy(),
	})
	s.plan = awsbackup.NewBackupPlan(s.Stack, jsii.String("DynamoDBBackupPlan"), &awsbackup.BackupPlanProps{
		BackupPlanRules: &[]awsbackup.BackupPlanRule{
			awsbackup.NewBackupPlanRule(s.dailyRule()),
			awsbackup.NewBackupPlanRule(s.weeklyRule()),
		},
	})

	options := &awsbackup.BackupSelectionOptions{Resources: backupResources(s.tables)}
	if s.aws.Backup.Role == config.BackupRoleScoped {
		s.backupRole, s.backupPolicy = s.addBackupRole(s.tables, s.vault.BackupVaultArn())
		options.Role = s.backupRole
		options.DisableDefaultBackupPolicy = jsii.Bool(true)
	}
	s.plan.AddSelection(jsii.String("DynamoDBTablesSelection"), options)

	s.output("BackupPlanArn", s.plan.BackupPlanArn(), "AWS Backup plan ARN for DynamoDB tables", "backup-plan-arn")
	s.output("BackupVaultArn", s.vault.BackupVaultArn(), "AWS Backup vault ARN for DynamoDB backups", "backup-vault-arn")
}

func backupResources(tables []table) *[]awsbackup.BackupResource {
	var resources []awsbackup.BackupResource
	for _, t := range tables {
		resources = append(resources, awsbackup.BackupResource_FromDynamoDbTable(t.construct))
	}
	return &resources
}

func (s *GlobalStack) dailyRule() *awsbackup.BackupPlanRuleProps {
	rule := &awsbackup.BackupPlanRuleProps{
		RuleName:           jsii.String("DailyBackup"),
		BackupVault:        s.vault,
		ScheduleExpression: awsevents.Schedule_Cron(&awsevents.CronOptions{Hour: jsii.String("3"), Minute: jsii.String("0")}),
		DeleteAfter:        awscdk.Duration_Days(jsii.Number(dailyBackupDays)),
		// AWS Backup knows no continuous backup of DynamoDB and falls back to a
		// snapshot. It is part of the plan's description, so it stays.
		EnableContinuousBackup: jsii.Bool(true),
	}
	return rule
}

func (s *GlobalStack) weeklyRule() *awsbackup.BackupPlanRuleProps {
	return &awsbackup.BackupPlanRuleProps{
		RuleName:    jsii.String("WeeklyBackup"),
		BackupVault: s.vault,
		ScheduleExpression: awsevents.Schedule_Cron(&awsevents.CronOptions{
			Hour: jsii.String("4"), Minute: jsii.String("0"), WeekDay: jsii.String("SUN"),
		}),
		DeleteAfter: awscdk.Duration_Days(jsii.Number(90)),
	}
}

// addBackupRole defines a role with which AWS Backup can copy tables into one
// vault, and do nothing else. It can't restore: that takes a role that can
// create tables, which is made when it is needed.
func (s *stack) addBackupRole(tables []table, vaultARN *string) (awsiam.Role, awsiam.ManagedPolicy) {
	role := awsiam.NewRole(s.Stack, jsii.String("BackupRole"), &awsiam.RoleProps{
		Description: jsii.String("AWS Backup copies the GCO tables into their vault"),
		AssumedBy: awsiam.NewServicePrincipal(jsii.String("backup.amazonaws.com"), &awsiam.ServicePrincipalOpts{
			Conditions: &map[string]any{
				"StringEquals": map[string]any{"aws:SourceAccount": s.Account()},
			},
		}),
	})
	var tableARNs, backupARNs []*string
	for _, t := range tables {
		tableARNs = append(tableARNs, t.construct.TableArn())
		backupARNs = append(backupARNs, jsii.String(*t.construct.TableArn()+"/backup/*"))
	}
	policy := awsiam.NewManagedPolicy(s.Stack, jsii.String("BackupPolicy"), &awsiam.ManagedPolicyProps{
		Description: jsii.String("Back up the GCO tables"),
		Roles:       &[]awsiam.IRole{role},
		Statements: &[]awsiam.PolicyStatement{
			allow(tableARNs, "dynamodb:CreateBackup", "dynamodb:DescribeTable", "dynamodb:ListTagsOfResource", "dynamodb:StartAwsBackupJob"),
			// For accounts that have not opted in to AWS Backup's own format:
			// there a backup is a resource of DynamoDB below its table.
			allow(backupARNs, "dynamodb:DescribeBackup", "dynamodb:DeleteBackup"),
			allow([]*string{vaultARN}, "backup:DescribeBackupVault", "backup:CopyIntoBackupVault"),
		},
	})
	return role, policy
}

func allow(resources []*string, actions ...string) awsiam.PolicyStatement {
	return awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Actions:   jsii.Strings(actions...),
		Resources: &resources,
	})
}
