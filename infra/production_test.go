package infra

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/config"
)

// productionLeavesOut are resources of the seed's table that a stack of profile
// production does without: the functions that empty buckets, and the role with
// the broad policy.
var productionLeavesOut = []string{
	"CustomS3AutoDeleteObjectsCustomResourceProviderHandler",
	"CustomS3AutoDeleteObjectsCustomResourceProviderRole",
	"ModelWeightsAccessLogsBucketAutoDeleteObjectsCustomResource",
	"ModelWeightsBucketAutoDeleteObjectsCustomResource",
	"DynamoDBBackupPlanDynamoDBTablesSelectionRole",
}

// productionTable is what profile production has beyond the seed's table or in
// place of it: whole resources, for one Region and home in us-west-2.
const productionTable = `
{{- define "settings" }}
    BillingMode: PAY_PER_REQUEST
    SSESpecification: {SSEEnabled: true, SSEType: KMS}
{{- end }}
{{- define "kept" }}
  DeletionPolicy: Retain
  UpdateReplacePolicy: Retain
{{- end }}
{{- define "replica" -}}
  Region: us-west-2, DeletionProtectionEnabled: true, PointInTimeRecoverySpecification: {PointInTimeRecoveryEnabled: true}, Tags: [{Key: 'gco:project', Value: gco}]
{{- end }}
{{- define "index" -}} Projection: {ProjectionType: ALL} {{- end }}
{{- define "bucket" }}
    PublicAccessBlockConfiguration: {BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true}
    VersioningConfiguration: {Status: Enabled}
    Tags: [{Key: 'gco:project', Value: gco}]
{{- end }}
{{- define "rings" }}
    AlarmActions: ['${AlarmTopic}']
    OKActions: ['${AlarmTopic}']
    TreatMissingData: notBreaching
    Tags: [{Key: 'gco:project', Value: gco}]
{{- end }}

# Tables that can have replicas, are kept and can't be deleted by mistake

JobTemplatesTable:
  Type: AWS::DynamoDB::GlobalTable {{- template "kept" }}
  Properties: {{- template "settings" }}
    TableName: gco-job-templates
    AttributeDefinitions: [{AttributeName: template_name, AttributeType: S}]
    KeySchema: [{AttributeName: template_name, KeyType: HASH}]
    Replicas: [{ {{- template "replica" -}} }]
WebhooksTable:
  Type: AWS::DynamoDB::GlobalTable {{- template "kept" }}
  Properties: {{- template "settings" }}
    TableName: gco-webhooks
    AttributeDefinitions: [{AttributeName: webhook_id, AttributeType: S}, {AttributeName: namespace, AttributeType: S}]
    KeySchema: [{AttributeName: webhook_id, KeyType: HASH}]
    GlobalSecondaryIndexes: [{IndexName: namespace-index, KeySchema: [{AttributeName: namespace, KeyType: HASH}], {{ template "index" }}}]
    Replicas: [{ {{- template "replica" -}}, GlobalSecondaryIndexes: [{IndexName: namespace-index}]}]
JobsTable:
  Type: AWS::DynamoDB::GlobalTable {{- template "kept" }}
  Properties: {{- template "settings" }}
    TableName: gco-jobs
    TimeToLiveSpecification: {AttributeName: ttl, Enabled: true}
    AttributeDefinitions: [{AttributeName: job_id, AttributeType: S}, {AttributeName: target_region, AttributeType: S}, {AttributeName: status, AttributeType: S}, {AttributeName: namespace, AttributeType: S}, {AttributeName: submitted_at, AttributeType: S}]
    KeySchema: [{AttributeName: job_id, KeyType: HASH}]
    GlobalSecondaryIndexes:
    - {IndexName: region-status-index, KeySchema: [{AttributeName: target_region, KeyType: HASH}, {AttributeName: status, KeyType: RANGE}], {{ template "index" }}}
    - {IndexName: namespace-index, KeySchema: [{AttributeName: namespace, KeyType: HASH}, {AttributeName: submitted_at, KeyType: RANGE}], {{ template "index" }}}
    - {IndexName: status-index, KeySchema: [{AttributeName: status, KeyType: HASH}, {AttributeName: submitted_at, KeyType: RANGE}], {{ template "index" }}}
    Replicas: [{ {{- template "replica" -}}, GlobalSecondaryIndexes: [{IndexName: region-status-index}, {IndexName: namespace-index}, {IndexName: status-index}]}]
InferenceEndpointsTable:
  Type: AWS::DynamoDB::GlobalTable {{- template "kept" }}
  Properties: {{- template "settings" }}
    TableName: gco-inference-endpoints
    AttributeDefinitions: [{AttributeName: endpoint_name, AttributeType: S}]
    KeySchema: [{AttributeName: endpoint_name, KeyType: HASH}]
    Replicas: [{ {{- template "replica" -}} }]

# Buckets, key and vault that are kept; hidden versions of logs expire

ModelBucketKey:
  Type: AWS::KMS::Key {{- template "kept" }}
  Properties:
    Description: KMS key for GCO model weights bucket
    EnableKeyRotation: true
    KeyPolicy: {Version: '2012-10-17', Statement: [{Effect: Allow, Action: 'kms:*', Resource: '*', Principal: {AWS: 'arn:aws:iam::${AWS::AccountId}:root'}}]}
    Tags: [{Key: 'gco:project', Value: gco}]
ModelWeightsAccessLogsBucket:
  Type: AWS::S3::Bucket {{- template "kept" }}
  Properties: {{- template "bucket" }}
    BucketEncryption: {ServerSideEncryptionConfiguration: [{ServerSideEncryptionByDefault: {SSEAlgorithm: AES256}}]}
    LifecycleConfiguration: {Rules: [{Id: ExpireAccessLogs, Status: Enabled, ExpirationInDays: 90, NoncurrentVersionExpiration: {NoncurrentDays: 1}}]}
ModelWeightsBucket:
  Type: AWS::S3::Bucket {{- template "kept" }}
  Properties: {{- template "bucket" }}
    BucketEncryption: {ServerSideEncryptionConfiguration: [{BucketKeyEnabled: true, ServerSideEncryptionByDefault: {SSEAlgorithm: 'aws:kms', KMSMasterKeyID: '${ModelBucketKey.Arn}'}}]}
    LoggingConfiguration: {DestinationBucketName: '${ModelWeightsAccessLogsBucket}', LogFilePrefix: model-bucket-logs/}
ModelWeightsAccessLogsBucketPolicy:
  Type: AWS::S3::BucketPolicy
  Properties:
    Bucket: ${ModelWeightsAccessLogsBucket}
    PolicyDocument:
      Version: '2012-10-17'
      Statement:
      - {Effect: Deny, Action: 's3:*', Principal: {AWS: '*'}, Condition: {Bool: {'aws:SecureTransport': 'false'}}, Resource: ['${ModelWeightsAccessLogsBucket.Arn}', '${ModelWeightsAccessLogsBucket.Arn}/*']}
      - {Effect: Allow, Action: 's3:PutObject', Principal: {Service: logging.s3.amazonaws.com}, Condition: {ArnLike: {'aws:SourceArn': '${ModelWeightsBucket.Arn}'}, StringEquals: {'aws:SourceAccount': '${AWS::AccountId}'}}, Resource: '${ModelWeightsAccessLogsBucket.Arn}/model-bucket-logs/*'}
ModelWeightsBucketPolicy:
  Type: AWS::S3::BucketPolicy
  Properties:
    Bucket: ${ModelWeightsBucket}
    PolicyDocument:
      Version: '2012-10-17'
      Statement: [{Effect: Deny, Action: 's3:*', Principal: {AWS: '*'}, Condition: {Bool: {'aws:SecureTransport': 'false'}}, Resource: ['${ModelWeightsBucket.Arn}', '${ModelWeightsBucket.Arn}/*']}]
DynamoDBBackupVault:
  Type: AWS::Backup::BackupVault {{- template "kept" }}
  Properties: {BackupVaultName: gcoglobalDynamoDBBackupVault168F6567, BackupVaultTags: {'gco:project': gco}}

# A backup role that reaches the four tables and the one vault

DynamoDBBackupPlan:
  Type: AWS::Backup::BackupPlan
  Properties:
    BackupPlan:
      BackupPlanName: DynamoDBBackupPlan
      BackupPlanRule:
      - {RuleName: DailyBackup, ScheduleExpression: "cron(0 3 * * ? *)", TargetBackupVault: '${DynamoDBBackupVault.BackupVaultName}', Lifecycle: {DeleteAfterDays: 35}, EnableContinuousBackup: true}
      - {RuleName: WeeklyBackup, ScheduleExpression: "cron(0 4 ? * SUN *)", TargetBackupVault: '${DynamoDBBackupVault.BackupVaultName}', Lifecycle: {DeleteAfterDays: 90}}
    BackupPlanTags: {'gco:project': gco}
DynamoDBBackupPlanDynamoDBTablesSelection:
  Type: AWS::Backup::BackupSelection
  Properties:
    BackupPlanId: ${DynamoDBBackupPlan.BackupPlanId}
    BackupSelection:
      SelectionName: DynamoDBTablesSelection
      IamRoleArn: ${BackupRole.Arn}
      Resources: ['${JobTemplatesTable.Arn}', '${WebhooksTable.Arn}', '${JobsTable.Arn}', '${InferenceEndpointsTable.Arn}']
BackupRole:
  Type: AWS::IAM::Role
  Properties:
    Description: AWS Backup copies the GCO tables into their vault
    AssumeRolePolicyDocument: {Version: '2012-10-17', Statement: [{Effect: Allow, Action: 'sts:AssumeRole', Principal: {Service: backup.amazonaws.com}, Condition: {StringEquals: {'aws:SourceAccount': '${AWS::AccountId}'}}}]}
    Tags: [{Key: 'gco:project', Value: gco}]
BackupPolicy:
  Type: AWS::IAM::ManagedPolicy
  Properties:
    Description: Back up the GCO tables
    Path: /
    Roles: ['${BackupRole}']
    PolicyDocument:
      Version: '2012-10-17'
      Statement:
      - {Effect: Allow, Action: ['dynamodb:CreateBackup', 'dynamodb:DescribeTable', 'dynamodb:ListTagsOfResource', 'dynamodb:StartAwsBackupJob'], Resource: ['${InferenceEndpointsTable.Arn}', '${JobTemplatesTable.Arn}', '${JobsTable.Arn}', '${WebhooksTable.Arn}']}
      - {Effect: Allow, Action: ['dynamodb:DeleteBackup', 'dynamodb:DescribeBackup'], Resource: ['${InferenceEndpointsTable.Arn}/backup/*', '${JobTemplatesTable.Arn}/backup/*', '${JobsTable.Arn}/backup/*', '${WebhooksTable.Arn}/backup/*']}
      - {Effect: Allow, Action: ['backup:CopyIntoBackupVault', 'backup:DescribeBackupVault'], Resource: '${DynamoDBBackupVault.BackupVaultArn}'}

# The accelerator: a tag, and groups whose members are all in the template

GCOAccelerator:
  Type: AWS::GlobalAccelerator::Accelerator
  Properties: {Name: gco-accelerator, Enabled: true, Tags: [{Key: 'gco:project', Value: gco}]}
GCOAcceleratorGCOListenerEndpointGroupUseast1:
  Type: AWS::GlobalAccelerator::EndpointGroup
  Properties: {ListenerArn: '${GCOAcceleratorGCOListener.ListenerArn}', EndpointGroupRegion: us-east-1, HealthCheckProtocol: HTTP, HealthCheckPort: 80, HealthCheckPath: /api/v1/health, HealthCheckIntervalSeconds: 30, ThresholdCount: 3, EndpointConfigurations: []}

# Alarms

AlarmTopicKey:
  Type: AWS::KMS::Key
  DeletionPolicy: Delete
  UpdateReplacePolicy: Delete
  Properties:
    Description: KMS key for GCO alarm notifications
    EnableKeyRotation: true
    KeyPolicy:
      Version: '2012-10-17'
      Statement:
      - {Effect: Allow, Action: 'kms:*', Resource: '*', Principal: {AWS: 'arn:aws:iam::${AWS::AccountId}:root'}}
      - {Sid: AllowAlarmsToPublish, Effect: Allow, Action: ['kms:Decrypt', 'kms:GenerateDataKey*'], Resource: '*', Principal: {Service: cloudwatch.amazonaws.com}, Condition: {StringEquals: {'aws:SourceAccount': '${AWS::AccountId}'}}}
    Tags: [{Key: 'gco:project', Value: gco}]
AlarmTopic:
  Type: AWS::SNS::Topic
  Properties: {DisplayName: GCO alarms of gco, KmsMasterKeyId: '${AlarmTopicKey.Arn}', Tags: [{Key: 'gco:project', Value: gco}]}
AlarmTopicPolicy:
  Type: AWS::SNS::TopicPolicy
  Properties:
    Topics: ['${AlarmTopic}']
    PolicyDocument:
      Version: '2012-10-17'
      Statement:
      - {Sid: AllowPublishThroughSSLOnly, Effect: Deny, Action: 'sns:Publish', Principal: '*', Resource: '${AlarmTopic}', Condition: {Bool: {'aws:SecureTransport': 'false'}}}
      - {Sid: AllowAlarmsToPublish, Effect: Allow, Action: 'sns:Publish', Principal: {Service: cloudwatch.amazonaws.com}, Resource: '${AlarmTopic}', Condition: {StringEquals: {'aws:SourceAccount': '${AWS::AccountId}'}}}
EndpointGroupUseast1HealthAlarm:
  Type: AWS::CloudWatch::Alarm
  Properties: {{- template "rings" }}
    AlarmName: gco-no-healthy-endpoint-us-east-1
    AlarmDescription: No endpoint of the accelerator is healthy in us-east-1. See docs/aws-alarms.md.
    Namespace: AWS/GlobalAccelerator
    MetricName: HealthyEndpointCount
    Dimensions: [{Name: Accelerator, Value: 'select(1, split(/, ${GCOAccelerator.AcceleratorArn}))'}, {Name: EndpointGroup, Value: us-east-1}, {Name: Listener, Value: 'select(3, split(/, ${GCOAcceleratorGCOListener.ListenerArn}))'}]
    Statistic: Maximum
    Period: 60
    ComparisonOperator: LessThanThreshold
    Threshold: 1
    EvaluationPeriods: 3
BackupJobsFailedAlarm:
  Type: AWS::CloudWatch::Alarm
  Properties: {{- template "rings" }}
    AlarmName: gco-backup-jobs-failed
    AlarmDescription: A backup of a table has failed. See docs/aws-alarms.md.
    Namespace: AWS/Backup
    MetricName: NumberOfBackupJobsFailed
    Dimensions: [{Name: BackupVaultName, Value: '${DynamoDBBackupVault.BackupVaultName}'}]
    Statistic: Sum
    Period: 3600
    ComparisonOperator: GreaterThanThreshold
    Threshold: 0
    EvaluationPeriods: 1
{{- range .Tables }}
{{ .ID }}SystemErrorAlarm:
  Type: AWS::CloudWatch::Alarm
  Properties: {{- template "rings" }}
    AlarmName: gco-{{ .Name }}-system-errors
    AlarmDescription: DynamoDB answers requests to the table {{ .Name }} with errors of its own (HTTP 500). See docs/aws-alarms.md.
    Metrics: [{Id: expr_1, Expression: 'SELECT SUM(SystemErrors) FROM SCHEMA("AWS/DynamoDB", Operation, TableName) WHERE TableName = ''gco-{{ .Name }}''', Period: 300, ReturnData: true}]
    ComparisonOperator: GreaterThanThreshold
    Threshold: 0
    EvaluationPeriods: 1
{{ .ID }}ThrottleAlarm:
  Type: AWS::CloudWatch::Alarm
  Properties: {{- template "rings" }}
    AlarmName: gco-{{ .Name }}-throttles
    AlarmDescription: DynamoDB throttles the table {{ .Name }} or one of its indexes. See docs/aws-alarms.md.
    Metrics:
    - {Id: expr_1, Expression: '{{ .Sum }}', ReturnData: true}
    {{- $table := . }}
    {{- range .Metrics }}
    - {Id: {{ .ID }}, ReturnData: false, MetricStat: {Stat: Sum, Period: 60, Metric: {Namespace: AWS/DynamoDB, MetricName: {{ .Name }}, Dimensions: [{{ if .Index }}{Name: GlobalSecondaryIndexName, Value: {{ .Index }}}, {{ end }}{Name: TableName, Value: '${ {{- $table.ID -}} }'}]}}}
    {{- end }}
    ComparisonOperator: GreaterThanThreshold
    Threshold: 0
    EvaluationPeriods: 3
{{- end }}
`

