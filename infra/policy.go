package infra

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/gco-project/gco/internal/config"
)

// statement is one statement of an IAM policy.
type statement struct {
	Sid       string
	Effect    string
	Action    []string
	Resource  []string
	Condition map[string]map[string][]string `json:",omitempty"`
}

// permission is what CloudFormation needs for resources of some types: the
// actions that the types' own schemas name for the properties we use.
type permission struct {
	sid       string
	types     []string
	actions   []string
	resources []string
	condition map[string]map[string][]string
}

// Policy is the IAM policy with which CloudFormation can build, change and
// delete the stacks of a configuration, and little beside them: where AWS names
// a resource at random, the statement covers all of its kind. It is meant
// for cdk bootstrap --cloudformation-execution-policies; without it CDK's
// bootstrap makes CloudFormation an administrator.
func Policy(conf config.Config) ([]byte, error) {
	document := struct {
		Version   string
		Statement []statement
	}{Version: "2012-10-17"}
	for _, p := range permissions(conf) {
		slices.Sort(p.actions)
		document.Statement = append(document.Statement, statement{
			Sid: p.sid, Effect: "Allow", Action: p.actions, Resource: p.resources, Condition: p.condition,
		})
	}
	text, err := json.MarshalIndent(document, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encoding the policy: %w", err)
	}
	return append(text, '\n'), nil
}

// permissions lists the policy's statements.
func permissions(conf config.Config) []permission {
	project := conf.Project
	generated := generatedPrefixes(conf)
	everything := []string{"*"}
	all := []permission{
		{
			sid:       "Tables",
			types:     []string{"AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable"},
			resources: []string{"arn:aws:dynamodb:*:*:table/" + project + "-*"},
			actions: prefixed("dynamodb",
				"CreateTable UpdateTable DeleteTable Describe* UpdateTimeToLive UpdateContinuousBackups UpdateContributorInsights",
				"ListTagsOfResource TagResource UntagResource GetResourcePolicy"),
		},
		{
			sid:       "Parameters",
			types:     []string{"AWS::SSM::Parameter"},
			resources: []string{"arn:aws:ssm:*:*:parameter/" + project + "/*", "arn:aws:ssm:*:*:parameter/cdk-bootstrap/*"},
			actions:   prefixed("ssm", "PutParameter DeleteParameter GetParameters AddTagsToResource RemoveTagsFromResource ListTagsForResource"),
		},
		{
			sid:       "Keys",
			types:     []string{"AWS::KMS::Key"},
			resources: everything, // a key has no name before it exists
			actions: prefixed("kms",
				"CreateKey DescribeKey EnableKey DisableKey ScheduleKeyDeletion UpdateKeyDescription GetKeyPolicy PutKeyPolicy",
				"GetKeyRotationStatus EnableKeyRotation DisableKeyRotation ListResourceTags TagResource UntagResource",
				"CreateGrant RetireGrant GenerateDataKey Decrypt"),
		},
		{
			sid:       "Buckets",
			types:     []string{"AWS::S3::Bucket", "AWS::S3::BucketPolicy"},
			resources: named("arn:aws:s3:::", strings.ToLower, generated),
			actions: prefixed("s3",
				"CreateBucket DeleteBucket ListBucket GetBucket* GetAccelerateConfiguration GetAnalyticsConfiguration",
				"GetEncryptionConfiguration GetIntelligentTieringConfiguration GetInventoryConfiguration",
				"GetLifecycleConfiguration GetMetricsConfiguration GetReplicationConfiguration PutBucketTagging",
				"PutEncryptionConfiguration PutLifecycleConfiguration PutBucketPublicAccessBlock PutBucketLogging",
				"PutBucketVersioning PutBucketOwnershipControls PutBucketPolicy DeleteBucketPolicy"),
		},
		{
			sid:       "Backups",
			types:     []string{"AWS::Backup::BackupVault", "AWS::Backup::BackupPlan", "AWS::Backup::BackupSelection"},
			resources: everything, // plans and selections are named by random ids
			actions: append(prefixed("backup",
				"CreateBackupVault DeleteBackupVault DescribeBackupVault GetBackupVaultAccessPolicy GetBackupVaultNotifications",
				"CreateBackupPlan UpdateBackupPlan DeleteBackupPlan GetBackupPlan",
				"CreateBackupSelection DeleteBackupSelection GetBackupSelection ListTags TagResource UntagResource"),
				"backup-storage:Mount", "backup-storage:MountCapsule"),
		},
		{
			sid:       "Accelerator",
			types:     []string{"AWS::GlobalAccelerator::Accelerator", "AWS::GlobalAccelerator::Listener", "AWS::GlobalAccelerator::EndpointGroup"},
			resources: everything, // their ARNs hold random ids only
			actions: append(prefixed("globalaccelerator",
				"CreateAccelerator UpdateAccelerator DeleteAccelerator DescribeAccelerator DescribeAcceleratorAttributes UpdateAcceleratorAttributes ListAccelerators",
				"CreateListener UpdateListener DeleteListener DescribeListener ListListeners",
				"CreateEndpointGroup UpdateEndpointGroup DeleteEndpointGroup DescribeEndpointGroup",
				"ListTagsForResource TagResource UntagResource"),
				// It looks at the load balancers that it is given.
				"elasticloadbalancing:DescribeLoadBalancers", "ec2:DescribeInternetGateways", "ec2:DescribeSubnets", "ec2:DescribeRegions"),
		},
	}
	all = append(all, rolePermissions(conf, generated)...)
	return append(all, settingPermissions(conf, generated)...)
}

