package infra

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// stateTemplate is the whole of the state stack in profile production, written as
// seedTable is, with import(X) for an export of another stack.
const stateTemplate = `
{{- define "kept" }}
  DeletionPolicy: Retain
  UpdateReplacePolicy: Retain
{{- end }}
{{- define "table" }}
  Type: AWS::DynamoDB::GlobalTable {{- template "kept" }}
  Properties:
    BillingMode: PAY_PER_REQUEST
    SSESpecification: {SSEEnabled: true, SSEType: KMS}
    AttributeDefinitions: [{AttributeName: pk, AttributeType: S}, {AttributeName: sk, AttributeType: S}]
    KeySchema: [{AttributeName: pk, KeyType: HASH}, {AttributeName: sk, KeyType: RANGE}]
    TimeToLiveSpecification: {AttributeName: ttl, Enabled: true}
    Replicas: [{Region: us-west-2, DeletionProtectionEnabled: true, PointInTimeRecoverySpecification: {PointInTimeRecoveryEnabled: true}, Tags: [{Key: 'gco:project', Value: gco}]}]
{{- end }}
{{- define "bucket" }}
    PublicAccessBlockConfiguration: {BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true}
    VersioningConfiguration: {Status: Enabled}
    Tags: [{Key: 'gco:project', Value: gco}]
{{- end }}
{{- define "rings" }}
    AlarmActions: ['import(gco-global-alarm-topic-arn)']
    OKActions: ['import(gco-global-alarm-topic-arn)']
    TreatMissingData: notBreaching
    Tags: [{Key: 'gco:project', Value: gco}]
    ComparisonOperator: GreaterThanThreshold
    Threshold: 0
{{- end }}
{{- define "tls" -}}
Effect: Deny, Action: 's3:*', Principal: {AWS: '*'}, Condition: {Bool: {'aws:SecureTransport': 'false'}}
{{- end }}
Resources:
 StateTable: {{- template "table" }}
    TableName: gco-state
 EventsTable: {{- template "table" }}
    TableName: gco-events
 ObjectsAccessLogsBucket:
  Type: AWS::S3::Bucket {{- template "kept" }}
  Properties: {{- template "bucket" }}
    BucketEncryption: {ServerSideEncryptionConfiguration: [{ServerSideEncryptionByDefault: {SSEAlgorithm: AES256}}]}
    LifecycleConfiguration: {Rules: [{Id: ExpireAccessLogs, Status: Enabled, ExpirationInDays: 90, NoncurrentVersionExpiration: {NoncurrentDays: 1}}]}
 ObjectsBucket:
  Type: AWS::S3::Bucket {{- template "kept" }}
  Properties: {{- template "bucket" }}
    BucketEncryption: {ServerSideEncryptionConfiguration: [{BucketKeyEnabled: true, ServerSideEncryptionByDefault: {SSEAlgorithm: 'aws:kms'}}]}
    LoggingConfiguration: {DestinationBucketName: '${ObjectsAccessLogsBucket}', LogFilePrefix: objects-bucket-logs/}
    LifecycleConfiguration: {Rules: [{Id: ExpireDeletedObjects, Status: Enabled, NoncurrentVersionExpiration: {NoncurrentDays: 35}, AbortIncompleteMultipartUpload: {DaysAfterInitiation: 7}}]}
 ObjectsAccessLogsBucketPolicy:
  Type: AWS::S3::BucketPolicy
  Properties:
    Bucket: ${ObjectsAccessLogsBucket}
    PolicyDocument:
      Version: '2012-10-17'
      Statement:
      - { {{- template "tls" -}}, Resource: ['${ObjectsAccessLogsBucket.Arn}', '${ObjectsAccessLogsBucket.Arn}/*']}
      - {Effect: Allow, Action: 's3:PutObject', Principal: {Service: logging.s3.amazonaws.com}, Condition: {ArnLike: {'aws:SourceArn': '${ObjectsBucket.Arn}'}, StringEquals: {'aws:SourceAccount': '${AWS::AccountId}'}}, Resource: '${ObjectsAccessLogsBucket.Arn}/objects-bucket-logs/*'}
 ObjectsBucketPolicy:
  Type: AWS::S3::BucketPolicy
  Properties:
    Bucket: ${ObjectsBucket}
    PolicyDocument:
      Version: '2012-10-17'
      Statement: [{ {{- template "tls" -}}, Resource: ['${ObjectsBucket.Arn}', '${ObjectsBucket.Arn}/*']}]

# The plan and the vault are the global stack's

 StateTablesSelection:
  Type: AWS::Backup::BackupSelection
  Properties:
    BackupPlanId: 'select(6, split(:, import(gco-backup-plan-arn)))'
    BackupSelection:
      SelectionName: StateTablesSelection
      IamRoleArn: ${BackupRole.Arn}
      Resources: ['${StateTable.Arn}', '${EventsTable.Arn}']
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
      - {Effect: Allow, Action: ['dynamodb:CreateBackup', 'dynamodb:DescribeTable', 'dynamodb:ListTagsOfResource', 'dynamodb:StartAwsBackupJob'], Resource: ['${EventsTable.Arn}', '${StateTable.Arn}']}
      - {Effect: Allow, Action: ['dynamodb:DeleteBackup', 'dynamodb:DescribeBackup'], Resource: ['${EventsTable.Arn}/backup/*', '${StateTable.Arn}/backup/*']}
      - {Effect: Allow, Action: ['backup:CopyIntoBackupVault', 'backup:DescribeBackupVault'], Resource: 'import(gco-backup-vault-arn)'}

# What gco server may do: no Scan, no restore, wildcards for objects and backups

 ServerPolicy:
  Type: AWS::IAM::ManagedPolicy
  Properties:
    Description: What gco server does in AWS
    Path: /
    PolicyDocument:
      Version: '2012-10-17'
      Statement:
      - Effect: Allow
        Action: ['dynamodb:BatchGetItem', 'dynamodb:BatchWriteItem', 'dynamodb:ConditionCheckItem', 'dynamodb:CreateBackup', 'dynamodb:DeleteItem', 'dynamodb:DescribeContinuousBackups', 'dynamodb:DescribeTable', 'dynamodb:GetItem', 'dynamodb:PutItem', 'dynamodb:Query', 'dynamodb:UpdateItem']
        Resource:
        {{- range .Tables }}
        - arn:aws:dynamodb:us-west-2:${AWS::AccountId}:table/gco-{{ . }}
        {{- end }}
      - Effect: Allow
        Action: dynamodb:Query
        Resource:
        {{- range .Indexes }}
        - arn:aws:dynamodb:us-west-2:${AWS::AccountId}:table/gco-{{ . }}
        {{- end }}
      - Effect: Allow
        Action: ['dynamodb:DeleteBackup', 'dynamodb:DescribeBackup']
        Resource:
        {{- range .Tables }}
        - arn:aws:dynamodb:us-west-2:${AWS::AccountId}:table/gco-{{ . }}/backup/*
        {{- end }}
      - {Effect: Allow, Action: 'dynamodb:ListBackups', Resource: '*'}
      - Effect: Allow
        Action: ssm:GetParameters
        Resource:
        {{- range .Parameters }}
        - arn:aws:ssm:us-west-2:${AWS::AccountId}:parameter/gco/{{ . }}
        {{- end }}
      - {Effect: Allow, Action: 's3:ListBucket', Resource: '${ObjectsBucket.Arn}'}
      - {Effect: Allow, Action: ['s3:AbortMultipartUpload', 's3:DeleteObject', 's3:GetObject', 's3:PutObject'], Resource: '${ObjectsBucket.Arn}/*'}

# SSM

 StateTableNameParam: {Type: AWS::SSM::Parameter, Properties: {Type: String, Name: /gco/state-table-name, Value: '${StateTable}', Description: 'DynamoDB table name for queues, sessions and leases', Tags: {'gco:project': gco}}}
 EventsTableNameParam: {Type: AWS::SSM::Parameter, Properties: {Type: String, Name: /gco/events-table-name, Value: '${EventsTable}', Description: DynamoDB table name for history and events, Tags: {'gco:project': gco}}}
 ObjectsBucketNameParam: {Type: AWS::SSM::Parameter, Properties: {Type: String, Name: /gco/objects-bucket-name, Value: '${ObjectsBucket}', Description: S3 bucket name for archived logs and large manifests, Tags: {'gco:project': gco}}}

# Alarms, at the global stack's topic

{{- range .Watched }}
 {{ .ID }}SystemErrorAlarm:
  Type: AWS::CloudWatch::Alarm
  Properties: {{- template "rings" }}
    AlarmName: gco-{{ .Name }}-system-errors
    AlarmDescription: DynamoDB answers requests to the table {{ .Name }} with errors of its own (HTTP 500). See docs/aws-alarms.md.
    Metrics: [{Id: expr_1, Expression: 'SELECT SUM(SystemErrors) FROM SCHEMA("AWS/DynamoDB", Operation, TableName) WHERE TableName = ''gco-{{ .Name }}''', Period: 300, ReturnData: true}]
    EvaluationPeriods: 1
 {{ .ID }}ThrottleAlarm:
  Type: AWS::CloudWatch::Alarm
  Properties: {{- template "rings" }}
    AlarmName: gco-{{ .Name }}-throttles
    AlarmDescription: DynamoDB throttles the table {{ .Name }} or one of its indexes. See docs/aws-alarms.md.
    Metrics:
    - {Id: expr_1, Expression: 'FILL(m0,0)+FILL(m1,0)', ReturnData: true}
    - {Id: m0, ReturnData: false, MetricStat: {Stat: Sum, Period: 60, Metric: {Namespace: AWS/DynamoDB, MetricName: ReadThrottleEvents, Dimensions: [{Name: TableName, Value: '${ {{- .ID -}} }'}]}}}
    - {Id: m1, ReturnData: false, MetricStat: {Stat: Sum, Period: 60, Metric: {Namespace: AWS/DynamoDB, MetricName: WriteThrottleEvents, Dimensions: [{Name: TableName, Value: '${ {{- .ID -}} }'}]}}}
    EvaluationPeriods: 3
{{- end }}
Outputs:
 StateTableName: {Value: '${StateTable}', Description: 'DynamoDB table name for queues, sessions and leases', Export: {Name: gco-state-table-name}}
 StateTableArn: {Value: '${StateTable.Arn}', Description: 'DynamoDB table ARN for queues, sessions and leases', Export: {Name: gco-state-table-arn}}
 EventsTableName: {Value: '${EventsTable}', Description: DynamoDB table name for history and events, Export: {Name: gco-events-table-name}}
 EventsTableArn: {Value: '${EventsTable.Arn}', Description: DynamoDB table ARN for history and events, Export: {Name: gco-events-table-arn}}
 ObjectsBucketName: {Value: '${ObjectsBucket}', Description: S3 bucket for archived logs and large manifests, Export: {Name: gco-objects-bucket-name}}
 ObjectsBucketArn: {Value: '${ObjectsBucket.Arn}', Description: S3 bucket ARN for archived logs and large manifests, Export: {Name: gco-objects-bucket-arn}}
 ServerPolicyArn: {Value: '${ServerPolicy}', Description: IAM policy for gco server, Export: {Name: gco-server-policy-arn}}
`

