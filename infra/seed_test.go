package infra

import (
	"strings"
	"testing"
	"text/template"

	"go.yaml.in/yaml/v3"

	"github.com/gco-project/gco/internal/config"
)

// seedTable is the seed's stack, written from its text and not from ours: all
// that a template of profile seed may hold, except the metadata of cdk-nag. It
// is read as readTemplate writes: ${X} is a reference, ${X.Arn} an attribute.
// What CDK adds by itself for the seed's arguments stands under "added by CDK".
const seedTable = `
{{- define "table" }}
  Type: AWS::DynamoDB::Table
  DeletionPolicy: Delete
  UpdateReplacePolicy: Delete
{{- end }}
{{- define "tableSettings" }}
    BillingMode: PAY_PER_REQUEST
    PointInTimeRecoverySpecification: {PointInTimeRecoveryEnabled: true}
    SSESpecification: {SSEEnabled: true}
{{- end }}
{{- define "bucketSettings" }}
    PublicAccessBlockConfiguration: {BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true}
    VersioningConfiguration: {Status: Enabled}
    Tags: [{Key: 'aws-cdk:auto-delete-objects', Value: 'true'}]
{{- end }}
Resources:

# DynamoDB

 JobTemplatesTable: {{- template "table" }}
  Properties: {{- template "tableSettings" }}
    TableName: {{.Project}}-job-templates
    AttributeDefinitions: [{AttributeName: template_name, AttributeType: S}]
    KeySchema: [{AttributeName: template_name, KeyType: HASH}]
 WebhooksTable: {{- template "table" }}
  Properties: {{- template "tableSettings" }}
    TableName: {{.Project}}-webhooks
    AttributeDefinitions: [{AttributeName: webhook_id, AttributeType: S}, {AttributeName: namespace, AttributeType: S}]
    KeySchema: [{AttributeName: webhook_id, KeyType: HASH}]
    GlobalSecondaryIndexes:
    - {IndexName: namespace-index, KeySchema: [{AttributeName: namespace, KeyType: HASH}], Projection: {ProjectionType: ALL}}
 JobsTable: {{- template "table" }}
  Properties: {{- template "tableSettings" }}
    TableName: {{.Project}}-jobs
    TimeToLiveSpecification: {AttributeName: ttl, Enabled: true}
    AttributeDefinitions:
    - {AttributeName: job_id, AttributeType: S}
    - {AttributeName: target_region, AttributeType: S}
    - {AttributeName: status, AttributeType: S}
    - {AttributeName: namespace, AttributeType: S}
    - {AttributeName: submitted_at, AttributeType: S}
    KeySchema: [{AttributeName: job_id, KeyType: HASH}]
    GlobalSecondaryIndexes:
    - {IndexName: region-status-index, KeySchema: [{AttributeName: target_region, KeyType: HASH}, {AttributeName: status, KeyType: RANGE}], Projection: {ProjectionType: ALL}}
    - {IndexName: namespace-index, KeySchema: [{AttributeName: namespace, KeyType: HASH}, {AttributeName: submitted_at, KeyType: RANGE}], Projection: {ProjectionType: ALL}}
    - {IndexName: status-index, KeySchema: [{AttributeName: status, KeyType: HASH}, {AttributeName: submitted_at, KeyType: RANGE}], Projection: {ProjectionType: ALL}}
 InferenceEndpointsTable: {{- template "table" }}
  Properties: {{- template "tableSettings" }}
    TableName: {{.Project}}-inference-endpoints
    AttributeDefinitions: [{AttributeName: endpoint_name, AttributeType: S}]
    KeySchema: [{AttributeName: endpoint_name, KeyType: HASH}]

# S3 and KMS

 ModelBucketKey:
  Type: AWS::KMS::Key
  DeletionPolicy: Delete
  UpdateReplacePolicy: Delete
  Properties:
    Description: KMS key for GCO model weights bucket
    EnableKeyRotation: true
    KeyPolicy:
      Version: '2012-10-17'
      Statement: [{Effect: Allow, Action: 'kms:*', Resource: '*', Principal: {AWS: 'arn:{{.Partition}}:iam::${AWS::AccountId}:root'}}]
 ModelWeightsAccessLogsBucket:
  Type: AWS::S3::Bucket
  DeletionPolicy: Delete
  UpdateReplacePolicy: Delete
  Properties: {{- template "bucketSettings" }}
    BucketEncryption: {ServerSideEncryptionConfiguration: [{ServerSideEncryptionByDefault: {SSEAlgorithm: AES256}}]}
    LifecycleConfiguration: {Rules: [{Id: ExpireAccessLogs, Status: Enabled, ExpirationInDays: {{.Days}}}]}
 ModelWeightsBucket:
  Type: AWS::S3::Bucket
  DeletionPolicy: Delete
  UpdateReplacePolicy: Delete
  Properties: {{- template "bucketSettings" }}
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
      - {Effect: Allow, Action: ['s3:DeleteObject*', 's3:GetBucket*', 's3:List*', 's3:PutBucketPolicy'], Principal: {AWS: '${CustomS3AutoDeleteObjectsCustomResourceProviderRole.Arn}'}, Resource: ['${ModelWeightsAccessLogsBucket.Arn}', '${ModelWeightsAccessLogsBucket.Arn}/*']}
      - {Effect: Allow, Action: 's3:PutObject', Principal: {Service: logging.s3.amazonaws.com}, Condition: {ArnLike: {'aws:SourceArn': '${ModelWeightsBucket.Arn}'}, StringEquals: {'aws:SourceAccount': '${AWS::AccountId}'}}, Resource: '${ModelWeightsAccessLogsBucket.Arn}/model-bucket-logs/*'}
 ModelWeightsBucketPolicy:
  Type: AWS::S3::BucketPolicy
  Properties:
    Bucket: ${ModelWeightsBucket}
    PolicyDocument:
      Version: '2012-10-17'
      Statement:
      - {Effect: Deny, Action: 's3:*', Principal: {AWS: '*'}, Condition: {Bool: {'aws:SecureTransport': 'false'}}, Resource: ['${ModelWeightsBucket.Arn}', '${ModelWeightsBucket.Arn}/*']}
      - {Effect: Allow, Action: ['s3:DeleteObject*', 's3:GetBucket*', 's3:List*', 's3:PutBucketPolicy'], Principal: {AWS: '${CustomS3AutoDeleteObjectsCustomResourceProviderRole.Arn}'}, Resource: ['${ModelWeightsBucket.Arn}', '${ModelWeightsBucket.Arn}/*']}

# AWS Backup

 DynamoDBBackupVault:
  Type: AWS::Backup::BackupVault
  DeletionPolicy: Delete
  UpdateReplacePolicy: Delete
  Properties: {BackupVaultName: {{.Vault}}}
 DynamoDBBackupPlan:
  Type: AWS::Backup::BackupPlan
  Properties:
    BackupPlan:
      BackupPlanName: DynamoDBBackupPlan
      BackupPlanRule:
      - {RuleName: DailyBackup, ScheduleExpression: "cron(0 3 * * ? *)", TargetBackupVault: '${DynamoDBBackupVault.BackupVaultName}', Lifecycle: {DeleteAfterDays: 35}, EnableContinuousBackup: true}
      - {RuleName: WeeklyBackup, ScheduleExpression: "cron(0 4 ? * SUN *)", TargetBackupVault: '${DynamoDBBackupVault.BackupVaultName}', Lifecycle: {DeleteAfterDays: 90}}
 DynamoDBBackupPlanDynamoDBTablesSelection:
  Type: AWS::Backup::BackupSelection
  Properties:
    BackupPlanId: ${DynamoDBBackupPlan.BackupPlanId}
    BackupSelection:
      SelectionName: DynamoDBTablesSelection
      IamRoleArn: ${DynamoDBBackupPlanDynamoDBTablesSelectionRole.Arn}
      Resources: ['${JobTemplatesTable.Arn}', '${WebhooksTable.Arn}', '${JobsTable.Arn}', '${InferenceEndpointsTable.Arn}']

# Global Accelerator

 GCOAccelerator:
  Type: AWS::GlobalAccelerator::Accelerator
  Properties: {Name: {{.Accelerator}}, Enabled: true}
 GCOAcceleratorGCOListener:
  Type: AWS::GlobalAccelerator::Listener
  Properties: {AcceleratorArn: '${GCOAccelerator.AcceleratorArn}', Protocol: TCP, ClientAffinity: NONE, PortRanges: [{FromPort: 80, ToPort: 80}, {FromPort: 443, ToPort: 443}]}
{{- range .Regions }}
 GCOAcceleratorGCOListenerEndpointGroup{{.Title}}:
  Type: AWS::GlobalAccelerator::EndpointGroup
  Properties: {ListenerArn: '${GCOAcceleratorGCOListener.ListenerArn}', EndpointGroupRegion: {{.Name}}, HealthCheckProtocol: HTTP, HealthCheckPort: 80, HealthCheckPath: '{{$.Path}}', HealthCheckIntervalSeconds: {{$.Interval}}, ThresholdCount: 3}
 EndpointGroup{{.Title}}ArnParam:
  Type: AWS::SSM::Parameter
  Properties: {Type: String, Name: /{{$.Project}}/endpoint-group-{{.Name}}-arn, Value: '${GCOAcceleratorGCOListenerEndpointGroup{{.Title}}.EndpointGroupArn}', Description: Global Accelerator endpoint group ARN for {{.Name}}}
{{- end }}

# SSM

 TemplatesTableNameParam: {Type: AWS::SSM::Parameter, Properties: {Type: String, Name: /{{.Project}}/templates-table-name, Value: '${JobTemplatesTable}', Description: DynamoDB table name for job templates}}
 WebhooksTableNameParam: {Type: AWS::SSM::Parameter, Properties: {Type: String, Name: /{{.Project}}/webhooks-table-name, Value: '${WebhooksTable}', Description: DynamoDB table name for webhooks}}
 JobsTableNameParam: {Type: AWS::SSM::Parameter, Properties: {Type: String, Name: /{{.Project}}/jobs-table-name, Value: '${JobsTable}', Description: DynamoDB table name for centralized job tracking}}
 InferenceEndpointsTableNameParam: {Type: AWS::SSM::Parameter, Properties: {Type: String, Name: /{{.Project}}/inference-endpoints-table-name, Value: '${InferenceEndpointsTable}', Description: DynamoDB table name for inference endpoint state}}
 ModelBucketNameParam: {Type: AWS::SSM::Parameter, Properties: {Type: String, Name: /{{.Project}}/model-bucket-name, Value: '${ModelWeightsBucket}', Description: S3 bucket name for model weights}}

# Added by CDK: the default role of the backup selection, and what empties the buckets

 DynamoDBBackupPlanDynamoDBTablesSelectionRole:
  Type: AWS::IAM::Role
  Properties:
    AssumeRolePolicyDocument: {Version: '2012-10-17', Statement: [{Effect: Allow, Action: 'sts:AssumeRole', Principal: {Service: backup.amazonaws.com}}]}
    ManagedPolicyArns: ['arn:${AWS::Partition}:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup']
 ModelWeightsAccessLogsBucketAutoDeleteObjectsCustomResource:
  Type: Custom::S3AutoDeleteObjects
  DeletionPolicy: Delete
  UpdateReplacePolicy: Delete
  DependsOn: [ModelWeightsAccessLogsBucketPolicy]
  Properties: {ServiceToken: '${CustomS3AutoDeleteObjectsCustomResourceProviderHandler.Arn}', BucketName: '${ModelWeightsAccessLogsBucket}'}
 ModelWeightsBucketAutoDeleteObjectsCustomResource:
  Type: Custom::S3AutoDeleteObjects
  DeletionPolicy: Delete
  UpdateReplacePolicy: Delete
  DependsOn: [ModelWeightsBucketPolicy]
  Properties: {ServiceToken: '${CustomS3AutoDeleteObjectsCustomResourceProviderHandler.Arn}', BucketName: '${ModelWeightsBucket}'}
 CustomS3AutoDeleteObjectsCustomResourceProviderRole:
  Type: AWS::IAM::Role
  Properties:
    AssumeRolePolicyDocument: {Version: '2012-10-17', Statement: [{Effect: Allow, Action: 'sts:AssumeRole', Principal: {Service: lambda.amazonaws.com}}]}
    ManagedPolicyArns: ['arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole']
 CustomS3AutoDeleteObjectsCustomResourceProviderHandler:
  Type: AWS::Lambda::Function
  DependsOn: [CustomS3AutoDeleteObjectsCustomResourceProviderRole]
  Properties:
    Code: {S3Bucket: 'cdk-hnb659fds-assets-${AWS::AccountId}-{{.Home}}', S3Key: ASSET}
    Description: 'Lambda function for auto-deleting objects in ${ModelWeightsAccessLogsBucket} S3 bucket.'
    Handler: index.handler
    MemorySize: 128
    Role: ${CustomS3AutoDeleteObjectsCustomResourceProviderRole.Arn}
    Runtime: nodejs22.x
    Timeout: 900

Outputs:
 TemplatesTableName: {Value: '${JobTemplatesTable}', Description: DynamoDB table name for job templates, Export: {Name: {{.Project}}-templates-table-name}}
 TemplatesTableArn: {Value: '${JobTemplatesTable.Arn}', Description: DynamoDB table ARN for job templates, Export: {Name: {{.Project}}-templates-table-arn}}
 WebhooksTableName: {Value: '${WebhooksTable}', Description: DynamoDB table name for webhooks, Export: {Name: {{.Project}}-webhooks-table-name}}
 WebhooksTableArn: {Value: '${WebhooksTable.Arn}', Description: DynamoDB table ARN for webhooks, Export: {Name: {{.Project}}-webhooks-table-arn}}
 JobsTableName: {Value: '${JobsTable}', Description: DynamoDB table name for centralized job tracking, Export: {Name: {{.Project}}-jobs-table-name}}
 JobsTableArn: {Value: '${JobsTable.Arn}', Description: DynamoDB table ARN for centralized job tracking, Export: {Name: {{.Project}}-jobs-table-arn}}
 InferenceEndpointsTableName: {Value: '${InferenceEndpointsTable}', Description: DynamoDB table name for inference endpoint state, Export: {Name: {{.Project}}-inference-endpoints-table-name}}
 InferenceEndpointsTableArn: {Value: '${InferenceEndpointsTable.Arn}', Description: DynamoDB table ARN for inference endpoint state, Export: {Name: {{.Project}}-inference-endpoints-table-arn}}
 ModelBucketName: {Value: '${ModelWeightsBucket}', Description: S3 bucket for model weights, Export: {Name: {{.Project}}-model-bucket-name}}
 ModelBucketArn: {Value: '${ModelWeightsBucket.Arn}', Description: S3 bucket ARN for model weights, Export: {Name: {{.Project}}-model-bucket-arn}}
 BackupPlanArn: {Value: '${DynamoDBBackupPlan.BackupPlanArn}', Description: AWS Backup plan ARN for DynamoDB tables, Export: {Name: {{.Project}}-backup-plan-arn}}
 BackupVaultArn: {Value: '${DynamoDBBackupVault.BackupVaultArn}', Description: AWS Backup vault ARN for DynamoDB backups, Export: {Name: {{.Project}}-backup-vault-arn}}
{{- range .Regions }}
 EndpointGroup{{.Title}}Arn: {Value: '${GCOAcceleratorGCOListenerEndpointGroup{{.Title}}.EndpointGroupArn}', Description: Endpoint group ARN for {{.Name}}, Export: {Name: {{$.Project}}-endpoint-group-{{.Name}}-arn}}
{{- end }}
 GlobalAcceleratorDnsName: {Value: '${GCOAccelerator.DnsName}', Description: Global Accelerator DNS name for global endpoint, Export: {Name: {{.Project}}-global-accelerator-dns}}
 GlobalAcceleratorArn: {Value: '${GCOAccelerator.AcceleratorArn}', Description: Global Accelerator ARN, Export: {Name: {{.Project}}-global-accelerator-arn}}
 GlobalAcceleratorListenerArn: {Value: '${GCOAcceleratorGCOListener.ListenerArn}', Description: Global Accelerator Listener ARN, Export: {Name: {{.Project}}-global-accelerator-listener-arn}}
`