// generatedPrefixes start the names that CloudFormation makes up: those of the
// stacks, cut short if they are long.
func generatedPrefixes(conf config.Config) []string {
	const longest = 20
	names := []string{globalStackName(conf.Project)}
	if conf.AWS.State.Enabled {
		names = append(names, stateStackName(conf.Project))
	}
	for i, name := range names {
		names[i] = name[:min(len(name), longest)]
	}
	return slices.Compact(names)
}

// named are the ARNs of everything of a kind whose name starts with one of the
// prefixes, changed where that kind's names are.
func named(kind string, change func(string) string, prefixes []string) []string {
	var resources []string
	for _, prefix := range prefixes {
		if change != nil {
			prefix = change(prefix)
		}
		resources = append(resources, kind+prefix+"*")
	}
	return resources
}

// settingPermissions are the statements that only some settings need.
func settingPermissions(conf config.Config, generated []string) []permission {
	var all []permission
	if conf.AWS.Tables.Global {
		all = append(all, permission{
			sid:       "Replicas",
			types:     []string{"AWS::DynamoDB::GlobalTable"},
			resources: []string{"arn:aws:dynamodb:*:*:table/" + conf.Project + "-*"},
			actions: prefixed("dynamodb",
				"CreateTableReplica DeleteTableReplica UpdateTableReplicaAutoScaling",
				// DynamoDB copies a table in the caller's name.
				"Query Scan GetItem PutItem UpdateItem DeleteItem BatchWriteItem"),
		}, permission{
			sid:       "ReplicaScaling",
			types:     []string{"AWS::DynamoDB::GlobalTable"},
			resources: []string{"*"},
			actions:   []string{"application-autoscaling:Describe*", "cloudwatch:PutMetricData"},
		})
	}
	if conf.AWS.Backup.Role == config.BackupRoleScoped || conf.AWS.State.Enabled {
		all = append(all, permission{
			sid:       "Policies",
			types:     []string{"AWS::IAM::ManagedPolicy"},
			resources: named("arn:aws:iam::*:policy/", nil, generated),
			actions: prefixed("iam",
				"CreatePolicy GetPolicy DeletePolicy ListEntitiesForPolicy",
				"CreatePolicyVersion GetPolicyVersion ListPolicyVersions DeletePolicyVersion"),
		})
	}
	if conf.AWS.Alarms.Enabled {
		all = append(all, permission{
			sid:       "Alarms",
			types:     []string{"AWS::CloudWatch::Alarm"},
			resources: []string{"arn:aws:cloudwatch:*:*:alarm:" + conf.Project + "-*"},
			actions:   prefixed("cloudwatch", "PutMetricAlarm DeleteAlarms DescribeAlarms ListTagsForResource TagResource UntagResource"),
		}, permission{
			sid:       "AlarmTopic",
			types:     []string{"AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "AWS::SNS::Subscription"},
			resources: []string{"arn:aws:sns:*:*:" + conf.Project + "-*"},
			actions: prefixed("sns",
				"CreateTopic DeleteTopic GetTopicAttributes SetTopicAttributes GetDataProtectionPolicy ListSubscriptionsByTopic",
				"Subscribe Unsubscribe GetSubscriptionAttributes ListTagsForResource TagResource UntagResource"),
		})
	}
	if conf.AWS.Buckets.EmptyOnDelete {
		all = append(all, permission{
			sid:       "EmptyBuckets",
			types:     []string{"AWS::Lambda::Function", "Custom::S3AutoDeleteObjects"},
			resources: append(named("arn:aws:lambda:*:*:function:", nil, generated), "arn:aws:s3:::cdk-hnb659fds-assets-*"),
			actions: append(prefixed("lambda",
				"CreateFunction DeleteFunction GetFunction GetFunctionConfiguration GetRuntimeManagementConfig GetFunctionCodeSigningConfig",
				"UpdateFunctionCode UpdateFunctionConfiguration InvokeFunction ListTags TagResource UntagResource"),
				"s3:GetObject"),
		})
	}
	return all
}

// rolePermissions let CloudFormation make the stack's roles, give them the
// stack's policies and pass them to the services that act as them.
func rolePermissions(conf config.Config, generated []string) []permission {
	passedTo := []string{"backup.amazonaws.com"}
	if conf.AWS.Buckets.EmptyOnDelete {
		passedTo = append(passedTo, "lambda.amazonaws.com")
	}
	return []permission{
		{
			sid:       "Roles",
			types:     []string{"AWS::IAM::Role"},
			resources: named("arn:aws:iam::*:role/", nil, generated),
			actions: prefixed("iam",
				"CreateRole DeleteRole GetRole UpdateRole UpdateRoleDescription UpdateAssumeRolePolicy PassRole",
				"ListAttachedRolePolicies ListRolePolicies GetRolePolicy TagRole UntagRole"),
			// The key is there only where a role is passed on.
			condition: map[string]map[string][]string{"StringEqualsIfExists": {"iam:PassedToService": passedTo}},
		},
		{
			sid:       "AttachPolicies",
			types:     []string{"AWS::IAM::Role"},
			resources: named("arn:aws:iam::*:role/", nil, generated),
			actions:   prefixed("iam", "AttachRolePolicy DetachRolePolicy"),
			condition: map[string]map[string][]string{"ArnLike": {"iam:PolicyARN": attachable(conf, generated)}},
		},
		{
			sid:       "ServiceLinkedRoles",
			types:     []string{"AWS::Backup::BackupSelection", "AWS::DynamoDB::GlobalTable", "AWS::GlobalAccelerator::EndpointGroup"},
			resources: []string{"arn:aws:iam::*:role/aws-service-role/*"},
			actions:   prefixed("iam", "CreateServiceLinkedRole"),
			condition: map[string]map[string][]string{"StringEquals": {"iam:AWSServiceName": {
				"backup.amazonaws.com", "replication.dynamodb.amazonaws.com", "globalaccelerator.amazonaws.com",
			}}},
		},
	}
}

// attachable are the policies that a role of the stack may be given.
func attachable(conf config.Config, generated []string) []string {
	policies := named("arn:aws:iam::*:policy/", nil, generated)
	if conf.AWS.Backup.Role == config.BackupRoleManaged {
		policies = append(policies, "arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup")
	}
	if conf.AWS.Buckets.EmptyOnDelete {
		policies = append(policies, "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole")
	}
	return policies
}

// prefixed puts a service's prefix before the actions in lists.
func prefixed(service string, lists ...string) []string {
	var actions []string
	for _, list := range lists {
		for action := range strings.FieldsSeq(list) {
			actions = append(actions, service+":"+action)
		}
	}
	return actions
}
