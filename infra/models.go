package infra

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/jsii-runtime-go"

	"github.com/gco-project/gco/internal/config"
)

// addModelBucket defines the bucket that holds model weights, the key that
// encrypts it and the bucket that takes its access logs. Names are left to
// CloudFormation, so that they can't collide; the output and the parameter tell
// them.
func (s *GlobalStack) addModelBucket() {
	s.modelKey = awskms.NewKey(s.Stack, jsii.String("ModelBucketKey"), &awskms.KeyProps{
		Description:       jsii.String("KMS key for GCO model weights bucket"),
		EnableKeyRotation: jsii.Bool(true),
		RemovalPolicy:     s.removalPolicy(),
	})

	s.accessLogs = awss3.NewBucket(s.Stack, jsii.String("ModelWeightsAccessLogsBucket"), s.bucketProps(func(p *awss3.BucketProps) {
		p.Encryption = awss3.BucketEncryption_S3_MANAGED
		p.LifecycleRules = &[]*awss3.LifecycleRule{s.accessLogsRule()}
	}))
	s.modelBucket = awss3.NewBucket(s.Stack, jsii.String("ModelWeightsBucket"), s.bucketProps(func(p *awss3.BucketProps) {
		p.Encryption = awss3.BucketEncryption_KMS
		p.EncryptionKey = s.modelKey
		p.BucketKeyEnabled = jsii.Bool(true)
		p.ServerAccessLogsBucket = s.accessLogs
		p.ServerAccessLogsPrefix = jsii.String("model-bucket-logs/")
	}))

	s.output("ModelBucketName", s.modelBucket.BucketName(), "S3 bucket for model weights", "model-bucket-name")
	s.output("ModelBucketArn", s.modelBucket.BucketArn(), "S3 bucket ARN for model weights", "model-bucket-arn")
	s.parameter("ModelBucketNameParam", "model-bucket-name", s.modelBucket.BucketName(), "S3 bucket name for model weights")
}

// bucketProps are the properties that both buckets share, completed by set.
func (s *stack) bucketProps(set func(*awss3.BucketProps)) *awss3.BucketProps {
	props := &awss3.BucketProps{
		BlockPublicAccess: awss3.BlockPublicAccess_BLOCK_ALL(),
		EnforceSSL:        jsii.Bool(true),
		Versioned:         jsii.Bool(true),
		RemovalPolicy:     s.removalPolicy(),
		AutoDeleteObjects: jsii.Bool(s.aws.Buckets.EmptyOnDelete),
	}
	set(props)
	return props
}

func (s *stack) accessLogsRule() *awss3.LifecycleRule {
	retention := awscdk.Duration_Days(jsii.Number(s.aws.Buckets.AccessLogRetentionDays))
	rule := &awss3.LifecycleRule{
		Id:         jsii.String("ExpireAccessLogs"),
		Enabled:    jsii.Bool(true),
		Expiration: retention,
	}
	if s.aws.Profile == config.ProfileProduction {
		// In a versioned bucket expiry only hides an object; without this the
		// hidden versions are kept, and paid for, for ever.
		rule.NoncurrentVersionExpiration = awscdk.Duration_Days(jsii.Number(1))
	}
	return rule
}