// seedCase is what the seed's table is filled with. Titles are spelled out: to
// derive them here would be to test a rule against itself.
type seedCase struct {
	Project, Accelerator, Vault, Path string
	// Home and Partition are known at synthesis only if the Region is.
	Home, Partition string
	Interval, Days  int
	Regions         []regionTitle
}

type regionTitle struct{ Name, Title string }

func TestSeedTemplate(t *testing.T) {
	for name, want := range map[string]seedCase{
		"seed with 3 regions": {
			Project: "gco", Accelerator: "gco-accelerator", Home: "${AWS::Region}", Partition: "${AWS::Partition}", Vault: "gcoglobalDynamoDBBackupVault168F6567",
			Path: "/api/v1/health", Interval: 30, Days: 90,
			Regions: []regionTitle{{"us-east-1", "Useast1"}, {"us-west-2", "Uswest2"}, {"eu-west-1", "Euwest1"}},
		},
		"seed with 1 region and other names": {
			Project: "Acme-2", Accelerator: "acme-front", Home: "eu-central-1", Partition: "aws", Vault: "Acme2globalDynamoDBBackupVault83D4951D",
			Path: "/ready?deep=1", Interval: 10, Days: 7,
			Regions: []regionTitle{{"ap-southeast-2", "Apsoutheast2"}},
		},
		"seed with 10 regions": {
			Project: "gco", Accelerator: "gco-accelerator", Home: "${AWS::Region}", Partition: "${AWS::Partition}", Vault: "gcoglobalDynamoDBBackupVault168F6567",
			Path: "/api/v1/health", Interval: 30, Days: 90,
			Regions: []regionTitle{
				{"us-east-1", "Useast1"},
				{"us-east-2", "Useast2"},
				{"us-west-1", "Uswest1"},
				{"us-west-2", "Uswest2"},
				{"eu-west-1", "Euwest1"},
				{"eu-west-2", "Euwest2"},
				{"eu-central-1", "Eucentral1"},
				{"ap-southeast-1", "Apsoutheast1"},
				{"ap-northeast-1", "Apnortheast1"},
				{"sa-east-1", "Saeast1"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := scenario(t, name)
			got := readTemplate(t, a, want.Project+"-global")
			for _, resource := range got.Resources {
				delete(resource.(map[string]any), "Metadata")
			}
			hideAsset(t, got)

			expected := fill(t, seedTable, want)
			for _, line := range differences("Resources", got.Resources, expected["Resources"]) {
				t.Error(line)
			}
			for _, line := range differences("Outputs", got.Outputs, expected["Outputs"]) {
				t.Error(line)
			}
			if len(a.Stacks) != 1 {
				t.Errorf("stacks %v, the seed has one", a.Stacks)
			}
			if a.Config.AWS.Profile != config.ProfileSeed {
				t.Errorf("profile %s", a.Config.AWS.Profile)
			}
		})
	}
}

// hideAsset replaces the hash of the function's code, which is CDK's.
func hideAsset(t *testing.T, got cfnTemplate) {
	t.Helper()
	function := got.Resources["CustomS3AutoDeleteObjectsCustomResourceProviderHandler"].(map[string]any)
	code := function["Properties"].(map[string]any)["Code"].(map[string]any)
	if key, _ := code["S3Key"].(string); !strings.HasSuffix(key, ".zip") {
		t.Errorf("function's code is %q", key)
	}
	code["S3Key"] = "ASSET"
}

// fill fills a table and reads it, with numbers as JSON has them.
func fill(t *testing.T, table string, data any) map[string]any {
	t.Helper()
	var text strings.Builder
	if err := template.Must(template.New("expected").Parse(table)).Execute(&text, data); err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(text.String()), &tree); err != nil {
		t.Fatalf("%v in\n%s", err, text.String())
	}
	return asJSON(tree).(map[string]any)
}

func asJSON(node any) any {
	switch node := node.(type) {
	case map[string]any:
		for key, value := range node {
			node[key] = asJSON(value)
		}
	case []any:
		for i, value := range node {
			node[i] = asJSON(value)
		}
	case int:
		return float64(node)
	}
	return node
}