type watchedTable struct {
	ID, Name, Sum string
	Metrics       []watchedMetric
}

type watchedMetric struct{ ID, Name, Index string }

var watchedTables = []watchedTable{
	{"JobTemplatesTable", "job-templates", "FILL(m0,0)+FILL(m1,0)", []watchedMetric{
		{"m0", "ReadThrottleEvents", ""}, {"m1", "WriteThrottleEvents", ""},
	}},
	{"WebhooksTable", "webhooks", "FILL(m0,0)+FILL(m1,0)+FILL(m2,0)+FILL(m3,0)", []watchedMetric{
		{"m0", "ReadThrottleEvents", ""},
		{"m1", "ReadThrottleEvents", "namespace-index"},
		{"m2", "WriteThrottleEvents", ""},
		{"m3", "WriteThrottleEvents", "namespace-index"},
	}},
	{"JobsTable", "jobs", "FILL(m0,0)+FILL(m1,0)+FILL(m2,0)+FILL(m3,0)+FILL(m4,0)+FILL(m5,0)+FILL(m6,0)+FILL(m7,0)", []watchedMetric{
		{"m0", "ReadThrottleEvents", ""},
		{"m1", "ReadThrottleEvents", "region-status-index"},
		{"m2", "ReadThrottleEvents", "namespace-index"},
		{"m3", "ReadThrottleEvents", "status-index"},
		{"m4", "WriteThrottleEvents", ""},
		{"m5", "WriteThrottleEvents", "region-status-index"},
		{"m6", "WriteThrottleEvents", "namespace-index"},
		{"m7", "WriteThrottleEvents", "status-index"},
	}},
	{"InferenceEndpointsTable", "inference-endpoints", "FILL(m0,0)+FILL(m1,0)", []watchedMetric{
		{"m0", "ReadThrottleEvents", ""}, {"m1", "WriteThrottleEvents", ""},
	}},
}

