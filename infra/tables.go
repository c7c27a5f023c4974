package infra

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/jsii-runtime-go"
)

// tableSpec is what distinguishes one table from the next. All keys are
// strings; every index projects all attributes.
type tableSpec struct {
	id           string // construct id
	name         string // table name is {project}-{name}
	partitionKey string
	sortKey      string // empty for none
	ttl          string // attribute with the expiry in Unix seconds, or empty
	indexes      []indexSpec
	outputs      string // start of the outputs' construct ids
	export       string // start of the export and parameter names
	about        string // ends the outputs' descriptions
}

type indexSpec struct {
	name         string
	partitionKey string
	sortKey      string // empty for none
}

var tableSpecs = []tableSpec{
	{
		id: "JobTemplatesTable", name: "job-templates", partitionKey: "template_name",
		outputs: "Templates", export: "templates", about: "job templates",
	},
	{
		id: "WebhooksTable", name: "webhooks", partitionKey: "webhook_id",
		indexes: []indexSpec{{name: "namespace-index", partitionKey: "namespace"}},
		outputs: "Webhooks", export: "webhooks", about: "webhooks",
	},
	{
		id: "JobsTable", name: "jobs", partitionKey: "job_id", ttl: "ttl",
		indexes: []indexSpec{
			{name: "region-status-index", partitionKey: "target_region", sortKey: "status"},
			{name: "namespace-index", partitionKey: "namespace", sortKey: "submitted_at"},
			{name: "status-index", partitionKey: "status", sortKey: "submitted_at"},
		},
		outputs: "Jobs", export: "jobs", about: "centralized job tracking",
	},
	{
		id: "InferenceEndpointsTable", name: "inference-endpoints", partitionKey: "endpoint_name",
		outputs: "InferenceEndpoints", export: "inference-endpoints", about: "inference endpoint state",
	},
}

// table is a table with what its outputs and its alarms are called after.
type table struct {
	spec      tableSpec
	construct awsdynamodb.ITable
}

// addTables defines tables with their outputs and parameters.
func (s *stack) addTables(specs []tableSpec) []table {
	var tables []table
	for _, spec := range specs {
		t := table{spec: spec}
		if s.aws.Tables.Global {
			t.construct = s.newGlobalTable(spec)
		} else {
			t.construct = s.newTable(spec)
		}
		tables = append(tables, t)

		name, arn := t.construct.TableName(), t.construct.TableArn()
		s.output(spec.outputs+"TableName", name, "DynamoDB table name for "+spec.about, spec.export+"-table-name")
		s.output(spec.outputs+"TableArn", arn, "DynamoDB table ARN for "+spec.about, spec.export+"-table-arn")
		s.parameter(spec.outputs+"TableNameParam", spec.export+"-table-name", name, "DynamoDB table name for "+spec.about)
	}
	return tables
}

// newTable defines a table of one Region.
func (s *stack) newTable(spec tableSpec) awsdynamodb.ITable {
	props := &awsdynamodb.TableProps{
		TableName:     s.tableName(spec),
		PartitionKey:  text(spec.partitionKey),
		SortKey:       text(spec.sortKey),
		BillingMode:   awsdynamodb.BillingMode_PAY_PER_REQUEST,
		RemovalPolicy: s.removalPolicy(),
		PointInTimeRecoverySpecification: &awsdynamodb.PointInTimeRecoverySpecification{
			PointInTimeRecoveryEnabled: jsii.Bool(true),
		},
		Encryption:          awsdynamodb.TableEncryption_AWS_MANAGED,
		TimeToLiveAttribute: optional(spec.ttl),
	}
	if s.aws.Tables.DeletionProtection {
		props.DeletionProtection = jsii.Bool(true)
	}
	t := awsdynamodb.NewTable(s.Stack, &spec.id, props)
	for _, index := range spec.indexes {
		t.AddGlobalSecondaryIndex(&awsdynamodb.GlobalSecondaryIndexProps{
			IndexName:      jsii.String(index.name),
			PartitionKey:   text(index.partitionKey),
			SortKey:        text(index.sortKey),
			ProjectionType: awsdynamodb.ProjectionType_ALL,
		})
	}
	return t
}

// newGlobalTable defines the same table as a global one, which takes replicas
// by CloudFormation's own means; with the other kind CDK would add a Lambda
// function to make them.
func (s *stack) newGlobalTable(spec tableSpec) awsdynamodb.ITable {
	var indexes []*awsdynamodb.GlobalSecondaryIndexPropsV2
	for _, index := range spec.indexes {
		indexes = append(indexes, &awsdynamodb.GlobalSecondaryIndexPropsV2{
			IndexName:      jsii.String(index.name),
			PartitionKey:   text(index.partitionKey),
			SortKey:        text(index.sortKey),
			ProjectionType: awsdynamodb.ProjectionType_ALL,
		})
	}
	var replicas []*awsdynamodb.ReplicaTableProps
	for _, region := range s.aws.Tables.Replicas {
		replicas = append(replicas, &awsdynamodb.ReplicaTableProps{Region: jsii.String(region)})
	}
	return awsdynamodb.NewTableV2(s.Stack, &spec.id, &awsdynamodb.TablePropsV2{
		TableName:              s.tableName(spec),
		PartitionKey:           text(spec.partitionKey),
		SortKey:                text(spec.sortKey),
		Billing:                awsdynamodb.Billing_OnDemand(nil),
		RemovalPolicy:          s.removalPolicy(),
		DeletionProtection:     jsii.Bool(s.aws.Tables.DeletionProtection),
		Encryption:             awsdynamodb.TableEncryptionV2_AwsManagedKey(),
		TimeToLiveAttribute:    optional(spec.ttl),
		GlobalSecondaryIndexes: &indexes,
		Replicas:               &replicas,
		PointInTimeRecoverySpecification: &awsdynamodb.PointInTimeRecoverySpecification{
			PointInTimeRecoveryEnabled: jsii.Bool(true),
		},
	})
}

func (s *stack) tableName(spec tableSpec) *string {
	return jsii.String(s.project + "-" + spec.name)
}

// text is a string attribute of a key, or nil where there is none.
func text(name string) *awsdynamodb.Attribute {
	if name == "" {
		return nil
	}
	return &awsdynamodb.Attribute{Name: &name, Type: awsdynamodb.AttributeType_STRING}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