func TestStateTemplate(t *testing.T) {
	got := readTemplate(t, scenario(t, "production"), "gco-state")
	for _, resource := range got.Resources {
		delete(resource.(map[string]any), "Metadata")
	}
	want := fill(t, stateTemplate, map[string]any{
		"Watched": []watchedTable{{ID: "StateTable", Name: "state"}, {ID: "EventsTable", Name: "events"}},
		"Tables":  []string{"events", "inference-endpoints", "job-templates", "jobs", "state", "webhooks"},
		"Indexes": []string{"jobs/index/namespace-index", "jobs/index/region-status-index", "jobs/index/status-index", "webhooks/index/namespace-index"},
		"Parameters": []string{
			"events-table-name", "inference-endpoints-table-name", "jobs-table-name", "model-bucket-name",
			"objects-bucket-name", "state-table-name", "templates-table-name", "webhooks-table-name",
		},
	})
	for _, line := range differences("Resources", got.Resources, want["Resources"]) {
		t.Error(line)
	}
	for _, line := range differences("Outputs", got.Outputs, want["Outputs"]) {
		t.Error(line)
	}
}

// TestStateIsDeployedAfterGlobal: it imports what the global stack exports, and
// nothing that it does not.
func TestStateIsDeployedAfterGlobal(t *testing.T) {
	for _, name := range []string{"production", "production with replicas", "production with plain tables"} {
		a := scenario(t, name)
		var manifest struct {
			Artifacts map[string]struct{ Dependencies []string }
		}
		readJSON(t, a.Dir+"/manifest.json", &manifest)
		if state := manifest.Artifacts["gco-state"]; !slices.Contains(state.Dependencies, "gco-global") {
			t.Errorf("%s: %+v", name, state)
		}
		exports := map[string]bool{}
		for _, output := range readTemplate(t, a, "gco-global").Outputs {
			export, _ := output.(map[string]any)["Export"].(map[string]any)
			exported, _ := export["Name"].(string)
			exports[exported] = true
		}
		imports := 0
		for rest := range strings.SplitSeq(oneLine(readTemplate(t, a, "gco-state").Resources), "import(") {
			if imported, _, found := strings.Cut(rest, ")"); found && strings.HasPrefix(imported, "gco-") {
				imports++
				if !exports[imported] {
					t.Errorf("%s: nothing exports %s", name, imported)
				}
			}
		}
		if imports == 0 {
			t.Errorf("%s: no import was found", name)
		}
	}
}