func TestProductionTemplate(t *testing.T) {
	got := readTemplate(t, scenario(t, "production"), "gco-global")
	for _, resource := range got.Resources {
		delete(resource.(map[string]any), "Metadata")
	}

	want := fill(t, seedTable, seedCase{
		Project: "gco", Accelerator: "gco-accelerator", Home: "us-west-2", Partition: "aws",
		Path: "/api/v1/health", Interval: 30, Days: 90, Regions: []regionTitle{{"us-east-1", "Useast1"}},
	})
	resources := want["Resources"].(map[string]any)
	for _, id := range productionLeavesOut {
		delete(resources, id)
	}
	maps.Copy(resources, fill(t, productionTable, map[string]any{"Tables": watchedTables}))
	for _, resource := range resources {
		if resource := resource.(map[string]any); resource["Type"] == "AWS::SSM::Parameter" {
			resource["Properties"].(map[string]any)["Tags"] = map[string]any{"gco:project": "gco"}
		}
	}
	outputs := want["Outputs"].(map[string]any)
	outputs["AlarmTopicArn"] = map[string]any{
		"Value": "${AlarmTopic}", "Description": "SNS topic that the alarms notify",
		"Export": map[string]any{"Name": "gco-global-alarm-topic-arn"},
	}

	for _, line := range differences("Resources", got.Resources, resources) {
		t.Error(line)
	}
	for _, line := range differences("Outputs", got.Outputs, outputs) {
		t.Error(line)
	}
}

func TestReplicas(t *testing.T) {
	a := scenario(t, "production with replicas")
	for id, resource := range readTemplate(t, a, "gco-global").Resources {
		resource := resource.(map[string]any)
		if strings.HasPrefix(resource["Type"].(string), "Custom::") || resource["Type"] == "AWS::Lambda::Function" {
			t.Errorf("%s: replicas need no function", id)
		}
		if resource["Type"] != "AWS::DynamoDB::GlobalTable" {
			continue
		}
		properties := resource["Properties"].(map[string]any)
		if stream := oneLine(properties["StreamSpecification"]); stream != `{"StreamViewType":"NEW_AND_OLD_IMAGES"}` {
			t.Errorf("%s: replication needs a stream, has %s", id, stream)
		}
		var regions []string
		for _, replica := range properties["Replicas"].([]any) {
			replica := replica.(map[string]any)
			regions = append(regions, replica["Region"].(string))
			if oneLine(replica["DeletionProtectionEnabled"]) != "true" || oneLine(replica["PointInTimeRecoverySpecification"]) != `{"PointInTimeRecoveryEnabled":true}` {
				t.Errorf("%s: replica is not protected: %s", id, oneLine(replica))
			}
			if !strings.Contains(oneLine(replica["Tags"]), `{"Key":"team","Value":"capacity"}`) {
				t.Errorf("%s: replica without its tag: %s", id, oneLine(replica["Tags"]))
			}
		}
		slices.Sort(regions)
		if !slices.Equal(regions, []string{"ap-northeast-1", "eu-west-1", "us-east-2"}) {
			t.Errorf("%s: in %v", id, regions)
		}
	}
}