// TestStateLeavesGlobalAlone: with and without it, the global stack is the
// same.
func TestStateLeavesGlobalAlone(t *testing.T) {
	without, err := synthText(t.TempDir(), "aws: {state: {enabled: false}}", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(without.Stacks, []string{"gco-global"}) || without.State != nil {
		t.Errorf("stacks %v", without.Stacks)
	}
	var texts []string
	for _, a := range []Assembly{without, scenario(t, "production")} {
		text, err := os.ReadFile(a.Template("gco-global"))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	if texts[0] != texts[1] {
		t.Error("the state stack changes the global one")
	}
}

// TestTablesAreThoseOfTheDriver holds the tables of both stacks against what
// the driver of the store says that it needs.
func TestTablesAreThoseOfTheDriver(t *testing.T) {
	text, err := os.ReadFile("../internal/store/dynamodb/tables.json")
	if err != nil {
		t.Fatal(err)
	}
	type index struct{ Name, PartitionKey, SortKey string }
	var driver []struct {
		Name, PartitionKey, SortKey, TTL, Stack string
		Indexes                                 []index
	}
	if err := json.Unmarshal(text, &driver); err != nil {
		t.Fatal(err)
	}
	specs := map[string][]tableSpec{"global": tableSpecs, "state": stateTables}
	for _, want := range driver {
		i := slices.IndexFunc(specs[want.Stack], func(s tableSpec) bool { return s.name == want.Name })
		if i < 0 {
			t.Errorf("the stack %s has no table %s", want.Stack, want.Name)
			continue
		}
		got := specs[want.Stack][i]
		var indexes []index
		for _, in := range got.indexes {
			indexes = append(indexes, index{in.name, in.partitionKey, in.sortKey})
		}
		if got.partitionKey != want.PartitionKey || got.sortKey != want.SortKey || got.ttl != want.TTL || !slices.Equal(indexes, want.Indexes) {
			t.Errorf("table %s: the stack has %+v, the driver needs %+v", want.Name, got, want)
		}
	}
	if total := len(tableSpecs) + len(stateTables); total != len(driver) {
		t.Errorf("the stacks have %d tables, the driver %d", total, len(driver))
	}
}

// TestParametersAreThoseOfDiscovery: what gco server looks for is there.
func TestParametersAreThoseOfDiscovery(t *testing.T) {
	wanted := map[string]string{}
	readJSON(t, "../internal/aws/discovery/parameters.json", &wanted)
	a := scenario(t, "production")
	written := map[string]bool{}
	for _, stack := range []string{"gco-global", "gco-state"} {
		for _, resource := range readTemplate(t, a, stack).Resources {
			resource := resource.(map[string]any)
			if resource["Type"] == "AWS::SSM::Parameter" {
				written[resource["Properties"].(map[string]any)["Name"].(string)] = true
			}
		}
	}
	if len(wanted) == 0 {
		t.Error("nothing is looked for")
	}
	for key, name := range wanted {
		if !written["/gco/"+name] {
			t.Errorf("%s is looked for at /gco/%s, which no stack writes", key, name)
		}
	}
}

// TestStateWithoutARegion: the seed's Region is the deployment's, and its state
// stack is there for who asks for it.
func TestStateWithoutARegion(t *testing.T) {
	a, err := synthText(t.TempDir(), "aws: {profile: seed, state: {enabled: true}}", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(a.Stacks, []string{"gco-global", "gco-state"}) {
		t.Errorf("stacks %v", a.Stacks)
	}
	for rule, reason := range declaredSuppressions(t, a) {
		if reason == "" {
			t.Errorf("%s has no reason", rule)
		}
	}
}