// TestAcceleratorAlarmsFollowTheirMetrics: away from us-west-2 they stand in a
// stack of their own.
func TestAcceleratorAlarmsFollowTheirMetrics(t *testing.T) {
	a := scenario(t, "production with replicas")
	if !slices.Equal(a.Stacks, []string{"gco-global", "gco-state", "gco-accelerator-alarms"}) {
		t.Fatalf("stacks %v", a.Stacks)
	}
	if _, there := readTemplate(t, a, "gco-global").Resources["EndpointGroupUseast1HealthAlarm"]; there {
		t.Error("the global stack watches metrics that are not in its Region")
	}
	alarms := readTemplate(t, a, "gco-accelerator-alarms")
	want := []any{
		map[string]any{"Name": "Accelerator", "Value": "${AcceleratorId}"},
		map[string]any{"Name": "EndpointGroup", "Value": "us-east-1"},
		map[string]any{"Name": "Listener", "Value": "${ListenerId}"},
	}
	alarm := alarms.Resources["EndpointGroupUseast1HealthAlarm"].(map[string]any)
	for _, line := range differences("Dimensions", alarm["Properties"].(map[string]any)["Dimensions"], want) {
		t.Error(line)
	}
	for _, name := range []string{"AcceleratorId", "ListenerId"} {
		if alarms.Parameters[name] == nil {
			t.Errorf("no parameter %s", name)
		}
	}
	var manifest struct {
		Artifacts map[string]struct {
			Environment  string
			Dependencies []string
		}
	}
	readJSON(t, a.Dir+"/manifest.json", &manifest)
	if stack := manifest.Artifacts["gco-accelerator-alarms"]; !strings.HasSuffix(stack.Environment, "/us-west-2") || !slices.Contains(stack.Dependencies, "gco-global") {
		t.Errorf("%+v", stack)
	}
}

// TestSettings looks at settings one by one where the profiles differ, since
// each may be set by itself.
func TestSettings(t *testing.T) {
	property := func(path ...string) func(cfnTemplate) any {
		return func(template cfnTemplate) any {
			var node any = template.Resources
			for _, key := range path {
				object, _ := node.(map[string]any)
				node = object[key]
			}
			return node
		}
	}
	for name, test := range map[string]struct {
		yaml string
		got  func(cfnTemplate) any
		want string
	}{
		"deletion protection of a plain table": {"{profile: seed, tables: {deletionProtection: true}}", property("JobsTable", "Properties", "DeletionProtectionEnabled"), `true`},
		"removal of a table":                   {"{profile: seed, removal: retain, buckets: {emptyOnDelete: false}}", property("JobsTable", "DeletionPolicy"), `"Retain"`},
		"removal of a bucket":                  {"{removal: destroy}", property("ModelWeightsBucket", "DeletionPolicy"), `"Delete"`},
		"no function to empty buckets":         {"{profile: seed, buckets: {emptyOnDelete: false}}", property("CustomS3AutoDeleteObjectsCustomResourceProviderHandler"), `null`},
		"no alarms":                            {"{alarms: {enabled: false}}", property("AlarmTopic"), `null`},
		"alarms in the seed":                   {"{profile: seed, alarms: {enabled: true}}", property("AlarmTopic", "Type"), `"AWS::SNS::Topic"`},
		"tags":                                 {"{profile: seed, tags: {team: x}}", property("JobsTable", "Properties", "Tags"), `[{"Key":"team","Value":"x"}]`},
		"scoped role in the seed":              {"{profile: seed, backup: {role: scoped}}", property("DynamoDBBackupPlanDynamoDBTablesSelection", "Properties", "BackupSelection", "IamRoleArn"), `"${BackupRole.Arn}"`},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := synthText(t.TempDir(), "aws: "+test.yaml, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := oneLine(test.got(readTemplate(t, a, "gco-global"))); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestMailsAreSubscribed(t *testing.T) {
	resources := readTemplate(t, scenario(t, "production with 10 regions"), "gco-global").Resources
	var addresses []string
	for _, resource := range resources {
		if resource := resource.(map[string]any); resource["Type"] == "AWS::SNS::Subscription" {
			properties := resource["Properties"].(map[string]any)
			addresses = append(addresses, properties["Protocol"].(string)+":"+properties["Endpoint"].(string))
		}
	}
	if !slices.Equal(addresses, []string{"email:ops@example.com"}) {
		t.Errorf("subscribed %v", addresses)
	}
}

// TestTerminationProtection: a stack whose data is kept can't be deleted by
// mistake either.
func TestTerminationProtection(t *testing.T) {
	for name := range scenarios {
		a := scenario(t, name)
		var manifest struct {
			Artifacts map[string]struct {
				Properties struct{ TerminationProtection bool }
			}
		}
		readJSON(t, a.Dir+"/manifest.json", &manifest)
		want := a.Config.AWS.Removal == config.RemovalRetain
		if got := manifest.Artifacts[a.Stacks[0]].Properties.TerminationProtection; got != want {
			t.Errorf("%s: termination protection %v", name, got)
		}
	}
}
